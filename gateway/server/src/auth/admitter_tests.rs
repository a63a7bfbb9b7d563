//! Requests that become connections and requests that do not.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue};
use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;
use rtgw_model::Principal;
use serde_json::{Value, json};

use super::{Admitted, Admitter, ConnectRequest};
use crate::clock::unix_seconds;
use crate::fixture::{KEY, checked};
use crate::refusal::Refusal;
use crate::rules::CompiledRules;

const SPEC: &str = "\
endpoints:
- name: ws
  path: /ws
  autoSubscribe:
  - channel: 'user:{claims.sub}'
  - {channel: admins, when: claims.role == 'admin'}
  - {channel: 'user:{user}', when: 'true'}
- {name: open, path: /open, envelope: Event, auth: {anonymous: Allow, tokenFrom: [Query], allowedOrigins: ['*']}}
- name: members
  path: /members
  admit: \"'member' in claims.roles && connection.query.room == 'r'\"
  greeting: {message: \"{'type': 'hello', 'id': connection.id, 'user': user, 'tenant': tenant, 'n': claims.n}\"}
- {name: raw, path: /raw, envelope: Raw, auth: {anonymous: Allow}}
- {name: echo, path: /echo, protocol: Echo, auth: {anonymous: Allow}}
- {name: refusing, path: /refusing, autoSubscribe: [{channel: admins}]}
auth:
  issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]
  identity: {tenant: claims.tenant}
channels:
- {pattern: 'user:{id}'}
- {pattern: admins, subscribe: claims.role == 'admin'}
";

fn admitter() -> &'static Admitter {
    static ADMITTER: LazyLock<Admitter> = LazyLock::new(|| {
        let config = checked(SPEC);
        let rules = Arc::new(CompiledRules::new(&config));
        Admitter::new(&config, rules)
    });
    &ADMITTER
}

fn endpoint(name: &str) -> usize {
    ["ws", "open", "members", "raw", "echo", "refusing"].iter().position(|known| *known == name).unwrap_or(99)
}

