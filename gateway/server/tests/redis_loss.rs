//! Redis dies, freezes and comes back under traffic: no socket closes, the pod stays ready, each outage is told once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::gateway::Gateway;
use support::redis::Redis;
use support::socket::Socket;
use support::{PATIENCE, eventually, http, root};

const MANIFEST: &str = "examples/job-updates/gateway.yaml";
const CHANNEL: &str = "botrix:jobs:updates";
/// As `/readyz` names it.
const SOURCE: &str = "source:jobs";
/// The broker is in the same Redis, and tells of the outage by itself.
const BROKER: &str = "broker";
const CLIENTS: usize = 8;
/// Within this delivery goes on after Redis is usable again.
const RESUMES_WITHIN: Duration = Duration::from_secs(2);

/// What a client heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Number(u64),
    Gap,
}

/// Publishes numbers one after the other, as fast as Redis answers, through every outage.
struct Traffic {
    stop: Arc<AtomicBool>,
    /// Each number that Redis took, and how many connections of Redis it went to.
    taken: Arc<Mutex<Vec<(u64, u64)>>>,
    thread: JoinHandle<()>,
}

impl Traffic {
    fn start(redis: SocketAddr) -> Self {
        let (stop, taken) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<(u64, u64)>>>::default());
        let (done, note) = (Arc::clone(&stop), Arc::clone(&taken));
        let thread = std::thread::spawn(move || {
            let mut stream = None;
            for number in 0.. {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                match publish(&mut stream, redis, number) {
                    Some(receivers) => note.lock().unwrap().push((number, receivers)),
                    None => stream = None,
                }
                // A pace at which outages last for many numbers and a debug build has no backlog.
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { stop, taken, thread }
    }

    fn last_taken(&self) -> Option<u64> {
        self.taken.lock().unwrap().last().map(|(number, _)| *number)
    }

    fn end(self) -> Vec<(u64, u64)> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        let taken = self.taken.lock().unwrap();
        taken.clone()
    }
}

/// One `PUBLISH`; how many connections it went to, `None` when Redis is away.
fn publish(stream: &mut Option<BufReader<TcpStream>>, redis: SocketAddr, number: u64) -> Option<u64> {
    let reader = match stream {
        Some(reader) => reader,
        None => stream.insert(BufReader::new(TcpStream::connect(redis).ok()?)),
    };
    reader.get_ref().set_read_timeout(Some(PATIENCE)).ok()?;
    let message = json!({"job_id": "job", "status": "processing", "data": {"number": number}}).to_string();
    let command = format!(
        "*3\r\n$7\r\nPUBLISH\r\n${}\r\n{CHANNEL}\r\n${}\r\n{message}\r\n",
        CHANNEL.len(),
        message.len()
    );
    reader.get_ref().write_all(command.as_bytes()).ok()?;
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.trim().strip_prefix(':')?.parse().ok()
}

/// A client that notes everything until it is told to end by a status of `end`.
struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    async fn open(gateway: &Gateway) -> Self {
        let mut socket = Socket::open(&gateway.url("/ws")).await;
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let note = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let message = socket.json().await;
                let heard = match message["type"].as_str() {
                    Some("gap") if message["data"]["reason"] == "broker_reconnected" => continue,
                    Some("gap") => {
                        assert_eq!(
                            message["data"],
                            json!({"channel": "jobs", "reason": "source_reconnected"})
                        );
                        Heard::Gap
                    }
                    Some("job_update") if message["status"] == "end" => return,
                    Some("job_update") => Heard::Number(message["data"]["number"].as_u64().unwrap()),
                    _ => panic!("{message}"),
                };
                note.lock().unwrap().push(heard);
            }
        });
        Self { heard, task }
    }

    fn last(&self) -> Option<u64> {
        let heard = self.heard.lock().unwrap();
        heard.iter().rev().find_map(|heard| match heard {
            Heard::Number(number) => Some(*number),
            Heard::Gap => None,
        })
    }
}

/// Asks `/readyz` all the time: it must say 200; what is degraded is kept.
struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Probe {
    fn start(admin: SocketAddr) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let done = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::SeqCst) {
                seen.extend(degraded(admin));
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        Self { stop, thread }
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("/readyz stays 200")
    }
}

