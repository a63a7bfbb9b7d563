//! The broker of pods that can go from one Redis to another while they serve ([decision 29](../../../../docs/decisions/0029-another-redis.md)).
//!
//! There is one Redis whose publications are passed on. In stages there is another: the one that comes next, whose publications are held
//! back until everything of the first has been passed on, or the one that was left, which is asked for idempotency keys. What makes it
//! one moment for all pods is a mark in the Redis that is left: from then on its scripts publish nothing and read no history, so that
//! whatever is published later is published in the next one, by whichever pod, and comes after everything before.

mod gate;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rtgw_config::checked::WriteTo;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Position, Publication};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::redis::{Counts, Redis};
use super::{
    AppendFuture, Appended, Broker, BrokerSink, Concerned, Generation, HistoryError, HistoryFuture,
    IdempotencyKey, Kept, OutdateFuture, Page, ProbeFuture, PublishAllFuture, PublishError, Retention,
};
use crate::redis_link::{Address, Fence, Names, Task};
use gate::Gate;

/// How long what is published in the next Redis waits for the rest of the one that is left. Then that counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a history waits for the same.
const READER: Duration = Duration::from_millis(2_500);
/// How often it is looked whether other pods have gone on; mostly they say so.
const LOOK: Duration = Duration::from_secs(2);
/// How soon something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// Channels of one gap.
const GAP: usize = 1_024;

/// Which Redis there are, by the configuration.
#[derive(Clone, Debug)]
pub struct Stages {
    /// The one to stay with.
    pub current: Address,
    /// The one that is being left, and which of both is written.
    pub previous: Option<(Address, WriteTo)>,
}

/// How far this pod has come.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The Redis that is written, and whose publications are passed on.
    pub written: Address,
    /// The other one.
    pub other: Option<Address>,
    /// Whether the other one is to come; else it was left.
    pub to_come: bool,
}

/// A configuration that this pod cannot take, because its pods write a Redis that would not be read.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's pods publish in {0} by now, which this configuration does not read")]
pub struct Stranded(Address);

/// The broker.
pub struct Switching {
    names: Names,
    sink: Arc<dyn BrokerSink>,
    retention: Retention,
    counts: Arc<Counts>,
    route: RwLock<Route>,
    hint: Arc<Notify>,
    stage: watch::Sender<Stage>,
}

/// The ways there are. Held only for as long as nobody waits.
struct Route {
    now: Leg,
    other: Option<(Leg, Other)>,
    /// What is written may have been left once, and is to be written again.
    to_open: bool,
}

/// What is waited for.
#[derive(Default)]
struct Waits {
    /// Since when others are known to be in the next Redis without this pod.
    behind: Option<Instant>,
    /// Since when this pod could lead the others there, but for its own subscriptions.
    leads: Option<Instant>,
}

impl Waits {
    /// Whether subscriptions were waited for long enough.
    fn subscribed(&mut self) -> bool {
        self.leads.get_or_insert_with(Instant::now).elapsed() > PATIENCE
    }
}

/// What the other Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// To come, when others have gone there.
    Next,
    /// To come as soon as it is reached.
    NextAtOnce,
    /// It was left.
    Past,
}

/// One Redis.
#[derive(Clone)]
struct Leg {
    address: Address,
    broker: Arc<Redis>,
    gate: Arc<Gate>,
    begun: Instant,
    _work: Arc<Task>,
}

impl Switching {
    /// The broker of gateway `names` in the Redis of `stages`, which delivers to `sink` and keeps what `retention` says. Begins to connect;
    /// somebody has to run [`Switching::run`].
    pub fn new(stages: &Stages, names: Names, sink: Arc<dyn BrokerSink>, retention: Retention) -> Arc<Self> {
        let (hint, counts) = (Arc::<Notify>::default(), Arc::<Counts>::default());
        let leg = |address: &Address, passes: bool| {
            let gate = Gate::new(Arc::clone(&sink), Arc::clone(&hint), passes);
            Leg::new(address, &names, gate, &retention, &counts)
        };
        let route = match &stages.previous {
            None => Route { now: leg(&stages.current, true), other: None, to_open: false },
            Some((previous, write_to)) => {
                let other = (leg(&stages.current, false), Other::to_come(*write_to));
                Route { now: leg(previous, true), other: Some(other), to_open: false }
            }
        };
        let stage = watch::Sender::new(route.stage());
        Arc::new(Self { sink, names, retention, counts, route: RwLock::new(route), hint, stage })
    }

    /// Counts since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How far this pod has come; tells of every step.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Whether the Redis that is to come, else the one that was left, is connected, or may be in a moment; true where there is none.
    pub fn other_is_up(&self, to_come: bool) -> bool {
        let route = self.route.read();
        let meant = route.other.as_ref().filter(|(_, what)| (*what != Other::Past) == to_come);
        meant.is_none_or(|(leg, _)| leg.broker.is_up() || leg.begun.elapsed() < PATIENCE)
    }

