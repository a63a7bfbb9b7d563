//! Rules about how one text is written. They replace patterns of the schema, whose refusals only repeat the pattern.

use super::Rule;

/// A duration in the spelling of manifests.
pub(super) const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A unique name within a list.
pub(super) fn name(at: &'static str) -> Rule {
    Rule::new(
        at,
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "is not a name: lower-case letters, digits and -, with a letter or digit at both ends",
    )
}

/// A duration between two, both in the spelling of manifests.
pub(super) fn duration(at: &'static str, least: &str, most: &str) -> Rule {
    Rule::new(
        at,
        format!(
            "self.matches('{DURATION}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
        ),
        format!("must be a duration from {least} to {most}, written like 30s, 5m, 1h30m or 250ms"),
    )
}

/// An amount of bytes between two, both in the spelling of manifests.
pub(super) fn bytes(at: &'static str, least: &str, most: &str) -> Rule {
    Rule::new(
        at,
        format!(
            "string(self).matches('^[0-9]{{1,19}}(k|M|G|Ki|Mi|Gi)?$') && quantity(string(self)).compareTo(quantity('{least}')) >= 0 && quantity(string(self)).compareTo(quantity('{most}')) <= 0"
        ),
        format!(
            "must be from {least} to {most}: a whole number of bytes, or one with k, M, G, Ki, Mi or Gi behind it, such as 64Ki"
        ),
    )
}

/// A network.
pub(super) fn network(at: &'static str) -> Rule {
    Rule::new(
        at,
        "isCIDR(self) && cidr(self) == cidr(self).masked()",
        "is not a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7/32, with no bits set behind its prefix",
    )
}

/// A path of a request.
pub(super) fn path(at: &'static str) -> Rule {
    Rule::new(
        at,
        r#"self.matches(r"^(/[A-Za-z0-9._~!$&'()+,;=:@%-]+)*/?$") && self != '' && !self.matches(r"/[.]{1,2}(/|$)")"#,
        "is not a path such as /ws: / comes first, no segment is empty, . or .., there is no ? or # and no placeholder, and what else a path cannot hold is percent-encoded",
    )
}

/// An origin as browsers send it.
pub(super) fn origin(at: &'static str) -> Rule {
    Rule::new(
        at,
        r"self in ['*', 'null'] || self.matches('^[a-z0-9+.-]+://[a-z0-9._:\\[\\]-]+$') && !(self.startsWith('https://') && self.endsWith(':443')) && !(self.startsWith('http://') && self.endsWith(':80'))",
        "is not an origin such as https://app.example.com: scheme and host as browsers send them, in small letters, without a path, a wildcard or the usual port; * alone is any",
    )
}

/// A place of a token.
pub(super) fn token_place(at: &'static str) -> Rule {
    Rule::new(
        at,
        r#"self.matches(r"^(Header|Query|Subprotocol|ApiKeyHeader|FirstMessage|Cookie:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})$")"#,
        "is not one of Header, Query, Subprotocol, ApiKeyHeader, FirstMessage and Cookie:NAME",
    )
}

/// An address that the gateway asks.
pub(super) fn http_url(at: &'static str) -> Vec<Rule> {
    vec![
        Rule::new(
            at,
            r#"self.matches(r"^https?://([A-Za-z0-9_][A-Za-z0-9_-]{0,62}([.][A-Za-z0-9_][A-Za-z0-9_-]{0,62})*|\[[0-9a-fA-F:.]+\])(:0*[1-9][0-9]{0,4})?([/?][!$-;=?-Z\[\]_a-z~]*)?$")"#,
            "is not an address such as https://id.example.com/jwks.json: https:// or http://, then a host; no user, password or fragment, and what an address cannot hold is percent-encoded",
        ),
        Rule::new(
            at,
            r#"!self.matches("^http://") || self.matches(r"(?i)^http://([a-z0-9_-]+|[^/?]*[.]svc([.]cluster[.]local)?|localhost|127[.][0-9.]+|\[::1\])(:[0-9]+)?([/?]|$)")"#,
            "would send secrets in the clear: write https://; http:// is for names without a dot, those that end with .svc or .svc.cluster.local, and localhost",
        ),
        Rule::new(
            at,
            r#"!self.matches(r"^https?://(169[.]254[.]|0[.]|22[4-9][.]|23[0-9][.]|255[.]255[.]255[.]255|100[.]100[.]100[.]200|168[.]63[.]129[.]16|192[.]0[.]0[.]192|\[(?i:fe[89ab]|ff|::\]|fd00:ec2::254\]))")"#,
            "names a machine that is never asked: link-local addresses and those of cloud machines' own data",
        ),
    ]
}

/// The address of a Redis.
pub(super) fn redis_address(url: &'static str, holder: &'static str) -> Vec<Rule> {
    vec![
        Rule::new(
            url,
            r#"!self.matches("^[^/]*://[^/]*:[^/]*@")"#,
            "has a password in it: put it into a Secret and name that in passwordRef, because manifests are shown to many eyes",
        ),
        Rule::new(
            url,
            r#"!self.matches("^redis[+](sentinel|cluster)://")"#,
            "has a scheme that is not in this version: write redis:// or rediss://",
        ),
        Rule::new(
            url,
            r#"self.matches("^redis[+](sentinel|cluster)://") || self.matches(r"^(redis|rediss|valkey|valkeys)://([^/]*@)?([A-Za-z0-9._-]+|[A-Za-z0-9._:\[\]-]*\])(:0*[1-9][0-9]{0,4})?(/[0-9]{0,5})?$")"#,
            "is not an address such as redis://cache:6379/0 or rediss://USER@cache:6379: the scheme, a host, and if need be a user, a port and the number of a database",
        ),
        Rule::new(
            holder,
            "!has(self.caRef) || self.url.startsWith('rediss://') || self.url.startsWith('valkeys://')",
            "is of no use without TLS: write the address with rediss://, or take caRef out",
        )
        .about(".caRef"),
    ]
}
