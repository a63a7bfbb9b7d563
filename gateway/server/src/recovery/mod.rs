//! What subscribers missed, read from the broker: once for all who ask at the same time, and encoded once.
//!
//! Who recovers a channel first reads it; the others wait for that and take their part. For a few seconds what was read is kept and
//! goes on with what the pod is carried, so that a storm of returning clients costs a few reads however long it takes.

mod page;
mod tail;
mod tails;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use page::{PageError, Pages, Read, Wanted};
use parking_lot::Mutex;
use rtgw_hub::Replay;
use rtgw_model::{ChannelName, HistoryMode, HistoryPolicy, Outgoing, Position, Publication, Recover};
pub use tails::Tails;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::broker::{Broker, Kept, PAGE, Page};

/// How long the broker may take; then the subscriber is told that nothing was recovered.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Channels that are read at a time.
const READS: usize = 64;

/// Who asks for the newest of a channel that the pod is not carried has it read, at most so often; who comes in between waits for the
/// next read and shares it.
const PACE: Duration = Duration::from_millis(100);

/// Makes a publication ready for subscribers, as the intake does.
pub type Dress = Box<dyn Fn(Publication) -> Arc<Outgoing> + Send + Sync>;

/// Whether the pod has a subscriber of the channel, so that [`Tails::note`] is told what is published on it.
pub type Carries = Box<dyn Fn(&ChannelName) -> bool + Send + Sync>;

/// What a subscriber asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// From where; absent: only where the channel stands.
    pub recover: Option<Recover>,
    /// What its shard has been given at least.
    pub walked: Option<Position>,
}

/// Reads histories for subscribers, and for who wants the newest of a channel.
pub struct Recoveries {
    broker: Arc<dyn Broker>,
    tails: Arc<Tails>,
    dress: Dress,
    carries: Carries,
    reads: Semaphore,
    /// Who reads a channel has its turn.
    turns: Mutex<HashMap<ChannelName, Arc<tokio::sync::Mutex<()>>>>,
}

impl Recoveries {
    /// Reads `broker`; `tails` are told what the pod is carried.
    pub fn new(broker: Arc<dyn Broker>, tails: Arc<Tails>, dress: Dress, carries: Carries) -> Self {
        Self { broker, tails, dress, carries, reads: Semaphore::new(READS), turns: Mutex::default() }
    }

    /// What was asked, as far as it is kept; `None` where the broker does not tell in time. Nothing is promised of a channel that the
    /// pod is not carried.
    pub async fn recover(
        &self,
        channel: &ChannelName,
        policy: &HistoryPolicy,
        asked: Asked,
    ) -> Option<Replay> {
        let wanted = asked.recover.map_or(tail::Wanted::Place, tail::Wanted::Missed);
        let asked = tail::Asked { wanted, walked: asked.walked, at: Instant::now(), heard: true };
        self.ask(channel, policy, &asked).await
    }

    /// The newest publications that are kept of a channel, whether the pod is carried it or not: those of [`PAGE`], in their order, and
    /// all that were accepted before this was called, or, where the pod is carried the channel, delivered. `None` where the broker
    /// does not tell in time.
    pub async fn newest(&self, channel: &ChannelName, policy: &HistoryPolicy) -> Option<Replay> {
        let walked = self.broker.position(channel).filter(|_| (self.carries)(channel));
        let (wanted, at, heard) = (tail::Wanted::Newest, Instant::now(), walked.is_some());
        self.ask(channel, policy, &tail::Asked { wanted, walked, at, heard }).await
    }

    async fn ask(
        &self,
        channel: &ChannelName,
        policy: &HistoryPolicy,
        asked: &tail::Asked,
    ) -> Option<Replay> {
        if let Some(replay) = self.tails.serve(channel, asked) {
            return Some(replay);
        }
        let turn = Arc::clone(self.turns.lock().entry(channel.clone()).or_default());
        let replay = tokio::time::timeout(TIMEOUT, async {
            let _turn = turn.lock().await;
            if let Some(replay) = self.tails.serve(channel, asked) {
                return Some(replay);
            }
            if let Some(last) = self.tails.last_read(channel).filter(|_| !asked.heard) {
                tokio::time::sleep_until(last + PACE).await;
            }
            self.read(channel, policy, asked).await
        });
        let replay = replay.await.ok().flatten();
        let mut turns = self.turns.lock();
        // The map's and this one.
        if Arc::strong_count(&turn) <= 2 {
            turns.remove(channel);
        }
        replay
    }

    async fn read(
        &self,
        channel: &ChannelName,
        policy: &HistoryPolicy,
        asked: &tail::Asked,
    ) -> Option<Replay> {
        let _read = self.reads.acquire().await.ok()?;
        let reading = self.tails.begin(channel, (self.carries)(channel));
        let current = matches!(policy.mode, HistoryMode::Cache(_));
        let all = Page { since: None, limit: PAGE, reverse: false };
        let newest = Page { since: None, limit: PAGE, reverse: true };
        let first = match (asked.wanted, asked.since()) {
            (tail::Wanted::Newest, _) => newest,
            _ if current => newest,
            (_, None) => Page { limit: 0, ..all },
            (_, Some(_)) if reading.is_deep() => newest,
            (_, Some(since)) => Page { since: Some(since.offset), ..all },
        };
        let mut kept = self.broker.history(channel, first).await.ok()?;
        let mut page = first;
        if page.limit > 0 && !page.reverse && is_cut(&kept) {
            // More than anybody is given: the newest serve those who have missed less.
            page = newest;
            kept = self.broker.history(channel, page).await.ok()?;
        }
        if page.reverse {
            kept.publications.reverse();
        }
        let Kept { publications, top, oldest } = kept;
        let from = publications.first().map_or(top.offset, |first| offset(first).saturating_sub(1));
        let partial = current && from >= oldest;
        let from = if current { from } else { behind_last_hole(&publications).unwrap_or(from) };
        let exhausted = page.reverse || from < oldest;
        let known = publications.into_iter().filter(|one| current || offset(one) > from);
        let publications: Vec<Arc<Outgoing>> = known.map(|one| (self.dress)(one)).collect();
        let tags = match &policy.mode {
            HistoryMode::Cache(tags) => Some(tags.clone()),
            HistoryMode::Stream => None,
        };
        // The newest is what the broker has, also one that has forgotten what the pod was given.
        let walked = asked.walked.filter(|_| asked.wanted != tail::Wanted::Newest);
        let asked = &tail::Asked { walked, ..*asked };
        let mut tail = tail::Tail::new(publications, (from, exhausted), top, tags).partial(partial);
        // What is not even known now: a place that nobody was told of, or a broker that is behind.
        let unknown = Replay { base: [].into(), skip: 0, more: Box::default(), top, reaches: false };
        let replay = tail.serve(asked).unwrap_or(unknown);
        reading.install(tail);
        Some(self.tails.serve(channel, asked).unwrap_or(replay))
    }
}

fn offset(publication: &Publication) -> u64 {
    publication.position(0).map_or(0, |position| position.offset)
}

/// The offset before which one is missing; there should be none.
fn behind_last_hole(publications: &[Publication]) -> Option<u64> {
    let hole = publications.windows(2).rev().find(|pair| offset(&pair[0]) + 1 != offset(&pair[1]));
    hole.map(|pair| offset(&pair[1]).saturating_sub(1))
}

/// Whether publications between what was read and where the channel stands were not read.
fn is_cut(kept: &Kept) -> bool {
    let last = kept.publications.last().and_then(|last| last.position(0));
    last.is_some_and(|last| last.offset < kept.top.offset)
}
