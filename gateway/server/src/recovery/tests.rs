//! Histories that many read at once, against a broker that counts.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rtgw_model::{GapReason, RuleIx, Timestamp};

use super::*;
use crate::broker::{
    AppendFuture, BrokerSink, Concerned, Generation, HistoryFuture, IdempotencyKey, Memory, OutdateFuture,
    ProbeFuture, Retention,
};
use crate::intake::{Counts, Intake, Interests};
use crate::transport::{Clock, Inbox, InboxFull, ShardInput};

const SIZE: u32 = 5_000;

fn channel() -> ChannelName {
    ChannelName::parse("feed").unwrap()
}

fn policy(mode: HistoryMode) -> Arc<HistoryPolicy> {
    Arc::new(HistoryPolicy { mode, size: SIZE, ttl_ms: 60_000 })
}

/// Counts what is read of the broker behind it, and lets others go first.
struct Counting {
    inner: Memory,
    reads: AtomicUsize,
    away: std::sync::atomic::AtomicBool,
    /// It has forgotten, and the pod does not know yet.
    forgot: std::sync::atomic::AtomicBool,
}

impl Broker for Counting {
    fn publish(&self, publication: Publication) -> AppendFuture<'_> {
        self.inner.publish(publication)
    }
    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        self.inner.publish_once(key, publication)
    }
    fn want(&self, channel: ChannelName, generation: Generation) {
        self.inner.want(channel, generation);
    }
    fn unwant(&self, channel: &ChannelName) {
        self.inner.unwant(channel);
    }
    fn history(&self, channel: &ChannelName, page: Page) -> HistoryFuture<'_> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let read = self.inner.history(channel, page);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let kept = read.await;
            // What is published meanwhile is not in the answer.
            tokio::time::sleep(Duration::from_millis(5)).await;
            kept
        })
    }
    fn position(&self, channel: &ChannelName) -> Option<Position> {
        let position = self.inner.position(channel);
        let forgot = self.forgot.load(Ordering::SeqCst);
        position.map(|known| if forgot { Position { offset: 9, epoch: !known.epoch } } else { known })
    }
    fn outdate(&self, concerned: Concerned) -> OutdateFuture<'_> {
        self.inner.outdate(concerned)
    }
    fn probe(&self) -> ProbeFuture<'_> {
        self.inner.probe()
    }
}

/// A shard that hears nothing.
struct Deaf;

impl Inbox for Deaf {
    fn post(&self, _: ShardInput) -> Result<(), InboxFull> {
        Ok(())
    }
}

struct Rig {
    broker: Arc<Counting>,
    intake: Arc<Intake>,
    interests: Interests,
    recoveries: Arc<Recoveries>,
    policy: Arc<HistoryPolicy>,
}

impl Rig {
    fn new(mode: HistoryMode) -> Self {
        let counts = Arc::new(Counts::new(0));
        let intake = Arc::new(Intake::new(vec![Arc::new(Deaf)], 1, Clock::start(), counts).unwrap());
        let policy = policy(mode);
        let kept = Arc::clone(&policy);
        let retention: Retention = Arc::new(move |_| Some(Arc::clone(&kept)));
        let inner = Memory::new(Arc::clone(&intake) as _, retention);
        let broker = Arc::new(Counting {
            inner,
            reads: AtomicUsize::new(0),
            away: Default::default(),
            forgot: Default::default(),
        });
        let dresser = Arc::clone(&intake);
        let dress = Box::new(move |publication| dresser.dress(publication));
        let carrier = Arc::clone(&intake);
        let carries = Box::new(move |channel: &ChannelName| carrier.carries(channel));
        let tails = Arc::clone(intake.tails());
        let recoveries = Recoveries::new(Arc::clone(&broker) as _, tails, dress, carries);
        let interests = Interests::new(Arc::clone(&intake), Arc::clone(&broker) as _);
        interests.want(0, channel(), RuleIx(0));
        Self { broker, intake, interests, recoveries: Arc::new(recoveries), policy }
    }

    async fn publish(&self, event: &str, n: u64) -> Position {
        let publication = Publication {
            channels: [channel()].into_iter().collect(),
            event: event.into(),
            data: Bytes::from(n.to_string()),
            timestamp: Timestamp(0),
            tags: Default::default(),
            id: None,
            positions: Default::default(),
            priority: None,
            except: None,
        };
        self.broker.publish(publication).await.unwrap().positions[0].unwrap()
    }

    async fn recover(&self, since: Option<Position>) -> Option<Replay> {
        let asked = Asked { recover: Some(Recover { since }), walked: self.broker.position(&channel()) };
        self.recoveries.recover(&channel(), &self.policy, asked).await
    }

    /// The same, whose last subscriber has left.
    fn unheard(mode: HistoryMode) -> Self {
        let rig = Self::new(mode);
        rig.interests.unwant(0, &channel());
        rig
    }

    async fn newest(&self) -> Option<Replay> {
        self.recoveries.newest(&channel(), &self.policy).await
    }

