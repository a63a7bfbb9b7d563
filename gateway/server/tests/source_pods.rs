//! Sources that several pods read together, each pod a process: one at a time with `ingest: OnePod`, side by side from a stream.
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
  limits: {connection: {queueMessages: 20000, queueBytes: 16Mi}}
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
        let file = std::env::temp_dir().join(format!("rtgw-{name}-{}.yaml", std::process::id()));
        let manifest = Self(file);
        manifest.write(name, redis, source);
        manifest
    }

    fn write(&self, name: &str, redis: &Redis, source: &str) {
        let mut text = format!(
            "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: {name}}}\nspec:\n{SPEC}"
        );
        write!(text, "  redis: {{external: {{url: '{}'}}}}\n  sources: [{source}]\n", redis.url()).unwrap();
        std::fs::write(&self.0, text).unwrap();
    }

    fn serve(&self) -> Gateway {
        Gateway::serve(&self.0, &[])
    }
}

const PUB_SUB: &str = "{name: jobs, ingest: OnePod, redisPubSub: {channels: ['heard']}, publish: [{channels: [jobs], event: \"'n'\", data: msg}]}";

const STREAM: &str =
    "{name: orders, redisStream: {key: orders}, publish: [{channels: [jobs], event: \"'n'\", data: msg}]}";

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

/// The reader believes for a moment that the lease is its own; Redis knows better.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_without_the_lease_is_published_by_nobody() {
    let redis = Redis::start();
    let manifest = Manifest::new("fenced", &redis, PUB_SUB);
    let pod = manifest.serve();
    redis.wait_for_subscriber("heard");
    let mut socket = subscribed(&pod, "jobs").await;
    say(&redis, 1);
    next(&mut socket, 1).await;
    let lease = redis.cli(&["KEYS", "rtgw:default/fenced:*lease*"]);
    assert_eq!(lease.lines().count(), 1, "{lease}");
    for (change, number) in
        [("redis.call('SET', KEYS[1], 'another', 'PX', 300)", 2), ("redis.call('DEL', KEYS[1])", 4)]
    {
        let script = format!("{change} return redis.call('PUBLISH', 'heard', ARGV[1])");
        assert_eq!(
            redis.cli(&["EVAL", &script, "1", &lease, &number.to_string()]),
            "1",
            "the reader heard it"
        );
        let message = socket.json().await;
        assert!(takeover(&message), "{message}");
        eventually("it is read again", || (subscribers(&redis) == 1).then_some(()));
        say(&redis, number + 1);
        next(&mut socket, number + 1).await;
    }
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

/// What a client hears: numbers, and gaps by their reason.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Number(u32),
    Gap(String),
}

/// A client that notes everything until it hears the number of the end.
fn note(mut socket: Socket, end: u32) -> tokio::task::JoinHandle<Vec<Heard>> {
    tokio::spawn(async move {
        let mut heard = Vec::new();
        loop {
            let message = socket.json().await;
            match message["type"].as_str() {
                Some("n") if message["data"] == json!(end) => return heard,
                Some("n") => {
                    heard.push(Heard::Number(u32::try_from(message["data"].as_u64().unwrap()).unwrap()));
                }
                Some("gap") => heard.push(Heard::Gap(message["data"]["reason"].as_str().unwrap().to_owned())),
                _ => panic!("{message}"),
            }
        }
    })
}

