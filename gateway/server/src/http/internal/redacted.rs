//! `GET /config`: the running configuration as it was written, without anything that is secret.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use rtgw_config::raw::VERSION;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Internal;
use crate::http::response;

/// The running configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Running {
    /// The gateway's name.
    name: String,
    /// Its namespace.
    namespace: String,
    /// Names the content: equal for equal content.
    revision: String,
    /// Versions of the configuration's format that this pod reads.
    versions: Vec<u32>,
    /// As it was written. Secrets stand in it by the names of their references; of addresses the query is left out.
    spec: Map<String, Value>,
}

/// Answers.
pub(super) async fn config(State(internal): State<Arc<Internal>>) -> Response<Body> {
    let current = internal.parts.running.load();
    let mut spec = current.config.written.0.clone();
    redact(&mut spec);
    let spec = match spec {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let running = Running {
        name: current.config.name.clone(),
        namespace: current.config.namespace.clone(),
        revision: current.revision.clone(),
        versions: vec![VERSION],
        spec,
    };
    response::json(StatusCode::OK, &running)
}

/// Leaves out what was not written, and of addresses whatever could be a credential.
fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            for (name, member) in members.iter_mut() {
                match member {
                    Value::String(address) if name == "url" => *address = without_credentials(address),
                    member => redact(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Neither a user with a password, nor a query, nor a fragment.
fn without_credentials(address: &str) -> String {
    let end = address.find(['?', '#']).unwrap_or(address.len());
    let left = if end < address.len() { "?…" } else { "" };
    let address = &address[..end];
    let (scheme, rest) = address.split_once("://").map_or(("", address), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("…@{host}"));
    let slashes = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{slashes}{host}{path}{left}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_lose_what_could_be_a_credential() {
        for (address, shown) in [
            ("https://a.example/path", "https://a.example/path"),
            ("https://a.example/path?key=s3cret", "https://a.example/path?…"),
            ("https://a.example#s3cret", "https://a.example?…"),
            ("redis://user:s3cret@host:6379/0", "redis://…@host:6379/0"),
            ("redis://:s3@cret@host", "redis://…@host"),
            ("host/a@b", "host/a@b"),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
        let mut spec = json!({"auth": {"webhook": {"url": "https://u:p@h/?k", "timeout": null}}, "list": [{"url": "x?y"}]});
        redact(&mut spec);
        assert_eq!(spec, json!({"auth": {"webhook": {"url": "https://…@h/?…"}}, "list": [{"url": "x?…"}]}));
    }
}
