//! The configuration as written: shapes and bounds only, nothing resolved. Doc comments here are what `kubectl explain` and
//! the generated reference show, so they speak to whoever writes a manifest.

mod api_key;
mod auth;
mod channel;
mod commands;
pub mod delivery;
mod drain;
mod endpoint;
pub mod history;
mod issuer;
mod limits;
mod operator;
pub mod presence;
mod redis;
mod source;
pub mod token_place;
pub mod units;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use api_key::{ApiKey, AuthWebhook};
pub use auth::{Anonymous, Auth, Expiry, Identity, Revocation, WhenUnknown};
pub use channel::Channel;
pub use commands::{Command, CommandWebhook, OrElse, PublishTo, Reply, ReplyLatest};
pub use delivery::{Delivery, Priority, RateText, SlowConsumer};
pub use drain::Drain;
pub use endpoint::{
    AutoSubscribe, Compression, CompressionMode, Endpoint, EndpointAuth, Envelope, Greeting, Health,
    Heartbeat, Protocol, Stats,
};
pub use history::{History, HistoryMode};
pub use issuer::{Algorithm, Issuer, Jwks};
pub use limits::{
    ConnectionLimits, GatewayLimits, IpLimits, Limits, PodLimits, TenantLimits, UserLimits, UserPolicy,
};
pub use operator::{Operator, OperatorKey};
pub use presence::Presence;
pub use redis::{Embedded, ExternalRedis, PreviousRedis, Redis, WriteTo};
pub use source::{Ingest, PublishRule, RedisPubSub, RedisStream, Source, StreamStart};
pub use token_place::TokenPlace;
pub use units::{DurationText, Quantity, SecretRef};

/// Version of this format that is read and written.
pub const VERSION: u32 = 1;

/// The file that the operator writes and the gateway reads.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Version of this format.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub version: u32,
    /// Generation of the object it was made from; a gateway ignores lower ones.
    pub generation: u64,
    /// Names its content, to whoever wrote it; absent: the gateway gives it a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub revision: Option<String>,
    /// Name of the object it was made from.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Namespace of the object it was made from.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Who may ask a pod for its report. Absent: as the rest of the API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    /// What the gateway does.
    pub spec: Spec,
}

/// What the gateway does: the part of a RealtimeGateway that concerns its pods.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Paths that serve sockets.
    #[schemars(length(min = 1, max = 16))]
    pub endpoints: Vec<Endpoint>,
    /// How clients prove who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Channels and who may use them; the first pattern that fits decides. A channel that fits none does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub channels: Option<Vec<Channel>>,
    /// Commands of clients besides those of the protocol: name -> what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 128))]
    pub commands: Option<BTreeMap<String, Command>>,
    /// How events get in besides the HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sources: Option<Vec<Source>>,
    /// Where publications travel between pods. Absent: in this process's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// Bounds that protect a pod and its clients from each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// In a cluster: how a pod that goes lets its clients go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<Observability>,
}

/// Logs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observability {
    /// The most detailed level that is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Info"))]
    pub log_level: Option<LogLevel>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// And what may become one.
    Warn,
    /// And what an operator wants to know.
    #[default]
    Info,
    /// And what a developer wants to know.
    Debug,
}
