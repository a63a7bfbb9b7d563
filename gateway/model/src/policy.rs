//! What the manifest says of a channel and an endpoint, as far as a shard needs it.

use std::sync::Arc;

/// Index of a channel rule in the running configuration; labels metrics by pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIx(pub u16);

/// Index of an endpoint in the running configuration; labels metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointIx(pub u16);

/// The part of a channel rule that delivery needs; one per rule, shared by its channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPolicy {
    /// Which rule.
    pub rule: RuleIx,
    /// The rule's pattern as the manifest writes it.
    pub pattern: Arc<str>,
    /// Filter lists that subscribers may name, each with the tag it asks.
    pub filters: Box<[(Box<str>, Box<str>)]>,
}

impl ChannelPolicy {
    /// The tag behind the filter list `name`.
    pub fn filter_tag(&self, name: &str) -> Option<&str> {
        self.filters.iter().find(|(known, _)| &**known == name).map(|(_, tag)| &**tag)
    }
}