    fn reads(&self) -> usize {
        self.broker.reads.load(Ordering::SeqCst)
    }
}

fn data(replay: &Replay) -> Vec<u64> {
    let number =
        |outgoing: &Arc<Outgoing>| std::str::from_utf8(&outgoing.publication().data).unwrap().parse();
    replay.publications().map(|outgoing| number(outgoing).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_recover_one_channel_cost_a_few_reads_while_it_goes_on() {
    let rig = Arc::new(Rig::new(HistoryMode::Stream));
    let mut epoch = 0;
    for n in 1..=1_500 {
        epoch = rig.publish("e", n).await.epoch;
    }
    let publishing = {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            for n in 1_501..=3_000 {
                rig.publish("e", n).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    };
    let mut random = fastrand::Rng::with_seed(7);
    let mut asking = Vec::new();
    for round in 0..10_000_u64 {
        let since = Position { offset: random.u64(1_000..=1_500), epoch };
        let rig = Arc::clone(&rig);
        asking.push(tokio::spawn(async move {
            let walked = rig.broker.position(&channel()).unwrap();
            let replay = rig.recover(Some(since)).await.unwrap();
            assert!(replay.reaches, "{since:?} {replay:?}");
            assert!(replay.top.offset >= walked.offset, "it goes as far as the shard has heard");
            let missed = replay.top.offset - since.offset;
            assert_eq!(replay.publications().count() as u64, missed);
            if round % 100 == 0 {
                assert_eq!(data(&replay), Vec::from_iter(since.offset + 1..=replay.top.offset));
            }
        }));
        if round % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
    for one in asking {
        one.await.unwrap();
    }
    publishing.await.unwrap();
    assert!(rig.reads() <= 5, "{} reads", rig.reads());
}

#[tokio::test(start_paused = true)]
async fn frames_are_shared_by_who_asks_and_who_hears() {
    let rig = Rig::new(HistoryMode::Stream);
    let first = rig.publish("e", 1).await;
    rig.publish("e", 2).await;
    let start = Position { offset: 0, ..first };
    let [one, other] = [rig.recover(Some(start)).await.unwrap(), rig.recover(Some(first)).await.unwrap()];
    assert_eq!((data(&one), data(&other)), (vec![1, 2], vec![2]));
    let shared = |replay: &Replay, at: usize| Arc::clone(replay.publications().nth(at).unwrap());
    assert!(Arc::ptr_eq(&shared(&one, 1), &shared(&other, 0)));
    assert_eq!(rig.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_lies_too_far_back_is_not_recovered_and_not_read_by_everyone() {
    let rig = Rig::new(HistoryMode::Stream);
    let mut top = rig.publish("e", 1).await;
    for n in 2..=u64::from(PAGE) + 1 {
        top = rig.publish("e", n).await;
    }
    for _ in 0..50 {
        let replay = rig.recover(Some(Position { offset: 0, ..top })).await.unwrap();
        assert_eq!((replay.reaches, replay.top), (false, top), "one more than a page was missed");
    }
    assert!(rig.recover(Some(Position { offset: 1, ..top })).await.unwrap().reaches);
    assert!(rig.reads() <= 3, "{} reads", rig.reads());
    let strange = Position { epoch: top.epoch ^ 1, ..top };
    assert!(!rig.recover(Some(strange)).await.unwrap().reaches, "another epoch");
    let ahead = Position { offset: top.offset + 1, ..top };
    assert!(!rig.recover(Some(ahead)).await.unwrap().reaches, "of nowhere");
    assert!(!rig.recover(None).await.unwrap().reaches, "a stream is recovered from somewhere");
}

#[tokio::test(start_paused = true)]
async fn current_values_stay_current_while_they_are_kept() {
    let rig = Rig::new(HistoryMode::Cache(Box::default()));
    for (n, event) in [(1, "a"), (2, "b"), (3, "a")] {
        rig.publish(event, n).await;
    }
    assert_eq!(data(&rig.recover(None).await.unwrap()), [2, 3]);
    rig.publish("b", 4).await;
    rig.publish("c", 5).await;
    let replay = rig.recover(None).await.unwrap();
    assert_eq!((data(&replay), replay.reaches), (vec![3, 4, 5], true));
    assert_eq!(rig.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_forgotten_with_time_gaps_and_the_channels_last_subscriber() {
    let rig = Rig::new(HistoryMode::Stream);
    let first = rig.publish("e", 1).await;
    let recover = async |expected: usize, why: &str| {
        assert!(rig.recover(Some(first)).await.unwrap().reaches);
        assert_eq!(rig.reads(), expected, "{why}");
    };
    recover(1, "the first").await;
    recover(1, "at once").await;
    rig.intake.gap(rtgw_hub::GapScope::Channels([channel()].into()), GapReason::BrokerReconnected);
    recover(2, "behind a gap").await;
    rig.interests.unwant(0, &channel());
    rig.interests.want(0, channel(), RuleIx(0));
    recover(3, "nobody heard it in between").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    recover(4, "later").await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_is_no_end_of_the_wait() {
    let rig = Arc::new(Rig::new(HistoryMode::Stream));
    let first = rig.publish("e", 1).await;
    rig.broker.away.store(true, Ordering::SeqCst);
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move { rig.recover(Some(first)).await.is_none() })
        })
        .collect();
    for one in asking {
        assert!(one.await.unwrap());
    }
    rig.broker.away.store(false, Ordering::SeqCst);
    assert!(rig.recover(Some(first)).await.unwrap().reaches);
    assert!(rig.recoveries.turns.lock().is_empty(), "nothing is kept of who has had its turn");
}

#[tokio::test(start_paused = true)]
async fn the_newest_costs_a_few_reads_and_is_never_older_than_the_question() {
    for mode in [HistoryMode::Stream, HistoryMode::Cache(Box::default())] {
        let rig = Arc::new(Rig::unheard(mode));
        rig.publish("e", 1).await;
        let asking: Vec<_> = (0..1_000)
            .map(|_| {
                let rig = Arc::clone(&rig);
                tokio::spawn(async move { data(&rig.newest().await.unwrap()) })
            })
            .collect();
        for one in asking {
            assert_eq!(one.await.unwrap(), [1]);
        }
        assert!(rig.reads() <= 2, "{} reads for all who came at once", rig.reads());

        let before = rig.reads();
        let mut asking = Vec::new();
        for n in 2..=1_001 {
            let accepted = rig.publish("e", n).await;
            let rig = Arc::clone(&rig);
            asking.push(tokio::spawn(async move {
                let newest = rig.newest().await.unwrap();
                assert!(newest.top.offset >= accepted.offset, "{:?} of {accepted:?}", newest.top);
                assert!(*data(&newest).last().unwrap() >= n);
            }));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for one in asking {
            one.await.unwrap();
        }
        let reads = rig.reads() - before;
        assert!((2..=12).contains(&reads), "{reads} reads in a second, without a subscriber");
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_pod_hears_the_channel_the_newest_is_what_it_heard() {
    let rig = Rig::new(HistoryMode::Stream);
    for n in 1..=100 {
        rig.publish("e", n).await;
        assert_eq!(data(&rig.newest().await.unwrap()), Vec::from_iter(1..=n));
    }
    assert_eq!(rig.reads(), 1);
    // A subscriber takes part in it, and what a subscriber had read from the middle is not taken for all.
    let middle = rig.broker.position(&channel()).map(|top| Position { offset: 50, ..top });
    assert_eq!(data(&rig.recover(middle).await.unwrap()).len(), 50);
    assert_eq!(rig.reads(), 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(data(&rig.recover(middle).await.unwrap()).len(), 50);
    assert_eq!(data(&rig.newest().await.unwrap()).len(), 100);
    assert_eq!(rig.reads(), 3);
    // Nobody hears it any more: what is known is not gone on with.
    rig.interests.unwant(0, &channel());
    rig.publish("e", 101).await;
    assert_eq!(data(&rig.newest().await.unwrap()).len(), 101);
    // And somebody hears it again: what was read without a subscriber has a hole behind it.
    rig.publish("e", 102).await;
    rig.interests.want(0, channel(), RuleIx(0));
    rig.publish("e", 103).await;
    assert_eq!(data(&rig.newest().await.unwrap()), Vec::from_iter(1..=103));
    assert_eq!(data(&rig.recover(middle).await.unwrap()), Vec::from_iter(51..=103));
}

#[tokio::test(start_paused = true)]
async fn of_more_values_than_anybody_is_given_the_newest_are_known_and_nobody_is_told_that_they_are_all() {
    let rig = Rig::new(HistoryMode::Cache(Box::default()));
    let count = u64::from(PAGE) + 10;
    for n in 1..=count {
        rig.publish(&format!("e{n}"), n).await;
    }
    assert!(!rig.recover(None).await.unwrap().reaches);
    assert_eq!(data(&rig.newest().await.unwrap()), Vec::from_iter(11..=count));
    rig.publish("e500", 0).await;
    assert_eq!(data(&rig.newest().await.unwrap()).last(), Some(&0));
    assert!(!rig.recover(None).await.unwrap().reaches);
    assert_eq!(rig.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_what_the_broker_has_also_where_the_pod_was_given_more() {
    let rig = Rig::new(HistoryMode::Stream);
    rig.publish("e", 1).await;
    rig.broker.forgot.store(true, Ordering::SeqCst);
    assert_eq!(data(&rig.newest().await.unwrap()), [1]);
    rig.publish("e", 2).await;
    assert_eq!(data(&rig.newest().await.unwrap()), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_reads_that_failed() {
    let rig = Rig::unheard(HistoryMode::Stream);
    rig.publish("e", 1).await;
    rig.broker.away.store(true, Ordering::SeqCst);
    assert!(rig.newest().await.is_none());
    assert!(rig.recoveries.tails.last_read(&channel()).is_none());
    rig.broker.away.store(false, Ordering::SeqCst);
    assert_eq!(data(&rig.newest().await.unwrap()), [1]);
}
