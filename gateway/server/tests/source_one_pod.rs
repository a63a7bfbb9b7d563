//! `ingest: OnePod`: one of several pods reads the source, another takes over, and every pod tells the gap.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::gateway::Gateway;
use support::redis::Redis;
use support::socket::Socket;
use support::{eventually, http};

/// Within this another pod reads the source after the reader was killed.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(5);
/// The same after it was asked to end.
const HANDS_OVER_WITHIN: Duration = Duration::from_secs(1);

const SPEC: &str = "  endpoints: [{name: ws, path: /ws, greeting: {disabled: true}}]
  auth: {anonymous: Allow}
  channels: [{pattern: jobs, subscribe: 'true'}, {pattern: other, subscribe: 'true'}]
";

/// A manifest in a file of its own.
struct Manifest(PathBuf);

impl Drop for Manifest {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

impl Manifest {
    fn new(name: &str, redis: &Redis, source: &str) -> Self {
        let mut text = format!(
            "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: {name}}}\nspec:\n{SPEC}"
        );
        write!(text, "  redis: {{external: {{url: '{}'}}}}\n  sources: [{source}]\n", redis.url()).unwrap();
        let file = std::env::temp_dir().join(format!("rtgw-{name}-{}.yaml", std::process::id()));
        std::fs::write(&file, text).unwrap();
        Self(file)
    }

    fn serve(&self) -> Gateway {
        Gateway::serve(&self.0, &[])
    }
}

const PUB_SUB: &str = "{name: jobs, ingest: OnePod, redisPubSub: {channels: ['heard']}, publish: [{channels: [jobs], event: \"'n'\", data: msg}]}";

async fn subscribed(gateway: &Gateway, channel: &str) -> Socket {
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    socket.send(&json!({"type": "subscribe", "channel": channel})).await;
    socket.json_of_type("subscribed").await;
    socket
}

/// How many connections of Redis a message went to.
fn say(redis: &Redis, number: u32) -> String {
    redis.cli(&["PUBLISH", "heard", &number.to_string()])
}

fn subscribers(redis: &Redis) -> u32 {
    redis.cli(&["PUBSUB", "NUMSUB", "heard"]).lines().last().unwrap().parse().unwrap()
}

async fn next(socket: &mut Socket, number: u32) {
    let message = socket.json().await;
    assert_eq!((&message["type"], &message["data"]), (&json!("n"), &json!(number)), "{message}");
}

fn takeover(message: &Value) -> bool {
    message["type"] == "gap" && message["data"] == json!({"channel": "jobs", "reason": "source_takeover"})
}

fn reads(gateway: &Gateway) -> bool {
    gateway.process.stderr().contains("this pod reads the source")
}

/// Two pods, the one that reads first.
fn two(manifest: &Manifest, redis: &Redis) -> (Gateway, Gateway) {
    let first = manifest.serve();
    redis.wait_for_subscriber("heard");
    let second = manifest.serve();
    eventually("the second waits for its turn", || {
        http::get(second.admin, "/readyz").json()["degraded"].as_array().unwrap().is_empty().then_some(())
    });
    assert_eq!(subscribers(redis), 1, "one pod reads");
    (first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_reader_is_followed_by_another_and_a_gap() {
    let redis = Redis::start();
    let manifest = Manifest::new("killed", &redis, PUB_SUB);
    let (first, second) = two(&manifest, &redis);
    let mut of_second = subscribed(&second, "jobs").await;
    let mut of_other = subscribed(&second, "other").await;
    assert_eq!(say(&redis, 1), "1");
    first.process.signal("KILL");
    let killed = Instant::now();
    eventually("the dead pod's connection is gone", || (subscribers(&redis) == 0).then_some(()));
    eventually("the second pod reads", || (subscribers(&redis) == 1).then_some(()));
    assert!(killed.elapsed() < TAKES_OVER_WITHIN, "{:?}", killed.elapsed());
    loop {
        let message = of_second.json().await;
        if takeover(&message) {
            break;
        }
        assert_eq!(message["data"], json!(1), "what the first pod had published, at most: {message}");
    }
    say(&redis, 2);
    next(&mut of_second, 2).await;
    assert!(second.metric("rtgw_gaps_total", "source_takeover") > 0.5);
    of_other.send(&json!({"type": "ping"})).await;
    assert_eq!(
        of_other.json().await["type"],
        "pong",
        "a channel that the source does not feed hears of nothing"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_ends_hands_over_at_once_and_every_pod_tells_the_gap() {
    let redis = Redis::start();
    let manifest = Manifest::new("ended", &redis, PUB_SUB);
    let (mut first, second) = two(&manifest, &redis);
    let third = manifest.serve();
    let mut sockets = [subscribed(&second, "jobs").await, subscribed(&third, "jobs").await];
    first.process.signal("TERM");
    first.process.ended();
    let ended = Instant::now();
    eventually("another reads", || (subscribers(&redis) == 1).then_some(()));
    assert!(ended.elapsed() < HANDS_OVER_WITHIN, "{:?}", ended.elapsed());
    assert_ne!(reads(&second), reads(&third), "one of them");
    for socket in &mut sockets {
        assert!(takeover(&socket.json().await));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_was_stopped_for_a_while_publishes_nothing_late() {
    let redis = Redis::start();
    let manifest = Manifest::new("stopped", &redis, PUB_SUB);
    let (first, second) = two(&manifest, &redis);
    let mut of_first = subscribed(&first, "jobs").await;
    first.process.signal("STOP");
    // Taken by the connection of a process that does not run.
    for number in 0..50 {
        say(&redis, number);
    }
    eventually("the second pod reads", || reads(&second).then_some(()));
    eventually("both are subscribed", || (subscribers(&redis) == 2).then_some(()));
    first.process.signal("CONT");
    eventually("the first leaves", || (subscribers(&redis) == 1).then_some(()));
    let message = of_first.json().await;
    assert!(takeover(&message), "{message}");
    assert!(first.process.stderr().contains("has lost its turn"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_loses_everything_costs_a_turn_and_a_gap() {
    let mut redis = Redis::start();
    let manifest = Manifest::new("flushed", &redis, PUB_SUB);
    let (first, second) = two(&manifest, &redis);
    let mut sockets = [subscribed(&first, "jobs").await, subscribed(&second, "jobs").await];
    redis.restart();
    let usable = Instant::now();
    eventually("one reads", || (subscribers(&redis) == 1).then_some(()));
    assert!(usable.elapsed() < Duration::from_secs(2), "{:?}", usable.elapsed());
    for socket in &mut sockets {
        let message = socket.json_of_type("gap").await;
        assert_eq!(message["data"]["channel"], "jobs");
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(subscribers(&redis), 1, "and nobody besides");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_redis_of_the_gateway_the_one_process_reads() {
    let redis = Redis::start();
    let source = PUB_SUB.replace("['heard']", &format!("['heard'], redis: {{url: '{}'}}", redis.url()));
    let file = Manifest::new("alone", &redis, &source);
    let text = std::fs::read_to_string(&file.0).unwrap();
    let text: String = text
        .lines()
        .filter(|line| !line.contains("external"))
        .fold(String::new(), |all, line| all + line + "\n");
    std::fs::write(&file.0, text).unwrap();
    let gateway = file.serve();
    redis.wait_for_subscriber("heard");
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    socket.send(&json!({"type": "subscribe", "channel": "jobs"})).await;
    socket.json_of_type("subscribed").await;
    say(&redis, 1);
    let message = socket.json_of_type("n").await;
    assert_eq!(message["data"], json!(1));
    assert_eq!(redis.cli(&["KEYS", "rtgw:*"]), "");
}
