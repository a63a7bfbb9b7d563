//! The broker contract: carries publications between publishers and pods; speaks channels and publications, never clients.
//!
//! A broker is handed its [`BrokerSink`] by the wiring and imports no sibling. What every broker must keep is tested by one
//! conformance suite.

#[cfg(test)]
mod conformance;
mod history;
mod kept;
mod memory;
mod presence;
mod presence_redis;
mod presence_switching;
mod present;
mod redis;
mod switching;
mod window;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use history::{HistoryError, HistoryFuture, Kept, PAGE, Page, Retention, nothing_kept};
pub use memory::Memory;
pub use presence::{
    CHANGES, Change, LEASE, Lease, Presence, PresenceError, PresenceFuture, PresenceSink, RENEWAL, Said, What,
};
pub use presence_switching::SwitchingPresence;
pub use present::MemoryPresence;
pub use redis::Counts;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Position, Positions, Publication, PublicationId};
pub use switching::{Stage, Stages, Stranded, Switching};

use crate::redis_link::Fence;

/// Tells the wishes for one channel apart, so that a late answer to an earlier wish is not taken for an answer to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation(pub u32);

/// Where a broker delivers. Calls come in the broker's order and never wait.
pub trait BrokerSink: Send + Sync {
    /// A publication that this pod has an interest in.
    fn publication(&self, publication: Publication);
    /// Several that came together, in their order: what reaches one receiver may reach it in one piece.
    fn publications(&self, publications: Vec<Publication>) {
        for publication in publications {
            self.publication(publication);
        }
    }
    /// The channel is carried from now on: every publication that begins after this call reaches [`BrokerSink::publication`].
    /// `generation` is that of the [`Broker::want`] it answers; an answer that was overtaken by `unwant` is ignored by the receiver.
    /// `position` is where a channel that keeps history stood: everything behind it arrives, and what arrives before it was published.
    fn ready(&self, channel: ChannelName, generation: Generation, position: Option<Position>);
    /// Publications of these channels may have been missed.
    fn gap(&self, scope: GapScope, reason: GapReason);
}

/// Why a publication was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker cannot be reached; nothing was stored.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
    /// The right to publish was lost; nothing was stored.
    #[error("the right to publish this was lost")]
    Fenced,
    /// The gateway's pods have left the broker for another; nothing was stored.
    #[error(
        "the other pods have left this Redis for {0}: name it as `redis.external`, or this one as `redis.previous` of it"
    )]
    Left(String),
}

/// Boxed future of a broker's answers, one for each publication in its order.
pub type PublishAllFuture<'a> =
    Pin<Box<dyn Future<Output = Vec<Result<Appended, PublishError>>> + Send + 'a>>;

/// Tells publications apart that must not be published twice: a digest that has the publisher in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(pub u128);

/// How long a broker remembers an [`IdempotencyKey`] at least, unless [`IDEMPOTENCY_KEYS`] newer ones came meanwhile.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(300);
/// How many keys a broker that has to bound its memory remembers; a few MiB.
pub const IDEMPOTENCY_KEYS: usize = 65_536;

/// Where a publication stands in the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its id, or that of the first one with its key.
    pub id: PublicationId,
    /// Where it stands in the histories of its channels.
    pub positions: Positions,
    /// It had been published before, so nothing was appended or delivered now.
    pub repeated: bool,
}

/// Boxed future of a broker's answer to a publication.
pub type AppendFuture<'a> = Pin<Box<dyn Future<Output = Result<Appended, PublishError>> + Send + 'a>>;

/// Boxed future of a probe's way through the broker and back.
pub type ProbeFuture<'a> = Pin<Box<dyn Future<Output = Result<Duration, PublishError>> + Send + 'a>>;

/// Says which channels are meant.
pub type Concerned = Arc<dyn Fn(&ChannelName) -> bool + Send + Sync>;

/// Boxed future of [`Broker::outdate`].
pub type OutdateFuture<'a> = Pin<Box<dyn Future<Output = Result<(), PublishError>> + Send + 'a>>;

/// A broker of one pod.
///
/// `want` and `unwant` of one channel alternate and never overlap; the caller sees to that. They may be called while a sink call is
/// running elsewhere, must not wait, and may call [`BrokerSink::ready`] before they return.
pub trait Broker: Send + Sync {
    /// Appends `publication` (its `id` and `positions` are ignored and given anew) and delivers it once to every pod with an interest in
    /// at least one of its channels, with all of its channels. Publications of one channel arrive everywhere in the order of their ids.
    /// Each of its channels that keeps history keeps it under an offset of its own and the same id, unless it has
    /// [`Publication::except`]; all of that happens, or nothing.
    fn publish(&self, publication: Publication) -> AppendFuture<'_>;

    /// The same for several, as if one after the other.
    fn publish_all(&self, publications: Vec<Publication>) -> PublishAllFuture<'_> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(publications.len());
            for publication in publications {
                answers.push(self.publish(publication).await);
            }
            answers
        })
    }

    /// As [`Broker::publish`], unless a publication with this key was appended within [`IDEMPOTENCY_WINDOW`]: also where both come at
    /// once, by whichever pods, one of them is appended. A publication that was not accepted leaves its key free.
    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_>;

    /// The same for who may publish only while it has a right that another pod may have taken: then [`PublishError::Fenced`]. A broker
    /// of one pod has no others.
    fn publish_fenced(
        &self,
        fence: Fence,
        key: IdempotencyKey,
        publication: Publication,
    ) -> AppendFuture<'_> {
        drop(fence);
        self.publish_once(key, publication)
    }

    /// This pod wants the channel; [`BrokerSink::ready`] with the same generation follows once it is carried.
    fn want(&self, channel: ChannelName, generation: Generation);

    /// This pod wants the channel no more.
    fn unwant(&self, channel: &ChannelName);

    /// Reads what was kept of a channel.
    fn history(&self, channel: &ChannelName, page: Page) -> HistoryFuture<'_>;

    /// Where a channel stands of which the sink has been given everything so far; `None` for one that keeps no history, or is not carried.
    /// A broker looks after the continuity of what it delivers: publications that did not arrive are told by [`BrokerSink::gap`] before
    /// anything behind them is delivered.
    fn position(&self, channel: &ChannelName) -> Option<Position>;

    /// Begins another epoch for every channel with history that is `concerned`, whoever carries it: positions from before are of no use to
    /// recover from, because something is missing behind them that was never published. What is kept stays, and offsets go on. Done
    /// when it holds on all pods; after an error it may hold for some. Costs what the number of all channels costs: rare.
    fn outdate(&self, concerned: Concerned) -> OutdateFuture<'_>;

    /// Sends a probe through the whole path, past the sink; resolves when it came back.
    fn probe(&self) -> ProbeFuture<'_>;
}
