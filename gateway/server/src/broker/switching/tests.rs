//! From one real server to another: nothing is lost, nothing comes twice, everything comes in its order.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_config::checked::RedisAddress;
use rtgw_model::{HistoryMode, HistoryPolicy, Timestamp};

use super::super::conformance;
use super::super::redis::tests::stage::redis::Redis as Server;
use super::*;

/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

fn address_of(server: &Server) -> Address {
    Address::new(&RedisAddress { url: server.url(), password: None, ca: None }).unwrap()
}

fn fresh_name() -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    format!("switching-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

fn alone(server: &Server) -> Stages {
    Stages { current: address_of(server), previous: None }
}

fn stages(from: &Server, to: &Server, write_to: WriteTo) -> Stages {
    Stages { current: address_of(to), previous: Some((address_of(from), write_to)) }
}

fn run(broker: &Arc<Switching>) -> Task {
    let running = Arc::clone(broker);
    Task::run(async move { running.run().await })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {PATIENCE:?}: {what}");
}

/// Wherever a pod is on its way, it is a broker like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract_at_every_stage() {
    let (old, new) = (&Server::start(), &Server::start());
    for stages in [
        alone(old),
        stages(old, new, WriteTo::Previous),
        stages(old, new, WriteTo::Current),
        stages(new, old, WriteTo::Current),
    ] {
        let stages = &stages;
        conformance::run(|sink, retention| async move {
            let broker = Switching::new(stages, Names::new("test", &fresh_name()), sink, retention);
            let running = run(&broker);
            let goes = stages.previous.as_ref().is_some_and(|(_, write_to)| *write_to == WriteTo::Current);
            if goes {
                until("the pod has gone on", || !broker.stage().borrow().to_come).await;
            }
            Arc::new(Kept { broker, _running: running }) as Arc<dyn Broker>
        })
        .await;
    }
}

/// A broker with its work.
struct Kept {
    broker: Arc<Switching>,
    _running: Task,
}

impl Broker for Kept {
    fn publish(&self, publication: Publication) -> AppendFuture<'_> {
        self.broker.publish(publication)
    }
    fn publish_all(&self, publications: Vec<Publication>) -> PublishAllFuture<'_> {
        self.broker.publish_all(publications)
    }
    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        self.broker.publish_once(key, publication)
    }
    fn want(&self, channel: ChannelName, generation: Generation) {
        self.broker.want(channel, generation);
    }
    fn unwant(&self, channel: &ChannelName) {
        self.broker.unwant(channel);
    }
    fn history(&self, channel: &ChannelName, page: Page) -> HistoryFuture<'_> {
        self.broker.history(channel, page)
    }
    fn position(&self, channel: &ChannelName) -> Option<Position> {
        self.broker.position(channel)
    }
    fn outdate(&self, concerned: Concerned) -> OutdateFuture<'_> {
        self.broker.outdate(concerned)
    }
    fn probe(&self) -> ProbeFuture<'_> {
        self.broker.probe()
    }
}

/// What a pod was given, in its order: numbers, and the reasons of gaps.
#[derive(Default)]
struct Ears {
    heard: Mutex<BTreeMap<String, Vec<String>>>,
    ready: Mutex<usize>,
}

impl Ears {
    fn of(&self, channel: &str) -> Vec<String> {
        self.heard.lock().get(channel).cloned().unwrap_or_default()
    }

    /// Without gaps: a pod that goes on as soon as it has begun may tell one too many.
    fn numbers(&self, channel: &str) -> Vec<String> {
        self.of(channel).into_iter().filter(|heard| heard.parse::<u32>().is_ok()).collect()
    }
}

