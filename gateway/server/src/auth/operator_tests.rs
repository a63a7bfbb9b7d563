//! The operator's tokens: one way to be right, and every other way refused.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rtgw_config::checked::{Algorithm, Operator, OperatorKey};
use rtgw_config::public_key::PublicKey;
use rtgw_model::Timestamp;
use serde_json::{Value, json};

use super::{TokenError, judge_operator, sign};

const NOW: u64 = 1_800_000_000;
const UID: &str = "0d6f6a5e-1111-4222-8333-944445555666";

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn operator() -> Operator {
    let key = |kid: &str, seed| OperatorKey {
        kid: kid.into(),
        key: PublicKey::ed25519(pair(seed).public_key().as_ref()).unwrap(),
    };
    Operator { audience: UID.into(), keys: vec![key("new", 1), key("old", 2)] }
}

fn signed(pair: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "new", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"aud": UID, "iat": NOW, "exp": NOW + 60})
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

fn verdict(token: &str) -> Result<(), TokenError> {
    judge_operator(&operator(), token, Timestamp(i64::try_from(NOW * 1000).unwrap()))
}

#[test]
fn both_keys_count_within_a_minute_and_a_little() {
    let old = with(header(), "kid", json!("old"));
    assert_eq!(verdict(&signed(&pair(1), &header(), &claims())), Ok(()));
    assert_eq!(verdict(&signed(&pair(2), &old, &claims())), Ok(()));
    for (iat, exp) in [(NOW - 60, NOW), (NOW - 69, NOW - 9), (NOW + 10, NOW + 70), (NOW, NOW + 1)] {
        let claims = json!({"aud": UID, "iat": iat, "exp": exp});
        assert_eq!(verdict(&signed(&pair(1), &header(), &claims)), Ok(()), "{iat} {exp}");
    }
}

#[test]
fn every_other_token_is_refused() {
    use TokenError::{
        Algorithm as Alg, Audience, Claims, Critical, Expired, Malformed, NotYet, Signature, TooLong,
        TooLongLived, UnknownKey,
    };
    let good = signed(&pair(1), &header(), &claims());
    let refused = |header: &Value, claims: &Value| verdict(&signed(&pair(1), header, claims)).unwrap_err();
    let of_claims = |claims: Value| refused(&header(), &claims);
    assert_eq!(of_claims(with(claims(), "aud", json!("another"))), Audience);
    assert_eq!(of_claims(with(claims(), "aud", json!([UID]))), Claims, "one object, written in one way");
    assert_eq!(of_claims(json!({"iat": NOW, "exp": NOW + 60})), Claims);
    assert_eq!(of_claims(json!({"aud": UID, "exp": NOW + 60})), Claims, "how long it lives must be known");
    assert_eq!(of_claims(with(claims(), "exp", json!(NOW + 61))), TooLongLived);
    assert_eq!(of_claims(json!({"aud": UID, "iat": NOW - 70, "exp": NOW - 10})), Expired);
    assert_eq!(of_claims(json!({"aud": UID, "iat": NOW, "exp": NOW - 1})), Expired);
    assert_eq!(of_claims(json!({"aud": UID, "iat": NOW + 11, "exp": NOW + 60})), NotYet);
    assert_eq!(of_claims(with(claims(), "exp", json!(-1))), Claims);
    assert_eq!(of_claims(with(claims(), "exp", json!("9999999999"))), Claims);
    let of_header = |header: Value| refused(&header, &claims());
    assert_eq!(of_header(with(header(), "kid", json!("old"))), Signature, "the other key did not sign");
    assert_eq!(of_header(with(header(), "kid", json!("third"))), UnknownKey);
    assert_eq!(of_header(json!({"alg": "EdDSA"})), UnknownKey);
    assert_eq!(of_header(with(header(), "alg", json!("none"))), Alg);
    assert_eq!(of_header(with(header(), "alg", json!("RS256"))), Alg);
    assert_eq!(of_header(with(header(), "crit", json!(["b64"]))), Critical);
    // The public key as the secret of an HMAC, and no signature at all.
    let public = pair(1).public_key().as_ref().to_vec();
    assert_eq!(verdict(&sign(Algorithm::Hs256, &public, &claims().to_string()).unwrap()), Err(Alg));
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    assert_eq!(verdict(&format!("{unsigned}.")), Err(Signature));
    assert_eq!(verdict(unsigned), Err(Malformed));
    assert_eq!(verdict(&signed(&pair(3), &header(), &claims())), Err(Signature), "a foreign key");
    assert_eq!(verdict(&format!("{good}{}", "A".repeat(2048))), Err(TooLong));
    assert_eq!(verdict(""), Err(TokenError::Empty));
    // Each byte counts.
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(verdict(&String::from_utf8(bytes).unwrap()).is_err(), "{at}");
    }
}
