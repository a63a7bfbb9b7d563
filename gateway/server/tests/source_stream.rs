//! The Redis stream source against a real Redis: acknowledged when published, taken over, set aside, trimmed, flushed, killed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rtgw::expressions::{DropReason, Mapped, SourceMessage};
use rtgw::redis_link::{Address, Fence};
use rtgw::sources::{
    BrokerFeed, Feeding, Mapping, NotFed, Once, RedisStream, SourceSink, SourceStatus, consumer,
};
use rtgw_config::checked::{self, RedisAddress, StreamStart};
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Publication, RuleIx};
use support::redis::Redis;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const REJECTED: &str = "orders:rtgw:rejected";

/// A broker that remembers keys, and can be away.
#[derive(Default)]
struct Broker {
    away: AtomicBool,
    taken: Mutex<Vec<(Once, String)>>,
    repeated: Mutex<Vec<Once>>,
    gaps: Mutex<Vec<GapReason>>,
}

impl BrokerFeed for Broker {
    fn publish(&self, source: u16, mapped: Mapped, once: Once, fence: Option<Fence>) -> Feeding<'_> {
        assert_eq!((source, fence), (3, None));
        Box::pin(async move {
            if self.away.load(Ordering::SeqCst) {
                return Err(NotFed::Unavailable("away".into()));
            }
            let mut taken = self.taken.lock().unwrap();
            if taken.iter().rev().any(|(known, _)| *known == once) {
                self.repeated.lock().unwrap().push(once);
            } else {
                taken.push((once, String::from_utf8(mapped.publication.data.to_vec()).unwrap()));
            }
            Ok(())
        })
    }

    fn outdate(&self, scope: GapScope) -> Feeding<'_> {
        panic!("a stream keeps what nobody has read: {scope:?}");
    }
}

impl SourceSink for Broker {
    fn publication(&self, _: u16, _: &[RuleIx], _: Publication) {
        panic!("nothing goes past the broker");
    }

    fn gap(&self, scope: GapScope, reason: GapReason) {
        assert_eq!(scope, GapScope::Rules([RuleIx(1)].into()));
        self.gaps.lock().unwrap().push(reason);
    }
}

impl Broker {
    fn data(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|(_, data)| data.clone()).collect()
    }

    fn gaps(&self) -> Vec<GapReason> {
        self.gaps.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + support::PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}, gaps {:?}", self.data(), self.gaps());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn has(&self, count: usize) {
        self.until("entries", |broker| broker.taken.lock().unwrap().len() >= count).await;
    }
}

/// A running consumer; aborted when dropped, as by a crash.
struct Pod {
    status: Arc<SourceStatus>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn source(redis: &Redis, broker: &Arc<Broker>, mapping: Mapping) -> RedisStream {
    RedisStream {
        index: 3,
        name: "orders".to_owned(),
        stream: checked::RedisStream {
            key: "orders".to_owned(),
            group: "group".to_owned(),
            start: StreamStart::New,
            redis: None,
        },
        address: Address::new(&RedisAddress { url: redis.url(), password: None, ca: None }).unwrap(),
        consumer: consumer("pod"),
        announcements: "gaps".to_owned(),
        mapping,
        concerned: Arc::new(|| GapScope::Rules([RuleIx(1)].into())),
        lease: None,
        sink: Arc::clone(broker) as _,
        feed: Arc::clone(broker) as _,
        status: Arc::default(),
    }
}

impl Pod {
    async fn start(redis: &Redis, broker: &Arc<Broker>) -> Self {
        let pod = Self::run(source(redis, broker, pass()));
        pod.until(SourceStatus::up).await;
        pod
    }

    fn run(source: RedisStream) -> Self {
        let (stop, status) = (CancellationToken::new(), Arc::clone(&source.status));
        let until = stop.clone();
        Self { status, stop, task: tokio::spawn(async move { source.run(&until).await }) }
    }