    /// Whether [`Switching::turn`] can take these.
    ///
    /// # Errors
    /// [`Stranded`]: other pods have gone on already.
    pub fn check(&self, stages: &Stages) -> Result<(), Stranded> {
        let route = self.route.read();
        let mut read = std::iter::once(&stages.current).chain(stages.previous.as_ref().map(|(old, _)| old));
        let now = &route.now.address;
        // Where nobody has gone on, the next one is where this pod goes by being told to stay there.
        let next = route.other.as_ref().filter(|(_, what)| *what != Other::Past);
        let goes_on = stages.previous.is_none()
            && next
                .is_some_and(|(leg, what)| *what == Other::NextAtOnce && leg.address.is_at(&stages.current));
        if goes_on || read.any(|address| address.is_at(now)) { Ok(()) } else { Err(Stranded(now.clone())) }
    }

    /// Goes on by another configuration. Where the one that is being left ends before this pod has gone on, it goes on now, and says that
    /// something may be missing.
    ///
    /// # Errors
    /// As [`Switching::check`]; then nothing changes.
    pub fn turn(&self, stages: &Stages) -> Result<(), Stranded> {
        self.check(stages)?;
        let mut route = self.route.write();
        match &stages.previous {
            None if route.now.address.is_at(&stages.current) => route.other = None,
            None => {
                self.go(&mut route, false);
                (route.other, route.to_open) = (None, true);
            }
            Some((previous, write_to)) => {
                let next = route.now.address.is_at(previous);
                let (address, what) =
                    if next { (&stages.current, Other::to_come(*write_to)) } else { (previous, Other::Past) };
                let known = route.other.take().filter(|(leg, before)| {
                    leg.address.is_at(address) && (*before == Other::Past) == (what == Other::Past)
                });
                let leg = known.map_or_else(|| self.other(address, &route.now, next), |(leg, _)| leg);
                route.other = Some((leg, what));
            }
        }
        self.stage.send_replace(route.stage());
        drop(route);
        self.hint.notify_one();
        Ok(())
    }

    /// A Redis beside that of now; one that is to come wants what that carries.
    fn other(&self, address: &Address, now: &Leg, next: bool) -> Leg {
        let gate = Gate::new(Arc::clone(&self.sink), Arc::clone(&self.hint), false);
        let leg = Leg::new(address, &self.names, gate, &self.retention, &self.counts);
        if next {
            for (channel, generation) in now.broker.wanted() {
                leg.broker.want(channel, generation);
            }
        } else {
            leg.gate.shut();
        }
        leg
    }

