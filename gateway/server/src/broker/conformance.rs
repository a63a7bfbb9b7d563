//! What every broker must keep, as one suite over any of them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod histories;
pub(crate) mod presence;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, HistoryMode, HistoryPolicy, Position, Publication, Timestamp};
use tokio::sync::Notify;

use super::{Appended, Broker, BrokerSink, Generation, IdempotencyKey, Retention};

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the suite; `start` gives a fresh broker that shares nothing with those before.
pub(crate) async fn run<F, S>(start: F)
where
    F: Fn(Arc<dyn BrokerSink>, Retention) -> S,
    S: Future<Output = Arc<dyn Broker>>,
{
    orders_a_channel(&Stage::new(&start).await).await;
    delivers_once_with_all_channels(&Stage::new(&start).await).await;
    delivers_nothing_without_interest(&Stage::new(&start).await).await;
    leaves_no_hole_after_ready(&Stage::new(&start).await).await;
    answers_the_latest_wish(&Stage::new(&start).await).await;
    takes_concurrent_publishers(&Stage::new(&start).await).await;
    publishes_once_under_a_key(&Stage::new(&start).await).await;
    publishes_one_of_many_at_once(&Stage::new(&start).await).await;
    probes_past_the_sink(&Stage::new(&start).await).await;
    histories::run(&start).await;
    let epochs = (epoch(&Stage::new(&start).await).await, epoch(&Stage::new(&start).await).await);
    assert_ne!(epochs.0, epochs.1, "a broker without memory of the last one has an epoch of its own");
}

/// Channels under `stream:` keep their last 5 publications, those under `brief:` too, but for a second, and those under `cache:` the newest
/// of 3 keys, of which the tag `k` is a part.
fn retention() -> Retention {
    Arc::new(|channel| {
        let (mode, size, ttl_ms) = match channel.as_str().split(':').next()? {
            "stream" => (HistoryMode::Stream, 5, 60_000),
            "brief" => (HistoryMode::Stream, 5, 1_000),
            "cache" => (HistoryMode::Cache(Box::new(["k".into()])), 3, 60_000),
            _ => return None,
        };
        Some(Arc::new(HistoryPolicy { mode, size, ttl_ms }))
    })
}

/// A broker and what it delivered.
struct Stage {
    broker: Arc<dyn Broker>,
    heard: Arc<Recorder>,
}

impl Stage {
    async fn new<F, S>(start: &F) -> Self
    where
        F: Fn(Arc<dyn BrokerSink>, Retention) -> S,
        S: Future<Output = Arc<dyn Broker>>,
    {
        let heard = Arc::new(Recorder::default());
        Self { broker: start(Arc::clone(&heard) as Arc<dyn BrokerSink>, retention()).await, heard }
    }

    /// Wants the channel and waits until it is carried.
    async fn carry(&self, name: &str, generation: u32) {
        self.broker.want(channel(name), Generation(generation));
        self.heard.until(|log| log.ready.contains(&(channel(name), Generation(generation)))).await;
    }
}

/// A sink that remembers.
#[derive(Default)]
struct Recorder {
    log: Mutex<Log>,
    changed: Notify,
    /// What [`Log::begun_at_ready`] samples: the number of publications begun.
    begun: AtomicU64,
}

#[derive(Default)]
struct Log {
    publications: Vec<Publication>,
    ready: HashSet<(ChannelName, Generation)>,
    begun_at_ready: u64,
    gaps: usize,
}

impl BrokerSink for Recorder {
    fn publication(&self, publication: Publication) {
        // Whoever calls outside the broker's order is overtaken here.
        if fastrand::u8(..) < 32 {
            std::thread::yield_now();
        }
        self.log.lock().publications.push(publication);
        self.changed.notify_waiters();
    }

    fn ready(&self, channel: ChannelName, generation: Generation, _: Option<Position>) {
        let mut log = self.log.lock();
        log.begun_at_ready = self.begun.load(Ordering::SeqCst);
        log.ready.insert((channel, generation));
        drop(log);
        self.changed.notify_waiters();
    }

    fn gap(&self, _: GapScope, _: GapReason) {
        self.log.lock().gaps += 1;
    }
}

