//! Bounds that protect a pod and its clients from each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Quantity;
use crate::defaults;

/// Bounds that protect a pod and its clients from each other.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Limits {
    /// Of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodLimits>,
    /// Of each connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionLimits>,
}

/// Bounds of each pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct PodLimits {
    /// Open connections; more are refused with 503. Absent: what memory and open files allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,
    /// New connections per second; more are refused with 503. Absent: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub handshakes_per_second: Option<u32>,
    /// Channels with a subscriber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000), extend("default" = defaults::POD_CHANNELS))]
    pub channels: Option<u32>,
}

/// Bounds of each connection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct ConnectionLimits {
    /// Largest message that a client may send; a larger one ends the connection with 1009. 128 to 64Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = Quantity::of(u64::from(defaults::MESSAGE_BYTES))))]
    pub message_bytes: Option<Quantity>,
    /// Messages per second that a client may send in the long run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::MESSAGES_PER_SECOND))]
    pub messages_per_second: Option<u32>,
    /// Messages that a client may send at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::BURST))]
    pub burst: Option<u32>,
    /// Bytes that may wait for a client that reads slowly. 4Ki to 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = Quantity::of(u64::from(defaults::QUEUE_BYTES))))]
    pub queue_bytes: Option<Quantity>,
    /// Messages that may wait for a client that reads slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::QUEUE_MESSAGES))]
    pub queue_messages: Option<u32>,
    /// Channels that a connection may hear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000), extend("default" = defaults::SUBSCRIPTIONS))]
    pub subscriptions: Option<u32>,
}