impl BrokerSink for Ears {
    fn publication(&self, publication: Publication) {
        let number = String::from_utf8(publication.data.to_vec()).unwrap();
        for channel in &publication.channels {
            self.heard.lock().entry(channel.as_str().to_owned()).or_default().push(number.clone());
        }
    }
    fn ready(&self, _: ChannelName, _: Generation, _: Option<Position>) {
        *self.ready.lock() += 1;
    }
    fn gap(&self, scope: GapScope, reason: GapReason) {
        let channels: Vec<String> = match scope {
            GapScope::Channels(channels) => {
                channels.iter().map(|channel| channel.as_str().to_owned()).collect()
            }
            _ => vec!["stream".to_owned(), "plain".to_owned()],
        };
        for channel in channels {
            self.heard.lock().entry(channel).or_default().push(reason.as_str().to_owned());
        }
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn publication(name: &str, number: u32) -> Publication {
    Publication {
        channels: [channel(name)].into(),
        event: "e".into(),
        data: Bytes::from(number.to_string()),
        timestamp: Timestamp(0),
        tags: Default::default(),
        id: None,
        positions: Default::default(),
        priority: None,
        except: None,
    }
}

/// A pod that wants `stream`, which keeps history, and `plain`, which does not.
struct Pod {
    broker: Arc<Switching>,
    ears: Arc<Ears>,
    _running: Task,
}

impl Pod {
    fn start(stages: &Stages, name: &str) -> Self {
        let ears = Arc::<Ears>::default();
        let retention: Retention = Arc::new(|channel| {
            let policy = HistoryPolicy { mode: HistoryMode::Stream, size: 10_000, ttl_ms: 600_000 };
            (channel.as_str() == "stream").then(|| Arc::new(policy))
        });
        let broker = Switching::new(stages, Names::new("test", name), Arc::clone(&ears) as _, retention);
        let running = run(&broker);
        broker.want(channel("stream"), Generation(1));
        broker.want(channel("plain"), Generation(2));
        Self { broker, ears, _running: running }
    }

    async fn carries(self) -> Self {
        until("both channels are carried", || *self.ears.ready.lock() >= 2).await;
        self
    }

    async fn at_last(&self, name: &str, number: u32) {
        let begun = Instant::now();
        while let Err(error) = self.broker.publish(publication(name, number)).await {
            assert!(begun.elapsed() < PATIENCE, "{error}");
        }
    }

    fn written(&self) -> String {
        self.broker.stage().borrow().written.to_string()
    }
}

/// Numbers from 0 on, by one pod and the other in turn.
struct Publishing(Task, Arc<AtomicU32>);

impl Publishing {
    fn start(name: &'static str, pods: [&Pod; 2]) -> Self {
        let sent = Arc::<AtomicU32>::default();
        let (count, pods) = (Arc::clone(&sent), pods.map(|pod| Arc::clone(&pod.broker)));
        let task = Task::run(async move {
            for number in 0.. {
                pods[number as usize % 2].publish(publication(name, number)).await.unwrap();
                count.store(number + 1, Ordering::Release);
                sleep(Duration::from_millis(1)).await;
            }
        });
        Self(task, sent)
    }

    async fn some(&self) {
        let from = self.1.load(Ordering::Acquire);
        until("publications go on", || self.1.load(Ordering::Acquire) > from + 50).await;
    }

    async fn end(self, pods: [&Pod; 2], name: &str) -> u32 {
        self.some().await;
        drop(self.0);
        // One may be under way.
        sleep(Duration::from_millis(300)).await;
        let sent = self.1.load(Ordering::Acquire);
        let last = (sent - 1).to_string();
        for pod in pods {
            until("the last one is heard", || pod.ears.of(name).contains(&last)).await;
        }
        sent
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_pods_go_on_under_traffic_and_each_hears_everything_once_and_in_order() {
    let (old, new, name) = (Server::start(), Server::start(), fresh_name());
    let (a, b) =
        (Pod::start(&alone(&old), &name).carries().await, Pod::start(&alone(&old), &name).carries().await);
    let publishing = ["stream", "plain"].map(|channel| Publishing::start(channel, [&a, &b]));
    // One after the other, never at once, in all stages.
    for stages in [
        stages(&old, &new, WriteTo::Previous),
        stages(&old, &new, WriteTo::Current),
        alone(&new),
        // And back.
        stages(&new, &old, WriteTo::Previous),
        stages(&new, &old, WriteTo::Current),
        alone(&old),
    ] {
        for pod in [&a, &b] {
            pod.broker.turn(&stages).unwrap();
            publishing[0].some().await;
            publishing[1].some().await;
        }
        if let Some((_, WriteTo::Current)) = stages.previous {
            let place = stages.current.to_string();
            until("both have gone on", || a.written() == place && b.written() == place).await;
        }
    }
    for (publishing, name) in publishing.into_iter().zip(["stream", "plain"]) {
        let sent = publishing.end([&a, &b], name).await;
        for pod in [&a, &b] {
            let heard = pod.ears.of(name);
            let numbers: Vec<u32> =
                heard.iter().filter_map(|one| one.parse().ok()).take(sent as usize).collect();
            assert!(numbers.iter().copied().eq(0..sent), "{name}: {heard:?}");
            let gaps: Vec<&String> = heard.iter().filter(|one| one.parse::<u32>().is_err()).collect();
            let expected: &[&str] = if name == "stream" { &["broker_reset", "broker_reset"] } else { &[] };
            assert_eq!(gaps, expected, "{name}: once each time, where there are positions");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_counts_on_both_sides_and_positions_do_not() {
    let (old, new, name) = (Server::start(), Server::start(), fresh_name());
    let pod = Pod::start(&alone(&old), &name).carries().await;
    let behind = Pod::start(&stages(&old, &new, WriteTo::Previous), &name).carries().await;
    let key = |key| IdempotencyKey(key);
    let first = pod.broker.publish_once(key(1), publication("stream", 1)).await.unwrap();
    pod.broker.turn(&stages(&old, &new, WriteTo::Previous)).unwrap();
    pod.broker.turn(&stages(&old, &new, WriteTo::Current)).unwrap();
    until("it has gone on", || !pod.broker.stage().borrow().to_come).await;
    for pod in [&pod, &behind] {
        let again = pod.broker.publish_once(key(1), publication("stream", 1)).await.unwrap();
        assert_eq!((again.id, again.repeated), (first.id, true));
    }
    let second = behind.broker.publish_once(key(2), publication("stream", 2)).await.unwrap();
    assert!(pod.broker.publish_once(key(2), publication("stream", 2)).await.unwrap().repeated);
    // Read by whichever pod, the history is that of the new one.
    for pod in [&pod, &behind] {
        let page = Page { since: None, limit: 9, reverse: false };
        let kept = pod.broker.history(&channel("stream"), page).await.unwrap();
        assert_eq!(kept.publications.len(), 1);
        assert_eq!(Some(kept.top), second.positions[0]);
        assert_ne!(Some(kept.top.epoch), first.positions[0].map(|position| position.epoch));
        until("it hears it", || pod.ears.numbers("stream") == ["1", "2"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_stays_behind_is_refused_and_who_would_not_hear_the_others_may_not_turn() {
    let (old, new, name) = (Server::start(), Server::start(), fresh_name());
    let left = Pod::start(&alone(&old), &name).carries().await;
    let one = Pod::start(&stages(&old, &new, WriteTo::Previous), &name).carries().await;
    let two = Pod::start(&stages(&old, &new, WriteTo::Current), &name).carries().await;
    until("those who may have gone on", || {
        [&one, &two].iter().all(|pod| !pod.broker.stage().borrow().to_come)
    })
    .await;
    let refused = left.broker.publish(publication("plain", 1)).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("left this Redis for {}", address_of(&new))), "{refused}");
    let stranded = one.broker.turn(&alone(&old)).unwrap_err();
    assert!(stranded.to_string().contains(&address_of(&new).to_string()), "{stranded}");
    one.at_last("plain", 2).await;
    until("both hear it", || one.ears.numbers("plain") == ["2"] && two.ears.numbers("plain") == ["2"]).await;
    assert!(left.ears.of("plain").is_empty());
    // Who begins now finds out at once, although its configuration says to write what was left.
    let late = Pod::start(&stages(&old, &new, WriteTo::Previous), &name).carries().await;
    late.at_last("plain", 3).await;
    until("it hears itself", || late.ears.of("plain").contains(&"3".to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_is_dead_is_left_by_taking_it_out_and_everybody_is_told() {
    let (mut old, new, name) = (Server::start(), Server::start(), fresh_name());
    let (a, b) =
        (Pod::start(&alone(&old), &name).carries().await, Pod::start(&alone(&old), &name).carries().await);
    a.at_last("stream", 0).await;
    until("it is heard", || b.ears.of("stream") == ["0"]).await;
    old.kill();
    for pod in [&a, &b] {
        pod.broker.turn(&stages(&old, &new, WriteTo::Previous)).unwrap();
        pod.broker.turn(&stages(&old, &new, WriteTo::Current)).unwrap();
    }
    sleep(Duration::from_millis(300)).await;
    assert!(a.broker.publish(publication("stream", 1)).await.is_err(), "the rest of it may still come");
    a.broker.turn(&alone(&new)).unwrap();
    a.at_last("stream", 2).await;
    // The other one follows by what it hears, after a while.
    for pod in [&a, &b] {
        until("it is heard", || pod.ears.of("stream").last().is_some_and(|last| last == "2")).await;
        assert!(pod.ears.of("stream").contains(&"broker_reset".to_owned()), "{:?}", pod.ears.of("stream"));
    }
}

/// The mark is gone with everything else; pods that have gone on do not come back, and bring the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_redis_that_forgets_that_it_was_left_is_left_again() {
    let (old, new, name) = (Server::start(), Server::start(), fresh_name());
    let a = Pod::start(&stages(&old, &new, WriteTo::Current), &name).carries().await;
    until("it has gone on", || !a.broker.stage().borrow().to_come).await;
    old.cli(&["FLUSHALL"]);
    let b = Pod::start(&stages(&old, &new, WriteTo::Previous), &name).carries().await;
    until("it has gone on, too", || !b.broker.stage().borrow().to_come).await;
    b.at_last("plain", 1).await;
    until("both hear it", || {
        a.ears.numbers("plain") == ["1"] && b.ears.of("plain").contains(&"1".to_owned())
    })
    .await;
}
