//! The example workflow-executions, played by its application's own clients against a real Redis.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::net::{Ipv4Addr, TcpStream};

use serde_json::{Value, json};
use support::frontend::Page;
use support::gateway::{Gateway, token};
use support::process::{Process, python};
use support::redis::Redis;
use support::socket::Socket;
use support::{eventually, free_port, http, root};
use tokio_tungstenite::tungstenite::Message;

const MANIFEST: &str = "examples/workflow-executions/gateway.yaml";
const CHANNEL: &str = "ws:broadcast:all";
const API_KEY: &str = "for-trying-out-only-ci-0123456789abcdef";

/// What clients send, to the byte as the application's documentation has it.
const SUBSCRIBE: &str = r#"{
  "type": "subscribe",
  "timestamp": "2024-01-15T10:30:00Z",
  "data": {
    "channel": "executions",
    "filters": {
      "workflow_ids": ["uuid1", "uuid2"],
      "execution_ids": ["exec_abc123"],
      "statuses": ["running", "failed"]
    }
  }
}
"#;

/// Redis, and a gateway whose source listens to it.
fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::serve(MANIFEST, &["--redis", &redis.url()]);
    redis.wait_for_subscriber(CHANNEL);
    (redis, gateway)
}

async fn open(gateway: &Gateway, user: &str) -> Socket {
    let mut socket = Socket::open(&gateway.url(&format!("/ws?token={}", token(MANIFEST, user, &[])))).await;
    let first = socket.json().await;
    assert_eq!((&first["type"], &first["data"]["ping_interval_ms"]), (&json!("connected"), &json!(54_000)));
    socket
}

async fn subscribe(socket: &mut Socket, channel: &str) {
    socket
        .send(
            &json!({"type": "subscribe", "timestamp": "2024-01-15T10:30:00Z", "data": {"channel": channel}}),
        )
        .await;
    let answer = socket.json().await;
    assert_eq!((&answer["type"], &answer["data"]), (&json!("subscribed"), &json!({"channel": channel})));
}

/// As the hub publishes it.
fn event(kind: &str, channel: &str, workflow: &str, execution: &str, status: &str) -> Value {
    json!({"channel": channel, "type": kind, "data": {"execution_id": execution, "status": status},
        "filters": {"workflow_id": workflow, "execution_id": execution, "status": status}})
}

fn publish(redis: &Redis, message: &Value) {
    assert_eq!(redis.cli(&["PUBLISH", CHANNEL, &message.to_string()]), "1");
}

/// The next message is of this execution.
async fn hears(socket: &mut Socket, execution: &str) {
    let message = socket.json().await;
    assert_eq!(message["data"]["execution_id"], execution, "{message}");
}

#[tokio::test]
async fn a_message_is_type_timestamp_and_data() {
    let (redis, gateway) = start();
    let mut client = open(&gateway, "ann").await;
    subscribe(&mut client, "executions").await;
    let engine = python()
        .arg(root().join("examples/workflow-executions/publish.py"))
        .args(["execution.started", "exec_abc123", "running"])
        .env("REDIS_URL", redis.url())
        .output()
        .unwrap();
    assert!(engine.status.success(), "{}", String::from_utf8_lossy(&engine.stderr));
    let message = client.json().await;
    assert_eq!(message.as_object().unwrap().keys().collect::<Vec<_>>(), ["type", "timestamp", "data"]);
    assert_eq!(message["type"], "execution.started");
    assert_eq!(
        message["data"],
        json!({"workflow_id": "wf_1", "execution_id": "exec_abc123", "status": "running"})
    );
}

