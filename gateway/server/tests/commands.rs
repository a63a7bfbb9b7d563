//! Commands that a manifest defines, sent by real clients.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use serde_json::{Value, json};
use support::gateway::{Gateway, rtgw};
use support::redis::Redis;
use support::socket::Socket;
use support::{PATIENCE, eventually, free_port, http};
use tokio_tungstenite::tungstenite::Message;

const MANIFEST: &str = r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: commands}
spec:
  endpoints:
  - {name: ws, path: /ws, envelope: Event, greeting: {disabled: true}}
  - {name: typed, path: /typed, greeting: {disabled: true}}
  - {name: raw, path: /raw, envelope: Raw, greeting: {disabled: true}}
  auth:
    issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]
    identity: {tenant: claims.workspace_id}
  channels:
  - {pattern: "workspace:{workspace_id}", subscribe: workspace_id == tenant}
  - {pattern: "room:{workspace_id}:{room}", subscribe: workspace_id == tenant, publish: workspace_id == tenant, filters: {kinds: kind}}
  commands:
    request_metrics:
      replyLatest: {channel: "workspace:{tenant}", event: "'metrics_update'", tags: {metric_type: data.metric_type}, orElse: Any}
    exact_metrics:
      replyLatest: {channel: "workspace:{data.workspace}", event: "'metrics_update'", tags: {metric_type: data.metric_type}}
    typing: {publishTo: {channel: "room:{data.workspace}:{data.room}", event: "'typing'", data: "{'user': user, 'text': data.text}", tags: {kind: data.kind}}, ephemeral: true}
    "room:say": {publishTo: {channel: "room:{tenant}:{data.room}", event: "'said'"}}
    echo: {reply: {event: "'echo'", data: data}}
    who: {reply: {event: "'you:' + user", data: "{'tenant': tenant, 'name': event, 'args': size(args), 'sub': claims.sub}"}}
    saved: {ack: "{'n': data.n + 1}"}
    admins: {when: claims.role == 'admin', ack: data}
    ask: {webhook: {url: "http://127.0.0.1:PORT/rt?x=1", timeout: 500ms, secretRef: {name: auth, key: webhook}, maxInFlight: 1}}
  sources:
  - name: workspaces
    redisPubSub: {patterns: ["workspace:{workspace_id}"]}
    publish:
    - {channels: ["workspace:{source.params.workspace_id}"], event: msg.event, data: msg.data, tags: {metric_type: msg.data.metric_type}, timestamp: msg.timestamp, priority: msg.priority}
  limits: {connection: {messagesPerSecond: 200, burst: 40}}
---
apiVersion: v1
kind: Secret
metadata: {name: auth}
stringData: {jwt: for-trying-out-only-0123456789abcdef, webhook: also-for-trying-out-0123456789}
"#;

struct World {
    gateway: Gateway,
    redis: Redis,
    manifest: PathBuf,
}

impl World {
    /// A gateway whose webhook is at `port`.
    fn start(name: &str, port: u16) -> Self {
        let redis = Redis::start();
        let manifest = std::env::temp_dir().join(format!("rtgw-commands-{}-{name}.yaml", std::process::id()));
        std::fs::write(&manifest, MANIFEST.replace("PORT", &port.to_string())).unwrap();
        let gateway = Gateway::serve(&manifest, &["--redis", &redis.url()]);
        eventually("the source has subscribed", || (redis.cli(&["PUBSUB", "NUMPAT"]) == "1").then_some(()));
        Self { gateway, redis, manifest }
    }

    async fn open(&self, path: &str, user: &str, workspace: &str, role: &str) -> Socket {
        let token = run(rtgw().arg("token").arg("-f").arg(&self.manifest).args([
            "--sub",
            user,
            "--claim",
            &format!("workspace_id={workspace}"),
            "--claim",
            &format!("role={role}"),
        ]));
        Socket::open(&self.gateway.url(&format!("{path}?token={}", token.trim()))).await
    }

