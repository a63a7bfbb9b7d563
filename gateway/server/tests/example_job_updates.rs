//! The example job-updates, played by its application's own clients and publishers against a real Redis.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::browser::Browser;
use support::gateway::Gateway;
use support::process::{Process, node, python};
use support::redis::Redis;
use support::socket::Socket;
use support::{eventually, http, root};

const MANIFEST: &str = "examples/job-updates/gateway.yaml";
const CHANNEL: &str = "botrix:jobs:updates";
/// As the application's documentation types it into redis-cli.
const TYPED_BY_HAND: &str = r#"{"job_id":"test-123","status":"completed","data":{"success":true}}"#;

/// Redis, and a gateway whose source listens to it.
fn start() -> (Redis, Gateway) {
    let redis = Redis::start();
    let gateway = Gateway::serve(MANIFEST, &["--redis", &redis.url()]);
    redis.wait_for_subscriber(CHANNEL);
    (redis, gateway)
}

fn publisher(redis: &Redis, arguments: &[&str]) -> Process {
    let mut command = python();
    command.arg(root().join("examples/job-updates/publish.py")).args(arguments).env("REDIS_URL", redis.url());
    Process::start(&mut command)
}

fn javascript_client(gateway: &Gateway) -> Process {
    let mut command = node();
    command.arg("--require").arg(root().join("gateway/server/tests/clients/preload.cjs"));
    command.arg(root().join("examples/job-updates/client.js")).env("GATEWAY", gateway.public.to_string());
    let mut client = Process::start(&mut command);
    client.wait_for("connection", |line| line == "Connected to WebSocket server");
    client
}

/// The value of `member` in the next line that has it.
fn told(client: &mut Process, member: &str) -> Value {
    let start = format!("{{\"{member}\":");
    let line = client.wait_for(member, |line| line.starts_with(&start));
    serde_json::from_str::<Value>(&line).unwrap()[member].take()
}

#[test]
fn the_javascript_client_hears_what_redis_cli_publishes() {
    let (redis, gateway) = start();
    let mut client = javascript_client(&gateway);
    assert_eq!(redis.cli(&["PUBLISH", CHANNEL, TYPED_BY_HAND]), "1");

    let expected = json!({"job_id": "test-123", "status": "completed", "data": {"success": true}});
    client.wait_for("log line", |line| line == "Job test-123 status: completed");
    assert_eq!(told(&mut client, "update"), expected);
}

#[test]
fn the_javascript_client_gets_no_greeting_and_a_pong_for_its_ping() {
    let (_redis, gateway) = start();
    let mut client = javascript_client(&gateway);
    let first: Value = serde_json::from_str(told(&mut client, "heard").as_str().unwrap()).unwrap();
    assert_eq!(first["type"], "pong");
    assert!(first["timestamp"].as_str().unwrap().ends_with('Z'), "{first}");
    assert!(client.running());
}

#[test]
fn the_javascript_client_hears_the_close() {
    let (_redis, mut gateway) = start();
    let mut client = javascript_client(&gateway);
    gateway.process.signal("TERM");
    assert_eq!(told(&mut client, "closed"), 1012);
    client.wait_for("log line", |line| line == "Disconnected from WebSocket server");
    assert_eq!(gateway.process.ended().code(), Some(0));
}

