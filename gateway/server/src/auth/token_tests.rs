//! Tokens that are accepted and tokens that are not, as a table.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use jsonwebtoken::crypto::sign;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;

use super::token::Issuers;
use super::token_error::{TOKEN_BYTES, TokenError};
use super::verdict::AuthError;
use crate::clock::{self, unix_seconds};
use crate::fixture::{KEY, OTHER_KEY, checked};
use crate::outbound::Outbound;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// Signs texts as they are, however wrong.
fn token(header: &str, claims: &str, key: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature =
        sign(text.as_bytes(), &EncodingKey::from_secret(key.as_bytes()), Algorithm::HS256).unwrap();
    format!("{text}.{signature}")
}

/// Issuers whose keys are known, so that nothing is waited for.
#[derive(Debug)]
struct Verifier(Issuers);

impl Verifier {
    fn verify(&self, token: &str) -> Result<String, TokenError> {
        match self.0.verify(token, clock::wall()).now_or_never().unwrap() {
            Ok(verified) => Ok(verified.claims),
            Err(AuthError::Token(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }
}

fn verifier(issuers: &str) -> Verifier {
    let spec = format!(
        "endpoints: [{{name: ws, path: /ws}}]\nauth:\n  anonymous: Allow\n  issuers: {issuers}\nchannels: [{{pattern: a}}]\n"
    );
    Verifier(Issuers::new(&checked(&spec).auth.issuers, None, &Outbound::new()))
}

fn plain() -> &'static Verifier {
    static PLAIN: LazyLock<Verifier> = LazyLock::new(|| {
        verifier("[{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}, leeway: 30s}]")
    });
    &PLAIN
}

/// In `seconds` from now.
fn at(seconds: i64) -> i64 {
    unix_seconds() + seconds
}

#[test]
fn claims_of_a_good_token_come_as_they_were_written() {
    let claims = format!(r#"{{"sub":"ann", "exp":{},"n":1.50,"list":[{{"b":1,"a":2}}]}}"#, at(60));
    assert_eq!(plain().verify(&token(HEADER, &claims, KEY)), Ok(claims));
    for exp in [format!("{}.5", at(60)), format!("{}e0", at(60)), at(-20).to_string(), u64::MAX.to_string()] {
        let claims = format!(r#"{{"exp":{exp}}}"#);
        assert!(plain().verify(&token(HEADER, &claims, KEY)).is_ok(), "{exp}");
    }
    for header in [
        r#"{"alg":"HS256","kid":"unknown","jku":"https://evil.test/keys","x":{"y":[]}}"#,
        r#"{"alg":"HS256","kid":"../../../dev/null"}"#,
        r#"{"alg":"HS256","kid":"' UNION SELECT 'key' -- "}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"a2V5"},"x5u":"https://evil.test/","x5c":["AAAA"]}"#,
    ] {
        let token = token(header, &format!(r#"{{"exp":{}}}"#, at(60)), KEY);
        assert!(plain().verify(&token).is_ok(), "what a token says of its key is ignored: {header}");
    }
}

fn claims(more: &str) -> String {
    format!(r#"{{"exp":{},{more}}}"#, at(60))
}

fn assert_refused(cases: &[(&str, String, TokenError)]) {
    for (name, token, error) in cases {
        assert_eq!(plain().verify(token), Err(*error), "{name}");
    }
}

#[test]
fn forged_and_broken_tokens_are_refused_with_their_reason() {
    let good = claims(r#""sub":"ann""#);
    let headed = |header: &str| token(header, &good, KEY);
    let stripped =
        |header: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&good));
    let whole = token(HEADER, &good, KEY);
    let parts: Vec<&str> = whole.split('.').collect();
    let other_claims = URL_SAFE_NO_PAD.encode(good.replace("ann", "bob"));
    assert_refused(&[
        ("nothing", String::new(), TokenError::Empty),
        ("garbage", "garbage".to_owned(), TokenError::Malformed),
        ("dots", "..".to_owned(), TokenError::Malformed),
        ("two parts", format!("{}.{}", parts[0], parts[1]), TokenError::Malformed),
        ("four parts", format!("{whole}.x"), TokenError::Malformed),
        ("five parts, as encrypted tokens have", "a.b.c.d.e".to_owned(), TokenError::Malformed),
        ("space", format!(" {whole}"), TokenError::Malformed),
        ("padding", format!("{whole}="), TokenError::Malformed),
        ("standard base64", format!("{}.{}.{}", parts[0], parts[1], "+".repeat(43)), TokenError::Malformed),
        (
            "header no JSON",
            format!("{}.{}.{}", URL_SAFE_NO_PAD.encode("x"), parts[1], parts[2]),
            TokenError::Malformed,
        ),
        ("alg none", stripped(r#"{"alg":"none"}"#), TokenError::Algorithm),
        ("alg None", stripped(r#"{"alg":"None","typ":"JWT"}"#), TokenError::Algorithm),
        ("alg none, signed", headed(r#"{"alg":"none"}"#), TokenError::Algorithm),
        ("alg RS256, signed as HS256", headed(r#"{"alg":"RS256"}"#), TokenError::Algorithm),
        ("alg HS512, signed as HS256", headed(r#"{"alg":"HS512"}"#), TokenError::Algorithm),
        ("alg EdDSA", headed(r#"{"alg":"EdDSA"}"#), TokenError::Algorithm),
        ("alg in small letters", headed(r#"{"alg":"hs256"}"#), TokenError::Algorithm),
        ("alg as a number", headed(r#"{"alg":256}"#), TokenError::Malformed),
        ("no alg", headed(r#"{"typ":"JWT"}"#), TokenError::Malformed),
        ("kid twice", headed(r#"{"alg":"HS256","kid":"a","kid":"b"}"#), TokenError::Malformed),
        ("x twice", headed(r#"{"alg":"HS256","x":1,"x":2}"#), TokenError::Malformed),
        ("header a list", headed(r#"["alg","HS256"]"#), TokenError::Malformed),
        (
            "header nested too deep",
            headed(&format!(r#"{{"alg":"HS256","x":{}{}}}"#, "[".repeat(1000), "]".repeat(1000))),
            TokenError::Malformed,
        ),
        (
            "a key that the token brings",
            token(r#"{"alg":"HS256","jwk":{"kty":"oct","k":"YnJvdWdodA"}}"#, &good, "brought"),
            TokenError::Signature,
        ),
        ("ES256K", headed(r#"{"alg":"ES256K"}"#), TokenError::Algorithm),
        ("alg twice", headed(r#"{"alg":"HS256","alg":"none"}"#), TokenError::Malformed),
        (
            "kid of another kind",
            headed(r#"{"alg":"HS256","kid":["../../etc/passwd"]}"#),
            TokenError::Malformed,
        ),
        ("crit", headed(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#), TokenError::Critical),
        ("crit, empty", headed(r#"{"alg":"HS256","crit":[]}"#), TokenError::Critical),
        ("no signature", format!("{}.{}.", parts[0], parts[1]), TokenError::Signature),
        ("half a signature", whole[..whole.len() - 23].to_owned(), TokenError::Signature),
        ("another key", token(HEADER, &good, OTHER_KEY), TokenError::Signature),
        ("an empty key", token(HEADER, &good, ""), TokenError::Signature),
        ("changed claims", format!("{}.{other_claims}.{}", parts[0], parts[2]), TokenError::Signature),
    ]);
}

#[test]
fn signed_claims_that_are_not_good_are_refused_with_their_reason() {
    let good = claims(r#""sub":"ann""#);
    let signed = |claims: &str| token(HEADER, claims, KEY);
    let deep = |depth: usize| claims(&format!(r#""d":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    assert_refused(&[
        ("expired", signed(&format!(r#"{{"exp":{}}}"#, at(-40))), TokenError::Expired),
        ("expired long ago", signed(r#"{"exp":0}"#), TokenError::Expired),
        ("no exp", signed(r#"{"sub":"ann"}"#), TokenError::NoExpiry),
        ("exp null", signed(r#"{"exp":null}"#), TokenError::NoExpiry),
        ("exp as text", signed(&format!(r#"{{"exp":"{}"}}"#, at(60))), TokenError::NoExpiry),
        ("exp before 1970", signed(r#"{"exp":-1}"#), TokenError::NoExpiry),
        ("not yet", signed(&claims(&format!(r#""nbf":{}"#, at(50)))), TokenError::NotYet),
        ("nbf as text", signed(&claims(r#""nbf":"soon""#)), TokenError::NotYet),
        ("claims a list", signed(&format!("[{}]", at(60))), TokenError::Claims),
        ("claims a number", signed("1"), TokenError::Claims),
        ("claims no JSON", signed("{exp}"), TokenError::Claims),
        ("claims nothing", signed(""), TokenError::Claims),
        ("text behind the claims", signed(&format!("{good}x")), TokenError::Claims),
        ("exp twice", signed(&claims(r#""exp":0"#)), TokenError::Claims),
        ("a claim twice", signed(&claims(r#""role":"user","role":"admin""#)), TokenError::Claims),
        (
            "a claim twice, once escaped",
            signed(&claims(r#""role":"user","r\u006fle":"admin""#)),
            TokenError::Claims,
        ),
        ("nested too deep", signed(&deep(32)), TokenError::Claims),
        ("nested far too deep", signed(&deep(2000)), TokenError::Claims),
        ("huge", signed(&claims(&format!(r#""x":"{}""#, "x".repeat(TOKEN_BYTES)))), TokenError::TooLong),
    ]);
    assert!(plain().verify(&signed(&deep(31))).is_ok());
    assert_eq!(plain().verify(&signed("{\"exp\":4000000000,\"a\":\"\u{0}\"}")), Err(TokenError::Claims));
}

#[test]
fn claims_that_are_not_utf_8_are_refused() {
    let text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(HEADER),
        URL_SAFE_NO_PAD.encode(b"{\"exp\":4000000000,\"a\":\"\xff\"}")
    );
    let signature =
        sign(text.as_bytes(), &EncodingKey::from_secret(KEY.as_bytes()), Algorithm::HS256).unwrap();
    assert_eq!(plain().verify(&format!("{text}.{signature}")), Err(TokenError::Claims));
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_configured() {
    let strict = verifier(
        "[{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}, issuer: 'https://id.test', audience: [chat, rt]}]",
    );
    let cases = [
        (r#""iss":"https://id.test","aud":"chat""#, None),
        (r#""iss":"https://id.test","aud":["x","rt"]"#, None),
        (r#""iss":"https://id.test","aud":"other""#, Some(TokenError::Audience)),
        (r#""iss":"https://id.test","aud":[]"#, Some(TokenError::Audience)),
        (r#""iss":"https://id.test","aud":5"#, Some(TokenError::Audience)),
        (r#""iss":"https://id.test""#, Some(TokenError::Audience)),
        (r#""iss":"https://id.test/","aud":"chat""#, Some(TokenError::Issuer)),
        (r#""aud":"chat""#, Some(TokenError::Issuer)),
    ];
    for (claims, error) in cases {
        let token = token(HEADER, &format!(r#"{{"exp":{},{claims}}}"#, at(60)), KEY);
        assert_eq!(strict.verify(&token).err(), error, "{claims}");
        assert_eq!(plain().verify(&token).err(), None, "not configured, not checked: {claims}");
    }
}

#[test]
fn the_first_issuer_that_fits_accepts_and_the_signers_reason_is_told() {
    let two = verifier(
        "[{name: a, algorithms: [HS256], secretRef: {name: auth, key: jwt}, issuer: a}, \
          {name: b, algorithms: [HS256], secretRef: {name: auth, key: other}, audience: [b]}]",
    );
    let claims = |more: &str| format!(r#"{{"exp":{}{more}}}"#, at(60));
    assert!(two.verify(&token(HEADER, &claims(r#","iss":"a""#), KEY)).is_ok());
    assert!(two.verify(&token(HEADER, &claims(r#","aud":"b""#), OTHER_KEY)).is_ok());
    // Without its `iss` it is not for `a` to judge, and `b` did not sign it.
    assert_eq!(two.verify(&token(HEADER, &claims(""), KEY)), Err(TokenError::Signature));
    assert_eq!(two.verify(&token(HEADER, &claims(""), OTHER_KEY)), Err(TokenError::Audience));
    assert_eq!(two.verify(&token(HEADER, &claims(""), "third")), Err(TokenError::Signature));
    let none = verifier("[]");
    assert_eq!(none.verify(&token(HEADER, &claims(""), KEY)), Err(TokenError::NoIssuer));
}

#[test]
fn nothing_printed_holds_a_key() {
    let verifier = plain();
    for text in [format!("{verifier:?}"), format!("{verifier:#?}")] {
        assert!(text.contains("app") && !text.contains(KEY) && !text.contains("key"), "{text}");
    }
}

proptest! {
    #[test]
    fn no_token_panics(text in "[A-Za-z0-9_.=-]{0,120}|.{0,60}") {
        prop_assert!(plain().verify(&text).is_err());
    }

    #[test]
    fn no_signed_parts_panic(header in ".{0,60}", claims in ".{0,60}") {
        let _ = plain().verify(&token(&header, &claims, KEY));
        let _ = plain().verify(&token(HEADER, &claims, KEY));
    }
}
