//! Which kind of credential is judged by whom.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use rtgw_config::checked::{Algorithm, KeyScope};
use rtgw_model::Timestamp;
use tokio_util::sync::CancellationToken;

use super::credential::Place;
use super::token_error::TokenError;
use super::{AuthError, Credentials, Question, Verified, sign};
use crate::clock::{self, unix_seconds};
use crate::fixture::{KEY, OTHER_KEY, checked_with};
use crate::outbound::Outbound;
use crate::outbound::tests::{Server, answer};

const SERVICE: &str = "api-key-0123456789abcdef";
const PAGE: &str = "api-key-fedcba9876543210";

fn credentials(more: &str) -> Credentials {
    let spec = format!(
        "endpoints: [{{name: ws, path: /ws}}]\nauth:\n  anonymous: Allow\n{more}channels: [{{pattern: a}}]\n"
    );
    let config = checked_with(&spec, &[("service", SERVICE), ("page", PAGE)]);
    Credentials::new(&config.auth, &Outbound::new())
}

const KEYS: &str = "  apiKeys:\n  - {name: service, secretRef: {name: auth, key: service}, scopes: ['publish:*']}\n  \
                    - {name: page, secretRef: {name: auth, key: page}, scopes: [connect], claims: {role: bot}}\n";
const ISSUER: &str = "  issuers: [{name: app, secretRef: {name: auth, key: jwt}, issuer: app}]\n";

async fn verify(credentials: &Credentials, credential: &str, place: Place) -> Result<Verified, AuthError> {
    let question = Question { credential, place, endpoint: "ws", ip: [127, 0, 0, 1].into(), query: "" };
    credentials.verify(&question, clock::wall()).await
}

fn now(credentials: &Credentials, credential: &str, place: Place) -> Result<Verified, AuthError> {
    verify(credentials, credential, place).now_or_never().expect("nobody has to be asked")
}

