//! A broker in Redis: several pods hear each other, and what channels keep outlives them all.
//!
//! Publishing is one script ([`publish.lua`](./publish.lua)) over the [`Link`]: it numbers, keeps and sends, all or nothing. Hearing is a
//! connection of its own ([`hearing`]) that fills a bounded queue; one task ([`delivery`]) takes from it in order, proves that nothing is
//! missing, reads what is from the histories, and hands the rest on. What a pod knows of the shard is compared with what Redis remembers
//! at every connection ([`greet.lua`](./greet.lua)), so that a Redis that has forgotten is found out.

mod delivery;
mod hearing;
mod interests;
mod knowledge;
mod leaving;
mod outdate;
mod queue;
mod repair;
mod scripts;
#[cfg(test)]
pub(super) mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use rtgw_model::{ChannelName, Position, Positions, Publication};
use rtgw_protocol::pods::{self, Stamp};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Instant, timeout};

use super::{
    AppendFuture, Appended, Broker, BrokerSink, Concerned, Generation, HistoryError, HistoryFuture,
    IdempotencyKey, Kept, OutdateFuture, PAGE, Page, ProbeFuture, PublishAllFuture, PublishError, Retention,
};
use crate::redis_link::{Address, Fence, Link, Names, Trouble};
use interests::Interests;
use knowledge::Knowledge;
use queue::Queue;
use scripts::{Outgoing, Scripts};

/// Within this a publication is published or refused; whatever has not begun by then never does.
const PUBLISH: Duration = Duration::from_millis(1_900);
/// How long a publication waits for a connection that is being made anew.
const CONNECTION: Duration = Duration::from_millis(1_200);
/// Most KiB of publications under way; the others wait for their turn.
const IN_FLIGHT: usize = 64 * 1024;
/// Most publications of one script, and most bytes: Redis does nothing else meanwhile.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1 << 20;
/// How long a probe may take.
const PROBE: Duration = Duration::from_millis(1_500);

/// The broker of one pod in one Redis. [`Redis::run`] has to be running.
pub(super) struct Redis {
    /// Names this process's life.
    pod: u64,
    sink: Arc<dyn BrokerSink>,
    retention: Retention,
    address: Address,
    link: Link,
    scripts: Arc<Scripts>,
    knowledge: Arc<Knowledge>,
    interests: Mutex<Interests>,
    questions: Mutex<HashMap<u64, Question>>,
    queue: Arc<Queue>,
    in_flight: Semaphore,
    signals: Signals,
    counts: Arc<Counts>,
}

/// A standing that was asked for and has not been heard yet.
struct Question {
    channels: Vec<ChannelName>,
    asked: Instant,
    heard: Option<oneshot::Sender<()>>,
}

/// What one task tells another.
#[derive(Default)]
struct Signals {
    /// There is something to subscribe or to give up.
    wish: Notify,
    /// The connection that hears is not trusted any more.
    renew: Notify,
    /// Every channel is to be compared with where it stands, without waiting for the next time.
    check: Notify,
    /// Redis gives out again what it has given out before, in this epoch.
    doubt: Notify,
    doubted: Mutex<Option<u64>>,
    /// Somebody tells all pods something.
    notice: Notify,
    /// What was promised is subscribed, or about to be, on the connection of now.
    begun: AtomicBool,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Channels whose positions stopped counting because Redis lost what they were about.
    pub reset: AtomicU64,
    /// Publications that had not arrived and were read from a history.
    pub repaired: AtomicU64,
    /// Messages that this version does not understand.
    pub malformed: AtomicU64,
}

impl Redis {
    /// The broker of gateway `names` in the Redis at `address`, which delivers to `sink`, keeps what `retention` says, and adds to `counts`.
    pub(super) fn new(
        address: Address,
        names: Names,
        sink: Arc<dyn BrokerSink>,
        retention: Retention,
        counts: Arc<Counts>,
    ) -> Arc<Self> {
        let pod = fastrand::u64(1..);
        let scripts = Arc::new(Scripts::new(names, 0, pod));
        let knowledge = Arc::<Knowledge>::default();
        let greeting = {
            let (scripts, knowledge) = (Arc::clone(&scripts), Arc::clone(&knowledge));
            Box::new(move |mut connection: MultiplexedConnection| {
                let (scripts, knowledge) = (Arc::clone(&scripts), Arc::clone(&knowledge));
                Box::pin(async move { scripts.greet(&mut connection, &knowledge, false).await.map(drop) })
                    as _
            })
        };
        Arc::new(Self {
            pod,
            sink,
            retention,
            link: Link::greeting("broker", address.clone(), greeting),
            address,
            scripts,
            knowledge,
            interests: Mutex::default(),
            questions: Mutex::default(),
            queue: Arc::default(),
            in_flight: Semaphore::new(IN_FLIGHT),
            signals: Signals::default(),
            counts,
        })
    }

