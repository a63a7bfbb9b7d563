//! Redis goes away, comes back with less than it had, or loses messages on the way: what is missing is delivered, or told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, HistoryMode, HistoryPolicy, Position, Publication, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::super::super::{Broker, BrokerSink, Generation, Page, Retention};
use super::super::Redis;
use super::stage::redis::Redis as Server;
use super::stage::{PATIENCE, free_port};
use super::{address_of, fresh_name};
use crate::redis_link::{Kind, Names};

/// What a pod was given.
#[derive(Default)]
struct Ears {
    heard: Mutex<Vec<String>>,
    gaps: Mutex<BTreeMap<(String, &'static str), usize>>,
    ready: Mutex<Vec<String>>,
}

impl BrokerSink for Ears {
    fn publication(&self, publication: Publication) {
        self.heard.lock().push(String::from_utf8(publication.data.to_vec()).unwrap());
    }
    fn ready(&self, channel: ChannelName, _: Generation, position: Option<Position>) {
        assert_eq!(position.is_some(), channel.as_str() != "plain", "{channel:?}");
        self.ready.lock().push(channel.as_str().to_owned());
    }
    fn gap(&self, scope: GapScope, reason: GapReason) {
        let GapScope::Channels(channels) = scope else { panic!("more than those concerned") };
        for channel in &channels {
            *self.gaps.lock().entry((channel.as_str().to_owned(), reason.as_str())).or_default() += 1;
        }
    }
}

impl Ears {
    fn gaps(&self) -> Vec<(String, &'static str)> {
        self.gaps.lock().keys().cloned().collect()
    }

    async fn hear(&self, last: &str) {
        until("what was published is heard", || self.heard.lock().last().is_some_and(|heard| heard == last))
            .await;
    }

