//! The intake against a naive model, with a broker that answers late, never, or out of date, and with real threads.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use rtgw_model::Timestamp;

use super::*;
use crate::broker::{
    AppendFuture, Broker, Concerned, HistoryError, HistoryFuture, IdempotencyKey, Memory, OutdateFuture,
    Page, ProbeFuture, PublishError, nothing_kept,
};
use crate::transport::InboxFull;

/// What a shard was told, shortened.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Publication(String),
    Ready(ChannelName),
    Gap(GapReason),
}

#[derive(Default)]
struct FakeInbox {
    told: Mutex<Vec<Told>>,
    pieces: AtomicU64,
    full: AtomicBool,
}

impl Inbox for FakeInbox {
    fn post(&self, input: ShardInput) -> Result<(), InboxFull> {
        let told = match input {
            ShardInput::Hub(Input::Publication(_)) if self.full.load(Ordering::SeqCst) => {
                return Err(InboxFull);
            }
            ShardInput::Hub(Input::Publication(outgoing)) => {
                Told::Publication(String::from_utf8(outgoing.publication().data.to_vec()).unwrap())
            }
            ShardInput::Hub(Input::Ready(channel, _)) => Told::Ready(channel),
            ShardInput::Hub(Input::Gap(_, reason)) => Told::Gap(reason),
            _ => panic!("an intake posts nothing else"),
        };
        self.told.lock().push(told);
        Ok(())
    }

    fn post_all(&self, inputs: Vec<ShardInput>) -> Vec<Result<(), InboxFull>> {
        self.pieces.fetch_add(1, Ordering::SeqCst);
        inputs.into_iter().map(|input| self.post(input)).collect()
    }
}

impl FakeInbox {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock())
    }
}

fn intake(shards: usize) -> (Arc<Intake>, Vec<Arc<FakeInbox>>) {
    let inboxes: Vec<Arc<FakeInbox>> = (0..shards).map(|_| Arc::default()).collect();
    let counts = Arc::new(Counts::new(1));
    let posts = inboxes.iter().map(|inbox| Arc::clone(inbox) as Arc<dyn Inbox>).collect();
    (Arc::new(Intake::new(posts, 1, Clock::start(), counts).unwrap()), inboxes)
}

fn channel(number: usize) -> ChannelName {
    ChannelName::parse(&format!("c:{number}")).unwrap()
}

fn publication(channels: &[usize], data: &str) -> Publication {
    Publication {
        channels: channels.iter().map(|number| channel(*number)).collect(),
        event: "e".into(),
        data: Bytes::copy_from_slice(data.as_bytes()),
        timestamp: Timestamp(0),
        tags: Default::default(),
        id: None,
        priority: None,
        positions: Default::default(),
        except: None,
    }
}

fn deliver(intake: &Intake, publication: Publication) {
    BrokerSink::publication(intake, publication);
}

/// A broker that only notes what it is asked, and checks that wishes alternate.
#[derive(Default)]
struct LateBroker {
    wanted: Mutex<BTreeMap<ChannelName, Generation>>,
    asked: Mutex<Vec<(ChannelName, Generation)>>,
}

impl Broker for LateBroker {
    fn publish(&self, _: Publication) -> AppendFuture<'_> {
        Box::pin(async { Err(PublishError::Unavailable("a stage prop".to_owned())) })
    }

    fn publish_once(&self, _: IdempotencyKey, _: Publication) -> AppendFuture<'_> {
        Box::pin(async { Err(PublishError::Unavailable("a stage prop".to_owned())) })
    }

    fn want(&self, channel: ChannelName, generation: Generation) {
        assert_eq!(self.wanted.lock().insert(channel.clone(), generation), None, "wanted twice");
        self.asked.lock().push((channel, generation));
    }

    fn unwant(&self, channel: &ChannelName) {
        assert!(self.wanted.lock().remove(channel).is_some(), "given back without a wish");
    }

    fn outdate(&self, _: Concerned) -> OutdateFuture<'_> {
        Box::pin(async { Ok(()) })
    }

    fn probe(&self) -> ProbeFuture<'_> {
        Box::pin(async { Err(PublishError::Unavailable("a stage prop".to_owned())) })
    }

    fn history(&self, _: &ChannelName, _: Page) -> HistoryFuture<'_> {
        Box::pin(async { Err(HistoryError::NotKept) })
    }

    fn position(&self, _: &ChannelName) -> Option<Position> {
        None
    }
}

