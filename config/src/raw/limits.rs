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
    /// Of all pods together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayLimits>,
    /// Of each user: who a token names; those of different tenants are different users, anonymous clients are nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserLimits>,
    /// Of each address, and how the address of a client is found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpLimits>,
    /// Of each tenant, which is what `auth.identity.tenant` gives; clients without one are not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantLimits>,
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
    /// How much of the memory that the pod may use (its cgroup's limit, else the machine's) may be held for clients that read slowly,
    /// percent. Near it the connections that hold most are closed with 1013.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 90), extend("default" = defaults::OUTBOUND_MEMORY_PERCENT))]
    pub outbound_memory_percent: Option<u8>,
    /// Channels with a subscriber.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000), extend("default" = defaults::POD_CHANNELS))]
    pub channels: Option<u32>,
}

/// Bounds of all pods together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct GatewayLimits {
    /// Open connections; more are refused with 503. Counted across pods where `redis` names one.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub connections: u32,
}

/// Bounds of each user.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct UserLimits {
    /// Connections that a user may hold, in all pods together where `redis` names one.
    #[schemars(range(min = 1, max = 10_000))]
    pub connections: u32,
    /// What becomes of one more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "RefuseNew"))]
    pub policy: Option<UserPolicy>,
}

/// What becomes of a connection above a user's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum UserPolicy {
    /// It is refused with 429, or closed with 4429.
    #[default]
    RefuseNew,
    /// It is let in, and the user's oldest is closed with 4409.
    CloseOldest,
}

/// Bounds of each address.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct IpLimits {
    /// Connections that an address may hold, in all pods together where `redis` names one; more are refused with 429, or closed with
    /// 4429. An IPv6 address counts together with all others of its /64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<u32>,
    /// Networks of the proxies in front of the gateway, such as `10.0.0.0/8`. What they say about the client (`X-Forwarded-For`,
    /// `Forwarded`, the PROXY protocol) is believed; of everybody else it is ignored. Without it everyone behind a proxy is one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 64)))]
    pub trusted_proxies: Option<Vec<String>>,
    /// Connections to the public listener begin with a header of the PROXY protocol, version 2, as balancers for TCP write it. Those
    /// without one, and those that come from no trusted proxy, are closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub proxy_protocol: Option<bool>,
}

/// Bounds of each tenant.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct TenantLimits {
    /// Connections that a tenant may hold, in all pods together where `redis` names one; more are refused with 429, or closed with 4429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,
    /// Messages per second that all clients of a tenant may send together to a pod, with a burst of as many. Those above it are
    /// answered with `rate_limited`; no connection ends for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub messages_per_second: Option<u32>,
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