#[test]
fn the_python_client_hears_what_the_worker_publishes() {
    let (redis, gateway) = start();
    let mut command = python();
    command.arg(root().join("gateway/server/tests/clients/preload.py"));
    command.arg(root().join("examples/job-updates/client.py")).env("GATEWAY", gateway.public.to_string());
    let mut client = Process::start(&mut command);
    client.wait_for("connection", |line| line == "Connected to WebSocket server");

    let mut publisher = publisher(&redis, &["processing", "job-123"]);
    assert!(publisher.ended().success(), "{}", publisher.stderr());
    client.wait_for("update", |line| line == "Job job-123: processing");
    client.wait_for("its data", |line| line == "Data: {");
    client.wait_for("its job", |line| line == r#"  "job_id": "job-123","#);
}

#[tokio::test]
async fn the_publisher_script_reaches_clients_in_every_mode() {
    let (redis, gateway) = start();
    let mut client = Socket::open(&gateway.url("/ws")).await;

    publisher(&redis, &["completed"]).wait_for("its report", |line| line.ends_with("completed (heard by 1)"));
    let update = client.json().await;
    assert_eq!((&update["type"], &update["status"]), (&json!("job_update"), &json!("completed")));
    assert_eq!(update["data"]["job_id"], update["job_id"]);
    assert_eq!(update["data"]["result"], json!({"accounts_created": 5, "success": true}));

    let mut burst = publisher(&redis, &["multi", "5", "0.01"]);
    let mut jobs = Vec::new();
    for step in 1..=5 {
        let update = client.json().await;
        assert_eq!(update["data"]["progress"], 20 * step);
        assert_eq!(update["status"], if step == 5 { "completed" } else { "processing" });
        jobs.push(update["job_id"].clone());
    }
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    assert!(burst.ended().success(), "{}", burst.stderr());

    let mut interactive = publisher(&redis, &[]);
    interactive.say("failed job-7");
    let update = client.json().await;
    assert_eq!((&update["job_id"], &update["status"]), (&json!("job-7"), &json!("failed")));
    interactive.say("");
    assert!(interactive.ended().success(), "{}", interactive.stderr());
}

#[tokio::test]
async fn what_is_no_job_update_is_dropped_and_counted() {
    let (redis, gateway) = start();
    let mut client = Socket::open(&gateway.url("/ws")).await;
    let bad = [
        "not JSON",
        "[]",
        "\"text\"",
        "{}",
        r#"{"status":"completed","data":{}}"#,
        r#"{"job_id":7,"status":"completed","data":{}}"#,
        r#"{"job_id":"no-status","data":{"progress":1}}"#,
        r#"{"job_id":"no-status"}"#,
        "",
    ];
    for message in bad {
        redis.cli(&["PUBLISH", CHANNEL, message]);
    }
    redis.cli(&["PUBLISH", CHANNEL, TYPED_BY_HAND]);
    assert_eq!(client.json().await["job_id"], "test-123");
    let counted = gateway.metric("rtgw_source_errors_total", "source=\"jobs\"");
    assert!((counted - bad.len() as f64).abs() < 0.5, "{counted} counted, {} sent", bad.len());
}

#[tokio::test]
async fn every_form_of_a_message_reaches_clients_exactly() {
    let (redis, gateway) = start();
    let mut client = Socket::open(&gateway.url("/ws")).await;
    let forms = [
        (
            r#"{"event":"job_update","job_id":"a","timestamp":1699369800,"data":{"job_id":"a","status":"completed","result":{"accounts_created":5,"success":true}}}"#,
            json!({"type":"job_update","job_id":"a","status":"completed","data":{"job_id":"a","status":"completed","result":{"accounts_created":5,"success":true}}}),
        ),
        (
            r#"{"job_id":"b","status":"failed","data":{"status":"ignored","text":"Zoë \u2028 \"quoted\"","big":9007199254740993,"small":-0.5}}"#,
            json!({"type":"job_update","job_id":"b","status":"failed","data":{"status":"ignored","text":"Zoë \u{2028} \"quoted\"","big":9_007_199_254_740_993_i64,"small":-0.5}}),
        ),
        (
            r#"{"job_id":"c","status":"processing"}"#,
            json!({"type":"job_update","job_id":"c","status":"processing","data":{}}),
        ),
    ];
    for (published, expected) in forms {
        redis.cli(&["PUBLISH", CHANNEL, published]);
        assert_eq!(client.json().await, expected);
    }
}

#[tokio::test]
async fn a_client_narrows_to_the_jobs_it_names() {
    let (redis, gateway) = start();
    let mut all = Socket::open(&gateway.url("/ws")).await;
    let mut some = Socket::open(&gateway.url("/ws")).await;
    some.send(&json!({"type": "subscribe", "job_ids": ["job-2", "job-3"]})).await;
    some.json_of_type("subscribed").await;
    some.send(&json!({"type": "unsubscribe", "job_ids": ["job-3"]})).await;
    some.json_of_type("unsubscribed").await;

    for job in ["job-1", "job-2", "job-3", "job-2"] {
        redis.cli(&[
            "PUBLISH",
            CHANNEL,
            &json!({"job_id": job, "status": "processing", "data": {}}).to_string(),
        ]);
    }
    for job in ["job-1", "job-2", "job-3", "job-2"] {
        assert_eq!(all.json().await["job_id"], job);
    }
    // The second one proves that job-3 was not in between.
    for job in ["job-2", "job-2"] {
        assert_eq!(some.json().await["job_id"], job);
    }
}

#[tokio::test]
async fn any_origin_connects_and_statistics_are_public() {
    let (_redis, gateway) = start();
    assert_eq!(http::get(gateway.public, "/health").status, 200);
    assert_eq!(gateway.connected_clients(), 0);
    let client =
        Socket::try_open(&gateway.url("/ws"), &[("origin", "https://elsewhere.example")]).await.unwrap();
    let local = Socket::try_open(&gateway.url("/ws"), &[("origin", "null")]).await.unwrap();
    eventually("both are counted", || (gateway.connected_clients() == 2).then_some(()));
    let stats = http::get(gateway.public, "/ws/stats").json();
    assert!(stats["timestamp"].as_str().unwrap().ends_with('Z'), "{stats}");
    drop((client, local));
    eventually("both have gone", || (gateway.connected_clients() == 0).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_10000_updates_reaches_100_clients_once_and_in_order() {
    const UPDATES: u64 = 10_000;
    let (redis, gateway) = start();
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Socket::open(&gateway.url("/ws")).await;
        clients.push(tokio::spawn(async move {
            for expected in 0..UPDATES {
                let text = client.text().await;
                let number = text.split("\"number\":").nth(1).and_then(|rest| {
                    rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
                });
                assert_eq!(number, Some(expected), "{text}");
            }
            client
        }));
    }
    eventually("everyone is connected", || (gateway.connected_clients() == 100).then_some(()));
    let mut burst = publisher(&redis, &["stress", &UPDATES.to_string()]);
    let mut sockets = Vec::new();
    for client in clients {
        sockets.push(client.await.unwrap());
    }
    assert!(burst.ended().success(), "{}", burst.stderr());
    // Once: what comes next to each of them is the next publication and no repetition.
    redis.cli(&["PUBLISH", CHANNEL, TYPED_BY_HAND]);
    for socket in &mut sockets {
        assert_eq!(socket.json().await["job_id"], "test-123");
    }
}

#[tokio::test]
async fn redis_may_die_under_traffic_and_come_back() {
    let (mut redis, gateway) = start();
    let mut client = Socket::open(&gateway.url("/ws")).await;
    redis.cli(&["PUBLISH", CHANNEL, TYPED_BY_HAND]);
    assert_eq!(client.json().await["job_id"], "test-123");

    redis.kill();
    eventually("the loss is noticed", || {
        let ready = http::get(gateway.admin, "/readyz");
        assert_eq!(ready.status, 200);
        let degraded = ready.json()["degraded"].to_string();
        // The broker is in the same Redis.
        (degraded.contains("source:jobs") && degraded.contains("broker")).then_some(())
    });

    redis.restart();
    let usable = Instant::now();
    redis.wait_for_subscriber(CHANNEL);
    assert!(usable.elapsed() < Duration::from_secs(2), "resubscribed after {:?}", usable.elapsed());
    // Only now: a client that reloads at the gap misses nothing behind it. The source tells one, and so does the broker.
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let gap = client.json().await;
        assert_eq!((&gap["type"], &gap["data"]["channel"]), (&json!("gap"), &json!("jobs")), "{gap}");
        reasons.push(gap["data"]["reason"].as_str().unwrap().to_owned());
    }
    reasons.sort_unstable();
    assert_eq!(reasons, ["broker_reconnected", "source_reconnected"]);
    redis.cli(&["PUBLISH", CHANNEL, r#"{"job_id":"after","status":"completed","data":{}}"#]);
    assert_eq!(client.json().await["job_id"], "after");
    eventually("nothing is degraded", || {
        (http::get(gateway.admin, "/readyz").json()["degraded"] == json!([])).then_some(())
    });
    assert_eq!(gateway.connected_clients(), 1);
}

#[test]
fn the_javascript_client_runs_in_a_browser_page() {
    let (redis, gateway) = start();
    let client = std::fs::read_to_string(root().join("examples/job-updates/client.js")).unwrap();
    let page = std::env::temp_dir().join(format!("job-updates-{}.html", gateway.public.port()));
    let script = "window.updates = []; function updateJobStatus(id, status, data) { updates.push({id, status, data}); }";
    std::fs::write(&page, format!("<!doctype html><script>{script}</script><script>{client}</script>"))
        .unwrap();
    // The page names localhost:8080; the browser is told where that is.
    let browser = Browser::open(&[format!("--host-resolver-rules=MAP localhost:8080 {}", gateway.public)]);
    browser.visit(&format!("file://{}", page.display()));
    eventually("the page is connected", || (gateway.connected_clients() == 1).then_some(()));

    redis.cli(&["PUBLISH", CHANNEL, TYPED_BY_HAND]);
    let update = browser.wait_for("an update", "return updates[0]");
    assert_eq!(update, json!({"id": "test-123", "status": "completed", "data": {"success": true}}));
    std::fs::remove_file(page).unwrap();
}
