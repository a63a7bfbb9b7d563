//! What waits between a source's reader and its mapping, with gaps at their place in the order.

use bytes::Bytes;
use rtgw_model::{GapReason, Timestamp};

use crate::redis_link::{Inflow, Waiting};

/// The queue of a source.
pub(super) type Queue = Inflow<Item>;

/// What a message costs besides its text: its place in the queue and its allocations.
const OVERHEAD: usize = 256;

/// One thing to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A message.
    Message(Message),
    /// Messages are missing here.
    Gap(GapReason),
}

/// A message as Redis sent it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) channel: Bytes,
    /// The glob it came by.
    pub(super) glob: Option<Bytes>,
    pub(super) payload: Bytes,
    pub(super) heard: Timestamp,
}

impl Waiting for Item {
    /// The smallest messages come to 60,000, so that a burst of ten thousand is no trouble for a mapping of 20 us each.
    const BYTES: usize = 16 * 1024 * 1024;

    fn bytes(&self) -> usize {
        match self {
            Self::Message(Message { channel, glob, payload, .. }) => {
                OVERHEAD + channel.len() + glob.as_ref().map_or(0, Bytes::len) + payload.len()
            }
            Self::Gap(_) => 0,
        }
    }

    fn dropped() -> Self {
        Self::Gap(GapReason::SourceOverflow)
    }

    /// The gap of a reconnect or takeover waits until the subscriptions hold: told earlier, a client would reload while messages are still
    /// being missed. Those of an overflow are no matter of the subscriptions.
    fn is_held(&self) -> bool {
        matches!(self, Self::Gap(reason) if *reason != GapReason::SourceOverflow)
    }
}