fn request(name: &str, query: &str, headers: &[(&'static str, &str)]) -> ConnectRequest {
    let mut map = HeaderMap::new();
    map.insert("host", HeaderValue::from_static("rt.example.com"));
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    ConnectRequest {
        endpoint: endpoint(name),
        headers: map,
        query: query.to_owned(),
        ip: IpAddr::from([192, 0, 2, 7]),
    }
}

fn token(claims: Value) -> String {
    let Value::Object(mut claims) = claims else { panic!("claims are an object") };
    claims.entry("exp").or_insert_with(|| json!(unix_seconds() + 60));
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(KEY.as_bytes())).unwrap()
}

/// Without a wait, as for everything that this process decides by itself.
fn admit(request: &ConnectRequest) -> Result<Admitted, Refusal> {
    let admitter = admitter();
    admitter.origin(request)?;
    let identified = admitter.identify(request, admitter.presented(request)?).now_or_never().unwrap()?;
    admitter.admit(identified)
}

fn authenticate(request: &ConnectRequest) -> Result<Principal, Refusal> {
    admitter().authenticate(request).now_or_never().unwrap()
}

fn with_token(name: &str, query: &str, claims: Value) -> Result<Admitted, Refusal> {
    let bearer = format!("Bearer {}", token(claims));
    admit(&request(name, query, &[("authorization", &bearer)]))
}

fn channels(admitted: &Admitted) -> Vec<&str> {
    admitted.auto.iter().map(|grant| grant.channel().as_str()).collect()
}

fn refused(answer: Result<Admitted, Refusal>) -> (u16, &'static str) {
    answer.map_or_else(|refusal| (refusal.status, refusal.code), |_| (101, "admitted"))
}

fn greeting(admitted: &Admitted) -> Value {
    serde_json::from_slice(admitted.greeting.as_ref().unwrap()).unwrap()
}

#[test]
fn a_token_makes_a_principal_with_its_channels_and_greeting() {
    let admitted = with_token("ws", "a=1", json!({"sub": "a:b", "tenant": "acme", "role": "user"})).unwrap();
    let principal = &admitted.principal;
    assert_eq!((&*principal.user, &*principal.tenant, &*principal.query), ("a:b", "acme", "a=1"));
    assert!(principal.claims.starts_with('{') && principal.ip == IpAddr::from([192, 0, 2, 7]));
    // Twice the same channel, by two templates: granted once. A colon in a claim reaches into no other channel.
    assert_eq!(channels(&admitted), ["user:a%3Ab"]);
    let said = greeting(&admitted);
    assert_eq!(said["type"], "connected");
    assert_eq!(said["data"]["connection_id"], admitted.key.to_string());
    assert_eq!(said["data"]["user"], "a:b");

    let admin = with_token("ws", "", json!({"sub": "x", "role": "admin"})).unwrap();
    assert_eq!((channels(&admin), &*admin.principal.tenant), (vec!["user:x", "admins"], ""));
    assert_ne!(admin.key, admitted.key);
}

#[test]
fn who_has_no_credential_is_nobody_or_refused() {
    let admit = |name, query, headers: &[(&'static str, &str)]| admit(&request(name, query, headers));
    let nobody = admit("open", "x=1", &[]).unwrap();
    assert_eq!((&*nobody.principal.user, nobody.principal.claims.len()), ("", 0));
    assert_eq!(greeting(&nobody)["event"], "connected");
    assert!(admit("raw", "", &[]).unwrap().greeting.is_none());
    assert!(admit("echo", "", &[]).unwrap().greeting.is_none());
    assert_eq!(refused(admit("ws", "", &[])), (401, "token_missing"));
    // Given but wrong is not the same as not given.
    assert_eq!(refused(admit("open", "token=x", &[])), (401, "token_invalid"));
    assert_eq!(refused(admit("open", "token=", &[])), (401, "token_invalid"));
    assert_eq!(refused(admit("raw", "", &[("authorization", "Bearer x")])), (401, "token_invalid"));
    assert!(admit("open", "", &[("authorization", "Bearer x")]).is_ok(), "this endpoint reads no header");
    assert_eq!(refused(admit("open", "token=x&token=y", &[])), (400, "bad_request"));
    assert_eq!(refused(admit("nowhere", "", &[])), (404, "not_found"));
    let query = format!("a=1&access_token={}&b=2", token(json!({"sub": "q"})));
    let by_query = admit("open", &query, &[]).unwrap();
    assert_eq!((&*by_query.principal.user, &*by_query.principal.query), ("q", "a=1&b=2"));
}

#[test]
fn identities_that_are_no_text_are_refused() {
    let cases = [
        (json!({}), 401),
        (json!({"sub": 5}), 401),
        (json!({"sub": ""}), 401),
        (json!({"sub": null}), 401),
        (json!({"sub": ["a"]}), 401),
        (json!({"sub": "a", "tenant": 5}), 401),
        (json!({"sub": "a", "tenant": {}}), 401),
        (json!({"sub": "a", "tenant": null}), 101),
        (json!({"sub": "a"}), 101),
    ];
    for (claims, status) in cases {
        assert_eq!(refused(with_token("ws", "", claims.clone())).0, status, "{claims}");
    }
    assert_eq!(refused(with_token("ws", "", json!({"sub": "a", "exp": 1}))), (401, "token_expired"));
}

#[test]
fn admit_and_required_channels_refuse_with_403() {
    let member = json!({"sub": "m", "roles": ["member"], "n": 1.50});
    let admitted = with_token("members", "room=r", member.clone()).unwrap();
    let said = admitted.greeting.as_ref().unwrap();
    let expected = format!(r#"{{"type":"hello","id":"{}","user":"m","tenant":"","n":1.5}}"#, admitted.key);
    assert_eq!(said, &expected);

    assert_eq!(refused(with_token("members", "room=x", member.clone())), (403, "forbidden"));
    assert_eq!(refused(with_token("members", "", member)), (403, "forbidden"), "`admit` fails");
    assert_eq!(refused(with_token("members", "room=r", json!({"sub": "m"}))), (403, "forbidden"));
    let without = json!({"sub": "m", "roles": ["member"]});
    assert_eq!(refused(with_token("members", "room=r", without)), (500, "internal"), "the greeting fails");
    assert_eq!(refused(with_token("refusing", "", json!({"sub": "m"}))), (403, "forbidden"));
    assert_eq!(refused(with_token("refusing", "", json!({"sub": "m", "role": "admin"}))).0, 101);
    let long = json!({"sub": "é".repeat(60)});
    assert_eq!(
        refused(with_token("ws", "", long)),
        (403, "forbidden"),
        "too long for a channel once it is escaped"
    );
}

#[test]
fn origins_are_asked_before_credentials_and_pages_ask_for_credentials_only() {
    let foreign = request("ws", "", &[("origin", "https://evil.test")]);
    assert_eq!(refused(admit(&foreign)), (403, "origin_not_allowed"));
    assert_eq!(admitter().origin(&foreign).unwrap_err().status, 403);
    assert_eq!(authenticate(&foreign).unwrap_err().code, "token_missing");
    let own = request("ws", "", &[("origin", "https://rt.example.com")]);
    assert!(admitter().origin(&own).is_ok());
    let bearer = format!("Bearer {}", token(json!({"sub": "u"})));
    let page = request("ws", "", &[("authorization", &bearer), ("origin", "https://evil.test")]);
    assert_eq!(&*authenticate(&page).unwrap().user, "u");
    let not_member = request("members", "room=r", &[("authorization", &bearer)]);
    assert_eq!(authenticate(&not_member).unwrap_err().status, 403);
}

#[test]
fn no_answer_and_nothing_printed_repeats_a_credential() {
    let secret = token(json!({"sub": "x", "exp": 1}));
    let bearer = format!("Bearer {secret}");
    let request = request("ws", &format!("token={secret}"), &[("authorization", &bearer)]);
    let admitter = admitter();
    let refusal = admit(&request).unwrap_err();
    let part = secret.split('.').next_back().unwrap();
    for text in [format!("{request:?}"), format!("{refusal:?}"), format!("{admitter:?}")] {
        assert!(!text.contains(part) && !text.contains(KEY), "{text}");
    }
}

proptest! {
    #[test]
    fn no_request_panics(query in ".{0,60}", authorization in "[ -~]{0,60}", origin in "[ -~]{0,40}") {
        for name in ["ws", "open", "members", "raw", "echo", "refusing"] {
            let request = request(name, &query, &[("authorization", &authorization), ("origin", &origin)]);
            let _ = admit(&request);
            let _ = authenticate(&request);
        }
    }
}