/// A broker that lets others run before it takes a wish, so that wishes out of order overtake each other.
struct Hesitant(Memory);

impl Broker for Hesitant {
    fn publish(&self, publication: Publication) -> AppendFuture<'_> {
        self.0.publish(publication)
    }

    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        self.0.publish_once(key, publication)
    }

    fn want(&self, channel: ChannelName, generation: Generation) {
        std::thread::yield_now();
        self.0.want(channel, generation);
    }

    fn unwant(&self, channel: &ChannelName) {
        std::thread::yield_now();
        self.0.unwant(channel);
    }

    fn history(&self, channel: &ChannelName, page: Page) -> HistoryFuture<'_> {
        self.0.history(channel, page)
    }

    fn position(&self, channel: &ChannelName) -> Option<Position> {
        self.0.position(channel)
    }

    fn outdate(&self, concerned: Concerned) -> OutdateFuture<'_> {
        self.0.outdate(concerned)
    }

    fn probe(&self) -> ProbeFuture<'_> {
        self.0.probe()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Want(u16, usize),
    Unwant(u16, usize),
    /// The broker answers one of its questions, perhaps again, perhaps out of date.
    Answer(usize),
    Publish(Vec<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4u16, 0..6usize).prop_map(|(shard, channel)| Step::Want(shard, channel)),
        3 => (0..4u16, 0..6usize).prop_map(|(shard, channel)| Step::Unwant(shard, channel)),
        2 => any::<usize>().prop_map(Step::Answer),
        3 => prop::collection::vec(0..6usize, 1..4).prop_map(Step::Publish),
    ]
}

/// The truth, kept the plain way.
#[derive(Default)]
struct Model {
    members: BTreeSet<(usize, u16)>,
    carried: BTreeSet<usize>,
}

impl Model {
    /// Does the step on both sides; gives what each shard must be told.
    fn apply(
        &mut self,
        step: Step,
        intake: &Intake,
        interests: &Interests,
        broker: &LateBroker,
    ) -> Vec<Vec<Told>> {
        let mut expected: Vec<Vec<Told>> = vec![Vec::new(); 4];
        match step {
            Step::Want(shard, number) => {
                self.members.insert((number, shard));
                if self.carried.contains(&number) {
                    expected[usize::from(shard)].push(Told::Ready(channel(number)));
                }
                interests.want(shard, channel(number), RuleIx(0));
            }
            Step::Unwant(shard, number) => {
                self.members.remove(&(number, shard));
                if !self.members.iter().any(|(known, _)| *known == number) {
                    self.carried.remove(&number);
                }
                interests.unwant(shard, &channel(number));
            }
            Step::Answer(which) => {
                let asked = broker.asked.lock().clone();
                let Some((name, generation)) = asked.get(which % asked.len().max(1)).cloned() else {
                    return expected;
                };
                if broker.wanted.lock().get(&name) == Some(&generation) {
                    let number = (0..6).find(|number| channel(*number) == name).unwrap();
                    self.carried.insert(number);
                    for (_, shard) in self.members.iter().filter(|(known, _)| *known == number) {
                        expected[usize::from(*shard)].push(Told::Ready(name.clone()));
                    }
                }
                intake.ready(name, generation, None);
            }
            Step::Publish(channels) => {
                for (shard, told) in (0..).zip(&mut expected) {
                    if channels.iter().any(|number| self.members.contains(&(*number, shard))) {
                        told.push(Told::Publication("x".to_owned()));
                    }
                }
                deliver(intake, publication(&channels, "x"));
            }
        }
        expected
    }
}

proptest! {
    #[test]
    fn agrees_with_a_naive_model(steps in prop::collection::vec(step(), 1..200)) {
        let (intake, inboxes) = intake(4);
        let broker = Arc::new(LateBroker::default());
        let interests = Interests::new(Arc::clone(&intake), Arc::clone(&broker) as Arc<dyn Broker>);
        let mut model = Model::default();
        for step in steps {
            let expected = model.apply(step, &intake, &interests, &broker);
            let told: Vec<_> = inboxes.iter().map(|inbox| inbox.take()).collect();
            prop_assert_eq!(told, expected);
            let wanted: BTreeSet<_> = broker.wanted.lock().keys().cloned().collect();
            let held: BTreeSet<_> = model.members.iter().map(|(number, _)| channel(*number)).collect();
            prop_assert_eq!(intake.channels(), held.len());
            prop_assert_eq!(wanted, held);
        }
    }
}

