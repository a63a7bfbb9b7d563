//! What admission hands to a shard: everything a session needs to live without asking again.

use std::sync::Arc;

use bytes::Bytes;

use crate::{ConnectionKey, EndpointIx, Principal, Variant};

/// An admitted connection. Grants of auto-subscriptions travel beside it, because only the hub can hold those.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The public id.
    pub key: ConnectionKey,
    /// The endpoint it came in by.
    pub endpoint: EndpointIx,
    /// How its bytes are encoded.
    pub variant: Variant,
    /// It takes several messages in one frame: what goes out in one write is joined.
    pub batch: bool,
    /// Who it is.
    pub principal: Arc<Principal>,
    /// The first message: a complete payload; absent where the endpoint greets nobody.
    pub greeting: Option<Bytes>,
    /// When silence is broken and when it is taken for death.
    pub heartbeat: Heartbeat,
    /// How much may wait for it.
    pub outbox: OutboxLimits,
    /// How fast it may speak; absent = no limit.
    pub rate: Option<InboundRate>,
    /// Most subscriptions it may hold.
    pub subscriptions: u32,
}

/// Heartbeats of a connection, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// A ping after so much silence.
    pub interval_ms: u32,
    /// The end after so much silence; above `interval_ms`.
    pub timeout_ms: u32,
    /// The end after so long without a data frame; 0 = never.
    pub idle_ms: u32,
}

/// Bounds of what waits in a connection's outbox while its socket takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Bytes, frames' headers included.
    pub bytes: u32,
    /// Frames.
    pub messages: u32,
}

/// A token bucket for inbound messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundRate {
    /// Tokens per second.
    pub per_second: u32,
    /// Size of the bucket.
    pub burst: u32,
}