impl Recorder {
    async fn until(&self, holds: impl Fn(&Log) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if holds(&self.log.lock()) {
                    return;
                }
                changed.await;
            }
        });
        assert!(waited.await.is_ok(), "what must happen did not happen in {PATIENCE:?}");
    }

    /// The data of everything heard, in order.
    fn data(&self) -> Vec<String> {
        self.log.lock().publications.iter().map(text).collect()
    }

    fn sequences(&self) -> Vec<u64> {
        self.log.lock().publications.iter().map(|publication| publication.id.unwrap().sequence).collect()
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn publication(channels: &[&str], data: impl std::fmt::Display) -> Publication {
    Publication {
        channels: channels.iter().map(|name| channel(name)).collect(),
        event: "e".into(),
        data: Bytes::from(format!("{data}")),
        timestamp: Timestamp(0),
        tags: Default::default(),
        id: None,
        priority: None,
        positions: Default::default(),
        except: None,
    }
}

fn text(publication: &Publication) -> String {
    String::from_utf8(publication.data.to_vec()).unwrap()
}

fn increasing(numbers: &[u64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

async fn orders_a_channel(stage: &Stage) {
    stage.carry("a", 1).await;
    let mut given = Vec::new();
    for number in 0..500 {
        given.push(stage.broker.publish(publication(&["a"], number)).await.unwrap().id);
    }
    stage.heard.until(|log| log.publications.len() == 500).await;
    assert!(
        given.windows(2).all(|pair| pair[0].epoch == pair[1].epoch && pair[0].sequence < pair[1].sequence)
    );
    assert_eq!(stage.heard.data(), (0..500).map(|number| number.to_string()).collect::<Vec<_>>());
    let heard: Vec<_> =
        stage.heard.log.lock().publications.iter().map(|publication| publication.id.unwrap()).collect();
    assert_eq!(heard, given, "the publisher and the subscriber see the same ids");
}

async fn delivers_once_with_all_channels(stage: &Stage) {
    stage.carry("a", 1).await;
    stage.carry("b", 2).await;
    stage.broker.publish(publication(&["x", "b", "a", "y"], 1)).await.unwrap();
    stage.broker.publish(publication(&["y", "a"], 2)).await.unwrap();
    stage.heard.until(|log| log.publications.len() >= 2).await;
    assert_eq!(stage.heard.data(), ["1", "2"]);
    let log = stage.heard.log.lock();
    assert_eq!(log.publications[0].channels, publication(&["x", "b", "a", "y"], 1).channels);
    assert_eq!(log.publications[1].channels, publication(&["y", "a"], 2).channels);
}

async fn delivers_nothing_without_interest(stage: &Stage) {
    stage.carry("fence", 1).await;
    stage.carry("left", 2).await;
    stage.broker.publish(publication(&["never"], "never")).await.unwrap();
    stage.broker.publish(publication(&["left"], "before")).await.unwrap();
    stage.heard.until(|log| log.publications.len() == 1).await;
    stage.broker.unwant(&channel("left"));
    // Giving up an interest may take a moment on a broker with a network, so only its end is asked for.
    let mut silent = false;
    for round in 0..200 {
        let before = stage.heard.data().len();
        stage.broker.publish(publication(&["left"], "after")).await.unwrap();
        stage.broker.publish(publication(&["fence"], round)).await.unwrap();
        stage
            .heard
            .until(|log| log.publications.last().is_some_and(|last| text(last) == round.to_string()))
            .await;
        if stage.heard.data().len() == before + 1 {
            silent = true;
            break;
        }
    }
    assert!(silent, "a channel given up goes silent");
    assert!(!stage.heard.data().contains(&"never".to_owned()));
}

/// While a publisher never pauses, a channel is wanted again and again: what begins after `ready` must arrive.
async fn leaves_no_hole_after_ready(stage: &Stage) {
    stage.carry("fence", 1_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publisher = tokio::spawn({
        let (broker, heard, stop) = (Arc::clone(&stage.broker), Arc::clone(&stage.heard), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::SeqCst) {
                let number = heard.begun.fetch_add(1, Ordering::SeqCst);
                broker.publish(publication(&["a"], number)).await.unwrap();
                if number % 64 == 0 {
                    // What is heard comes in time to be waited for, also where nobody holds up the publisher.
                    broker.probe().await.unwrap();
                }
                tokio::task::yield_now().await;
            }
        }
    });
    for generation in 0..50 {
        stage.heard.log.lock().publications.clear();
        stage.carry("a", generation).await;
        let from = stage.heard.log.lock().begun_at_ready;
        // From the end: a broker that hears what was published some time ago must not be held up by being watched.
        let late = |publication: &&Publication| text(publication).parse::<u64>().unwrap() >= from;
        let heard = |log: &Log| log.publications.iter().rev().take_while(late).take(20).count();
        stage.heard.until(|log| heard(log) == 20).await;
        let numbers: Vec<u64> = stage.heard.data().iter().map(|data| data.parse().unwrap()).collect();
        let after: Vec<u64> = numbers.into_iter().filter(|number| *number >= from).collect();
        let expected: Vec<u64> = (from..from + after.len() as u64).collect();
        assert_eq!(after, expected, "a hole, a repeat or a swap after ready of generation {generation}");
        stage.broker.unwant(&channel("a"));
    }
    stop.store(true, Ordering::SeqCst);
    publisher.await.unwrap();
}

async fn publishes_once_under_a_key(stage: &Stage) {
    stage.carry("a", 1).await;
    let once = async |key, data| {
        stage.broker.publish_once(IdempotencyKey(key), publication(&["a"], data)).await.unwrap()
    };
    let first = once(1, 1).await;
    let other = once(2, 2).await;
    assert!(!first.repeated && !other.repeated);
    assert_eq!(
        once(1, 3).await,
        Appended { repeated: true, ..first.clone() },
        "the first one's id, whatever the rest is"
    );
    assert_eq!(once(2, 2).await, Appended { repeated: true, ..other.clone() });
    let plain = stage.broker.publish(publication(&["a"], 4)).await.unwrap();
    assert!(plain.id.sequence > other.id.sequence && other.id.sequence > first.id.sequence);
    stage.heard.until(|log| log.publications.len() >= 3).await;
    assert_eq!(stage.heard.data(), ["1", "2", "4"]);
}

async fn publishes_one_of_many_at_once(stage: &Stage) {
    stage.carry("a", 1).await;
    for key in 0..50 {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let broker = Arc::clone(&stage.broker);
                tokio::spawn(async move {
                    broker.publish_once(IdempotencyKey(key), publication(&["a"], key)).await.unwrap()
                })
            })
            .collect();
        let mut answers = Vec::new();
        for racer in racers {
            answers.push(racer.await.unwrap());
        }
        assert!(answers.iter().all(|answer| answer.id == answers[0].id));
        assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
    }
    stage.heard.until(|log| log.publications.len() >= 50).await;
    assert_eq!(stage.heard.data(), (0..50).map(|key| key.to_string()).collect::<Vec<_>>());
}

async fn answers_the_latest_wish(stage: &Stage) {
    for generation in 0..200 {
        stage.broker.want(channel("a"), Generation(generation));
        stage.broker.unwant(&channel("a"));
    }
    stage.carry("a", 200).await;
    stage.broker.publish(publication(&["a"], "one")).await.unwrap();
    stage.carry("fence", 201).await;
    stage.broker.publish(publication(&["fence"], "fence")).await.unwrap();
    stage.heard.until(|log| log.publications.len() >= 2).await;
    assert_eq!(stage.heard.data(), ["one", "fence"], "a wish repeated is still one interest");
    assert_eq!(stage.heard.log.lock().gaps, 0);
}

async fn takes_concurrent_publishers(stage: &Stage) {
    for (generation, name) in (0..).zip(["a", "b", "c"]) {
        stage.carry(name, generation).await;
    }
    let start = Arc::new(tokio::sync::Barrier::new(8));
    let publishers: Vec<_> = (0..8)
        .map(|publisher| {
            let (broker, start) = (Arc::clone(&stage.broker), Arc::clone(&start));
            tokio::spawn(async move {
                let mut given = Vec::new();
                start.wait().await;
                for number in 0..500 {
                    let channels: &[&str] =
                        [&["a"][..], &["b", "a"], &["c"], &["none", "c", "b"]][number % 4];
                    let publication = publication(channels, format!("{publisher} {number}"));
                    given.push(broker.publish(publication).await.unwrap().id.sequence);
                }
                given
            })
        })
        .collect();
    let mut given = Vec::new();
    for publisher in publishers {
        let of_one = publisher.await.unwrap();
        assert!(increasing(&of_one), "a publisher's later publication has a later id");
        given.extend(of_one);
    }
    stage.heard.until(|log| log.publications.len() >= 4000).await;
    given.sort_unstable();
    assert!(increasing(&stage.heard.sequences()), "deliveries come in the order of their ids");
    assert_eq!(stage.heard.sequences(), given, "each once, none lost");
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for data in stage.heard.data() {
        let (publisher, number) = data.split_once(' ').unwrap();
        let next = last.entry(publisher.to_owned()).or_default();
        assert_eq!(number.parse::<usize>().unwrap(), *next);
        *next += 1;
    }
}

async fn probes_past_the_sink(stage: &Stage) {
    stage.carry("a", 1).await;
    for _ in 0..3 {
        assert!(stage.broker.probe().await.unwrap() < PATIENCE);
    }
    stage.broker.publish(publication(&["a"], "fence")).await.unwrap();
    stage.heard.until(|log| !log.publications.is_empty()).await;
    assert_eq!(stage.heard.data(), ["fence"], "a probe reaches no sink");
}

async fn epoch(stage: &Stage) -> u64 {
    stage.broker.publish(publication(&["a"], 1)).await.unwrap().id.epoch
}
