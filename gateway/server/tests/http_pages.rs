//! Stats and health on the public listener.
#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use std::time::Duration;

use http_support::{Answer, OPEN, Rig};
use rtgw::transport::ShardReport;
use rtgw_hub::Counters;

fn get(rig: &Rig, path: &str, lines: &str) -> Answer {
    let mut client = rig.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes()).answer()
}

#[test]
fn stats_carry_every_member_that_dashboards_read() {
    let rig = Rig::new(OPEN);
    *rig.shard.report.lock() = ShardReport {
        counters: Counters {
            connections: vec![3],
            closing: vec![1],
            subscriptions: vec![7],
            deliveries: vec![40],
            ..Counters::default()
        },
        inbox_publications: 5,
        ..ShardReport::default()
    };
    let answer = get(&rig, "/ws/stats", "");
    assert_eq!(answer.status, 200);
    let stats = answer.json();
    assert_eq!(stats["connected_clients"], 3);
    assert_eq!(stats["total_clients"], 3);
    assert_eq!(stats["connections"], 3);
    assert_eq!(stats["total_users"], 0);
    // This request's own connection is one that is not upgraded.
    assert_eq!(stats["channels"], serde_json::json!({"register": 1, "unregister": 1, "broadcast": 5}));
    assert_eq!(stats["rooms"], serde_json::json!({"room:{room}": 7}));
    assert_eq!(stats["events_emitted"], 40);
    assert!(stats["uptime_seconds"].as_u64().unwrap() < 60);
    let timestamp = stats["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z') && timestamp.len() == "2025-11-07T14:30:00Z".len(), "{timestamp}");
}

#[test]
fn a_shard_that_does_not_answer_does_not_hold_the_page() {
    let rig = Rig::new(OPEN);
    *rig.shard.answers.lock() = false;
    let start = std::time::Instant::now();
    assert_eq!(get(&rig, "/ws/stats", "").status, 200);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn stats_ask_for_credentials_unless_public() {
    let rig = Rig::new(
        "
auth: {issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]}
endpoints: [{name: ws, path: /ws, stats: {paths: [/stats]}}]
channels: [{pattern: 'room:{room}', subscribe: 'true'}]
",
    );
    let answer = get(&rig, "/stats", "");
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(get(&rig, "/stats", "Authorization: Bearer nonsense\r\n").status, 401);
    assert_eq!(get(&rig, "/health", "").status, 200);
}

#[test]
fn health_is_ok_until_the_drain() {
    let rig = Rig::new(OPEN);
    let answer = get(&rig, "/health", "");
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")));
    rig.readiness.drain();
    let answer = get(&rig, "/health", "");
    assert_eq!((answer.status, answer.json()["status"].as_str()), (503, Some("draining")));
}

#[test]
fn pages_follow_the_origins_of_their_endpoint() {
    let with = |origins: &str| {
        Rig::new(
            &OPEN.replace("{anonymous: Allow}", &format!("{{anonymous: Allow, allowedOrigins: {origins}}}")),
        )
    };
    let allowed = |rig: &Rig, origin: &str| {
        let answer = get(rig, "/ws/stats", &format!("Origin: {origin}\r\n"));
        assert_eq!(answer.status, 200);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    let rig = with("['https://app.test']");
    assert_eq!(allowed(&rig, "https://app.test").as_deref(), Some("https://app.test"));
    assert_eq!(allowed(&rig, "https://evil.test"), None);
    assert_eq!(allowed(&with("['*']"), "https://evil.test").as_deref(), Some("*"));
    assert_eq!(allowed(&with("[]"), "https://app.test"), None);
    let mut client = rig.client();
    client.send(b"OPTIONS /ws/stats HTTP/1.1\r\nHost: a\r\nOrigin: https://app.test\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.header("access-control-allow-headers")),
        (204, Some("authorization, x-api-key"))
    );
}

#[test]
fn other_methods_and_paths_are_refused() {
    let rig = Rig::new(OPEN);
    for (request, status, code) in [
        ("POST /ws/stats HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405, "method_not_allowed"),
        ("GET /ws/stats/ HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
        ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
        ("GET /v1/info HTTP/1.1\r\nHost: a\r\n\r\n", 404, "not_found"),
    ] {
        let answer = rig.client().send(request.as_bytes()).answer();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{request}");
    }
}