/// The numbers between gaps.
fn runs(heard: &[Heard]) -> Vec<Vec<u32>> {
    let runs = heard.split(|heard| matches!(heard, Heard::Gap(_)));
    let number = |heard: &Heard| if let Heard::Number(number) = heard { *number } else { unreachable!() };
    runs.map(|run| run.iter().map(number).collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_every_pod_hear_what_one_pod_reads_once_and_no_loss_is_silent() {
    const END: u32 = u32::MAX;
    let redis = Redis::start();
    let manifest = Manifest::new("everywhere", &redis, PUB_SUB);
    let (first, second) = two(&manifest, &redis);
    let third = manifest.serve();
    let mut clients = Vec::new();
    for gateway in [&second, &third] {
        clients.push(note(subscribed(gateway, "jobs").await, END));
    }
    let mut published = 0;
    for number in 0..1000 {
        say(&redis, number);
        published = number;
        if number == 300 {
            first.process.signal("KILL");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    eventually("another reads", || (subscribers(&redis) == 1).then_some(()));
    say(&redis, END);
    let mut all = Vec::new();
    for client in clients {
        all.push(client.await.unwrap());
    }
    for heard in &all {
        let is_gap = |heard: &Heard| matches!(heard, Heard::Gap(_));
        let gaps: Vec<&Heard> = heard.iter().filter(|heard| is_gap(heard)).collect();
        assert_eq!(gaps, [&Heard::Gap("source_takeover".to_owned())], "the loss is told, once");
        let numbers = runs(heard).concat();
        assert!(numbers.is_sorted_by(|one, next| one < next), "each once and in order: {numbers:?}");
        assert_eq!((numbers[0], numbers.last()), (0, Some(&published)));
        let hole =
            numbers.windows(2).position(|two| two[1] != two[0] + 1).expect("the killed pod missed some") + 1;
        assert!(numbers[hole..].windows(2).all(|two| two[1] == two[0] + 1), "one hole: {numbers:?}");
        let told = heard.iter().position(is_gap).unwrap();
        // At a publication every 5 ms: a pod on a busy machine is told a moment late.
        assert!((hole..hole + 200).contains(&told), "the gap where the hole is: {told}, {hole}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_entries_of_a_stream_reach_everybody_once_although_a_pod_is_killed() {
    const ENTRIES: u32 = 10_000;
    const END: u32 = u32::MAX;
    let redis = Redis::start();
    let manifest = Manifest::new("stream", &redis, STREAM);
    let (first, second) = (manifest.serve(), manifest.serve());
    let of_first = subscribed(&first, "jobs").await;
    let client = note(subscribed(&second, "jobs").await, END);
    drop(note(of_first, END));
    let client_of_redis = ::redis::Client::open(redis.url()).unwrap();
    let mut connection = client_of_redis.get_multiplexed_async_connection().await.unwrap();
    for part in 0..20 {
        let mut pipe = ::redis::pipe();
        for number in part * ENTRIES / 20..(part + 1) * ENTRIES / 20 {
            pipe.cmd("XADD").arg("orders").arg("*").arg("data").arg(number).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.unwrap();
        if part == 6 {
            eventually("the first has published some", || {
                (first.metric("rtgw_publications_total", "orders") > 200.0).then_some(())
            });
            first.process.signal("KILL");
        }
    }
    let group = "rtgw:default/stream:orders";
    eventually("everything is acknowledged", || {
        let waiting = redis.cli(&["XPENDING", "orders", group]);
        let info = redis.cli(&["XINFO", "GROUPS", "orders"]);
        let lag = info.lines().skip_while(|line| line.trim() != "lag").nth(1).map(str::trim);
        (waiting.starts_with('0') && lag == Some("0")).then_some(())
    });
    redis.cli(&["XADD", "orders", "*", "data", &END.to_string()]);
    let heard = client.await.unwrap();
    let mut numbers: Vec<u32> = runs(&heard).concat();
    assert_eq!(
        numbers.len(),
        heard.len(),
        "no gap where nothing was lost: {:?}",
        heard.iter().find(|heard| matches!(heard, Heard::Gap(_)))
    );
    let in_order = numbers.windows(2).filter(|two| two[0] < two[1]).count();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..ENTRIES).collect::<Vec<_>>(), "each once ({in_order} in order)");
    assert_eq!(redis.cli(&["EXISTS", "orders:rtgw:rejected"]), "0");
}

/// Waits until a pod runs what was written so often.
fn reloaded(gateway: &Gateway, times: usize) {
    eventually("the configuration is reloaded", || {
        let said = gateway.process.stderr();
        (said.matches("the configuration is reloaded").count() >= times).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_traffic_costs_a_stream_nothing() {
    const END: u32 = u32::MAX;
    let redis = Redis::start();
    let manifest = Manifest::new("again", &redis, STREAM);
    let gateway = manifest.serve();
    let client = note(subscribed(&gateway, "jobs").await, END);
    let add = |number: u32| redis.cli(&["XADD", "orders", "*", "data", &number.to_string()]);
    for number in 0..600 {
        add(number);
        if number % 200 == 100 {
            let group = if number != 300 { "group: other, start: Beginning" } else { "start: Beginning" };
            let source = STREAM.replace("key: orders", &format!("key: orders, {group}"));
            manifest.write("again", &redis, &source);
            reloaded(&gateway, number as usize / 200 + 1);
        }
    }
    add(END);
    let heard = client.await.unwrap();
    let numbers = runs(&heard).concat();
    assert_eq!(numbers, (0..600).collect::<Vec<_>>(), "also by another group that begins anew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_hands_the_turn_over_at_once() {
    let redis = Redis::start();
    let manifest = Manifest::new("turn", &redis, PUB_SUB);
    let (first, second) = two(&manifest, &redis);
    let mut sockets = [subscribed(&first, "jobs").await, subscribed(&second, "jobs").await];
    let changed = PUB_SUB.replace("data: msg", "data: msg + 1");
    manifest.write("turn", &redis, &changed);
    for gateway in [&first, &second] {
        reloaded(gateway, 1);
    }
    let began = Instant::now();
    for socket in &mut sockets {
        assert!(takeover(&socket.json_of_type("gap").await));
    }
    eventually("one reads", || (subscribers(&redis) == 1).then_some(()));
    assert!(began.elapsed() < HANDS_OVER_WITHIN * 2, "{:?}", began.elapsed());
    say(&redis, 1);
    for socket in &mut sockets {
        next(socket, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_while_another_took_over_is_told_that_something_is_missing() {
    let redis = Redis::start();
    let manifest = Manifest::new("away", &redis, PUB_SUB);
    let text = std::fs::read_to_string(&manifest.0).unwrap();
    let kept = "subscribe: 'true', history: {mode: Stream, size: 100, ttl: 1h}}";
    std::fs::write(&manifest.0, text.replace("subscribe: 'true'}", kept)).unwrap();
    let (first, second) = two(&manifest, &redis);
    let mut positions = Vec::new();
    for channel in ["jobs", "other"] {
        let mut away = Socket::open(&second.url("/ws")).await;
        away.send(&json!({"type": "subscribe", "channel": channel})).await;
        let answer = away.json_of_type("subscribed").await["data"].take();
        positions.push(json!({"offset": answer["offset"], "epoch": answer["epoch"]}));
    }
    first.process.signal("KILL");
    eventually("the dead pod's connection is gone", || (subscribers(&redis) == 0).then_some(()));
    assert_eq!(say(&redis, 1), "0", "nobody reads it");
    let mut there = subscribed(&second, "jobs").await;
    while !takeover(&there.json_of_type("gap").await) {}
    let mut back = Socket::open(&second.url("/ws")).await;
    // A channel that the source does not feed has lost nothing.
    for ((channel, since), recovered) in ["jobs", "other"].into_iter().zip(positions).zip([false, true]) {
        let data = json!({"channel": channel, "recover": since});
        back.send(&json!({"type": "subscribe", "data": data})).await;
        let answer = back.json_of_type("subscribed").await;
        assert_eq!(answer["data"]["recovered"], recovered, "{channel} {since}: {answer}");
    }
    say(&redis, 2);
    let heard = back.json_of_type("n").await;
    assert_eq!(heard["data"], json!(2));
}
