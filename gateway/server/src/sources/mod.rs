//! Sources: ways in that every pod hears by itself, past the broker. A source is handed its [`SourceSink`] by the wiring.

mod concern;
mod glob;
mod queue;
mod redis_pubsub;
mod status;
mod subscriptions;

use std::sync::Arc;

pub use concern::{concerned, reached};
pub use redis_pubsub::RedisPubSub;
use rtgw_config::checked::PublishRule;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Publication, RuleIx};
pub use status::{Named, SourceStatus, SourceStatuses};
pub use subscriptions::Subscriptions;

use crate::expressions::{DropReason, Mapped, MappingRules, SourceMessage};

/// Where a source delivers. Calls of one source keep their order and never wait.
pub trait SourceSink: Send + Sync {
    /// A mapped publication of the source at index `source` of the configuration, with the rules of its channels.
    fn publication(&self, source: u16, rules: &[RuleIx], publication: Publication);
    /// Publications of these channels may have been missed.
    fn gap(&self, scope: GapScope, reason: GapReason);
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
