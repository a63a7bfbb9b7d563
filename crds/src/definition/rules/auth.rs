//! Who is let in: issuers, keys, places of tokens.

use super::{Rule, spelling};

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = doors();
    rules.extend(issuers());
    rules.extend(spelling::http_url("auth.webhook.url"));
    rules.extend(spelling::http_url("auth.issuers[].jwks.url"));
    rules.extend([
        spelling::name("auth.apiKeys[].name"),
        spelling::origin("auth.allowedOrigins[]"),
        spelling::token_place("auth.tokenFrom[]"),
        spelling::duration("auth.webhook.timeout", "100ms", "10s"),
        spelling::duration("auth.webhook.cacheFor", "1s", "1h"),
        spelling::duration("auth.expiry.warn", "0s", "24h"),
        spelling::duration("auth.expiry.grace", "0s", "24h"),
        Rule::new(
            "auth.apiKeys[].scopes[]",
            r#"self in ['connect', 'subscribe', 'presence', 'disconnect', 'revoke', 'read', 'admin'] || self.matches(r"^publish:([*]|[\w.~@=+,$!%-]{1,128}|[{]\w+[*]?[}])(:([*]|[\w.~@=+,$!%-]{1,128}|[{]\w+[*]?[}]))*$")"#,
            "is not one of connect, subscribe, presence, disconnect, revoke, read, admin and publish:PATTERN, such as publish:* or publish:room:{room}",
        ),
    ]);
    rules
}

/// Whether anybody can come in at all, and by a cookie only from listed pages.
fn doors() -> Vec<Rule> {
    let cookies = effective("tokenFrom", |list| format!("{list}.exists(place, place.startsWith('Cookie:'))"));
    let listed = effective("allowedOrigins", |list| {
        format!("({list}.size() > 0 && !('*' in {list}) && !('null' in {list}))")
    });
    vec![
        Rule::new(
            "",
            "(has(self.auth) && ((has(self.auth.issuers) && self.auth.issuers.size() > 0) || has(self.auth.webhook) || \
             (has(self.auth.apiKeys) && self.auth.apiKeys.exists(key, 'connect' in key.scopes)))) || \
             self.endpoints.all(e, e.?auth.?anonymous.or(self.?auth.?anonymous).orValue('Deny') == 'Allow')",
            "nobody can connect: add auth.issuers, auth.webhook or a key with the scope connect to auth.apiKeys, or set auth.anonymous to Allow to let everyone in",
        )
        .about(".auth"),
        Rule::new(
            "",
            format!("self.endpoints.all(e, !{cookies} || {listed})"),
            "a cookie in tokenFrom counts only for pages of listed origins: list the application's in allowedOrigins, such as https://app.example.com, without * and null",
        )
        .about(".auth"),
    ]
}

/// What `test` says of the list of an endpoint `e`, or of all endpoints' where it has none of its own; false where neither has one.
/// Written out, because the cost of what `orValue` gives cannot be estimated.
fn effective(list: &str, test: impl Fn(&str) -> String) -> String {
    let (own, all) = (format!("e.auth.{list}"), format!("self.auth.{list}"));
    format!("(has(e.auth) && has({own}) ? {} : has(self.auth) && has({all}) && {})", test(&own), test(&all))
}

fn issuers() -> Vec<Rule> {
    vec![
        spelling::name("auth.issuers[].name"),
        Rule::new(
            "auth.issuers",
            "self.all(i, self.exists_one(o, o.name == i.name))",
            "two issuers have the same name: give each its own",
        ),
        Rule::new(
            "auth.issuers[]",
            "has(self.secretRef) || has(self.jwks)",
            "has no keys: add secretRef with name and key for keys in a Secret, or jwks with url for published ones",
        ),
        Rule::new(
            "auth.issuers[]",
            "!has(self.secretRef) || !has(self.jwks)",
            "has both secretRef and jwks: take one of them out",
        ),
        Rule::new(
            "auth.issuers[]",
            "!has(self.jwks) || !has(self.previousSecretRef)",
            "stands beside jwks, which has the keys of before by itself: take it out",
        )
        .about(".previousSecretRef"),
        Rule::new(
            "auth.issuers[]",
            "!has(self.algorithms) || !self.algorithms.exists(a, a.startsWith('HS')) || self.algorithms.all(a, a.startsWith('HS'))",
            "mixes HMAC, whose key is a secret, with algorithms whose keys are public: write an issuer for each",
        )
        .about(".algorithms"),
        Rule::new(
            "auth.issuers[]",
            "!has(self.jwks) || !has(self.algorithms) || !self.algorithms.exists(a, a.startsWith('HS'))",
            "has HMAC, whose key is a secret and is never published: name what the issuer signs with, such as RS256 or ES256",
        )
        .about(".algorithms"),
        spelling::duration("auth.issuers[].leeway", "0s", "10m"),
        spelling::duration("auth.issuers[].jwks.refresh", "30s", "24h"),
        spelling::duration("auth.issuers[].jwks.staleFor", "0s", "168h"),
    ]
}