    fn publish(&self, workspace: &str, message: &Value) {
        self.redis.cli(&["PUBLISH", &format!("workspace:{workspace}"), &message.to_string()]);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.manifest));
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn ask(socket: &mut Socket, command: Value) -> Value {
    socket.send(&command).await;
    socket.json().await
}

fn code(answer: &Value) -> &str {
    assert!(answer["type"] == "error" || answer["event"] == "error", "{answer}");
    answer["data"]["code"].as_str().unwrap()
}

fn metrics(kind: &str, value: u32) -> Value {
    json!({"event": "metrics_update", "timestamp": "2024-01-15T10:30:00Z", "priority": "high", "data": {"metric_type": kind, "metrics": {"total": value}}})
}

/// Asks until the source's message has come through.
async fn until_latest(socket: &mut Socket, command: &Value, total: u32) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask(socket, command.clone()).await;
        if answer["data"]["metrics"]["total"] == total {
            return answer;
        }
        assert!(Instant::now() < deadline, "still {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_latest_metrics_are_answered_though_nobody_was_subscribed() {
    let world = World::start("latest", free_port());
    let mut ann = world.open("/ws", "ann", "w1", "user").await;
    let wanted = json!({"type": "request_metrics", "metric_type": "executions"});
    let nothing = ask(&mut ann, wanted.clone()).await;
    assert_eq!((code(&nothing), &nothing["data"]["temporary"]), ("not_available", &json!(true)));

    world.publish("w1", &metrics("executions", 1));
    let answer = until_latest(&mut ann, &wanted, 1).await;
    // As its publication looks in this envelope, with the publisher's time.
    assert_eq!(
        answer,
        json!({"event": "metrics_update", "data": {"metric_type": "executions", "metrics": {"total": 1}},
            "timestamp": "2024-01-15T10:30:00.000Z", "priority": "high"})
    );
    world.publish("w1", &metrics("memory", 2));
    let memory = json!({"type": "request_metrics", "id": "m", "data": {"metric_type": "memory"}});
    assert_eq!(until_latest(&mut ann, &memory, 2).await["id"], "m");
    assert_eq!(ask(&mut ann, wanted).await["data"]["metrics"]["total"], 1, "of its kind");
    // The latest at all where there is none of the kind, or no kind was named.
    for other in
        [json!({"type": "request_metrics", "metric_type": "unheard"}), json!({"event": "request_metrics"})]
    {
        assert_eq!(ask(&mut ann, other).await["data"]["metrics"]["total"], 2);
    }
    let exact = |kind: Value| json!({"type": "exact_metrics", "workspace": "w1", "metric_type": kind});
    assert_eq!(ask(&mut ann, exact(json!("executions"))).await["data"]["metrics"]["total"], 1);
    assert_eq!(code(&ask(&mut ann, exact(json!("unheard"))).await), "not_available");
    assert_eq!(code(&ask(&mut ann, exact(json!([1]))).await), "bad_request");

    // Raw has nothing but the data.
    let mut raw = world.open("/raw", "ann", "w1", "user").await;
    raw.send(&json!({"type": "request_metrics", "id": 1, "metric_type": "memory"})).await;
    assert_eq!(raw.text().await, r#"{"metric_type":"memory","metrics":{"total":2}}"#);
}

#[tokio::test]
async fn no_command_reaches_into_another_workspace() {
    let world = World::start("tenants", free_port());
    let mut ann = world.open("/ws", "ann", "w1", "user").await;
    let mut eve = world.open("/ws", "eve", "w2", "user").await;
    world.publish("w1", &metrics("executions", 1));
    until_latest(&mut ann, &json!({"type": "request_metrics", "metric_type": "executions"}), 1).await;

    let wanted =
        json!({"type": "request_metrics", "metric_type": "executions", "tenant": "w1", "workspace_id": "w1"});
    assert_eq!(code(&ask(&mut eve, wanted).await), "not_available", "her own workspace has none");
    for workspace in ["w1", "w1:x", "%77%31", "W1", "", "*"] {
        let stolen = json!({"type": "exact_metrics", "workspace": workspace, "metric_type": "executions"});
        let answer = ask(&mut eve, stolen).await;
        let expected = if workspace.is_empty() { "bad_request" } else { "forbidden" };
        assert_eq!(code(&answer), expected, "{workspace}: {answer}");
        assert!(!answer.to_string().contains("total"), "{answer}");
    }

    let subscribe = json!({"type": "subscribe", "data": {"channel": "room:w1:r"}});
    assert_eq!(ask(&mut ann, subscribe).await["event"], "subscribed");
    let typing = |workspace: &str| json!({"type": "typing", "id": 7, "data": {"workspace": workspace, "room": "r", "text": "hi", "kind": "k"}});
    assert_eq!(code(&ask(&mut eve, typing("w1")).await), "forbidden");
    let into = json!({"type": "room:say", "data": {"room": "r:w1", "text": "from outside"}});
    assert_eq!(ask(&mut eve, into).await["data"]["channel"], "room:w2:r%3Aw1");
    let published = ask(&mut ann, json!({"type": "room:say", "room": "r"})).await;
    // Her own is the first that arrives: nothing of eve's did. The answer and the publication may come in either order.
    let heard = ann.json().await;
    let events = [published["event"].as_str().unwrap(), heard["event"].as_str().unwrap()];
    assert!(events.contains(&"said") && events.contains(&"published"), "{published} {heard}");
}

#[tokio::test]
async fn replies_and_acknowledgements_carry_the_id_and_the_data_as_it_was_written() {
    let world = World::start("replies", free_port());
    let mut ann = world.open("/typed", "ann", "w1", "user").await;
    say(&mut ann, r#"{"type":"echo","id":"a","data": {"z": 1.50, "a":[12345678901234567890123]} }"#).await;
    let answer = ann.text().await;
    assert!(answer.starts_with(r#"{"type":"echo","timestamp":""#), "{answer}");
    assert!(answer.ends_with(r#","id":"a","data":{"z": 1.50, "a":[12345678901234567890123]}}"#), "{answer}");
    say(&mut ann, r#"{"type":"echo","b": 1.0,"id":1e2,"a":"\u00e9"}"#).await;
    let answer = ann.text().await;
    assert!(answer.ends_with(r#","id":1e2,"data":{"b":1.0,"a":"\u00e9"}}"#), "{answer}");
    say(&mut ann, r#"{"type":"echo","data":null}"#).await;
    let answer: Value = serde_json::from_str(&ann.text().await).unwrap();
    assert!(answer["data"].is_null() && answer.get("id").is_none(), "{answer}");

    let who = ask(&mut ann, json!({"type": "who", "id": 5})).await;
    assert_eq!((&who["type"], &who["id"]), (&json!("you:ann"), &json!(5)));
    assert_eq!(who["data"], json!({"tenant": "w1", "name": "who", "args": 1, "sub": "ann"}));
    let saved = ask(&mut ann, json!({"type": "saved", "id": 6, "n": 41})).await;
    assert_eq!((&saved["type"], &saved["id"], &saved["data"]), (&json!("ack"), &json!(6), &json!({"n": 42})));

    // What the data does not allow is told without a word about the rules' values, and with the id.
    for data in [json!({"n": "text"}), json!({}), json!(null), json!([1]), json!({"n": i64::MAX})] {
        let answer = ask(&mut ann, json!({"type": "saved", "id": 9, "data": data})).await;
        assert_eq!((code(&answer), &answer["id"]), ("bad_request", &json!(9)));
        assert_eq!(answer["data"]["message"], "the command's `ack` cannot be made from this message");
    }
    let deep = format!(r#"{{"type":"echo","id":3,"data":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    say(&mut ann, &deep).await;
    assert_eq!(code(&ann.json().await), "too_large");

    assert_eq!(code(&ask(&mut ann, json!({"type": "admins", "id": 1})).await), "forbidden");
    assert_eq!(code(&ask(&mut ann, json!({"type": "nobody", "id": 1})).await), "unknown_type");
    let mut root = world.open("/typed", "root", "w1", "admin").await;
    assert_eq!(ask(&mut root, json!({"type": "admins", "data": 1})).await["data"], 1);

    // Declared names label metrics; what clients invent does not.
    let metrics = http::get(world.gateway.admin, "/metrics").body;
    for line in [
        "type=\"saved\",result=\"ok\"",
        "type=\"saved\",result=\"bad_request\"",
        "type=\"admins\",result=\"forbidden\"",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("nobody"));
}

/// Sends exactly this text.
async fn say(socket: &mut Socket, text: &str) {
    socket.0.send(Message::text(text)).await.unwrap();
}

#[tokio::test]
async fn publications_reach_subscribers_by_their_tags_and_not_their_ephemeral_sender() {
    let world = World::start("publish", free_port());
    let mut ann = world.open("/typed", "ann", "w1", "user").await;
    let mut bob = world.open("/typed", "bob", "w1", "user").await;
    let subscribe =
        |kinds: Value| json!({"type": "subscribe", "data": {"channel": "room:w1:r", "filters": kinds}});
    assert_eq!(ask(&mut ann, subscribe(json!({}))).await["type"], "subscribed");
    assert_eq!(ask(&mut bob, subscribe(json!({"kinds": ["k"]}))).await["type"], "subscribed");

    let typing = |kind: &str| json!({"type": "typing", "id": kind, "data": {"workspace": "w1", "room": "r", "text": kind, "kind": kind}});
    for kind in ["other", "k"] {
        let answer = ask(&mut ann, typing(kind)).await;
        assert_eq!(
            (&answer["type"], &answer["id"]),
            (&json!("published"), &json!(kind)),
            "not echoed: {answer}"
        );
        assert_eq!(answer["data"]["channel"], "room:w1:r");
        assert!(answer["data"]["id"].is_string());
    }
    let heard = bob.json().await;
    assert_eq!((&heard["type"], &heard["data"]), (&json!("typing"), &json!({"user": "ann", "text": "k"})));

    // Not ephemeral: its sender hears it too, with the data as it came.
    ann.send(&json!({"type": "room:say", "room": "r", "text": "x"})).await;
    let both = [ann.json().await, ann.json().await];
    assert!(both.iter().any(|said| said["type"] == "published"), "{both:?}");
    assert!(
        both.iter().any(|said| said["type"] == "said" && said["data"] == json!({"room": "r", "text": "x"})),
        "{both:?}"
    );
}

/// One request of the gateway to the application: the head in small letters, the body, and where to answer.
struct Call {
    head: String,
    body: Value,
    stream: std::net::TcpStream,
}

impl Call {
    fn answer(mut self, status: &str, body: &str) {
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        // A gateway that has given up does not read it.
        drop(self.stream.write_all((head + body).as_bytes()));
    }
}

/// An application that is asked by webhook.
fn application() -> (u16, Receiver<Call>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, calls) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let head = head.to_ascii_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            if send.send(Call { head, body, stream }).is_err() {
                return;
            }
        }
    });
    (port, calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_application_answers_by_webhook() {
    let (port, calls) = application();
    let world = World::start("webhook", port);
    let mut ann = world.open("/typed", "ann", "w1", "user").await;
    ann.send(&json!({"type": "ask", "id": "q1", "data": {"n": 1.0}})).await;
    let call = calls.recv_timeout(PATIENCE).unwrap();
    assert!(call.head.starts_with("post /rt?x=1 http/1.1\r\n"), "{}", call.head);
    assert!(
        call.head.contains("x-rtgw-timestamp: ") && call.head.contains("x-rtgw-signature-256: "),
        "{}",
        call.head
    );
    let body = &call.body;
    assert_eq!(
        (&body["command"], &body["id"], &body["data"]),
        (&json!("ask"), &json!("q1"), &json!({"n": 1.0}))
    );
    assert_eq!(
        (&body["user"], &body["tenant"], &body["claims"]["sub"]),
        (&json!("ann"), &json!("w1"), &json!("ann"))
    );
    assert_eq!(
        (&body["connection"]["endpoint"], &body["connection"]["ip"]),
        (&json!("typed"), &json!("127.0.0.1"))
    );
    assert!(body["connection"]["id"].as_str().unwrap().len() >= 16);
    call.answer("200 OK", r#"{"event":"answer","data":{"z":1.50,"a":2}}"#);
    let answer = ann.text().await;
    assert!(
        answer.starts_with(r#"{"type":"answer","#)
            && answer.ends_with(r#","id":"q1","data":{"z":1.50,"a":2}}"#),
        "{answer}"
    );

    for (status, body, expected) in [
        ("200 OK", r#"{"error":{"code":"forbidden","message":"not yours"}}"#, "forbidden"),
        ("200 OK", r#"{"error":{"code":"sold_out","message":"no seats"}}"#, "bad_request"),
        ("200 OK", "<html>", "not_available"),
        ("500 Oops", r#"{"data":"secret"}"#, "not_available"),
        ("302 Found", "", "not_available"),
    ] {
        ann.send(&json!({"type": "ask", "id": 2})).await;
        calls.recv_timeout(PATIENCE).unwrap().answer(status, body);
        let answer = ann.json().await;
        assert_eq!((code(&answer), &answer["id"]), (expected, &json!(2)), "{status} {body}");
        assert!(!answer.to_string().contains("secret"), "{answer}");
    }
    ann.send(&json!({"type": "ask"})).await;
    calls.recv_timeout(PATIENCE).unwrap().answer("204 No Content", "");
    assert_eq!(ann.json().await["type"], "ack");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_application_delays_nobody_else_and_a_connections_commands_keep_their_order() {
    let (port, calls) = application();
    let world = World::start("silent", port);
    let mut ann = world.open("/typed", "ann", "w1", "user").await;
    let mut bob = world.open("/typed", "bob", "w1", "user").await;
    ann.send(&json!({"type": "ask", "id": 1})).await;
    ann.send(&json!({"type": "saved", "id": 2, "n": 1})).await;
    ann.send(&json!({"type": "ping", "id": 3})).await;
    let held = calls.recv_timeout(PATIENCE).unwrap();
    let asked = Instant::now();
    assert_eq!(ask(&mut bob, json!({"type": "saved", "id": 9, "n": 1})).await["id"], 9);
    assert!(asked.elapsed() < Duration::from_millis(400), "{:?}", asked.elapsed());

    let first = ann.json().await;
    assert_eq!(
        (&first["id"], code(&first), &first["data"]["temporary"]),
        (&json!(1), "timeout", &json!(true))
    );
    assert_eq!((ann.json().await["id"].clone(), ann.json().await["id"].clone()), (json!(2), json!(3)));
    drop(held);
}

#[tokio::test]
async fn an_application_that_is_down_is_told_at_once() {
    let world = World::start("down", free_port());
    let mut ann = world.open("/typed", "ann", "w1", "user").await;
    let answer = ask(&mut ann, json!({"type": "ask", "id": 1})).await;
    assert_eq!((code(&answer), &answer["data"]["temporary"]), ("not_available", &json!(true)));
    assert!(!answer.to_string().contains("127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn commands_count_against_the_rate_and_are_refused_in_their_place() {
    let world = World::start("rate", free_port());
    let mut ann = world.open("/typed", "ann", "w1", "user").await;
    for number in 0..60 {
        ann.send(&json!({"type": "saved", "id": number, "n": number})).await;
    }
    let mut refused = 0;
    for number in 0..60 {
        let answer = ann.json().await;
        assert_eq!(answer["id"], number, "in order: {answer}");
        refused += usize::from(answer["type"] == "error" && code(&answer) == "rate_limited");
    }
    assert!(refused > 0, "60 at once against a burst of 40");
}
