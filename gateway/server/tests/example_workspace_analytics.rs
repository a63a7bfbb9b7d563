//! The example workspace-analytics, played by its application's own clients and broadcasters against a real Redis.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use support::frontend::Page;
use support::gateway::{Gateway, token};
use support::process::{Process, node, python};
use support::redis::Redis;
use support::socket::Socket;
use support::{eventually, root};
use tokio_tungstenite::tungstenite::Message;

const MANIFEST: &str = "examples/workspace-analytics/gateway.yaml";

/// What clients send, to the byte as the application's documentation has it.
const SUBSCRIBE: &str = r#"{
  "type": "subscribe",
  "event_types": ["execution_started", "execution_completed", "metrics_update", "alert"]
}
"#;
const UNSUBSCRIBE: &str = r#"{
  "type": "unsubscribe",
  "event_types": ["execution_started"]
}
"#;
const PING: &str = r#"{
  "type": "ping"
}
"#;
const REQUEST_METRICS: &str = r#"{
  "type": "request_metrics",
  "metric_type": "executions"
}
"#;

/// Redis, and a gateway whose source listens to it.
fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::serve(MANIFEST, &["--redis", &redis.url()]);
    listening(&redis);
    (redis, gateway)
}

fn listening(redis: &Redis) {
    eventually("the source listens", || (redis.cli(&["PUBSUB", "NUMPAT"]) != "0").then_some(()));
}

/// A member of `workspace` and of some others.
fn member(workspace: &str, others: &str) -> String {
    token(MANIFEST, "user-789", &[&format!("workspace_id={workspace}"), &format!("workspaces={others}")])
}

/// Opens the socket path with a query; the first message.
async fn open(gateway: &Gateway, query: &str) -> (Socket, Value) {
    let mut socket = Socket::open(&gateway.url(&format!("/ws?{query}"))).await;
    let first = socket.json().await;
    (socket, first)
}

async fn refusal(gateway: &Gateway, query: &str) -> u16 {
    let refused = Socket::try_open(&gateway.url(&format!("/ws?{query}")), &[]).await;
    refused.err().expect("a refusal").status().as_u16()
}

async fn say(socket: &mut Socket, text: &str) {
    use futures_util::SinkExt as _;
    socket.0.send(Message::text(text)).await.unwrap();
}

fn publish(redis: &Redis, workspace: &str, message: &Value) {
    assert_eq!(redis.cli(&["PUBLISH", &format!("workspace:{workspace}"), &message.to_string()]), "1");
}

/// Runs the backend's own calls in an interpreter that awaits at the top level, as they are written.
fn broadcast(redis: &Redis) {
    let example = root().join("examples/workspace-analytics");
    let calls = std::fs::File::open(example.join("backend/broadcast.py")).unwrap();
    let output = python()
        .args(["-m", "asyncio"])
        .current_dir(example)
        .env("REDIS_URL", redis.url())
        .stdin(calls)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Error"), "{said}");
}

#[tokio::test]
async fn what_the_backend_broadcasts_is_what_clients_read() {
    let (redis, gateway) = start();
    let (mut client, first) = open(&gateway, &format!("token={}", member("workspace-123", "[]"))).await;
    let greeting: Vec<&String> = first.as_object().unwrap().keys().collect();
    assert_eq!(greeting, ["event", "connection_id", "workspace_id", "timestamp"]);
    assert_eq!((&first["event"], &first["workspace_id"]), (&json!("connected"), &json!("workspace-123")));
    let at = first["timestamp"].as_str().unwrap();
    assert!(at.len() == "2025-11-09T12:00:00Z".len() && at.ends_with('Z'), "{at}");

    broadcast(&redis);
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(client.json().await);
    }
    let without_times = |mut value: Value| {
        for member in ["started_at", "completed_at"] {
            if let Some(at) = value["data"].as_object_mut().unwrap().remove(member) {
                assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
            }
        }
        assert!(value["timestamp"].take().as_str().unwrap().ends_with('Z'));
        value
    };
    let heard: Vec<Value> = heard.into_iter().map(without_times).collect();
    let expected = [
        json!({"event": "execution_started", "data": {"agent_id": "agent-456", "run_id": "run-789", "user_id": "user-123"}, "timestamp": null}),
        json!({"event": "execution_completed", "data": {"agent_id": "agent-456", "run_id": "run-789", "success": true, "runtime_seconds": 45.2, "credits_consumed": 0.15}, "timestamp": null}),
        json!({"event": "metrics_update", "data": {"total_executions": 1234, "active_agents": 5, "credits_consumed": 123.45}, "timestamp": null}),
        json!({"event": "alert", "data": {"type": "credit_limit", "message": "Credit limit approaching", "priority": "high"}, "timestamp": null, "priority": "high"}),
    ];
    assert_eq!(heard, expected);
    // Only what was given a priority has one, and members stand in the order of the documentation.
    assert_eq!(heard[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["event", "data", "timestamp"]);
}