/// Shards take and leave a channel as fast as they can while publications flow: after every `Ready` nothing is missing, and at the
/// end broker and registry agree.
#[test]
fn shards_that_race_miss_nothing() {
    const SHARDS: usize = 3;
    let (intake, inboxes) = intake(SHARDS);
    let broker = Arc::new(Hesitant(Memory::new(Arc::clone(&intake) as Arc<dyn BrokerSink>, nothing_kept())));
    let interests = Interests::new(Arc::clone(&intake), Arc::clone(&broker) as Arc<dyn Broker>);
    let (stop, begun) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            while !stop.load(Ordering::SeqCst) {
                let number = begun.fetch_add(1, Ordering::SeqCst);
                runtime.block_on(broker.publish(publication(&[0], &number.to_string()))).unwrap();
            }
        });
        let shards: Vec<_> = (0..SHARDS)
            .map(|shard| {
                let (interests, inbox, begun) = (&interests, &inboxes[shard], &begun);
                scope.spawn(move || {
                    for _ in 0..100 {
                        take_and_leave(interests, shard as u16, inbox, begun);
                    }
                })
            })
            .collect();
        let shards: Vec<_> = shards.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        publisher.join().unwrap();
        assert!(shards.iter().all(Result::is_ok), "a shard missed something");
    });
    assert_eq!(intake.channels(), 0);
    inboxes.iter().for_each(|inbox| drop(inbox.take()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(broker.publish(publication(&[0], "late"))).unwrap();
    assert!(inboxes.iter().all(|inbox| inbox.take().is_empty()), "nobody is left");
}

fn take_and_leave(interests: &Interests, shard: u16, inbox: &FakeInbox, begun: &AtomicU64) {
    inbox.take();
    interests.want(shard, channel(0), RuleIx(0));
    // Ready may come by the answer to another shard's question.
    while !inbox.told.lock().contains(&Told::Ready(channel(0))) {
        std::thread::yield_now();
    }
    let from = begun.load(Ordering::SeqCst);
    while begun.load(Ordering::SeqCst) < from + 6 {
        std::thread::yield_now();
    }
    interests.unwant(shard, &channel(0));
    let numbers: Vec<u64> = inbox
        .take()
        .into_iter()
        .filter_map(|told| match told {
            Told::Publication(data) => data.parse().ok(),
            _ => None,
        })
        .filter(|number| *number >= from)
        .collect();
    assert!(numbers.len() >= 5, "{from} was followed by {numbers:?}");
    assert_eq!(numbers, (from..from + numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_full_inbox_is_counted_and_hurts_nobody_else() {
    let (intake, inboxes) = intake(2);
    let interests = Interests::new(Arc::clone(&intake), Arc::new(LateBroker::default()));
    interests.want(0, channel(0), RuleIx(2));
    interests.want(1, channel(1), RuleIx(3));
    inboxes[1].full.store(true, Ordering::SeqCst);
    deliver(&intake, publication(&[0, 1], "x"));
    assert_eq!(inboxes[0].take(), [Told::Publication("x".to_owned())]);
    assert_eq!(inboxes[1].take(), []);
    let full = |rule| intake.counts().dropped(RuleIx(rule), DropReason::InboxFull);
    assert_eq!((full(2), full(3)), (0, 1), "under the rule by which that shard would have heard it");
}

#[tokio::test]
async fn a_batch_reaches_each_shard_in_one_piece_and_in_order() {
    let (intake, inboxes) = intake(3);
    let broker = Arc::new(Memory::new(Arc::clone(&intake) as Arc<dyn BrokerSink>, nothing_kept()));
    let interests = Interests::new(Arc::clone(&intake), Arc::clone(&broker) as Arc<dyn Broker>);
    interests.want(0, channel(0), RuleIx(0));
    interests.want(1, channel(1), RuleIx(1));
    inboxes.iter().for_each(|inbox| drop(inbox.take()));
    let batch = vec![
        publication(&[0], "first"),
        publication(&[1], "other"),
        publication(&[2], "nobody"),
        publication(&[0, 1], "both"),
    ];
    let appended = broker.publish_all(batch).await;
    let ids: Vec<_> = appended.into_iter().map(|answer| answer.unwrap().id).collect();
    assert!(ids.len() == 4 && ids.is_sorted(), "{ids:?}");
    let told =
        |data: &[&str]| data.iter().map(|text| Told::Publication((*text).to_owned())).collect::<Vec<_>>();
    assert_eq!(inboxes[0].take(), told(&["first", "both"]));
    assert_eq!(inboxes[1].take(), told(&["other", "both"]));
    assert_eq!(inboxes[2].take(), []);
    let pieces: Vec<u64> = inboxes.iter().map(|inbox| inbox.pieces.load(Ordering::SeqCst)).collect();
    assert_eq!(pieces, [1, 1, 0]);
    inboxes[1].full.store(true, Ordering::SeqCst);
    broker.publish_all(vec![publication(&[0, 1], "x"), publication(&[1], "x")]).await;
    assert_eq!(inboxes[0].take(), told(&["x"]));
    let full = |rule| intake.counts().dropped(RuleIx(rule), DropReason::InboxFull);
    assert_eq!((full(0), full(1)), (0, 2), "under the rule by which that shard would have heard it");
}

#[test]
fn too_large_is_dropped_and_counted() {
    let (intake, inboxes) = intake(1);
    let interests = Interests::new(Arc::clone(&intake), Arc::new(LateBroker::default()));
    interests.want(0, channel(0), RuleIx(1));
    deliver(&intake, publication(&[0], &"x".repeat(DATA_BYTES)));
    assert_eq!(inboxes[0].take().len(), 1, "the bound itself passes");
    deliver(&intake, publication(&[0], &"x".repeat(DATA_BYTES + 1)));
    assert_eq!(inboxes[0].take(), []);
    assert_eq!(intake.counts().dropped(RuleIx(1), DropReason::TooLarge), 1);
}

#[test]
fn gaps_reach_the_shards_they_concern() {
    let (intake, inboxes) = intake(3);
    let interests = Interests::new(Arc::clone(&intake), Arc::new(LateBroker::default()));
    interests.want(1, channel(0), RuleIx(0));
    let told = |scope, reason| {
        BrokerSink::gap(&*intake, scope, reason);
        inboxes.iter().map(|inbox| inbox.take()).collect::<Vec<_>>()
    };
    let gap = |reason| vec![Told::Gap(reason)];
    let (away, back) = (GapReason::BrokerReconnected, GapReason::SourceReconnected);
    assert_eq!(told(GapScope::All, away), [gap(away), gap(away), gap(away)]);
    assert_eq!(told(GapScope::Rules([RuleIx(0)].into()), back), [gap(back), gap(back), gap(back)]);
    assert_eq!(told(GapScope::Channels([channel(0), channel(5)].into()), away), [vec![], gap(away), vec![]]);
}

#[test]
fn a_source_is_counted_by_rule_even_with_nobody_listening() {
    let (intake, _) = intake(1);
    SourceSink::publication(&*intake, 0, &[RuleIx(1), RuleIx(3), RuleIx(1)], publication(&[0, 1, 2], "x"));
    let count = |rule| intake.counts().publications(Origin::Source(0), RuleIx(rule));
    assert_eq!([count(0), count(1), count(2), count(3)], [0, 1, 0, 1]);
}

#[test]
fn more_shards_than_bits_are_refused() {
    let inboxes = (0..MAX_SHARDS + 1).map(|_| Arc::new(FakeInbox::default()) as Arc<dyn Inbox>).collect();
    let refused = Intake::new(inboxes, 1, Clock::start(), Arc::new(Counts::new(0))).err();
    assert_eq!(refused, Some(TooManyShards(65)));
    let (intake, inboxes) = intake(MAX_SHARDS);
    BrokerSink::gap(&*intake, GapScope::All, GapReason::BrokerReconnected);
    assert!(inboxes.iter().all(|inbox| inbox.take().len() == 1));
}
