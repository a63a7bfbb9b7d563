//! Sources: ways in. What every pod hears by itself goes past the broker to the [`SourceSink`], the rest through it by the
//! [`BrokerFeed`]; the wiring hands a source both.

mod concern;
mod glob;
mod one_pod;
mod queue;
mod redis_pubsub;
mod redis_stream;
mod status;
mod subscriptions;
mod through;

use std::pin::Pin;
use std::sync::Arc;

pub use concern::{concerned, reached};
pub use one_pod::{Lease, LeaseKeys, OnePod};
pub use redis_pubsub::RedisPubSub;
pub use redis_stream::{RedisStream, consumer};
use rtgw_config::checked::PublishRule;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Publication, RuleIx};
pub use status::{Named, SourceStatus, SourceStatuses};
pub use subscriptions::Subscriptions;
pub use through::Through;

use crate::expressions::{DropReason, Mapped, MappingRules, SourceMessage};
use crate::redis_link::Fence;

/// Where a source delivers. Calls of one source keep their order and never wait.
pub trait SourceSink: Send + Sync {
    /// A mapped publication of the source at index `source` of the configuration, with the rules of its channels.
    fn publication(&self, source: u16, rules: &[RuleIx], publication: Publication);
    /// Publications of these channels may have been missed.
    fn gap(&self, scope: GapScope, reason: GapReason);
}

/// The way of a source through the broker: to every pod, and into the history of channels that keep one.
pub trait BrokerFeed: Send + Sync {
    /// Publishes what a message of the source at index `source` became. Done when the broker has it, now or from an earlier call with the
    /// same `once`. With a `fence` only as long as its right is not lost.
    fn publish(&self, source: u16, mapped: Mapped, once: Once, fence: Option<Fence>) -> Feeding<'_>;

    /// What was published until now has a hole in these channels: whoever recovers them from before it is not to be told that nothing is
    /// missing. Done when the broker has it.
    fn outdate(&self, scope: GapScope) -> Feeding<'_>;
}

/// Boxed future of a way to the broker.
pub type Feeding<'a> = Pin<Box<dyn Future<Output = Result<(), NotFed>> + Send + 'a>>;

/// What a message is published once under, to the same channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    /// Whose key it is.
    pub owner: String,
    /// What the owner calls the message.
    pub key: String,
}

/// Why a publication did not reach the broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFed {
    /// It never will: its data is too large.
    #[error("the data is too large")]
    TooLarge,
    /// It may later, under the same key.
    #[error("{0}")]
    Unavailable(String),
    /// Somebody else has the turn.
    #[error("this pod has lost its turn")]
    Fenced,
}

/// Says whom a gap of a source concerns, by the rules of now.
pub type Concerned = Arc<dyn Fn() -> GapScope + Send + Sync>;

/// Finds the first channel rule that fits a name.
pub type FindRule = Arc<dyn Fn(&ChannelName) -> Option<RuleIx> + Send + Sync>;

/// Turns messages into publications; it only computes, on a thread with 8 MiB of stack.
pub type Mapping = Arc<dyn Fn(SourceMessage<'_>) -> Result<Mapped, DropReason> + Send + Sync>;

/// The mapping that a source's `publish` rules describe.
pub fn mapping(publish: &[PublishRule], find_rule: FindRule) -> Mapping {
    let rules = MappingRules::new(publish);
    Arc::new(move |message| rules.map(message, &*find_rule))
}

/// What a gap is announced to other pods with: differs from every other, so that it is news, and ends with the reason.
fn announcement(reason: GapReason) -> String {
    format!("{:016x}:{}", fastrand::u64(..), reason.as_str())
}
