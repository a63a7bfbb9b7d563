//! Sources: ways in that every pod hears by itself, past the broker. A source is handed its [`SourceSink`] by the wiring.

mod address;
mod backoff;
mod concern;
mod glob;
mod queue;
mod redis_pubsub;
mod status;
mod subscriptions;

use std::sync::Arc;

pub use address::{Address, AddressError, choose};
use bytes::Bytes;
pub use concern::concerned;
pub use redis_pubsub::RedisPubSub;
use rtgw_hub::GapScope;
use rtgw_model::{GapReason, Publication, RuleIx, Timestamp};
use smallvec::SmallVec;
pub use status::SourceStatus;
pub use subscriptions::Subscriptions;

/// Where a source delivers. Calls of one source keep their order and never wait.
pub trait SourceSink: Send + Sync {
    /// A mapped publication of the source at index `source` of the configuration, with the rules of its channels.
    fn publication(&self, source: u16, rules: &[RuleIx], publication: Publication);
    /// Publications of these channels may have been missed.
    fn gap(&self, scope: GapScope, reason: GapReason);
}

/// A message of a source, before it is mapped.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// The source's name for where it came from, such as a Redis channel.
    pub channel: &'a str,
    /// What the source's pattern captured of it.
    pub params: &'a [(&'a str, &'a str)],
    /// What came.
    pub payload: &'a Bytes,
    /// When it came.
    pub heard: Timestamp,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Mapped {
    /// It goes out.
    Publication {
        /// Without an id.
        publication: Publication,
        /// The rules of its channels.
        rules: SmallVec<[RuleIx; 1]>,
        /// How many channels were left out because their template failed or nothing declares them.
        skipped: usize,
    },
    /// It does not; the word is a label of metrics, from a fixed table.
    Dropped(&'static str),
}

/// Turns messages into publications; it only computes, on a thread with 8 MiB of stack.
pub type Mapping = Arc<dyn Fn(&Arrived<'_>) -> Mapped + Send + Sync>;
