//! What is shown of a shard to whoever lists its connections and channels: walked like every order, a bounded number in each turn.

use std::sync::Arc;

use rtgw_model::{ChannelName, ConnectionKey, EndpointIx, Principal};

/// A connection as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its public id.
    pub key: ConnectionKey,
    /// Its identity.
    pub principal: &'a Principal,
    /// The endpoint it came in by.
    pub endpoint: EndpointIx,
    /// How many channels it hears.
    pub subscriptions: usize,
}

/// Is shown connections, each at most once, on the shard's thread: must not wait. What it returns is counted as affected.
pub type ConnectionViewer = Arc<dyn Fn(&Seen<'_>) -> bool + Send + Sync>;

/// Is shown channels that somebody hears, each at most once, and how many do; as a [`ConnectionViewer`] is.
pub type ChannelViewer = Arc<dyn Fn(&ChannelName, u64) -> bool + Send + Sync>;
