//! Who may ask for the report, and that nobody gets further with the operator's token.

use ring::signature::KeyPair;
use rtgw_config::checked::Algorithm;
use serde_json::{Value, json};

use crate::stage::{HOST, KEY, Mounts, OBJECT, ask, config, now, pair, signed, token};
use crate::support::gateway::Gateway;

const SPEC: &str = "endpoints: [{name: ws, path: /ws}]\n\
    auth:\n  anonymous: Allow\n  apiKeys: [{name: all, secretRef: {name: auth, key: api}, scopes: [admin]}]\n\
    channels: [{pattern: news}]\n";

fn gateway(name: &str) -> (Mounts, Gateway) {
    let mounts = Mounts::new(name);
    mounts.secret("auth", &[("api", KEY)]);
    mounts.config(&[("config.yaml", &config(1, SPEC))]);
    let gateway = mounts.serve();
    (mounts, gateway)
}

fn bearer(gateway: &Gateway, token: &str) -> u16 {
    ask(gateway, "/v1/pod", &[HOST, ("authorization", &format!("Bearer {token}"))]).status
}

#[test]
fn only_tokens_of_the_operator_for_this_object_open_the_report() {
    let (mounts, gateway) = gateway("tokens");
    assert_eq!(
        (bearer(&gateway, &token(1)), bearer(&gateway, &token(2))),
        (200, 200),
        "the old key and the new"
    );
    let header = json!({"alg": "EdDSA", "kid": "k1"});
    let claims = json!({"aud": OBJECT, "iat": now(), "exp": now() + 60});
    let with = |mut value: Value, name: &str, member: Value| {
        value[name] = member;
        value
    };
    let of = |header: &Value, claims: &Value| signed(&pair(1), header, claims);
    let unsigned = of(&with(header.clone(), "alg", json!("none")), &claims);
    let (unsigned, _) = unsigned.rsplit_once('.').unwrap();
    let public = pair(1).public_key().as_ref().to_vec();
    let refused = [
        ("an expired one", of(&header, &json!({"aud": OBJECT, "iat": now() - 120, "exp": now() - 60}))),
        ("one that lives too long", of(&header, &with(claims.clone(), "exp", json!(now() + 3600)))),
        ("one of the future", of(&header, &json!({"aud": OBJECT, "iat": now() + 600, "exp": now() + 660}))),
        ("another object's", of(&header, &with(claims.clone(), "aud", json!("another")))),
        ("one for nobody", of(&header, &json!({"iat": now(), "exp": now() + 60}))),
        ("alg none", format!("{unsigned}.")),
        (
            "the public key as a secret",
            rtgw::auth::sign(Algorithm::Hs256, &public, &claims.to_string()).unwrap(),
        ),
        ("a foreign key", token(3)),
        ("a foreign key under a known name", signed(&pair(3), &header, &claims)),
        ("no signature", unsigned.to_owned()),
        ("an API key", KEY.to_owned()),
        ("nothing", String::new()),
        ("junk", "eyJ.eyJ.x".to_owned()),
    ];
    for (what, token) in refused {
        assert_eq!(bearer(&gateway, &token), 401, "{what}");
    }
    for headers in [&[HOST][..], &[HOST, ("x-api-key", KEY)], &[HOST, ("x-api-key", &token(1))]] {
        assert_eq!(ask(&gateway, "/v1/pod", headers).status, 401, "{headers:?}");
    }
    let good = format!("Bearer {}", token(1));
    for browser in [("origin", "http://10.244.0.7:9090"), ("origin", "null"), ("sec-fetch-site", "none")] {
        let answer = ask(&gateway, "/v1/pod", &[HOST, ("authorization", &good), browser]);
        assert_eq!(answer.status, 403, "{browser:?}");
    }
    // The old key is taken out while the gateway runs.
    let one = config(2, SPEC);
    let (before, rest) = one.split_once(", {kid: k2").unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    mounts.config(&[("config.yaml", &format!("{before}{after}"))]);
    crate::stage::acknowledged(&gateway, 2);
    assert_eq!((bearer(&gateway, &token(1)), bearer(&gateway, &token(2))), (200, 401));
}

#[test]
fn the_operators_token_opens_nothing_else() {
    let (_mounts, gateway) = gateway("nothing-else");
    let good = format!("Bearer {}", token(1));
    for path in ["/v1/info", "/config", "/v1/connections", "/v1/channels", "/v1/openapi.json"] {
        let answer = ask(&gateway, path, &[HOST, ("authorization", &good)]);
        assert_eq!(answer.status, 401, "{path} {answer:?}");
    }
    let body = json!({"channel": "news", "event": "e", "data": 1}).to_string();
    let headers = [HOST, ("authorization", &*good), ("content-type", "application/json")];
    let answer = crate::support::http::exchange(gateway.admin, "POST", "/v1/publish", &headers, &body);
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(!gateway.process.stderr().contains(&token(1)));
}