/// What `/readyz` names as degraded, with its 200.
fn degraded(admin: SocketAddr) -> Vec<String> {
    let answer = http::get(admin, "/readyz");
    assert_eq!(answer.status, 200, "{answer:?}");
    let parts = answer.json()["degraded"].take();
    parts.as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned()).collect()
}

/// Traffic, clients and outages, one after the other, each of which ends with a usable Redis.
async fn survive(outages: &[fn(&mut Redis, &Gateway)]) {
    let mut redis = Redis::start();
    let gateway = Gateway::serve(MANIFEST, &["--redis", &redis.url()]);
    redis.wait_for_subscriber(CHANNEL);
    eventually("nothing is degraded", || degraded(gateway.admin).is_empty().then_some(()));
    let mut listeners = Vec::new();
    for _ in 0..CLIENTS {
        listeners.push(Listener::open(&gateway).await);
    }
    eventually("everyone is connected", || (gateway.connected_clients() == CLIENTS as u64).then_some(()));
    let probe = Probe::start(gateway.admin);
    let traffic = Traffic::start(redis.address());
    for outage in outages {
        let before = traffic.last_taken().unwrap_or(0);
        everyone_hears(&listeners, "traffic before the outage", before + 100);
        outage(&mut redis, &gateway);
        let usable = Instant::now();
        let lost = listeners.iter().filter_map(Listener::last).max().unwrap();
        everyone_hears(&listeners, "traffic after the outage", lost + 1);
        let took = usable.elapsed();
        assert!(took < RESUMES_WITHIN, "delivery resumed after {took:?}");
        eventually("what delivers is well", || degraded(gateway.admin).is_empty().then_some(()));
    }
    let after = traffic.last_taken().unwrap();
    everyone_hears(&listeners, "traffic after all", after + 100);
    let taken = traffic.end();
    assert!(probe.end().iter().all(|part| part == SOURCE || part == BROKER));
    let closes = gateway.metric("rtgw_closes_total", "");
    assert!(closes < 0.5, "{closes} sockets were closed");
    redis.cli(&["PUBLISH", CHANNEL, r#"{"job_id":"job","status":"end"}"#]);
    for listener in listeners {
        listener.task.await.unwrap();
        judge(&listener.heard.lock().unwrap(), &taken, outages.len());
    }
}

fn everyone_hears(listeners: &[Listener], what: &str, number: u64) {
    eventually(what, || {
        assert!(listeners.iter().all(|listener| !listener.task.is_finished()), "a socket has ended");
        listeners.iter().all(|listener| listener.last() >= Some(number)).then_some(())
    });
}

/// Runs without holes, one gap between two of them, and in the last run everything up to the end.
fn judge(heard: &[Heard], taken: &[(u64, u64)], outages: usize) {
    let runs: Vec<&[Heard]> = heard.split(|heard| *heard == Heard::Gap).collect();
    assert_eq!(runs.len(), outages + 1, "a gap for each outage: {:?}", ends(&runs));
    let numbers = |run: &[Heard]| -> Vec<u64> {
        run.iter()
            .map(|heard| if let Heard::Number(number) = heard { *number } else { unreachable!() })
            .collect()
    };
    let mut last = None;
    for run in &runs {
        let run = numbers(run);
        let (first, end) = (*run.first().expect("a gap is told once"), *run.last().unwrap());
        assert!(last < Some(first), "in order");
        // What Redis took from the first to the last of the run, without exception and without repetition. A number whose
        // answer the publisher missed may be among them.
        let known: BTreeSet<u64> = taken.iter().map(|(number, _)| *number).collect();
        let unknown = run.iter().filter(|number| !known.contains(number)).count();
        assert!(unknown <= 1, "{unknown} numbers that were not published");
        assert!(run.is_sorted_by(|one, next| one < next), "once and in order");
        let published = known.range(first..=end).count();
        assert_eq!(run.len() - unknown, published, "everything from {first} to {end}");
        last = Some(end);
    }
    assert_eq!(last, taken.last().map(|(number, _)| *number), "up to the last one");
}

/// The first and last number of each run, for people.
fn ends(runs: &[&[Heard]]) -> Vec<(Option<Heard>, Option<Heard>)> {
    runs.iter().map(|run| (run.first().copied(), run.last().copied())).collect()
}

/// Waits until the source is named.
fn until_degraded(gateway: &Gateway) {
    eventually("the source is named as degraded", || {
        degraded(gateway.admin).contains(&SOURCE.to_owned()).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_traffic_and_started_again_empty() {
    let killed: fn(&mut Redis, &Gateway) = |redis, gateway| {
        redis.kill();
        until_degraded(gateway);
        // Long enough for several attempts in vain.
        std::thread::sleep(Duration::from_secs(2));
        redis.restart();
    };
    survive(&[killed, killed]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_at_once() {
    let restarted: fn(&mut Redis, &Gateway) = |redis, _| redis.restart();
    survive(&[restarted, restarted, restarted]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_for_five_seconds() {
    let frozen: fn(&mut Redis, &Gateway) = |redis, gateway| {
        let begun = Instant::now();
        redis.freeze();
        until_degraded(gateway);
        std::thread::sleep(Duration::from_secs(5).saturating_sub(begun.elapsed()));
        redis.thaw();
    };
    survive(&[frozen]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_too_shortly_to_matter() {
    let mut redis = Redis::start();
    let gateway = Gateway::serve(MANIFEST, &["--redis", &redis.url()]);
    redis.wait_for_subscriber(CHANNEL);
    let mut client = Socket::open(&gateway.url("/ws")).await;
    redis.freeze();
    std::thread::sleep(Duration::from_secs(1));
    redis.thaw();
    for number in 0..100 {
        let message = json!({"job_id": "job", "status": "processing", "data": {"number": number}});
        redis.cli(&["PUBLISH", CHANNEL, &message.to_string()]);
        let heard = client.json().await;
        assert_eq!(
            heard["data"]["number"],
            json!(number),
            "no gap is told where nothing was missed: {heard}"
        );
    }
    redis.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_redis_warns_serves_and_picks_it_up() {
    let mut redis = Redis::start();
    redis.kill();
    // The source alone reads it; the broker is in the process.
    let own = format!("redisPubSub: {{redis: {{url: \"{}\"}}, channels", redis.url());
    let mut manifest = std::fs::read_to_string(root().join(MANIFEST)).unwrap();
    for (old, new) in [
        ("redisPubSub: {channels", &own[..]),
        ("external: {url: \"redis://127.0.0.1:6379\"}", "embedded: {}"),
    ] {
        assert!(manifest.contains(old), "{manifest}");
        manifest = manifest.replace(old, new);
    }
    let path = std::env::temp_dir().join(format!("rtgw-redis-loss-{}.yaml", redis.address().port()));
    std::fs::write(&path, manifest).unwrap();
    let mut gateway = Gateway::serve(&path, &[]);
    std::fs::remove_file(&path).unwrap();
    until_degraded(&gateway);
    assert_eq!(http::get(gateway.admin, "/readyz?strict").status, 503);
    eventually("a warning names the source", || {
        let said = gateway.process.stderr();
        let warned = said.lines().any(|line| line.contains("jobs") && line.to_lowercase().contains("warn"));
        warned.then_some(())
    });
    let mut client = Socket::open(&gateway.url("/ws")).await;
    client.send(&json!({"type": "ping"})).await;
    assert_eq!(client.json().await["type"], "pong");

    redis.restart();
    let usable = Instant::now();
    redis.wait_for_subscriber(CHANNEL);
    assert!(usable.elapsed() < RESUMES_WITHIN, "subscribed after {:?}", usable.elapsed());
    let gap = client.json().await;
    assert_eq!(gap["type"], "gap", "what was published before nobody knows: {gap}");
    redis.cli(&["PUBLISH", CHANNEL, r#"{"job_id":"first","status":"completed"}"#]);
    let first: Value = client.json().await;
    assert_eq!(first["job_id"], "first", "{first}");
    eventually("nothing is degraded", || degraded(gateway.admin).is_empty().then_some(()));
    assert!(gateway.process.running());
}