    async fn until(&self, holds: impl Fn(&SourceStatus) -> bool) {
        let deadline = Instant::now() + support::PATIENCE;
        while !holds(&self.status) {
            assert!(Instant::now() < deadline, "{:?}", self.status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn errors(&self, reason: &str) -> u64 {
        self.status.errors().get(reason).copied().unwrap_or(0)
    }

    /// The end of a process that was asked to.
    async fn end(mut self) {
        self.stop.cancel();
        tokio::time::timeout(support::PATIENCE, &mut self.task).await.expect("it stops").unwrap();
    }
}

/// The data is the message.
fn pass() -> Mapping {
    Arc::new(|message: SourceMessage<'_>| {
        assert_eq!(message.origin.channel, "orders");
        match &message.payload[..] {
            b"unwanted" => return Err(DropReason::NoRule),
            b"nowhere" => return Err(DropReason::NoChannel),
            b"panic" => panic!("a fault of a library"),
            _ => {}
        }
        let publication = Publication {
            channels: [ChannelName::parse("orders").unwrap()].into_iter().collect(),
            event: "e".into(),
            data: message.payload.clone(),
            timestamp: message.heard,
            tags: Default::default(),
            id: None,
            priority: None,
            positions: Default::default(),
            except: None,
        };
        let rules = [RuleIx(1)].into_iter().collect();
        Ok(Mapped { publication, rules, idempotency_key: None, skipped: 0 })
    })
}

/// A Redis whose stream has its group.
fn prepared() -> Redis {
    let redis = Redis::start();
    redis.cli(&["XGROUP", "CREATE", "orders", "group", "$", "MKSTREAM"]);
    redis
}

fn add(redis: &Redis, data: &str) -> String {
    redis.cli(&["XADD", "orders", "*", "data", data])
}

/// Many at once, on one connection.
async fn add_all(redis: &Redis, numbers: std::ops::Range<u32>) {
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut pipe = ::redis::pipe();
    for number in numbers {
        pipe.cmd("XADD").arg("orders").arg("*").arg("data").arg(number).ignore();
    }
    pipe.query_async::<()>(&mut connection).await.unwrap();
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// How many entries the group has given and nobody has acknowledged.
fn pending(redis: &Redis) -> u64 {
    let answer = redis.cli(&["XPENDING", "orders", "group"]);
    answer.lines().next().unwrap().trim().parse().unwrap()
}

async fn all_acknowledged(redis: &Redis) {
    support::eventually("everything is acknowledged", || (pending(redis) == 0).then_some(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_are_published_in_order_and_acknowledged() {
    let redis = Redis::start();
    add(&redis, "before the group");
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    add_all(&redis, 0..1000).await;
    broker.has(1000).await;
    assert_eq!(broker.data(), numbers(0..1000));
    all_acknowledged(&redis).await;
    assert_eq!((pod.status.received(), pod.status.published()), (1000, 1000));
    assert_eq!(pod.status.errors().len(), 0);
    assert_eq!(broker.gaps(), [GapReason::SourceReconnected], "of what was added before the group");
    let (once, _) = broker.taken.lock().unwrap()[0].clone();
    assert_eq!(once.owner, "entry:orders:orders");
    assert!(once.key.ends_with("-0") || once.key.contains('-'), "the entry's id: {once:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_can_begin_with_what_the_stream_holds() {
    let redis = Redis::start();
    add_all(&redis, 0..10).await;
    redis.cli(&["XTRIM", "orders", "MAXLEN", "8"]);
    let broker = Arc::<Broker>::default();
    let mut source = source(&redis, &broker, pass());
    source.stream.start = StreamStart::Beginning;
    let pod = Pod::run(source);
    broker.has(8).await;
    assert_eq!(broker.data(), numbers(2..10));
    assert_eq!(
        (pod.errors("trimmed"), broker.gaps().len()),
        (0, 1),
        "what was trimmed before the group is not its loss"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_while_the_broker_is_away() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    broker.away.store(true, Ordering::SeqCst);
    add_all(&redis, 0..200).await;
    pod.until(|status| status.errors().get("broker").is_some_and(|count| *count >= 3)).await;
    assert!(pending(&redis) > 0);
    assert_eq!(broker.data(), [""; 0]);
    broker.away.store(false, Ordering::SeqCst);
    broker.has(200).await;
    all_acknowledged(&redis).await;
    assert_eq!(broker.data(), numbers(0..200), "in order and once");
    assert_eq!(redis.cli(&["EXISTS", REJECTED]), "0", "an entry is not to blame for the broker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_published_is_set_aside_with_its_reason() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    add(&redis, "unwanted");
    let nowhere = add(&redis, "nowhere");
    add(&redis, "panic");
    redis.cli(&["XADD", "orders", "*", "a", "1", "data", &"x".repeat(100_000)]);
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut large = ::redis::cmd("XADD");
    large.arg("orders").arg("*").arg("data").arg(vec![b'x'; 1 << 20]);
    large.query_async::<String>(&mut connection).await.unwrap();
    add(&redis, "good");
    broker.has(2).await;
    assert_eq!(broker.data()[1], "good");
    all_acknowledged(&redis).await;
    let rejected = redis.cli(&["XRANGE", REJECTED, "-", "+"]);
    let words: Vec<&str> = rejected.lines().map(str::trim).collect();
    let reasons: Vec<&str> = words
        .iter()
        .zip(&words[1..])
        .filter(|(name, _)| **name == "rtgw.reason")
        .map(|(_, reason)| *reason)
        .collect();
    assert_eq!(reasons, ["no_channel", "internal", "too_large"], "and what no rule wants is only counted");
    assert_eq!(
        words[1..9],
        ["rtgw.reason", "no_channel", "rtgw.id", &nowhere, "rtgw.source", "orders", "data", "nowhere"]
    );
    assert!(rejected.len() < 1000, "of what is too large only the id");
    let errors: Vec<(&str, u64)> = pod.status.errors().into_iter().collect();
    assert_eq!(errors, [("internal", 1), ("no_channel", 1), ("no_rule", 1), ("too_large", 1)]);
    assert_eq!(broker.gaps().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_set_aside_stays_and_hinders_nobody() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    redis.cli(&["SET", REJECTED, "no stream"]);
    add(&redis, "nowhere");
    add(&redis, "good");
    broker.has(1).await;
    pod.until(|status| status.errors().contains_key("not_set_aside")).await;
    support::eventually("the good one is acknowledged", || (pending(&redis) == 1).then_some(()));
    assert!(pod.status.up());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_consumer_holds_is_taken_over_unless_it_has_killed_too_often() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    add_all(&redis, 0..3).await;
    redis.cli(&["XREADGROUP", "GROUP", "group", "dead", "COUNT", "3", "STREAMS", "orders", ">"]);
    let ids = redis.cli(&["XPENDING", "orders", "group", "-", "+", "3"]);
    let ids: Vec<&str> = ids.lines().step_by(4).map(str::trim).collect();
    redis.cli(&[
        "XCLAIM",
        "orders",
        "group",
        "dead",
        "0",
        ids[1],
        "IDLE",
        "60000",
        "RETRYCOUNT",
        "9",
        "JUSTID",
    ]);
    redis.cli(&["XCLAIM", "orders", "group", "dead", "0", ids[2], "IDLE", "60000", "JUSTID"]);
    let began = Instant::now();
    let pod = Pod::start(&redis, &broker).await;
    broker.has(1).await;
    assert_eq!(broker.data(), ["2"], "the first has not been idle for long, the second is suspicious");
    let rejected = redis.cli(&["XRANGE", REJECTED, "-", "+"]);
    assert!(rejected.contains("too_many_deliveries") && rejected.contains(ids[1]), "{rejected}");
    broker.has(2).await;
    assert!(began.elapsed() > Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(broker.data(), ["2", "0"]);
    all_acknowledged(&redis).await;
    assert_eq!(pod.errors("too_many_deliveries"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_entries_and_a_crash_in_the_middle() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let first = Pod::start(&redis, &broker).await;
    let second = Pod::start(&redis, &broker).await;
    let adding = async {
        for part in 0..20 {
            add_all(&redis, part * 500..(part + 1) * 500).await;
        }
    };
    let crash = async {
        first.until(|status| status.received() >= 1500).await;
        drop(first);
    };
    tokio::join!(adding, crash);
    broker.has(10_000).await;
    all_acknowledged(&redis).await;
    let mut heard: Vec<u32> = broker.data().iter().map(|data| data.parse().unwrap()).collect();
    heard.sort_unstable();
    assert_eq!(heard, (0..10_000).collect::<Vec<_>>(), "each once");
    assert!(second.status.published() > 1500);
    assert_eq!((second.status.errors().len(), broker.gaps().len()), (0, 0));
    assert_eq!(redis.cli(&["EXISTS", REJECTED]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_stopped_leaves_nothing_behind() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    add(&redis, "1");
    broker.has(1).await;
    pod.end().await;
    assert_eq!(redis.cli(&["XINFO", "CONSUMERS", "orders", "group"]), "", "its name is gone");

    let pod = Pod::start(&redis, &broker).await;
    broker.away.store(true, Ordering::SeqCst);
    add(&redis, "2");
    pod.until(|status| status.errors().contains_key("broker")).await;
    pod.end().await;
    assert_eq!(pending(&redis), 1);
    broker.away.store(false, Ordering::SeqCst);
    let (began, _other) = (Instant::now(), Pod::start(&redis, &broker).await);
    broker.has(2).await;
    assert!(began.elapsed() < Duration::from_secs(4), "given back at once: {:?}", began.elapsed());
    all_acknowledged(&redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_loses_and_repeats_nothing() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    for part in 0..20 {
        add_all(&redis, part * 100..(part + 1) * 100).await;
        // Whatever it is doing at the moment; only the source is connected.
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    broker.has(2000).await;
    all_acknowledged(&redis).await;
    assert_eq!(broker.data(), numbers(0..2000));
    assert_eq!(broker.gaps().len(), 0, "the stream keeps what nobody has read");
    assert!(pod.errors("disconnected") + pod.errors("connect") > 0, "{:?}", pod.status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trimmed_entries_are_counted_and_told_to_every_pod() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let (mut source, other) = (source(&redis, &broker, pass()), Arc::<Broker>::default());
    let status = Arc::<SourceStatus>::default();
    source.status = Arc::clone(&status);
    let pod = Pod::run(source.clone());
    pod.until(SourceStatus::up).await;
    add(&redis, "0");
    broker.has(1).await;
    pod.end().await;
    add_all(&redis, 1..11).await;
    redis.cli(&["XTRIM", "orders", "MAXLEN", "3"]);
    // Of another process that has been there all the time only the memory of announcements counts here.
    let pod = Pod::run(source.clone());
    broker.has(4).await;
    assert_eq!(broker.data(), ["0", "8", "9", "10"]);
    assert_eq!(broker.gaps(), [GapReason::SourceOverflow]);
    assert_eq!(pod.errors("trimmed"), 7);
    let second = Pod::start(&redis, &other).await;
    drop(pod);
    redis.cli(&["XADD", "orders", "MAXLEN", "2", "*", "data", "11"]);
    other.has(1).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(other.gaps().len(), 0, "trimmed after they were published");
    assert_eq!(second.errors("trimmed"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_that_one_pod_finds_is_told_by_the_others() {
    let redis = prepared();
    let (broker, other) = (Arc::<Broker>::default(), Arc::<Broker>::default());
    let _pods = (Pod::start(&redis, &broker).await, Pod::start(&redis, &other).await);
    // As a pod does that finds entries trimmed.
    redis.cli(&["SET", "gaps", "0123:source_overflow"]);
    for heard in [&broker, &other] {
        heard.until("the gap", |broker| broker.gaps() == [GapReason::SourceOverflow]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_redis_costs_a_gap_and_the_stream_goes_on() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    add_all(&redis, 0..10).await;
    broker.has(10).await;
    all_acknowledged(&redis).await;
    redis.cli(&["FLUSHALL"]);
    add_all(&redis, 10..20).await;
    broker.has(20).await;
    assert_eq!(broker.data(), numbers(0..20));
    broker.until("the gap", |broker| broker.gaps().contains(&GapReason::SourceReconnected)).await;
    assert!(pod.errors("lost") >= 1, "{:?}", pod.status);
    redis.cli(&["XGROUP", "DESTROY", "orders", "group"]);
    add_all(&redis, 20..30).await;
    broker.has(30).await;
    assert_eq!(broker.data(), numbers(0..30), "the stream was there: nothing twice, nothing lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_was_killed_is_found_again() {
    let mut redis = prepared();
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    add_all(&redis, 0..10).await;
    broker.has(10).await;
    redis.kill();
    pod.until(|status| !status.up()).await;
    redis.restart();
    let usable = Instant::now();
    add(&redis, "10");
    broker.has(11).await;
    assert!(usable.elapsed() < Duration::from_secs(2), "{:?}", usable.elapsed());
    broker.until("the gap", |broker| broker.gaps().contains(&GapReason::SourceReconnected)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_is_left_and_loses_nothing() {
    let redis = prepared();
    let broker = Arc::<Broker>::default();
    let pod = Pod::start(&redis, &broker).await;
    add_all(&redis, 0..10).await;
    broker.has(10).await;
    redis.freeze();
    pod.until(|status| !status.up() && status.errors().contains_key("timeout")).await;
    redis.thaw();
    let usable = Instant::now();
    add_all(&redis, 10..20).await;
    broker.has(20).await;
    assert!(usable.elapsed() < Duration::from_secs(2), "{:?}", usable.elapsed());
    assert_eq!((broker.data(), broker.gaps().len()), (numbers(0..20), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_type_is_named_and_tried_again() {
    let redis = Redis::start();
    redis.cli(&["SET", "orders", "no stream"]);
    let broker = Arc::<Broker>::default();
    let pod = Pod::run(source(&redis, &broker, pass()));
    pod.until(|status| status.errors().get("wrong_type").is_some_and(|count| *count >= 2)).await;
    assert!(!pod.status.up());
    redis.cli(&["DEL", "orders"]);
    pod.until(SourceStatus::up).await;
    add(&redis, "1");
    broker.has(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_of_dead_pods_are_named_apart() {
    let names: BTreeMap<String, ()> = (0..100).map(|_| (consumer("pod-7 é"), ())).collect();
    assert_eq!(names.len(), 100);
    assert!(names.keys().all(|name| name.starts_with("rtgw-pod-7-")), "{names:?}");
}
