//! What pods take while they run.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, acknowledged, api_key, two_pods};
use crate::kubectl::{patch, until};

const EDITS: usize = 12;

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_edit_reaches_all_pods_and_closes_no_socket() {
    let gateway = Gateway::served("hot", &two_pods());
    let clients = gateway.clients(20);
    gateway.delivers(&clients, "before");
    let pods = gateway.pods();
    let mut took = Vec::new();
    for edit in 0..EDITS {
        let pattern = format!("edit{edit}:{{x}}");
        let began = Instant::now();
        gateway.edit(&json!({"channels": [
            {"pattern": "room:{room}", "subscribe": "true"},
            {"pattern": pattern, "subscribe": "true"},
        ]}));
        until("all pods acknowledge the edit", || gateway.object().as_ref().is_some_and(acknowledged));
        took.push(began.elapsed());
        // Whichever pod the Service takes knows the new channel and has forgotten the one before.
        for _ in 0..4 {
            assert_eq!(gateway.publishes(KEY, &format!("edit{edit}:1"), "new"), 200);
            assert_eq!(gateway.publishes(KEY, &format!("edit{}:1", edit + 1), "not yet"), 400);
        }
    }
    gateway.delivers(&clients, "after");
    clients.all_stay();
    assert_eq!(gateway.pods(), pods, "pods stay");
    took.sort();
    let at = |percent: usize| took[(EDITS * percent).div_ceil(100) - 1].as_secs_f64();
    println!(
        "  {EDITS} edits: acknowledged by all pods p50 {:.2} s, p95 {:.2} s; 0 of 20 sockets closed",
        at(50),
        at(95)
    );
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn new_keys_in_a_mounted_secret_are_taken_and_no_socket_is_closed() {
    let gateway = Gateway::served("secret", &two_pods());
    let clients = gateway.clients(20);
    gateway.delivers(&clients, "before");
    let pods = gateway.pods();
    let (second, rotated) =
        ("second-0123456789abcdef0123456789abcdef", "rotated-0123456789abcdef0123456789abcdef");
    assert_eq!(gateway.publishes(second, "room:1", "early"), 401);
    store(&gateway, &json!({"second": second}));
    let keys = json!([api_key("suite", "api"), api_key("second", "second")]);
    gateway.edit(&json!({"auth": {"anonymous": "Allow", "apiKeys": keys}}));
    let named = accepted(&gateway, second);
    store(&gateway, &json!({"api": rotated}));
    let changed = accepted(&gateway, rotated);
    until("no pod takes the former key", || (0..8).all(|_| gateway.publishes(KEY, "room:1", "old") == 401));
    until("every client hears the new key's note", || {
        gateway.publishes(rotated, "room:1", "after");
        clients.have_heard("after")
    });
    clients.all_stay();
    assert_eq!(gateway.pods(), pods, "pods stay");
    println!(
        "  a key that an edit names: taken by all pods after {:.1} s; a key with another value: {:.1} s; 0 of 20 sockets closed",
        named.as_secs_f64(),
        changed.as_secs_f64()
    );
}

/// Changes values of the Secret that holds the keys.
fn store(gateway: &Gateway, values: &Value) {
    patch(gateway.space(), "secret/keys", &json!({ "stringData": values }));
}

/// Waits until whichever pod is asked takes `key`.
fn accepted(gateway: &Gateway, key: &str) -> Duration {
    until("every pod takes the key", || (0..8).all(|_| gateway.publishes(key, "room:1", "key") == 200))
}
