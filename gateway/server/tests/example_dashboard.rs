//! The example dashboard, played by its application's own page and backend against a real Redis.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::frontend::Page;
use support::gateway::{Gateway, token};
use support::process::python;
use support::redis::Redis;
use support::socket::Socket;
use support::{eventually, root};
use tokio_tungstenite::tungstenite::Message;

const MANIFEST: &str = "examples/dashboard/gateway.yaml";

/// Redis, and a gateway whose source listens to it.
fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::serve(MANIFEST, &["--redis", &redis.url()]);
    listening(&redis);
    (redis, gateway)
}

fn listening(redis: &Redis) {
    redis.wait_for_subscriber("dashboard:all");
    eventually("the source listens", || (redis.cli(&["PUBSUB", "NUMPAT"]) != "0").then_some(()));
}

async fn open(gateway: &Gateway, user: &str, claims: &[&str]) -> Socket {
    Socket::open(&gateway.url(&format!("/ws/dashboard?token={}", token(MANIFEST, user, claims)))).await
}

fn publish(redis: &Redis, channel: &str, message: &Value) {
    assert_eq!(redis.cli(&["PUBLISH", channel, &message.to_string()]), "1");
}

/// The backend's own calls.
fn backend(redis: &Redis, arguments: &[&str]) {
    let script = root().join("examples/dashboard/backend/publish.py");
    let output = python().arg(script).args(arguments).env("REDIS_URL", redis.url()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn each_hears_their_own_events_and_everyones_and_administrators_theirs() {
    let (redis, gateway) = start();
    let mut ann = open(&gateway, "ann", &[]).await;
    let mut bob = open(&gateway, "bob", &["role=user"]).await;
    let mut root = open(&gateway, "root", &["role=admin"]).await;
    for role in ["role=Admin", "role=[\"admin\"]", "role=true", "admin=true"] {
        // Nearly an administrator is none: hears the same as bob.
        let mut nearly = open(&gateway, "nearly", &[role]).await;
        publish(&redis, "dashboard:admins", &json!({"type": "system-check", "data": {}}));
        publish(&redis, "dashboard:user:nearly", &json!({"type": "own", "data": {}}));
        assert_eq!(nearly.json().await["type"], "own", "{role}");
        assert_eq!(root.json().await["type"], "system-check");
    }
    backend(&redis, &["execution", "ann"]);
    let message = ann.json().await;
    assert_eq!(message.as_object().unwrap().keys().collect::<Vec<_>>(), ["type", "timestamp", "data"]);
    assert_eq!(message["type"], "execution-started");
    assert_eq!(
        message["data"],
        json!({"execution_id": "exec-1", "workflow_id": "wf-1", "status": "running"})
    );
    backend(&redis, &["stats", "bob"]);
    let message = bob.json().await;
    assert_eq!(
        (&message["type"], &message["data"]["executions"]),
        (&json!("dashboard-stats-update"), &json!({"total": 7}))
    );
    backend(&redis, &["metrics"]);
    assert_eq!(root.json().await["type"], "system-metrics-update");
    publish(&redis, "dashboard:all", &json!({"type": "maintenance", "data": {"at": "22:00"}}));
    for client in [&mut ann, &mut bob, &mut root] {
        assert_eq!(client.json().await["data"], json!({"at": "22:00"}));
    }
}

#[tokio::test]
async fn nobody_reaches_anothers_channel() {
    let (redis, gateway) = start();
    let mut bob = open(&gateway, "bob", &["role=user"]).await;
    for (channel, code) in [
        ("dashboard:user:ann", "forbidden"),
        ("dashboard:admins", "forbidden"),
        ("dashboard:user:%61nn", "forbidden"),
        ("dashboard:user:*", "bad_request"),
        ("dashboard:user", "unknown_channel"),
        ("dashboard", "unknown_channel"),
    ] {
        bob.send(&json!({"type": "subscribe", "data": {"channel": channel}})).await;
        assert_eq!(bob.json().await["data"]["code"], code, "{channel}");
    }
    publish(&redis, "dashboard:user:ann", &json!({"type": "secret", "data": {}}));
    publish(&redis, "dashboard:admins", &json!({"type": "secret", "data": {}}));
    publish(&redis, "dashboard:user:bob", &json!({"type": "own", "data": {}}));
    assert_eq!(bob.json().await["type"], "own");
    let refused = Socket::try_open(&gateway.url("/ws/dashboard"), &[]).await.err().expect("no token");
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn users_with_odd_names_have_channels_of_their_own() {
    let (redis, gateway) = start();
    // Each of them would be another, or nobody, if their name stood in a channel's name as it is.
    let users = ["ann", "ann:admins", "ann%3Aadmins", "%61nn", "auth0|7", "{user}", "*", "Zoë / 1"];
    let mut clients = Vec::new();
    for user in users {
        clients.push(open(&gateway, user, &[]).await);
    }
    for user in users {
        publish(&redis, &format!("dashboard:user:{user}"), &json!({"type": "own", "data": {"of": user}}));
    }
    publish(&redis, "dashboard:all", &json!({"type": "all", "data": {}}));
    for (client, user) in clients.iter_mut().zip(users) {
        assert_eq!(client.json().await["data"]["of"], user);
        assert_eq!(client.json().await["type"], "all", "{user} hears nobody else's");
    }
}

#[tokio::test]
async fn the_bare_text_ping_and_the_token_as_a_subprotocol() {
    let (_redis, gateway) = start();
    let token = token(MANIFEST, "ann", &[]);
    let offered = format!("bearer, {token}");
    let url = gateway.url("/ws/dashboard");
    let mut client = Socket::try_open(&url, &[("sec-websocket-protocol", &offered)]).await.unwrap();
    use futures_util::SinkExt as _;
    client.0.send(Message::text("ping")).await.unwrap();
    // The first message that there is: this endpoint greets nobody.
    assert_eq!(client.json().await["type"], "pong");
    client.send(&json!({"type": "subscribe", "event_types": ["execution-started"]})).await;
    assert_eq!(client.json().await["data"], json!({"event_types": ["execution-started"]}));
    let refused =
        Socket::try_open(&url, &[("sec-websocket-protocol", "bearer, x")]).await.err().expect("a refusal");
    assert_eq!(refused.status(), 401);
}

#[tokio::test]
async fn figures_come_once_a_second_the_latest_always_and_other_events_at_once() {
    const CHANGES: u32 = 2_000;
    let (redis, gateway) = start();
    let mut ann = open(&gateway, "ann", &[]).await;
    let mut second = open(&gateway, "ann", &[]).await;
    let started = Instant::now();
    backend(&redis, &["storm", "ann", &CHANGES.to_string()]);
    let stormed = started.elapsed();
    let mut heard: Vec<(String, u64, Duration)> = Vec::new();
    loop {
        let message = ann.json().await;
        let total = message["data"]["executions"]["total"].as_u64().unwrap_or_default();
        heard.push((message["type"].as_str().unwrap().to_owned(), total, started.elapsed()));
        if total == u64::from(CHANGES) - 1 {
            break;
        }
    }
    let figures: Vec<_> = heard.iter().filter(|(kind, ..)| kind == "dashboard-stats-update").collect();
    assert_eq!(figures[0].1, 0, "the first at once");
    assert!(figures.windows(2).all(|pair| pair[0].1 < pair[1].1), "{figures:?}");
    // Bursts may shorten what a reader sees between two, never the number of them: one at the beginning, one a second, one at the end.
    let most = stormed.as_secs() + 3;
    assert!(figures.len() as u64 <= most, "{} figures in {stormed:?}", figures.len());
    assert_eq!(
        heard.len() - figures.len(),
        1,
        "an execution's event between them is not held back: {heard:?}"
    );
    // Another connection of the same user is told the same.
    let mut last = 0;
    while last != u64::from(CHANGES) - 1 {
        last = second.json().await["data"]["executions"]["total"].as_u64().unwrap_or(last);
    }
    // Nothing is left over, and an event that is not throttled comes at once.
    backend(&redis, &["execution", "ann"]);
    assert_eq!(ann.json().await["type"], "execution-started");
    let superseded = gateway.metric("rtgw_superseded_total", "dashboard:user");
    assert!(superseded >= f64::from(CHANGES) - most as f64, "{superseded} superseded");
}

#[test]
fn the_applications_page_refetches_when_it_is_told_and_comes_back_after_a_restart() {
    let (redis, gateway) = start();
    let page = Page::open(
        "examples/dashboard/frontend/src",
        "dashboard.tsx",
        "localhost:8080",
        gateway.public,
        &[("token", &token(MANIFEST, "ann", &[]))],
    );
    let connected =
        "return document.querySelector('#root > div') !== null && document.querySelector('.alert') === null";
    let fetched =
        |what: &str, times: u32| page.browser.wait_for(what, &format!("return fetched() >= {times}"));
    page.browser.wait_for("it is connected", connected);
    fetched("the first look", 1);
    backend(&redis, &["stats", "ann"]);
    fetched("again after an update", 2);
    backend(&redis, &["execution", "ann"]);
    fetched("again after an execution", 3);
    backend(&redis, &["stats", "bob"]);

    let public = gateway.public;
    drop(gateway);
    page.browser
        .wait_for("it says so", "return document.body.innerText.includes('Real-time updates disconnected.')");
    let gateway = Gateway::serve_at(public, MANIFEST, &["--redis", &redis.url()]);
    listening(&redis);
    page.browser.wait_for("it is connected again", connected);
    assert_eq!(page.browser.run("return fetched()"), 3, "bob's figures are not ann's");
    backend(&redis, &["stats", "ann"]);
    fetched("after the restart", 4);
    let logged = page.browser.console();
    assert!(!logged.iter().any(|line| line.contains("Unknown message type")), "{logged:?}");
    drop(gateway);
}
