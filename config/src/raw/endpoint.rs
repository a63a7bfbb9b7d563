//! Paths that serve sockets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::Anonymous;
use super::token_place::TokenPlace;
use super::units::DurationText;
use crate::defaults;

/// A path that serves sockets.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Endpoint {
    /// Unique name; labels metrics. Lower-case letters, digits and `-`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Path of the upgrade request, compared exactly.
    #[schemars(length(min = 1, max = 256), regex(pattern = "^/"))]
    pub path: String,
    /// What clients speak here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "JSON"))]
    pub protocol: Option<Protocol>,
    /// How a publication is dressed (`JSON` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Typed"))]
    pub envelope: Option<Envelope>,
    /// Adds `channel`, `id` and `offset` to publications in the `Typed` and `Event` envelopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub metadata: Option<bool>,
    /// Adds `seq`, a number that grows by one per message of a connection. Not with `Raw` or compression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub seq: Option<bool>,
    /// CEL, asked before the upgrade: a client for whom it is not true gets 403. Sees `claims`, `user`, `tenant`, `connection`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("default" = "true"))]
    pub admit: Option<String>,
    /// Channels that a connection hears without asking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub auto_subscribe: Option<Vec<AutoSubscribe>>,
    /// The first message. Absent: the envelope's own greeting (`Raw` has none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeting: Option<Greeting>,
    /// Overrides `spec.auth` for this endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<EndpointAuth>,
    /// Pages that count connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
    /// Pages that say whether this pod serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// When a silent client is asked, and when it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// permessage-deflate for what the gateway sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// What clients speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Protocol {
    /// One JSON object per text frame.
    #[default]
    #[serde(rename = "JSON")]
    Json,
    /// Every message is sent back: for conformance suites and for trying out proxies.
    Echo,
}

/// How a publication is dressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Envelope {
    /// `{"type":EVENT,"timestamp":T,"data":DATA}`.
    #[default]
    Typed,
    /// `{"event":EVENT,"data":DATA,"timestamp":T}`.
    Event,
    /// DATA itself.
    Raw,
}

/// A channel that a connection hears without asking.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct AutoSubscribe {
    /// Template of the channel's name: text with `{CEL}` in it.
    #[schemars(length(min = 1, max = 1024))]
    pub channel: String,
    /// CEL. Absent: the channel is required, and a client that may not hear it gets 403. Present: skipped where it is not true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,
}

/// The first message; one member.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Greeting {
    /// CEL that gives the whole message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub message: Option<String>,
    /// No greeting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// Overrides of `spec.auth` for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct EndpointAuth {
    /// Whether a client without credentials is let in as nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
    /// Where a token may stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub token_from: Option<Vec<TokenPlace>>,
    /// Origins of browsers that may connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub allowed_origins: Option<Vec<String>>,
}

/// Pages that count connections.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Stats {
    /// Their paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub paths: Option<Vec<String>>,
    /// Answered without the endpoint's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub public: Option<bool>,
}

/// Pages that say whether this pod serves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Health {
    /// Their paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)), extend("default" = [defaults::HEALTH_PATH]))]
    pub paths: Option<Vec<String>>,
}

/// When a silent client is asked, and when it is given up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Heartbeat {
    /// A ping goes out after so much silence. 1s to 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::HEARTBEAT_INTERVAL)))]
    pub interval: Option<DurationText>,
    /// The connection ends after so much silence, pongs included. Above `interval`, at most 2h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::HEARTBEAT_TIMEOUT)))]
    pub timeout: Option<DurationText>,
    /// The connection ends when the client sent no message for so long, pongs not counted. 1s to 24h; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<DurationText>,
}

/// permessage-deflate for what the gateway sends.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Compression {
    /// Whether and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "None"))]
    pub mode: Option<CompressionMode>,
    /// Smaller messages go uncompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_048_576), extend("default" = defaults::COMPRESSION_MIN_BYTES))]
    pub min_bytes: Option<u32>,
}

/// Whether and how messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum CompressionMode {
    /// Not negotiated.
    #[default]
    None,
    /// Compressed once for everyone who gets the message, without a context between messages.
    Shared,
}