    /// Keeps the connections and delivers, until dropped; never gives up. Once.
    pub(super) async fn run(&self) {
        tokio::join!(
            self.link.keep(),
            self.hear(),
            self.deliver(),
            self.keep_checking(),
            self.keep_doubting()
        );
    }

    /// Publishes all in one script.
    async fn append(
        &self,
        all: &[Outgoing<'_>],
        fence: Option<&Fence>,
    ) -> Result<Vec<Appended>, PublishError> {
        let work = async {
            let size: usize = all.iter().map(|one| one.body.len() / 1024 + 1).sum();
            let places = u32::try_from(size.min(IN_FLIGHT)).unwrap_or(u32::MAX);
            let _places = self.in_flight.acquire_many(places).await.map_err(|_| Trouble::Down)?;
            let begun = Instant::now();
            let mut connection = self.link.ready(CONNECTION).await?;
            let latest = |left: Duration| self.knowledge.clock_in(left);
            let call = self.scripts.publish(all, fence, latest(PUBLISH), |channel| (self.retention)(channel));
            match Scripts::run_publish(&mut connection, &call).await {
                // The clock of Redis was set: nothing was published, and it is read anew.
                Err(Trouble::Redis(error)) if error.code() == Some("EXPIRED") => {
                    self.scripts.greet(&mut connection, &self.knowledge, false).await?;
                    let left = PUBLISH.saturating_sub(begun.elapsed());
                    let call =
                        self.scripts.publish(all, fence, latest(left), |channel| (self.retention)(channel));
                    Scripts::run_publish(&mut connection, &call).await
                }
                answer => answer,
            }
        };
        let answers = timeout(PUBLISH, work).await.unwrap_or(Err(Trouble::Silent));
        let answers = answers.map_err(|trouble| match trouble {
            Trouble::Redis(error) if error.code() == Some("FENCED") => PublishError::Fenced,
            trouble => self.unavailable(&trouble),
        })?;
        if answers.len() != all.len() {
            return Err(self.unavailable(&Trouble::Odd));
        }
        Ok(answers.into_iter().zip(all).map(|(answer, one)| self.appended(answer, one.publication)).collect())
    }

    fn appended(&self, (repeated, stamp): (bool, Stamp), publication: &Publication) -> Appended {
        self.knowledge.saw(stamp.id);
        let mut positions = Positions::new();
        for (channel, place) in &stamp.places {
            let length = publication.channels.len().max(usize::from(*channel) + 1).max(positions.len());
            positions.resize(length, None);
            positions[usize::from(*channel)] = Some(place.position(stamp.id.epoch));
        }
        Appended { id: stamp.id, positions, repeated }
    }

    fn unavailable(&self, trouble: &Trouble) -> PublishError {
        match leaving::left(trouble) {
            Some(place) => PublishError::Left(place),
            None => PublishError::Unavailable(self.told(trouble)),
        }
    }

    /// What went wrong, for people; a connection that is of no more use is made anew.
    fn told(&self, trouble: &Trouble) -> String {
        if trouble.is_final() {
            self.link.renew();
        }
        format!("{trouble}; {}", trouble.advice())
    }

    fn outgoing<'a>(
        &self,
        once: Option<IdempotencyKey>,
        publication: &'a Publication,
    ) -> Result<Outgoing<'a>, PublishError> {
        let body = pods::body(publication, self.pod);
        let body = body.map_err(|error| PublishError::Unavailable(error.to_string()))?;
        Ok(Outgoing { once, publication, body })
    }

    async fn append_one(
        &self,
        fence: Option<Fence>,
        once: Option<IdempotencyKey>,
        publication: Publication,
    ) -> Result<Appended, PublishError> {
        let answers = self.append(&[self.outgoing(once, &publication)?], fence.as_ref()).await?;
        answers.into_iter().next().ok_or_else(|| self.unavailable(&Trouble::Odd))
    }

    async fn append_all(&self, publications: &[Publication]) -> Vec<Result<Appended, PublishError>> {
        let mut answers = Vec::with_capacity(publications.len());
        let mut rest = publications;
        let mut failed = None;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |publication: &&Publication| {
                bytes += publication.data.len();
                bytes <= BATCH_BYTES
            };
            let count = rest.iter().take(BATCH).take_while(fits).count().max(1);
            let (batch, later) = rest.split_at(count);
            rest = later;
            // After a failure the others would only wait for the next one.
            let outcome = match &failed {
                Some(error) => Err(PublishError::clone(error)),
                None => match batch.iter().map(|one| self.outgoing(None, one)).collect::<Result<Vec<_>, _>>()
                {
                    Ok(batch) => self.append(&batch, None).await,
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Ok(appended) => answers.extend(appended.into_iter().map(Ok)),
                Err(error) => {
                    answers.extend(batch.iter().map(|_| Err(error.clone())));
                    failed = Some(error);
                }
            }
        }
        answers
    }

    async fn read(&self, channel: &ChannelName, page: Page) -> Result<Kept, HistoryError> {
        let policy = (self.retention)(channel).ok_or(HistoryError::NotKept)?;
        let page = Page { limit: page.limit.min(PAGE), ..page };
        let work = async {
            let mut connection = self.link.ready(CONNECTION).await?;
            self.scripts.history(&mut connection, channel, &policy, page).await
        };
        let read = timeout(PUBLISH, work).await.unwrap_or(Err(Trouble::Silent)).map_err(|trouble| {
            match leaving::left(&trouble) {
                Some(place) => HistoryError::Left(place),
                None => HistoryError::Unavailable(self.told(&trouble)),
            }
        })?;
        let top = read.top.position(read.epoch);
        let mut publications = Vec::with_capacity(read.messages.len());
        for (offset, message) in read.messages {
            let Ok((publication, _)) = pods::publication(&message.into(), self.pod) else {
                self.counts.malformed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let position = Position { offset, epoch: top.epoch };
            let (channels, positions) = ([channel.clone()].into(), [Some(position)].into());
            publications.push(Publication { channels, positions, ..publication });
        }
        Ok(Kept { publications, top, oldest: read.oldest.unwrap_or(top.offset + 1) })
    }

    async fn probe_once(&self) -> Result<Duration, PublishError> {
        let begun = Instant::now();
        let (heard, waiting) = oneshot::channel();
        let nobody = || PublishError::Unavailable("the probe did not come back".to_owned());
        let asked =
            self.ask(Vec::new(), false, Some(heard)).await.map_err(|trouble| self.unavailable(&trouble))?;
        if asked == 0 || timeout(PROBE, waiting).await.is_err() {
            // Redis answers and nothing is heard: a new connection heals that.
            self.signals.renew.notify_waiters();
            return Err(nobody());
        }
        Ok(begun.elapsed())
    }
}