    /// Follows the other pods, and goes on where it is told to, until dropped; never gives up. Once.
    pub async fn run(&self) {
        let mut waits = Waits::default();
        loop {
            let (now, other) = self.legs();
            let pause = match &other {
                Some((next, what @ (Other::Next | Other::NextAtOnce))) => {
                    self.consider(&now, next, *what == Other::NextAtOnce, &mut waits).await
                }
                Some((_, Other::Past)) => {
                    waits = Waits::default();
                    // Said until the configuration has nothing more to leave: who has just started may not reach the other one.
                    now.broker.arrive().await.map_or(AGAIN, |_| LOOK)
                }
                None => {
                    waits = Waits::default();
                    self.open(&now).await
                }
            };
            tokio::select! {
                () = self.hint.notified() => {}
                () = now.broker.noticed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Has what is written be written, where it was left once.
    async fn open(&self, now: &Leg) -> Duration {
        if !self.route.read().to_open {
            return LOOK;
        }
        if now.broker.open().await.is_err() {
            return AGAIN;
        }
        self.route.write().to_open = false;
        LOOK
    }

    /// Looks whether it is time to go on to `next`, and does. How soon to look again.
    async fn consider(&self, now: &Leg, next: &Leg, leaves: bool, waits: &mut Waits) -> Duration {
        let others_are_there =
            next.gate.holds_some() || next.broker.look().await.is_ok_and(|seen| seen.arrived);
        // Nobody is led to a Redis that is not reached, nor before this pod has subscribed there, if that does not take for ever.
        let reached = leaves && next.broker.open().await.is_ok();
        let leads = reached && (next.broker.unanswered().is_empty() || waits.subscribed());
        let mark = next.gate.mark();
        let mut seen = now.broker.look().await;
        if let Ok(before) = seen
            && !before.left
        {
            next.gate.vouch(mark);
            if leads || others_are_there {
                seen = now.broker.leave(&next.address).await;
            }
        }
        match seen {
            Ok(seen) if seen.left => {
                let settled = timeout(PATIENCE, async {
                    while let Err(trouble) = now.broker.settle().await {
                        tracing::debug!(error = %trouble, "the Redis that is left is asked again for its rest");
                        sleep(AGAIN).await;
                    }
                });
                let settled = settled.await.is_ok();
                self.go_on(now, next, settled);
                AGAIN
            }
            Ok(_) => {
                waits.behind = None;
                if leaves || next.gate.is_unvouched() { AGAIN } else { LOOK }
            }
            Err(trouble) => {
                if others_are_there && waits.behind.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    tracing::warn!(redis = %now.address, error = %trouble, "the Redis that is left does not answer: what it had last is lost");
                    self.go_on(now, next, false);
                }
                AGAIN
            }
        }
    }

    /// Goes on to `next`, if that is still what is meant.
    fn go_on(&self, now: &Leg, next: &Leg, settled: bool) {
        let mut route = self.route.write();
        let meant = Arc::ptr_eq(&route.now.broker, &now.broker)
            && route.other.as_ref().is_some_and(|(leg, _)| Arc::ptr_eq(&leg.broker, &next.broker));
        if meant {
            self.go(&mut route, settled);
            self.stage.send_replace(route.stage());
        }
    }

    /// The one moment in which one Redis ends and the other begins. Without `settled` something of the first may be missing.
    fn go(&self, route: &mut Route, settled: bool) {
        let Some((next, _)) = route.other.take() else { return };
        let past = std::mem::replace(&mut route.now, next);
        past.gate.shut();
        let wanted: Vec<ChannelName> = past.broker.wanted().into_iter().map(|(channel, _)| channel).collect();
        let unanswered: HashSet<ChannelName> = past.broker.unanswered().into_iter().collect();
        let keeps = |channel: &ChannelName| (self.retention)(channel).is_some();
        if settled {
            // Positions of the one that is left count no more.
            let kept: Vec<ChannelName> = wanted.iter().filter(|channel| keeps(channel)).cloned().collect();
            tell(&*self.sink, &kept, GapReason::BrokerReset);
        } else {
            self.sink.gap(GapScope::All, GapReason::BrokerReset);
        }
        let told = |channel: &ChannelName| !settled || keeps(channel);
        tracing::info!(from = %past.address, to = %route.now.address, settled, "the gateway has gone to another Redis");
        for channel in &wanted {
            past.broker.unwant(channel);
        }
        route.now.gate.open(wanted, &unanswered, told);
        route.other = Some((past, Other::Past));
    }

    fn legs(&self) -> (Leg, Option<(Leg, Other)>) {
        let route = self.route.read();
        (route.now.clone(), route.other.clone())
    }

    /// Publishes where it is heard: where the one that is written has been left, in the next.
    async fn anywhere(&self, under: Under, publication: Publication) -> Result<Appended, PublishError> {
        let (now, other) = self.legs();
        match other {
            Some((next, Other::Next | Other::NextAtOnce)) => {
                match now.append(under.clone(), publication.clone()).await {
                    Err(PublishError::Left(_)) => {
                        self.hint.notify_one();
                        beyond(&now, &next, under, publication).await
                    }
                    answer => answer,
                }
            }
            Some((past, Other::Past)) => beyond(&past, &now, under, publication).await,
            None => now.append(under, publication).await,
        }
    }

    async fn all_anywhere(&self, publications: Vec<Publication>) -> Vec<Result<Appended, PublishError>> {
        let (now, other) = self.legs();
        let Some((next, Other::Next | Other::NextAtOnce)) = other else {
            return now.broker.publish_all(publications).await;
        };
        let mut answers = now.broker.publish_all(publications.clone()).await;
        let left = |answer: &Result<Appended, PublishError>| matches!(answer, Err(PublishError::Left(_)));
        let places: Vec<usize> = (0..answers.len()).filter(|at| left(&answers[*at])).collect();
        if places.is_empty() {
            return answers;
        }
        self.hint.notify_one();
        let rest = places.iter().map(|at| publications[*at].clone()).collect();
        for (at, answer) in places.into_iter().zip(next.broker.publish_all(rest).await) {
            answers[at] = answer;
        }
        answers
    }

    async fn read(&self, channel: &ChannelName, page: Page) -> Result<Kept, HistoryError> {
        let mut stage = self.stage.subscribe();
        let deadline = Instant::now() + READER;
        loop {
            stage.borrow_and_update();
            let (now, other) = self.legs();
            let to_come = other.is_some_and(|(_, what)| what != Other::Past);
            match now.broker.history(channel, page).await {
                Err(HistoryError::Left(place)) if to_come => {
                    self.hint.notify_one();
                    if tokio::time::timeout_at(deadline, stage.changed()).await.is_err() {
                        return Err(HistoryError::Left(place));
                    }
                }
                answer => return answer,
            }
        }
    }

    /// Where it is not known yet that the pods have gone on, it has to hold in both.
    async fn outdate_everywhere(&self, concerned: Concerned) -> Result<(), PublishError> {
        let (now, other) = self.legs();
        now.broker.outdate(Arc::clone(&concerned)).await?;
        let Some((next, Other::Next | Other::NextAtOnce)) = other else { return Ok(()) };
        if let Err(error) = next.broker.outdate(concerned).await {
            let seen = now.broker.look().await;
            if !seen.is_ok_and(|seen| !seen.left) {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Other {
    fn to_come(write_to: WriteTo) -> Self {
        match write_to {
            WriteTo::Previous => Self::Next,
            WriteTo::Current => Self::NextAtOnce,
        }
    }
}

impl Route {
    fn stage(&self) -> Stage {
        Stage {
            written: self.now.address.clone(),
            other: self.other.as_ref().map(|(leg, _)| leg.address.clone()),
            to_come: self.other.as_ref().is_some_and(|(_, what)| *what != Other::Past),
        }
    }

    /// Where wishes go.
    fn wishes(&self) -> impl Iterator<Item = &Leg> {
        let next = self.other.as_ref().filter(|(_, what)| *what != Other::Past);
        std::iter::once(&self.now).chain(next.map(|(leg, _)| leg))
    }
}

impl Leg {
    fn new(
        address: &Address,
        names: &Names,
        gate: Arc<Gate>,
        retention: &Retention,
        counts: &Arc<Counts>,
    ) -> Self {
        let sink = Arc::clone(&gate) as _;
        let broker =
            Redis::new(address.clone(), names.clone(), sink, Arc::clone(retention), Arc::clone(counts));
        let running = Arc::clone(&broker);
        let work = Task::run(async move { running.run().await });
        Self { address: address.clone(), broker, gate, begun: Instant::now(), _work: Arc::new(work) }
    }

    async fn append(&self, under: Under, publication: Publication) -> Result<Appended, PublishError> {
        match under {
            Under { key: None, .. } => self.broker.publish(publication).await,
            Under { key: Some(key), fence: None } => self.broker.publish_once(key, publication).await,
            Under { key: Some(key), fence: Some(fence) } => {
                self.broker.publish_fenced(fence, key, publication).await
            }
        }
    }
}

/// What a publication is published under.
#[derive(Clone, Default)]
struct Under {
    key: Option<IdempotencyKey>,
    /// Never without a key.
    fence: Option<Fence>,
}

/// Publishes in `to`, unless it has been under its key in `from`, where nothing is published any more.
async fn beyond(
    from: &Leg,
    to: &Leg,
    under: Under,
    publication: Publication,
) -> Result<Appended, PublishError> {
    if let Some(key) = under.key
        && let Some(first) = from.broker.remembered(key).await?
    {
        return Ok(first);
    }
    to.append(under, publication).await
}

/// Tells a gap of these channels.
fn tell(sink: &dyn BrokerSink, channels: &[ChannelName], reason: GapReason) {
    for channels in channels.chunks(GAP) {
        sink.gap(GapScope::Channels(channels.into()), reason);
    }
}

impl Broker for Switching {
    fn publish(&self, publication: Publication) -> AppendFuture<'_> {
        Box::pin(self.anywhere(Under::default(), publication))
    }

    fn publish_all(&self, publications: Vec<Publication>) -> PublishAllFuture<'_> {
        Box::pin(self.all_anywhere(publications))
    }

    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        Box::pin(self.anywhere(Under { key: Some(key), fence: None }, publication))
    }

    fn publish_fenced(
        &self,
        fence: Fence,
        key: IdempotencyKey,
        publication: Publication,
    ) -> AppendFuture<'_> {
        Box::pin(self.anywhere(Under { key: Some(key), fence: Some(fence) }, publication))
    }

    fn want(&self, channel: ChannelName, generation: Generation) {
        let route = self.route.read();
        for leg in route.wishes() {
            leg.broker.want(channel.clone(), generation);
        }
    }

    fn unwant(&self, channel: &ChannelName) {
        let route = self.route.read();
        for leg in route.wishes() {
            leg.broker.unwant(channel);
            leg.gate.forget(channel);
        }
    }

    fn history(&self, channel: &ChannelName, page: Page) -> HistoryFuture<'_> {
        let channel = channel.clone();
        Box::pin(async move { self.read(&channel, page).await })
    }

    fn position(&self, channel: &ChannelName) -> Option<Position> {
        self.route.read().now.broker.position(channel)
    }

    fn outdate(&self, concerned: Concerned) -> OutdateFuture<'_> {
        Box::pin(self.outdate_everywhere(concerned))
    }

    fn probe(&self) -> ProbeFuture<'_> {
        Box::pin(async move {
            let now = self.route.read().now.clone();
            now.broker.probe().await
        })
    }
}
