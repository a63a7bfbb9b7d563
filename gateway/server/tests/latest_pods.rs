//! `replyLatest` of channels that keep a history: every pod gives the same answer, also one that was not there.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::gateway::Gateway;
use support::redis::Redis;
use support::socket::Socket;
use support::{PATIENCE, http};

/// No filters: what tells values apart is what the commands ask for.
const MANIFEST: &str = r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: latest}
spec:
  endpoints:
  - {name: ws, path: /ws, envelope: Event, greeting: {disabled: true}}
  auth: {anonymous: Allow}
  channels:
  - {pattern: "metrics:{of}", subscribe: "of != 'secret'", history: {mode: Cache, size: 100, ttl: 1h}}
  - {pattern: "log:{of}", subscribe: "true", history: {mode: Stream, size: 100, ttl: 1h}}
  commands:
    metrics: {replyLatest: {channel: "metrics:{data.of}", event: "'m'", tags: {kind: data.kind}, orElse: Any}}
    exact: {replyLatest: {channel: "metrics:{data.of}", event: "'m'", tags: {kind: data.kind}}}
    logged: {replyLatest: {channel: "log:{data.of}", event: "'m'", tags: {kind: data.kind}}}
"#;

#[track_caller]
fn pod(name: &str, redis: Option<&Redis>) -> Gateway {
    let path = std::env::temp_dir().join(format!("rtgw-latest-{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, MANIFEST).unwrap();
    let redis = redis.map(Redis::url);
    let arguments: Vec<&str> = redis.iter().flat_map(|url| ["--redis", url.as_str()]).collect();
    let gateway = Gateway::serve(&path, &arguments);
    std::fs::remove_file(path).unwrap();
    gateway
}

fn publish(pod: &Gateway, channel: &str, kind: &str, n: u64) {
    let body = json!({"channel": channel, "event": "m", "data": {"n": n}, "tags": {"kind": kind}, "priority": "high"});
    let answer = http::post(pod.admin, "/v1/publish", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn ask(socket: &mut Socket, command: &str, of: &str, kind: &str) -> Value {
    socket.send(&json!({"event": command, "id": 1, "data": {"of": of, "kind": kind}})).await;
    loop {
        let answer = socket.json().await;
        // Publications have no id.
        if answer.get("id").is_some() {
            return answer;
        }
    }
}

/// What everybody is answered about `a`.
async fn answers(socket: &mut Socket) -> Vec<Value> {
    let mut answers = Vec::new();
    for (command, kind) in
        [("exact", "cpu"), ("exact", "disk"), ("metrics", "none"), ("exact", "none"), ("logged", "cpu")]
    {
        let mut answer = ask(socket, command, "a", kind).await;
        if answer["event"] == "error" {
            // Errors tell when they happened, publications when they were published.
            answer.as_object_mut().unwrap().remove("timestamp");
        }
        answers.push(answer);
    }
    answers
}

/// Asks until the answer is as wanted; what was published is on its way.
async fn until(socket: &mut Socket, command: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = ask(socket, command, "a", "cpu").await;
        if wanted(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn is_away(answer: &Value) -> bool {
    let told = |word| answer["data"]["message"].as_str().is_some_and(|message| message.contains(word));
    assert!(!told("nothing of that kind"), "a broker that is away is not one that has nothing: {answer}");
    answer["data"]["code"] == "not_available" && answer["data"]["temporary"] == true && told("broker")
}

/// Reads of histories that Redis has served.
fn reads(redis: &Redis) -> u64 {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xrevrange:calls="));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_started_later_answers_as_one_that_heard_it() {
    let redis = Redis::start();
    let a = pod("heard", Some(&redis));
    let mut heard = Socket::open(&a.url("/ws")).await;
    for channel in ["metrics:a", "log:a"] {
        heard.send(&json!({"event": "subscribe", "id": 0, "data": {"channel": channel}})).await;
        assert_eq!(heard.json().await["event"], "subscribed");
    }
    for channel in ["metrics:a", "log:a"] {
        for (n, kind) in [(1, "cpu"), (2, "disk"), (3, "cpu"), (4, "disk")] {
            publish(&a, channel, kind, n);
        }
    }
    let b = pod("later", Some(&redis));
    let mut later = Socket::open(&b.url("/ws")).await;
    let expected = answers(&mut later).await;
    let shown: Vec<&Value> = expected.iter().map(|answer| &answer["data"]["n"]).collect();
    assert_eq!(shown, [&json!(3), &json!(4), &json!(4), &Value::Null, &json!(3)], "{expected:?}");
    assert_eq!((&expected[0]["event"], &expected[0]["priority"]), (&json!("m"), &json!("high")));
    assert_eq!(expected[3]["data"]["code"], "not_available");
    until(&mut heard, "logged", |answer| answer["data"]["n"] == 3).await;
    assert_eq!(answers(&mut heard).await, expected);
    let stolen = ask(&mut later, "exact", "secret", "cpu").await;
    assert_eq!(stolen["data"]["code"], "forbidden");

    // What was accepted by whichever pod is the answer of one that has to ask, and soon of one that hears.
    for n in 5..10 {
        publish(if n % 2 == 0 { &a } else { &b }, "metrics:a", "cpu", n);
        assert_eq!(ask(&mut later, "exact", "a", "cpu").await["data"]["n"], n);
        until(&mut heard, "exact", |answer| answer["data"]["n"] == n).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_ask_at_once_cost_few_reads() {
    let redis = Redis::start();
    let a = pod("many", Some(&redis));
    publish(&a, "metrics:a", "cpu", 1);
    let url = a.url("/ws");
    let mut sockets = join_all((0..200).map(|_| Socket::open(&url))).await;
    let (before, begun) = (reads(&redis), std::time::Instant::now());
    let answers = join_all(sockets.iter_mut().map(|socket| ask(socket, "exact", "a", "cpu"))).await;
    assert!(answers.iter().all(|answer| answer["data"]["n"] == 1), "{answers:?}");
    let reads = reads(&redis) - before;
    // Ten a second, however long a busy machine takes to ask for all of them.
    let most = begun.elapsed().as_millis() / 100 + 2;
    assert!(reads >= 1 && u128::from(reads) <= most, "{reads} reads for 200 clients, not {most} at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_that_is_the_answer() {
    let redis = Redis::start();
    let [a, b] = ["away-a", "away-b"].map(|name| pod(name, Some(&redis)));
    let mut heard = Socket::open(&a.url("/ws")).await;
    heard.send(&json!({"event": "subscribe", "id": 0, "data": {"channel": "metrics:a"}})).await;
    assert_eq!(heard.json().await["event"], "subscribed");
    publish(&a, "metrics:a", "cpu", 1);
    let mut other = Socket::open(&b.url("/ws")).await;
    until(&mut heard, "exact", |answer| answer["data"]["n"] == 1).await;
    assert_eq!(ask(&mut other, "exact", "a", "cpu").await["data"]["n"], 1);

    redis.freeze();
    assert!(is_away(&ask(&mut other, "exact", "a", "cpu").await));
    // Who heard it goes by that for a while; then it has to ask, too.
    until(&mut heard, "exact", |answer| answer["data"]["n"] == 1 || is_away(answer)).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert!(is_away(&ask(&mut heard, "exact", "a", "cpu").await));
    redis.thaw();
    for socket in [&mut heard, &mut other] {
        until(socket, "exact", |answer| answer["data"]["n"] == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_one_pod_answers_from_what_it_keeps() {
    let pod = pod("memory", None);
    let mut socket = Socket::open(&pod.url("/ws")).await;
    // Nobody ever subscribed.
    for (n, kind) in [(1, "cpu"), (2, "disk")] {
        publish(&pod, "metrics:a", kind, n);
        publish(&pod, "log:a", kind, n);
    }
    assert_eq!(ask(&mut socket, "exact", "a", "cpu").await["data"]["n"], 1);
    assert_eq!(ask(&mut socket, "metrics", "a", "none").await["data"]["n"], 2);
    assert_eq!(ask(&mut socket, "logged", "a", "cpu").await["data"]["n"], 1);
    assert_eq!(ask(&mut socket, "exact", "a", "none").await["data"]["code"], "not_available");
}
