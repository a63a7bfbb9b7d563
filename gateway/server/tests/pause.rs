//! A gateway that stood still (frozen, starved, moved to another machine) does not blame its clients for the silence.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::gateway::Gateway;
use support::socket::Socket;

const MANIFEST: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: pause}
spec:
  endpoints:
  - {name: ws, path: /ws, greeting: {disabled: true}, heartbeat: {interval: 1s, timeout: 3s}}
  auth: {anonymous: Allow}
  channels: [{pattern: c, subscribe: 'true', publish: 'true'}]
";

#[tokio::test]
async fn who_answers_afterwards_stays_and_who_does_not_goes() {
    let path = std::env::temp_dir().join(format!("rtgw-pause-{}.yaml", std::process::id()));
    std::fs::write(&path, MANIFEST).unwrap();
    let gateway = Gateway::serve(&path, &[]);
    std::fs::remove_file(path).unwrap();
    let mut answers = Socket::open(&gateway.url("/ws")).await;
    answers.send(&json!({"type": "ping"})).await;
    answers.json_of_type("pong").await;
    // Nobody reads this one, so its pings stay unanswered.
    let mut silent = Socket::open(&gateway.url("/ws")).await;

    gateway.process.signal("STOP");
    std::thread::sleep(Duration::from_secs(5));
    gateway.process.signal("CONT");

    let going_on = Instant::now();
    while going_on.elapsed() < Duration::from_secs(5) {
        let waited = tokio::time::timeout(Duration::from_millis(500), answers.json_or_close()).await;
        assert!(waited.is_err(), "who answers pings hears nothing but them: {waited:?}");
    }
    answers.send(&json!({"type": "ping"})).await;
    assert_eq!(answers.json().await["type"], "pong");
    let close = silent.closed().await.expect("a close with a code");
    assert_eq!(u16::from(close.code), 4408);
}
