//! How events get in besides the HTTP API.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::redis::ExternalRedis;

/// A way in; exactly one of its kinds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Source {
    /// Unique name; labels metrics. Lower-case letters, digits and `-`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Who hears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "EveryPod"))]
    pub ingest: Option<Ingest>,
    /// Messages published in Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_pub_sub: Option<RedisPubSub>,
    /// What becomes of a message; the first rule whose `when` holds is used, and a message that no rule wants is dropped.
    #[schemars(length(min = 1, max = 16))]
    pub publish: Vec<PublishRule>,
}

/// Who hears a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Ingest {
    /// Every pod by itself; delivered at most once.
    #[default]
    EveryPod,
}

/// Messages published in Redis.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct RedisPubSub {
    /// Channels of Redis by their exact names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    pub channels: Option<Vec<String>>,
    /// Channels of Redis by glob (`jobs:*`) or with captures (`workspace:{id}`), which rules see as `source.params.id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    pub patterns: Option<Vec<String>>,
    /// Another Redis than the gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<ExternalRedis>,
}

/// How a source's message becomes a publication. Expressions see `msg` (parsed), `raw`, `source` and `headers`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct PublishRule {
    /// CEL: whether this rule applies. Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,
    /// Where it goes: templates of channel names. A connection that hears several gets the publication once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 1024)))]
    pub channels: Option<Vec<String>>,
    /// CEL that gives the list of channel names, instead of `channels`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub channels_from: Option<String>,
    /// CEL that gives the event. Absent: `message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("default" = "'message'"))]
    pub event: Option<String>,
    /// CEL that gives the data. Absent: the whole message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("default" = "msg"))]
    pub data: Option<String>,
    /// Tags that filters compare: name -> CEL. One that fails is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub tags: Option<BTreeMap<String, String>>,
    /// CEL that gives the time: RFC 3339, or Unix seconds or milliseconds. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub timestamp: Option<String>,
    /// CEL that gives the priority, a text that the `Event` envelope shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub priority: Option<String>,
}
