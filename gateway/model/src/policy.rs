//! What the manifest says of a channel and an endpoint, as far as a shard needs it.

use std::sync::Arc;

use crate::Presence;

/// Number of a channel rule's pattern; labels metrics by pattern. Stable for the life of the process: a reload adds numbers and
/// never gives one to another pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIx(pub u16);

/// Number of an endpoint's name; labels metrics. Stable for the life of the process, as [`RuleIx`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointIx(pub u16);

/// The part of a channel rule that delivery needs; one per rule, shared by its channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPolicy {
    /// Which rule.
    pub rule: RuleIx,
    /// The rule's pattern as the manifest writes it.
    pub pattern: Arc<str>,
    /// Tells what decides who may hear the channel: under an equal value everyone who was let in still may, under another all are
    /// asked again.
    pub permission: u64,
    /// Filter lists that subscribers may name, each with the tag it asks.
    pub filters: Box<[(Box<str>, Box<str>)]>,
    /// What happens to publications on their way.
    pub delivery: DeliveryPolicy,
    /// What the broker keeps of them; absent: nothing.
    pub history: Option<Arc<HistoryPolicy>>,
    /// What is known of who hears it.
    pub presence: Presence,
}

/// What the broker keeps of a channel's publications, so that who was away can be told what it missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPolicy {
    /// Every publication, or the newest of each key.
    pub mode: HistoryMode,
    /// Most publications (of `Cache`: most keys) of a channel; at least one. The oldest go first.
    pub size: u32,
    /// How long a channel's history lives after its last publication, in milliseconds; at least one.
    pub ttl_ms: u64,
}

/// Ways to keep publications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryMode {
    /// The last ones in their order: a client recovers what it missed.
    Stream,
    /// The newest of each key: the event and these tags. A client is given the current values.
    Cache(Box<[Box<str>]>),
}

/// What happens to a channel's publications on their way to members. The default is nothing: each goes at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// At most one publication per key and interval.
    pub throttle: Option<Throttle>,
    /// How long publications wait for others to be written with, in milliseconds; 0 = not at all.
    pub batch_ms: u32,
    /// The events that `throttle` and `batch_ms` speak of; empty = all.
    pub events: Box<[Box<str>]>,
    /// Who goes first where a connection's outbox is blocked.
    pub priority: Priority,
    /// Publications are never compressed.
    pub sensitive: bool,
    /// What gives where a connection's outbox is full.
    pub slow_consumer: SlowConsumer,
}

impl DeliveryPolicy {
    /// Whether publications may have to wait.
    pub fn waits(&self) -> bool {
        self.throttle.is_some() || self.batch_ms > 0
    }

    /// Whether what waits is what carries this event.
    pub fn concerns(&self, event: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|known| &**known == event)
    }
}

/// A bound on how often members hear of one key: the event and these tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Least time between two publications of a key, in milliseconds.
    pub interval_ms: u32,
    /// The tags that tell publications of one event apart: those that filters ask, so that nobody's last one is replaced by one that
    /// they do not want, and the one of `conflate`.
    pub tags: Box<[Box<str>]>,
}

/// What gives where a connection takes less than there is for it, and its outbox is full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SlowConsumer {
    /// The connection.
    #[default]
    Disconnect,
    /// The oldest publications that wait.
    DropOldest,
    /// The same; and a newer publication takes the place of the one of its key that waits: the event and these tags.
    LatestPerKey(Box<[Box<str>]>),
}

/// The order of channels where a connection takes less than there is for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Before the others.
    High,
    /// Where nothing is said.
    #[default]
    Normal,
    /// Behind the others.
    Low,
}

impl ChannelPolicy {
    /// The tag behind the filter list `name`.
    pub fn filter_tag(&self, name: &str) -> Option<&str> {
        self.filters.iter().find(|(known, _)| &**known == name).map(|(_, tag)| &**tag)
    }
}