#[tokio::test]
async fn events_reach_the_channels_that_concern_them_once() {
    let (redis, gateway) = start();
    let mut clients = Vec::new();
    for channels in [
        &["executions"][..],
        &["executions:x1"],
        &["workflows:w1"],
        &["approvals"],
        &["workflows:w1", "executions:x1", "executions"],
    ] {
        let mut client = open(&gateway, "ann").await;
        for channel in channels {
            subscribe(&mut client, channel).await;
        }
        clients.push(client);
    }
    for message in [
        event("execution.started", "executions", "w1", "x1", "running"),
        event("step.completed", "executions:x1", "w1", "x1", "running"),
        event("execution.failed", "workflows:w2", "w2", "x2", "failed"),
        // Without filters: only what it names, and all executions.
        json!({"channel": "workflows:w1", "type": "execution.paused", "data": {"execution_id": "x3"}}),
        json!({"type": "execution.resumed", "data": {"execution_id": "x4"}}),
        event("approval.required", "approvals", "w1", "x1", "pending"),
        // What is no kind that is known goes where it says.
        event("audit", "workflows:w1", "w1", "x9", "running"),
        // Nowhere: no type, no data, a channel that does not exist, not JSON.
        json!({"channel": "executions", "data": {}}),
        json!({"channel": "executions", "type": "execution.started"}),
        json!({"channel": "elsewhere", "type": "audit", "data": {}}),
        json!("text"),
        event("execution.completed", "executions", "w1", "x1", "last"),
        event("approval.granted", "approvals", "w1", "last", "granted"),
    ] {
        publish(&redis, &message);
    }
    let expected: [&[&str]; 5] = [
        &["x1", "x1", "x2", "x3", "x4", "x1"],
        &["x1", "x1", "x1"],
        &["x1", "x1", "x3", "x9", "x1"],
        &["x1", "last"],
        &["x1", "x1", "x2", "x3", "x4", "x9", "x1"],
    ];
    for (client, expected) in clients.iter_mut().zip(expected) {
        for execution in expected {
            hears(client, execution).await;
        }
    }
}

#[tokio::test]
async fn filters_are_a_conjunction_as_the_documentation_writes_them() {
    let (redis, gateway) = start();
    let mut client = open(&gateway, "ann").await;
    {
        use futures_util::SinkExt as _;
        client.0.send(Message::text(SUBSCRIBE)).await.unwrap();
    }
    let answer = client.json().await;
    assert_eq!((&answer["type"], &answer["data"]["channel"]), (&json!("subscribed"), &json!("executions")));
    for (workflow, execution, status) in [
        ("uuid3", "exec_abc123", "running"),
        ("uuid1", "exec_other", "running"),
        ("uuid1", "exec_abc123", "completed"),
        ("uuid2", "exec_abc123", "failed"),
    ] {
        publish(&redis, &event("execution.started", "executions", workflow, execution, status));
    }
    // Without the tags that are asked for: not wanted.
    publish(
        &redis,
        &json!({"channel": "executions", "type": "execution.started", "data": {"execution_id": "untagged"}}),
    );
    assert_eq!(client.json().await["data"]["status"], "failed");
    // Subscribed again: these filters and no others.
    client.send(&json!({"type": "subscribe", "data": {"channel": "executions", "filters": {"statuses": ["done"]}}})).await;
    assert_eq!(client.json().await["type"], "subscribed");
    publish(&redis, &event("execution.started", "executions", "uuid1", "exec_abc123", "running"));
    publish(&redis, &event("execution.completed", "executions", "any", "any", "done"));
    assert_eq!(client.json().await["data"]["status"], "done");
}

#[tokio::test]
async fn a_users_channel_is_for_that_user_only() {
    let (redis, gateway) = start();
    let (mut ann, mut bob) = (open(&gateway, "ann").await, open(&gateway, "bob").await);
    subscribe(&mut ann, "user:ann").await;
    subscribe(&mut bob, "user:bob").await;
    for (channel, code) in [
        ("user:ann", "forbidden"),
        ("user:%61nn", "forbidden"),
        ("user:*", "bad_request"),
        ("user:", "bad_request"),
        ("user", "unknown_channel"),
        ("user:ann:x", "unknown_channel"),
    ] {
        bob.send(&json!({"type": "subscribe", "id": channel, "data": {"channel": channel}})).await;
        let answer = bob.json().await;
        assert_eq!(
            (&answer["type"], &answer["id"], &answer["data"]["code"]),
            (&json!("error"), &json!(channel), &json!(code))
        );
    }
    publish(&redis, &event("notice", "user:ann", "w", "for-ann", "x"));
    publish(&redis, &event("notice", "user:bob", "w", "for-bob", "x"));
    hears(&mut ann, "for-ann").await;
    hears(&mut bob, "for-bob").await;
}