#[tokio::test]
async fn the_time_of_an_event_is_the_publishers() {
    let (redis, gateway) = start();
    let (mut client, _) = open(&gateway, &format!("token={}", member("w", "[]"))).await;
    let message =
        json!({"event": "e", "data": {"n": 9_007_199_254_740_993_u64}, "timestamp": "2025-11-09T12:00:45Z"});
    publish(&redis, "w", &message);
    assert_eq!(
        client.text().await,
        r#"{"event":"e","data":{"n":9007199254740993},"timestamp":"2025-11-09T12:00:45.000Z"}"#
    );
}

#[tokio::test]
async fn the_workspace_is_the_tokens_and_never_a_foreign_one() {
    let (_redis, gateway) = start();
    let ada = member("w1", r#"["w2","w3"]"#);
    for (query, workspace) in
        [("", "w1"), ("&workspace_id=w1", "w1"), ("&workspace_id=w2", "w2"), ("&workspace_id=w3", "w3")]
    {
        let (_, first) = open(&gateway, &format!("token={ada}{query}")).await;
        assert_eq!(first["workspace_id"], workspace, "{query}");
    }
    for foreign in [
        "w4",
        "",
        "W1",
        "w1%20",
        "%77%34",
        "*",
        "w2:x",
        "w%3A2",
        "w1%00",
        "..%2Fw1",
        "{workspace_id}",
        "w1,w4",
        "w2&workspace_id=w4x",
    ] {
        let query = format!("token={ada}&workspace_id={foreign}");
        // The first of repeated parameters counts, whatever follows.
        if foreign == "w2&workspace_id=w4x" {
            assert_eq!(open(&gateway, &query).await.1["workspace_id"], "w2");
        } else {
            assert_eq!(refusal(&gateway, &query).await, 403, "{foreign}");
        }
    }
    // A claim of another shape names nothing.
    for claims in [&["workspaces=w4"][..], &["workspace_id=7"], &["workspaces={\"x\":\"w4\"}"], &[]] {
        let token = token(MANIFEST, "bob", claims);
        assert_eq!(refusal(&gateway, &format!("token={token}&workspace_id=w4")).await, 403, "{claims:?}");
    }
    assert_eq!(refusal(&gateway, "workspace_id=w1").await, 401);
}

#[tokio::test]
async fn a_second_tenant_hears_nothing_of_the_first_whatever_it_tries() {
    let (redis, gateway) = start();
    let (mut first, _) = open(&gateway, &format!("token={}", member("w1", "[]"))).await;
    let (mut second, _) = open(&gateway, &format!("token={}", member("w2", "[]"))).await;
    publish(
        &redis,
        "w1",
        &json!({"event": "metrics_update", "data": {"metric_type": "executions", "of": "w1"}}),
    );
    assert_eq!(first.json().await["data"]["of"], "w1");
    for (attempt, code) in [
        (json!({"type": "subscribe", "data": {"channel": "workspace:w1"}}), "forbidden"),
        (json!({"type": "subscribe", "channel": "workspace:w1"}), "forbidden"),
        (json!({"type": "subscribe", "data": {"channel": "workspace:%77%31"}}), "forbidden"),
        (json!({"type": "subscribe", "data": {"channel": "workspace:{workspace_id}"}}), "bad_request"),
        (json!({"type": "subscribe", "data": {"channel": "workspace:*"}}), "bad_request"),
        (json!({"type": "subscribe", "data": {"channel": "workspace:w2:w1"}}), "unknown_channel"),
        (json!({"type": "subscribe", "workspace_ids": ["w1"]}), "unknown_filter"),
        (
            json!({"type": "publish", "data": {"channel": "workspace:w1", "event": "e", "data": {}}}),
            "forbidden",
        ),
        (
            json!({"type": "publish", "data": {"channel": "workspace:w2", "event": "e", "data": {}}}),
            "forbidden",
        ),
        (
            json!({"type": "request_metrics", "metric_type": "executions", "workspace_id": "w1", "tenant": "w1"}),
            "not_available",
        ),
        (
            json!({"type": "request_metrics", "data": {"metric_type": "executions", "channel": "workspace:w1"}}),
            "not_available",
        ),
    ] {
        second.send(&attempt).await;
        let answer = second.json().await;
        assert_eq!((&answer["event"], &answer["data"]["code"]), (&json!("error"), &json!(code)), "{attempt}");
    }
    publish(&redis, "w1", &json!({"event": "alert", "data": {"of": "w1"}, "priority": "high"}));
    publish(&redis, "w2", &json!({"event": "alert", "data": {"of": "w2"}}));
    assert_eq!(second.json().await["data"]["of"], "w2");
    assert_eq!(first.json().await["data"]["of"], "w1");
}

#[tokio::test]
async fn events_are_narrowed_as_the_documentation_writes_it() {
    let (redis, gateway) = start();
    let (mut client, _) = open(&gateway, &format!("token={}", member("w", "[]"))).await;
    let told = |event: &str| json!({"event": event, "data": {"event": event}});
    // Asked for nothing yet: hears all.
    publish(&redis, "w", &told("deployment"));
    assert_eq!(client.json().await["event"], "deployment");

    say(&mut client, SUBSCRIBE).await;
    let answer = client.json().await;
    let all = ["execution_started", "execution_completed", "metrics_update", "alert"];
    assert_eq!((&answer["event"], &answer["data"]), (&json!("subscribed"), &json!({"event_types": all})));
    for event in ["deployment", "execution_started"] {
        publish(&redis, "w", &told(event));
    }
    assert_eq!(client.json().await["event"], "execution_started");

    say(&mut client, UNSUBSCRIBE).await;
    let answer = client.json().await;
    assert_eq!(
        (&answer["event"], &answer["data"]),
        (&json!("unsubscribed"), &json!({"event_types": all[1..]}))
    );
    for event in ["execution_started", "alert"] {
        publish(&redis, "w", &told(event));
    }
    assert_eq!(client.json().await["event"], "alert");

    // Lists add up, each value once.
    client.send(&json!({"type": "subscribe", "event_types": ["alert", "deployment"]})).await;
    assert_eq!(
        client.json().await["data"]["event_types"],
        json!(["execution_completed", "metrics_update", "alert", "deployment"])
    );
    client.send(&json!({"type": "unsubscribe", "event_types": ["execution_completed", "metrics_update", "alert", "deployment"]})).await;
    assert_eq!(client.json().await["data"], json!({"event_types": []}));
    // Once asked for and empty now: nothing, and the pong proves it.
    publish(&redis, "w", &told("alert"));
    let (mut other, _) = open(&gateway, &format!("token={}", member("w", "[]"))).await;
    publish(&redis, "w", &told("last"));
    assert_eq!(other.json().await["event"], "last");
    say(&mut client, PING).await;
    let pong = client.json().await;
    assert_eq!(pong["event"], "pong", "{pong}");
    assert!(pong["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn requested_metrics_are_the_latest_of_their_kind() {
    let (redis, gateway) = start();
    let (mut client, _) = open(&gateway, &format!("token={}", member("w", "[]"))).await;
    say(&mut client, REQUEST_METRICS).await;
    assert_eq!(client.json().await["data"]["code"], "not_available");
    let update = |kind: &str, total: u32| json!({"event": "metrics_update", "data": {"metric_type": kind, "total": total}, "timestamp": "2025-11-09T12:00:00Z"});
    for message in [
        update("executions", 1),
        update("executions", 2),
        update("credits", 3),
        json!({"event": "alert", "data": {"metric_type": "executions"}}),
    ] {
        publish(&redis, "w", &message);
        client.json().await;
    }
    say(&mut client, REQUEST_METRICS).await;
    assert_eq!(
        client.text().await,
        r#"{"event":"metrics_update","data":{"metric_type":"executions","total":2},"timestamp":"2025-11-09T12:00:00.000Z"}"#
    );
    // Another kind than any that was heard, or none named: the latest of all.
    for asked in
        [json!({"type": "request_metrics", "metric_type": "unheard"}), json!({"type": "request_metrics"})]
    {
        client.send(&asked).await;
        assert_eq!(client.json().await["data"]["total"], 3, "{asked}");
    }
}

#[tokio::test]
async fn a_mebibyte_is_taken_and_more_is_not() {
    let (_redis, gateway) = start();
    let (mut client, _) = open(&gateway, &format!("token={}", member("w", "[]"))).await;
    say(&mut client, &format!("{{\"type\":\"ping\",\"pad\":\"{}\"}}", "x".repeat((1 << 20) - 24))).await;
    assert_eq!(client.json().await["event"], "pong");
    say(&mut client, &format!("{{\"type\":\"ping\",\"pad\":\"{}\"}}", "x".repeat(1 << 20))).await;
    assert_eq!(u16::from(client.closed().await.unwrap().code), 1009);
}

#[tokio::test]
async fn another_wire_opens_no_other_workspace() {
    use futures_util::{SinkExt as _, StreamExt as _};
    let (redis, gateway) = start();
    let url = gateway.url(&format!("/ws?token={}", member("w2", "[]")));
    let mut second = Socket::try_open(&url, &[("sec-websocket-protocol", "rtgw.msgpack.v1")]).await.unwrap();
    let mut ask = async |message: Option<Value>| -> Value {
        if let Some(message) = message {
            second.0.send(Message::binary(rmp_serde::to_vec(&message).unwrap())).await.unwrap();
        }
        loop {
            match second.0.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => return rmp_serde::from_slice(&bytes).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    assert_eq!(ask(None).await["workspace_id"], "w2");
    publish(&redis, "w1", &json!({"event": "metrics_update", "data": {"metric_type": "executions"}}));
    for (attempt, code) in [
        (json!({"type": "subscribe", "data": {"channel": "workspace:w1"}}), "forbidden"),
        (
            json!({"type": "publish", "data": {"channel": "workspace:w1", "event": "e", "data": {}}}),
            "forbidden",
        ),
        (json!({"type": "request_metrics", "metric_type": "executions", "tenant": "w1"}), "not_available"),
    ] {
        assert_eq!(ask(Some(attempt.clone())).await["data"]["code"], code, "{attempt}");
    }
    publish(
        &redis,
        "w2",
        &json!({"event": "metrics_update", "data": {"metric_type": "executions", "n": 9_007_199_254_740_993_u64}}),
    );
    assert_eq!(ask(None).await["data"]["n"], 9_007_199_254_740_993_u64);
    let answer = ask(Some(json!({"type": "request_metrics", "id": 7, "metric_type": "executions"}))).await;
    assert_eq!(
        (&answer["event"], &answer["id"], &answer["data"]["n"]),
        (&json!("metrics_update"), &json!(7), &json!(9_007_199_254_740_993_u64))
    );
}

#[test]
fn the_applications_own_test_of_its_socket_passes() {
    let (_redis, gateway) = start();
    let output = python()
        .arg(root().join("gateway/server/tests/clients/automated.py"))
        .arg(root().join("examples/workspace-analytics/backend/test_websocket.py"))
        .env("GATEWAY", gateway.public.to_string())
        .env("TOKEN", member("w1", "[]"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), "test_websocket_connection: ok");
}

#[test]
fn the_documented_connection_works_in_node() {
    let (redis, gateway) = start();
    let mut command = node();
    command.arg("--require").arg(root().join("gateway/server/tests/clients/preload.cjs"));
    command.arg("-e").arg(
        "const ws = new WebSocket('ws://localhost:8000/ws?token=YOUR_JWT_TOKEN&workspace_id=workspace-123');",
    );
    command.env("GATEWAY", gateway.public.to_string()).env("TOKEN", member("w", r#"["workspace-123"]"#));
    let mut client = Process::start(&mut command);
    let heard = |client: &mut Process| -> Value {
        let line = client.wait_for("a message", |line| line.starts_with("{\"heard\""));
        let line: Value = serde_json::from_str(&line).unwrap();
        serde_json::from_str(line["heard"].as_str().unwrap()).unwrap()
    };
    assert_eq!(heard(&mut client)["workspace_id"], "workspace-123");
    broadcast(&redis);
    assert_eq!(heard(&mut client)["event"], "execution_started");
}

#[test]
fn the_applications_component_runs_in_a_page_and_comes_back_after_a_restart() {
    let (redis, gateway) = start();
    let member = member("w", r#"["workspace-123"]"#);
    let page = Page::open(
        "examples/workspace-analytics/frontend/src",
        "workspace.tsx",
        "localhost:8000",
        gateway.public,
        &[("token", &member)],
    );
    let connected = "return document.body.innerText.includes('Status: connected') && document.querySelector('#alerts').innerText === 'connected'";
    page.browser.wait_for("both are connected", connected);
    let hears = |what: &str| {
        page.browser.wait_for(what, "return heard.some((message) => message.event === 'subscribed')");
        broadcast(&redis);
        page.browser.wait_for(what, "return heard.some((message) => message.event === 'alert')");
        // Asked for alerts, and hears no others.
        let others = page.browser.run(
            "return heard.splice(0).map((message) => message.event).filter((event) => !['connected', 'subscribed', 'alert'].includes(event))",
        );
        assert_eq!(others, json!([]));
    };
    hears("an alert");
    let public = gateway.public;
    drop(gateway);
    page.browser
        .wait_for("the loss is seen", "return document.body.innerText.includes('Status: disconnected')");
    let gateway = Gateway::serve_at(public, MANIFEST, &["--redis", &redis.url()]);
    listening(&redis);
    page.browser.wait_for("both are connected again", connected);
    hears("an alert after the restart");
    let logged = page.browser.console();
    assert!(logged.iter().any(|line| line.contains("Received:")), "{logged:?}");
    drop(gateway);
}
