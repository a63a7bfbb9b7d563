//! A client that speaks too fast: told first, ended when it does not listen; nobody else notices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::gateway::Gateway;
use support::socket::Socket;

/// As the manifest says.
const BURST: u32 = 10;
const MANIFEST: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: rates}
spec:
  endpoints: [{name: ws, path: /ws, greeting: {disabled: true}}]
  auth: {anonymous: Allow}
  channels: [{pattern: c, subscribe: 'true', publish: 'true'}]
  limits: {connection: {messagesPerSecond: 2, burst: 10}}
";

#[tokio::test]
async fn a_burst_passes_then_commands_are_refused_then_the_connection_ends() {
    let path = std::env::temp_dir().join(format!("rtgw-rates-{}.yaml", std::process::id()));
    std::fs::write(&path, MANIFEST).unwrap();
    let gateway = Gateway::serve(&path, &[]);
    std::fs::remove_file(path).unwrap();
    let mut other = Socket::open(&gateway.url("/ws")).await;
    other.send(&json!({"type": "subscribe", "channel": "c"})).await;
    other.json_of_type("subscribed").await;

    let mut hasty = Socket::open(&gateway.url("/ws")).await;
    for number in 0..BURST {
        hasty.send(&publish(number)).await;
        assert_eq!(hasty.json_of_type("published").await["id"], number);
    }
    // More than the rate earns in the time that this takes, and less than makes it abuse.
    let mut refused = 0;
    let mut published = BURST;
    for _ in 0..BURST / 2 {
        hasty.send(&publish(published)).await;
        let answer = hasty.json().await;
        assert_eq!(answer["id"], published, "{answer}");
        if answer["type"] == "published" {
            published += 1;
            continue;
        }
        assert_eq!(
            (&answer["type"], &answer["data"]["code"], &answer["data"]["temporary"]),
            (&json!("error"), &json!("rate_limited"), &json!(true)),
        );
        refused += 1;
    }
    assert!(refused > 0, "all of {published} were published");
    for number in 0..4 * BURST {
        hasty.send(&json!({"type": "ping", "id": number})).await;
    }
    let close = loop {
        if let Err(close) = hasty.json_or_close().await {
            break close.expect("a close with a code");
        }
    };
    assert_eq!(u16::from(close.code), 4429, "{close:?}");

    // What was published reached everyone once and in order, what was refused nobody; and others may still speak.
    for number in 0..published {
        assert_eq!(other.json().await["data"], number);
    }
    other.send(&json!({"type": "ping"})).await;
    assert_eq!(other.json().await["type"], "pong");
}

fn publish(number: u32) -> Value {
    json!({"type": "publish", "id": number, "data": {"channel": "c", "event": "hasty", "data": number}})
}