#[tokio::test]
async fn nonsense_is_answered_and_the_connection_lives() {
    let (_redis, gateway) = start();
    let mut client = open(&gateway, "ann").await;
    use futures_util::SinkExt as _;
    for (text, code) in [
        ("nonsense", "bad_json"),
        ("[]", "bad_json"),
        (r#"{"type":"dance"}"#, "unknown_type"),
        (r#"{"type":"subscribe","data":{"channel":7}}"#, "bad_request"),
        (
            r#"{"type":"subscribe","data":{"channel":"executions","filters":{"colours":["red"]}}}"#,
            "unknown_filter",
        ),
    ] {
        client.0.send(Message::text(text)).await.unwrap();
        let answer = client.json().await;
        assert_eq!((&answer["type"], &answer["data"]["code"]), (&json!("error"), &json!(code)), "{text}");
    }
    client.0.send(Message::text(r#"{"type":"ping","timestamp":"2024-01-15T10:30:00Z"}"#)).await.unwrap();
    assert_eq!(client.json().await["type"], "pong");
    client.send(&json!({"type": "unsubscribe", "data": {"channel": "executions"}})).await;
    assert_eq!(client.json().await["type"], "unsubscribed");
}

#[tokio::test]
async fn credentials_are_a_bearer_token_an_api_key_or_the_query() {
    let (_redis, gateway) = start();
    let token = token(MANIFEST, "ann", &[]);
    let bearer = format!("Bearer {token}");
    let user = async |headers: &[(&'static str, &str)], query: &str| {
        let opened = Socket::try_open(&gateway.url(&format!("/ws{query}")), headers).await;
        match opened {
            Ok(mut socket) => Ok(socket.json().await["data"]["user"].take()),
            Err(refused) => Err(refused.status().as_u16()),
        }
    };
    assert_eq!(user(&[("authorization", &bearer)], "").await, Ok(json!("ann")));
    assert_eq!(user(&[], &format!("?token={token}")).await, Ok(json!("ann")));
    assert_eq!(user(&[("x-api-key", API_KEY)], "").await, Ok(json!("ci")));
    for (headers, query) in [
        (&[][..], ""),
        (&[("x-api-key", "for-trying-out-only-ci-0123456789abcdeF")], ""),
        (&[("x-api-key", "")], ""),
        (&[("authorization", "Bearer x")], ""),
        // The first place that holds a credential decides.
        (&[("authorization", "Bearer x"), ("x-api-key", API_KEY)], ""),
    ] {
        assert_eq!(user(headers, query).await, Err(401), "{headers:?}");
    }
    for (origin, status) in [
        ("http://localhost:3000", None),
        ("https://app.example.com", None),
        ("https://evil.example", Some(403)),
    ] {
        assert_eq!(
            user(&[("origin", origin), ("authorization", &bearer)], "").await.err(),
            status,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn keys_that_the_application_made_are_asked_about() {
    let port = free_port();
    let mut application = Process::start(
        python().arg(root().join("examples/workflow-executions/auth.py")).arg(port.to_string()),
    );
    eventually("the application listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    let asking =
        format!("    webhook: {{url: \"http://127.0.0.1:{port}/rt/auth\", cacheFor: 60s}}\n    apiKeys:\n");
    let text = std::fs::read_to_string(root().join(MANIFEST)).unwrap();
    let manifest = std::env::temp_dir().join(format!("workflow-executions-{port}.yaml"));
    std::fs::write(&manifest, text.replacen("    apiKeys:\n", &asking, 1)).unwrap();
    let gateway = Gateway::begin(&manifest, &["--redis", "redis://127.0.0.1:1"]);
    let url = gateway.url("/ws");
    for _ in 0..3 {
        let mut ann = Socket::try_open(&url, &[("x-api-key", "wf_live_ann_0123456789abcdef")]).await.unwrap();
        assert_eq!(ann.json().await["data"]["user"], "ann");
    }
    for wrong in ["wf_live_bob_0123456789abcdef", "api-key-ci"] {
        let refused = Socket::try_open(&url, &[("x-api-key", wrong)]).await.err().expect("a refusal");
        assert_eq!(refused.status(), 401);
    }
    // The static key is known without asking.
    let mut ci = Socket::try_open(&url, &[("x-api-key", API_KEY)]).await.unwrap();
    assert_eq!(ci.json().await["data"]["user"], "ci");
    // Asked once, and remembered.
    application.wait_for("the first question", |line| line == "apiKeyHeader: ann");
    application.wait_for("the next", |line| {
        assert_ne!(line, "apiKeyHeader: ann");
        line == "apiKeyHeader: refused"
    });
    std::fs::remove_file(manifest).unwrap();
}

#[tokio::test]
async fn statistics_need_credentials() {
    let (_redis, gateway) = start();
    let ann = token(MANIFEST, "ann", &[]);
    assert_eq!(http::get(gateway.public, "/ws/stats").status, 401);
    assert_eq!(http::get(gateway.public, "/ws/stats?token=x").status, 401);
    let _clients = [open(&gateway, "ann").await, open(&gateway, "ann").await, open(&gateway, "bob").await];
    let stats = eventually("all are counted", || {
        let stats = http::get(gateway.public, &format!("/ws/stats?token={ann}")).json();
        (stats["total_clients"] == 3).then_some(stats)
    });
    assert_eq!(stats["total_users"], 2);
    // Whoever asks is a handshake in progress until it turns out to be none.
    for waiting in ["register", "unregister", "broadcast"] {
        assert!(stats["channels"][waiting].as_u64().unwrap() <= 1, "{stats}");
    }
}

#[test]
fn the_applications_components_run_in_a_page_and_subscribe_again_after_a_restart() {
    let (redis, gateway) = start();
    let page = Page::open(
        "examples/workflow-executions/web/src",
        "workflow.tsx",
        "localhost:8080",
        gateway.public,
        &[("auth_token", &token(MANIFEST, "ann", &[]))],
    );
    let live = "return document.querySelector('#badge')?.innerText === 'Live' && heard.filter((message) => message.type === 'subscribed').length >= 2";
    let shows = |what: &str, text: &str| {
        page.browser.wait_for(what, &format!("return document.body.innerText.includes({text:?})"));
    };
    page.browser.wait_for("both subscriptions", live);
    publish(&redis, &event("execution.started", "executions", "w1", "exec_abc123", "running"));
    publish(&redis, &event("execution.failed", "workflows:w2", "w2", "exec_other", "failed"));
    shows("the execution", "Status: running");
    shows("all executions", "exec_other failed");
    let once =
        page.browser.run("return heard.filter((message) => message.type === 'execution.started').length");
    assert_eq!(once, 1, "in two of its channels, heard once");

    let public = gateway.public;
    page.browser.run("heard.length = 0");
    drop(gateway);
    let _gateway = Gateway::serve_at(public, MANIFEST, &["--redis", &redis.url()]);
    redis.wait_for_subscriber(CHANNEL);
    page.browser.wait_for("both subscriptions again", live);
    publish(
        &redis,
        &event("execution.completed", "executions:exec_abc123", "w1", "exec_abc123", "completed"),
    );
    shows("the execution again", "Status: completed");
    let logged = page.browser.console();
    assert!(
        logged.iter().any(|line| line.contains("Execution failed:") && line.contains("exec_other")),
        "{logged:?}"
    );
}
