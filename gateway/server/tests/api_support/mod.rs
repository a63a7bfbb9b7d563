//! A gateway with API keys, and programs that have one.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::http::{Answer, exchange};
use crate::support::socket::Socket;

/// Every secret of the manifest has it in it, and nothing else of the manifest does.
pub const MARK: &str = "s3cret";
pub const ADMIN: &str = "admin-s3cret-admin-s3cret";
pub const JOBS: &str = "jobs-s3cret-jobs-s3cret";
pub const OTHER_JOBS: &str = "other-s3cret-other-s3cret";
pub const READER: &str = "reader-s3cret-reader";
/// Keys with the scope that each has.
pub const KEYS: [(&str, &str); 7] = [
    (ADMIN, "admin"),
    (JOBS, "publish"),
    ("subscriber-s3cret-subscriber", "subscribe"),
    ("bouncer-s3cret-bouncer", "disconnect"),
    ("revoker-s3cret-revoker", "revoke"),
    (READER, "read"),
    ("client-s3cret-client", "presence"),
];

#[track_caller]
pub fn gateway() -> Gateway {
    Gateway::serve("gateway/server/tests/vectors/api.yaml", &["--shards", "2"])
}

#[track_caller]
pub fn get(gateway: &Gateway, key: &str, path: &str) -> Answer {
    exchange(gateway.admin, "GET", path, &[("authorization", &format!("Bearer {key}"))], "")
}

#[track_caller]
pub fn post(gateway: &Gateway, key: &str, path: &str, body: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("x-api-key", key)];
    exchange(gateway.admin, "POST", path, &headers, &body.to_string())
}

/// How many a good order concerned.
#[track_caller]
pub fn order(gateway: &Gateway, path: &str, body: &Value) -> u64 {
    let answer = post(gateway, ADMIN, path, body);
    assert_eq!(answer.status, 200, "{path} {body}: {answer:?}");
    assert_eq!(answer.json()["scope"], "pod");
    answer.json()["affected"].as_u64().unwrap()
}

pub fn token(claims: &Value) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut claims = claims.clone();
    for (name, value) in [("exp", now + 600), ("iat", now)] {
        claims.as_object_mut().unwrap().entry(name).or_insert_with(|| json!(value));
    }
    let key = jsonwebtoken::EncodingKey::from_secret(b"jwt-s3cret-jwt-s3cret-jwt-s3cret-32");
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// A connection with these claims, and its id.
pub async fn connect(gateway: &Gateway, claims: Value) -> (Socket, String) {
    let mut socket = Socket::open(&format!("{}?token={}", gateway.url("/ws"), token(&claims))).await;
    let greeting = socket.json_of_type("connected").await;
    (socket, greeting["data"]["connection_id"].as_str().unwrap().to_owned())
}