impl Broker for Redis {
    fn publish(&self, publication: Publication) -> AppendFuture<'_> {
        Box::pin(self.append_one(None, None, publication))
    }

    fn publish_all(&self, publications: Vec<Publication>) -> PublishAllFuture<'_> {
        Box::pin(async move { self.append_all(&publications).await })
    }

    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        Box::pin(self.append_one(None, Some(key), publication))
    }

    fn publish_fenced(
        &self,
        fence: Fence,
        key: IdempotencyKey,
        publication: Publication,
    ) -> AppendFuture<'_> {
        Box::pin(self.append_one(Some(fence), Some(key), publication))
    }

    fn want(&self, channel: ChannelName, generation: Generation) {
        let keeps = (self.retention)(&channel).is_some();
        let ready = self.interests.lock().want(channel, generation, keeps);
        match ready {
            Some((channel, generation, position)) => self.sink.ready(channel, generation, position),
            None => self.signals.wish.notify_one(),
        }
    }

    fn unwant(&self, channel: &ChannelName) {
        self.interests.lock().unwant(channel, Instant::now());
    }

    fn history(&self, channel: &ChannelName, page: Page) -> HistoryFuture<'_> {
        let channel = channel.clone();
        Box::pin(async move { self.read(&channel, page).await })
    }

    fn position(&self, channel: &ChannelName) -> Option<Position> {
        self.interests.lock().position(channel)
    }

    fn outdate(&self, concerned: Concerned) -> OutdateFuture<'_> {
        Box::pin(
            async move { self.outdate_all(&concerned).await.map_err(|trouble| self.unavailable(&trouble)) },
        )
    }

    fn probe(&self) -> ProbeFuture<'_> {
        Box::pin(self.probe_once())
    }
}
