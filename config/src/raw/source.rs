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
    /// Which pods read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "EveryPod"))]
    pub ingest: Option<Ingest>,
    /// Messages published in Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_pub_sub: Option<RedisPubSub>,
    /// Entries of a Redis stream, published at least once and under a key, so that clients hear them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis_stream: Option<RedisStream>,
    /// What becomes of a message; the first rule whose `when` holds is used, and a message that no rule wants is dropped.
    #[schemars(length(min = 1, max = 16))]
    pub publish: Vec<PublishRule>,
}

/// Which pods read a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Ingest {
    /// All of them. `redisPubSub`: each hears everything by itself, past the broker, and channels keep nothing of it. `redisStream`: they
    /// share the entries.
    #[default]
    EveryPod,
    /// One at a time, which publishes through the broker: channels may keep it, and the order of the source holds. When it ends, another
    /// takes over within seconds.
    OnePod,
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

/// Entries of a Redis stream, read by a consumer group.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct RedisStream {
    /// The stream's key.
    #[schemars(length(min = 1, max = 255))]
    pub key: String,
    /// The consumer group, made where there is none. Absent: one of this source alone, `rtgw:NAMESPACE/NAME:SOURCE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub group: Option<String>,
    /// Where a group that is made begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "New"))]
    pub start: Option<StreamStart>,
    /// Another Redis than the gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<ExternalRedis>,
}

/// Where a consumer group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum StreamStart {
    /// With what is added from then on.
    #[default]
    New,
    /// With what the stream holds.
    Beginning,
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
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 1024}))]
    pub tags: Option<BTreeMap<String, String>>,
    /// CEL that gives the time: RFC 3339, or Unix seconds or milliseconds. Absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub timestamp: Option<String>,
    /// CEL that gives the priority, a text that the `Event` envelope shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub priority: Option<String>,
    /// CEL that gives a text of 1 to 128 bytes: messages that give the same to the same channels within five minutes are published once.
    /// For `ingest: OnePod` and `redisStream`, whose entries are told apart by their ids where this is absent or fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub idempotency_key: Option<String>,
}