fn token(issuer: &str, key: &str) -> String {
    let claims = format!(r#"{{"sub":"ann","iss":"{issuer}","exp":{}}}"#, unix_seconds() + 60);
    sign(Algorithm::Hs256, key.as_bytes(), &claims).unwrap()
}

#[test]
fn an_api_key_connects_where_it_may() {
    let credentials = credentials(KEYS);
    let page = now(&credentials, PAGE, Place::ApiKeyHeader).unwrap();
    assert_eq!((page.claims.as_str(), page.expires), (r#"{"role":"bot","sub":"page"}"#, None));
    assert_eq!(page.scopes.as_deref(), Some(&[KeyScope::Connect][..]));
    assert_eq!(now(&credentials, PAGE, Place::Header).unwrap(), page);
    let no = AuthError::NoConnect;
    assert_eq!(now(&credentials, SERVICE, Place::ApiKeyHeader), Err(no));
    assert_eq!((no.refusal().status, no.refusal().code), (403, "forbidden"));
    // Addresses end up in logs, and browsers send subprotocols and cookies.
    for place in [Place::Query, Place::Subprotocol, Place::Cookie, Place::Message] {
        assert_eq!(now(&credentials, PAGE, place), Err(AuthError::Unknown), "{place:?}");
    }
    for unknown in ["", "api-key-", &PAGE[1..], &format!("{PAGE} ")] {
        assert!(now(&credentials, unknown, Place::ApiKeyHeader).is_err(), "{unknown}");
    }
    assert_eq!(AuthError::Unknown.refusal().status, 401);
}

#[test]
fn tokens_and_keys_stand_side_by_side() {
    let credentials = credentials(&format!("{KEYS}{ISSUER}"));
    assert!(now(&credentials, &token("app", KEY), Place::Header).unwrap().claims.contains("ann"));
    assert!(now(&credentials, PAGE, Place::Header).is_ok());
    let error = |error: TokenError| Err(AuthError::Token(error));
    assert_eq!(now(&credentials, &token("app", OTHER_KEY), Place::Header), error(TokenError::Signature));
    assert_eq!(now(&credentials, &token("other", KEY), Place::Header), error(TokenError::Issuer));
    assert_eq!(now(&credentials, "nonsense", Place::Header), Err(AuthError::Unknown));
}

#[tokio::test]
async fn the_application_is_asked_about_what_no_issuer_made() {
    let server = Server::start(|_, _, _| async { answer("200 OK", r#"{"sub":"of the application"}"#) }).await;
    let url = server.url("/auth");
    let credentials = credentials(&format!("{KEYS}{ISSUER}  webhook: {{url: '{}'}}\n", url.as_str()));
    // Judged without it: keys, and tokens that an issuer would have made, good and bad.
    assert!(now(&credentials, PAGE, Place::Header).is_ok());
    assert!(now(&credentials, &token("app", KEY), Place::Header).is_ok());
    assert!(now(&credentials, &token("app", OTHER_KEY), Place::Header).is_err());
    assert!(now(&credentials, "", Place::Header).is_err());
    assert_eq!(server.requests(), 0);
    for foreign in ["api-key-of-a-user", &token("application", OTHER_KEY)] {
        let verified = verify(&credentials, foreign, Place::ApiKeyHeader).await.unwrap();
        assert_eq!(verified.claims, r#"{"sub":"of the application"}"#);
    }
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn who_cannot_be_asked_is_not_a_wrong_credential() {
    let credentials = credentials(
        "  issuers: [{name: app, algorithms: [EdDSA], jwks: {url: 'http://localhost:1/jwks.json'}}]\n",
    );
    let eddsa = "eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.eyJleHAiOjQwMDAwMDAwMDB9.AAAA";
    let verdict = verify(&credentials, eddsa, Place::Header).await;
    assert_eq!(verdict, Err(AuthError::Unavailable));
    let refusal = AuthError::Unavailable.refusal();
    assert_eq!((refusal.status, refusal.code), (503, "auth_unavailable"));
    assert!(refusal.retry_after.is_some_and(|seconds| (2..=10).contains(&seconds)));
    assert_eq!(refusal.close_code().code(), 1013);
    assert_eq!(verify(&credentials, "x", Place::Header).await, Err(TokenError::Malformed.into()));
}

/// A reload must not forget keys and answers, or everybody would be asked for anew at once.
#[tokio::test]
async fn a_new_configuration_goes_on_with_what_is_known() {
    let server = Server::start(|_, head: &str, _| {
        let set =
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let body = if head.starts_with("get") { set } else { r#"{"sub":"ann"}"# };
        async move { answer("200 OK", body) }
    })
    .await;
    let auth = |leeway: &str, path: &str| {
        let (jwks, webhook) = (server.url("/jwks.json"), server.url(path));
        let spec = format!(
            "endpoints: [{{name: ws, path: /ws}}]\nauth:\n  issuers: [{{name: app, algorithms: [EdDSA], leeway: {leeway}, jwks: {{url: '{}'}}}}]\n  webhook: {{url: '{}'}}\nchannels: [{{pattern: a}}]\n",
            jwks.as_str(),
            webhook.as_str()
        );
        checked_with(&spec, &[]).auth
    };
    let outbound = Outbound::new();
    let first = Arc::new(Credentials::new(&auth("1s", "/auth"), &outbound));
    let (keeping, stop) = (Arc::clone(&first), CancellationToken::new());
    let stopped = stop.clone();
    let kept = tokio::spawn(async move { keeping.keep_keys(&stopped).await });
    let eddsa = "eyJhbGciOiJFZERTQSJ9.eyJleHAiOjQwMDAwMDAwMDB9.AAAA";
    let signature = Err(AuthError::Token(TokenError::Signature));
    while verify(&first, eddsa, Place::Header).await != signature {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    verify(&first, "a key", Place::Header).await.unwrap();
    stop.cancel();
    kept.await.unwrap();
    let before = server.requests();
    let second = first.renewed(&auth("2s", "/auth"), &outbound);
    assert_eq!(now(&second, eddsa, Place::Header), signature, "the keys are there");
    assert!(now(&second, "a key", Place::Header).is_ok(), "the answer too");
    assert_eq!(server.requests(), before);
    let third = second.renewed(&auth("2s", "/other"), &outbound);
    verify(&third, "a key", Place::Header).await.unwrap();
    assert_eq!(server.requests(), before + 1, "another address has its own say");
}

#[test]
fn times_are_those_that_the_caller_says() {
    let credentials = credentials(ISSUER);
    let token = sign(Algorithm::Hs256, KEY.as_bytes(), r#"{"iss":"app","exp":2000,"nbf":1000}"#).unwrap();
    let at = |seconds: i64| {
        let question = Question {
            credential: &token,
            place: Place::Header,
            endpoint: "ws",
            ip: [127, 0, 0, 1].into(),
            query: "",
        };
        credentials.verify(&question, Timestamp(seconds * 1000)).now_or_never().unwrap()
    };
    assert_eq!(at(969), Err(TokenError::NotYet.into()));
    assert_eq!(at(970).unwrap().expires, Some(Timestamp(2_000_000)), "thirty seconds of leeway");
    assert!(at(2029).is_ok());
    assert_eq!(at(2030), Err(TokenError::Expired.into()));
}
