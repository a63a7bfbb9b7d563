//! What waits between the connection's reader and the delivery.

use bytes::Bytes;
use rtgw_model::ChannelName;

use crate::redis_link::{Inflow, Waiting};

/// The queue of the broker.
pub(super) type Queue = Inflow<Item>;

/// What a message costs besides its bytes.
const OVERHEAD: usize = 128;

/// One thing to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A message of one of the topics.
    Message(Bytes),
    /// Redis has confirmed a subscription.
    Subscribed(ChannelName),
    /// Messages were dropped here.
    Overflow,
}

impl Waiting for Item {
    const BYTES: usize = 32 * 1024 * 1024;

    /// Confirmations are as many as the pod has channels, which is bounded elsewhere.
    fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => OVERHEAD + message.len(),
            Self::Subscribed(_) | Self::Overflow => 0,
        }
    }

    fn dropped() -> Self {
        Self::Overflow
    }
}