    async fn gap(&self, channel: &str, reason: &str) {
        let key = |known: &(String, &'static str)| known.0 == channel && known.1 == reason;
        until("the gap is told", || self.gaps.lock().keys().any(key)).await;
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {PATIENCE:?}: {what}");
}

/// A pod that wants `stream` and `plain`, and the work that it is stopped with.
struct Pod {
    broker: Arc<Redis>,
    ears: Arc<Ears>,
    work: JoinHandle<()>,
    name: String,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.work.abort();
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn retention() -> Retention {
    Arc::new(|channel| {
        let mode = match channel.as_str() {
            "plain" => return None,
            "cache" => HistoryMode::Cache(Box::new([])),
            _ => HistoryMode::Stream,
        };
        Some(Arc::new(HistoryPolicy { mode, size: 100, ttl_ms: 60_000 }))
    })
}

impl Pod {
    /// A pod of another gateway than every other test's.
    async fn start(server: &Server) -> Self {
        Self::join(server, &fresh_name()).await
    }

    async fn join(server: &Server, name: &str) -> Self {
        let pod = Self::deaf(server, name);
        for (generation, name) in (1..).zip(["stream", "cache", "plain"]) {
            pod.broker.want(channel(name), Generation(generation));
        }
        until("the channels are carried", || pod.ears.ready.lock().len() == 3).await;
        pod
    }

    /// One that wants nothing.
    fn deaf(server: &Server, name: &str) -> Self {
        let ears = Arc::<Ears>::default();
        let sink = Arc::clone(&ears) as Arc<dyn BrokerSink>;
        let broker =
            Redis::new(address_of(server), Names::new("test", name), sink, retention(), Arc::default());
        let work = work(&broker);
        Self { broker, ears, work, name: name.to_owned() }
    }

    fn key(&self, kind: Kind, tag: &str) -> String {
        Names::new("test", &self.name).of(kind, tag)
    }

    async fn publish(&self, channels: &[&str], data: u32) -> Option<Position> {
        let published = self.broker.publish(publication(channels, data)).await.unwrap();
        published.positions.first().copied().flatten()
    }

    /// The same, as often as it takes.
    async fn publish_at_last(&self, channels: &[&str], data: u32) -> Option<Position> {
        let begun = Instant::now();
        loop {
            match self.broker.publish(publication(channels, data)).await {
                Ok(published) => return published.positions.first().copied().flatten(),
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
        }
    }

    /// Where `stream` stands, once that is known.
    async fn position(&self) -> Position {
        until("the position is known", || self.broker.position(&channel("stream")).is_some()).await;
        self.broker.position(&channel("stream")).unwrap()
    }

    async fn top(&self) -> Position {
        let page = Page { since: None, limit: 0, reverse: false };
        self.broker.history(&channel("stream"), page).await.unwrap().top
    }
}

fn work(broker: &Arc<Redis>) -> JoinHandle<()> {
    let broker = Arc::clone(broker);
    tokio::spawn(async move { broker.run().await })
}

fn publication(channels: &[&str], data: u32) -> Publication {
    Publication {
        channels: channels.iter().map(|name| channel(name)).collect(),
        event: "e".into(),
        data: Bytes::from(data.to_string()),
        timestamp: Timestamp(0),
        tags: Default::default(),
        id: None,
        positions: Default::default(),
        priority: None,
        except: None,
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_while_nobody_listened_is_delivered_in_order() {
    let server = Server::start();
    let here = Pod::start(&server).await;
    let there = Pod::deaf(&server, &here.name);
    there.publish_at_last(&["stream"], 0).await;
    here.ears.hear("0").await;
    server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    // Some of them in several channels: those are delivered once, and the order is that of the ids.
    for number in 1..60 {
        let channels: &[&str] =
            [&["stream"][..], &["stream", "other"], &["plain", "stream"]][number as usize % 3];
        there.publish_at_last(channels, number).await;
    }
    here.ears.hear("59").await;
    assert_eq!(*here.ears.heard.lock(), numbers(0..60));
    here.ears.gap("plain", "broker_reconnected").await;
    assert_eq!(here.ears.gaps(), [("plain".to_owned(), "broker_reconnected")], "the others missed nothing");
    assert!(here.broker.counts.repaired.load(std::sync::atomic::Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_no_more_is_told() {
    let server = Server::start();
    let here = Pod::start(&server).await;
    let there = Pod::deaf(&server, &here.name);
    there.publish_at_last(&["stream"], 0).await;
    here.ears.hear("0").await;
    here.work.abort();
    // More than the channel keeps.
    for number in 1..150 {
        there.publish(&["stream"], number).await;
    }
    let again = work(&here.broker);
    here.ears.gap("stream", "missed").await;
    there.publish(&["stream"], 150).await;
    here.ears.hear("150").await;
    assert_eq!(here.position().await, here.top().await);
    again.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_is_told_to_those_who_have_positions() {
    let server = Server::start();
    let here = Pod::start(&server).await;
    let before = here.publish(&["stream"], 1).await.unwrap();
    here.ears.hear("1").await;
    server.cli(&["FLUSHALL"]);
    here.broker.probe().await.unwrap();
    here.ears.gap("stream", "broker_reset").await;
    let after = here.publish(&["stream"], 2).await.unwrap();
    assert_ne!(after.epoch, before.epoch);
    here.ears.hear("2").await;
    assert_eq!(here.position().await, after);
    let told: Vec<_> = here.ears.gaps();
    assert!(told.iter().all(|(name, reason)| name != "plain" && *reason == "broker_reset"), "{told:?}");
    assert!(here.ears.gaps.lock().values().all(|times| *times == 1), "once");
}

/// A server that loads its snapshot when it starts.
fn with_a_disk() -> (Server, String) {
    let place = std::env::temp_dir().join(format!("rtgw-broker-{}-{}", std::process::id(), free_port()));
    std::fs::create_dir_all(&place).unwrap();
    let place = place.to_str().unwrap().to_owned();
    (Server::start_with(&["--dir", &place]), place)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_snapshot_begins_a_new_epoch() {
    let (mut server, place) = with_a_disk();
    let here = Pod::start(&server).await;
    here.publish(&["stream"], 1).await;
    server.cli(&["SAVE"]);
    let before = here.publish(&["stream"], 2).await.unwrap();
    here.ears.hear("2").await;
    server.kill();
    server.restart();
    here.ears.gap("stream", "broker_reset").await;
    let after = here.publish_at_last(&["stream"], 3).await.unwrap();
    assert!(after.epoch != before.epoch, "{before:?} {after:?}");
    here.ears.hear("3").await;
    assert_eq!(here.position().await, here.top().await);
    std::fs::remove_dir_all(place).unwrap();
}

/// The numbers of now say nothing: others have published since, and more than was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_snapshot_is_found_out_though_others_went_on() {
    let (mut server, place) = with_a_disk();
    let here = Pod::start(&server).await;
    here.publish(&["stream"], 1).await;
    server.cli(&["SAVE"]);
    let before = here.publish(&["stream"], 2).await.unwrap();
    here.ears.hear("2").await;
    here.work.abort();
    server.kill();
    server.restart();
    let newcomer = Pod::deaf(&server, &here.name);
    for number in 0..20 {
        let position = newcomer.publish_at_last(&["stream"], number).await.unwrap();
        assert_eq!(position.epoch, before.epoch, "a newcomer cannot know");
    }
    let again = work(&here.broker);
    here.ears.gap("stream", "broker_reset").await;
    assert_ne!(here.top().await.epoch, before.epoch);
    newcomer.publish(&["stream"], 99).await;
    here.ears.hear("99").await;
    again.abort();
    std::fs::remove_dir_all(place).unwrap();
}

/// Nothing is lost, so nothing is told: the appends were on disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_remembers_everything_keeps_its_epoch() {
    let (mut server, place) = with_a_disk();
    let here = Pod::start(&server).await;
    let before = here.publish(&["stream"], 1).await.unwrap();
    here.ears.hear("1").await;
    server.cli(&["SAVE"]);
    server.kill();
    server.restart();
    let after = here.publish_at_last(&["stream"], 2).await.unwrap();
    assert_eq!(after, Position { offset: before.offset + 1, ..before });
    here.ears.hear("2").await;
    here.ears.gap("plain", "broker_reconnected").await;
    assert_eq!(here.ears.gaps(), [("plain".to_owned(), "broker_reconnected")]);
    std::fs::remove_dir_all(place).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_had_not_seen_everything_begins_a_new_epoch() {
    // Replication writes snapshots to where a server was started.
    let ((mut primary, of_primary), (replica, of_replica)) = (with_a_disk(), with_a_disk());
    let here = Pod::start(&primary).await;
    here.publish(&["stream"], 1).await;
    replica.cli(&["REPLICAOF", "127.0.0.1", &primary.address().port().to_string()]);
    let key = here.key(Kind::Ids, "0");
    until("the replica has it", || replica.cli(&["HGET", &key, "n"]) == "1").await;
    // From here on it sees nothing more.
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    let before = here.publish(&["stream"], 2).await.unwrap();
    here.ears.hear("2").await;
    // It takes the place of the one that is gone.
    primary.kill();
    assert_eq!(replica.cli(&["CONFIG", "SET", "port", &primary.address().port().to_string()]), "OK");
    here.ears.gap("stream", "broker_reset").await;
    let after = here.publish_at_last(&["stream"], 3).await.unwrap();
    assert!(after.epoch != before.epoch, "{before:?} {after:?}");
    here.ears.hear("3").await;
    drop((primary, replica));
    std::fs::remove_dir_all(of_primary).unwrap();
    std::fs::remove_dir_all(of_replica).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evicted_key_concerns_its_channel_alone() {
    let server = Server::start();
    let here = Pod::start(&server).await;
    let before = here.publish(&["stream"], 1).await.unwrap();
    here.publish(&["cache"], 2).await;
    here.ears.hear("2").await;
    server.cli(&["DEL", &here.key(Kind::Position, "stream")]);
    let after = here.publish(&["stream"], 3).await.unwrap();
    assert!(after.epoch != before.epoch && after.offset == 1, "{before:?} {after:?}");
    here.ears.hear("3").await;
    assert_eq!(here.ears.gaps(), [("stream".to_owned(), "broker_reset")]);
    // The history of the channel goes with its position: its offsets are given again.
    assert_eq!(
        here.broker
            .history(&channel("stream"), Page { since: None, limit: 9, reverse: false })
            .await
            .unwrap()
            .publications
            .len(),
        1
    );
}

/// Appends to `stream` what is there last, as the publication after it, and sends it to nobody.
const LOSE: &str = "
    local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1][2][2]
    local number, offset = redis.call('HINCRBY', KEYS[1], 'n', 1), redis.call('HINCRBY', KEYS[2], 'n', 1)
    local message = string.sub(last, 1, 9) .. struct.pack('>I8', number) .. string.sub(last, 18, 27)
      .. struct.pack('>I8', offset) .. string.sub(last, 36)
    redis.call('XADD', KEYS[3], offset .. '-0', 'm', message)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_lost_on_its_way_is_delivered_by_the_next_check_or_the_next_message() {
    let server = Server::start();
    let here = Pod::start(&server).await;
    here.publish(&["stream"], 1).await;
    here.ears.hear("1").await;
    let keys = [(Kind::Ids, "0"), (Kind::Position, "stream"), (Kind::History, "stream")];
    let keys: Vec<String> = keys.iter().map(|(kind, tag)| here.key(*kind, tag)).collect();
    let lose = || server.cli(&["EVAL", LOSE, "3", &keys[0], &keys[1], &keys[2]]);
    lose();
    here.broker.signals.check.notify_one();
    until("the check finds it", || here.ears.heard.lock().len() == 2).await;
    lose();
    here.publish(&["stream"], 2).await;
    here.ears.hear("2").await;
    assert_eq!(*here.ears.heard.lock(), ["1", "1", "1", "2"]);
    assert!(here.ears.gaps().is_empty());
    // Where it cannot be read any more, it is told.
    lose();
    server.cli(&["DEL", &keys[2]]);
    here.broker.signals.check.notify_one();
    here.ears.gap("stream", "missed").await;
    assert_eq!(here.position().await, here.top().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_refuses_in_time_and_publishes_nothing_of_it_later() {
    let server = Server::start();
    let here = Pod::start(&server).await;
    here.publish(&["stream"], 1).await;
    here.ears.hear("1").await;
    server.freeze();
    for number in 100..103 {
        let since = Instant::now();
        assert!(here.broker.publish(publication(&["stream"], number)).await.is_err());
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    }
    server.thaw();
    let since = Instant::now();
    here.publish_at_last(&["stream"], 2).await;
    here.ears.hear("2").await;
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert_eq!(*here.ears.heard.lock(), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_given_up_a_second_after_its_last_subscriber() {
    let server = Server::start();
    let here = Pod::start(&server).await;
    let topic = here.key(Kind::Topic, "plain");
    let heard_by = || server.cli(&["PUBSUB", "NUMSUB", &topic]).lines().last().unwrap().to_owned();
    here.broker.unwant(&channel("plain"));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(heard_by(), "1");
    here.broker.want(channel("plain"), Generation(9));
    assert_eq!(here.ears.ready.lock().len(), 4, "at once: it is still carried");
    here.broker.unwant(&channel("plain"));
    until("it is given up", || heard_by() == "0").await;
    here.broker.want(channel("plain"), Generation(10));
    until("it is carried again", || here.ears.ready.lock().len() == 5).await;
    assert_eq!(heard_by(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_refuses_and_says_so() {
    let server = Server::start();
    let here = Pod::start(&server).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = here.broker.publish(publication(&["stream"], 1)).await.unwrap_err();
    assert!(refused.to_string().contains("memory"), "{refused}");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    here.publish(&["stream"], 2).await;
    here.ears.hear("2").await;
    assert_eq!(here.position().await.offset, 1, "what was refused left nothing");
}
