//! Commands of clients that the manifest defines.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{DurationText, SecretRef};
use crate::defaults;

/// What a message of a client with this name does: exactly one of `reply`, `ack`, `replyLatest`, `publishTo`, `webhook`.
/// Expressions see `claims`, `user`, `tenant`, `connection`, `now`, `event` (the command's name), `data` and `args`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Command {
    /// CEL: whether this client may. Where it is not true, the command is refused as `forbidden`. Absent: every client may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,
    /// Answers with an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// CEL that gives the data of the acknowledgement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub ack: Option<String>,
    /// Answers with the latest publication of a channel that this pod has heard. The client must be allowed to hear the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_latest: Option<ReplyLatest>,
    /// Publishes to a channel. The channel's `publish` rule must allow it to this client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_to: Option<PublishTo>,
    /// `publishTo` is not kept and not echoed to its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub ephemeral: Option<bool>,
    /// Asks the application by HTTP and answers with what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<CommandWebhook>,
}

/// An event as the answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Reply {
    /// CEL that gives the event's name.
    #[schemars(length(min = 1, max = 1024))]
    pub event: String,
    /// CEL that gives the data.
    #[schemars(length(min = 1, max = 1024))]
    pub data: String,
}

/// The latest publication of a channel as the answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct ReplyLatest {
    /// Template of the channel's name.
    #[schemars(length(min = 1, max = 1024))]
    pub channel: String,
    /// CEL that gives the event's name.
    #[schemars(length(min = 1, max = 1024))]
    pub event: String,
    /// Tags that the publication must have: name -> CEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 1024}))]
    pub tags: Option<BTreeMap<String, String>>,
    /// What is answered where nothing fits the tags, or one of them fails. Absent: nothing, an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub or_else: Option<OrElse>,
}

/// What is answered where nothing fits the tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OrElse {
    /// The latest of the channel and event, whatever its tags.
    Any,
}

/// A publication in the client's name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct PublishTo {
    /// Template of the channel's name.
    #[schemars(length(min = 1, max = 1024))]
    pub channel: String,
    /// CEL that gives the event's name.
    #[schemars(length(min = 1, max = 1024))]
    pub event: String,
    /// CEL that gives the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("default" = "data"))]
    pub data: Option<String>,
    /// Tags that filters compare: name -> CEL. One that fails is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 1024}))]
    pub tags: Option<BTreeMap<String, String>>,
}

/// A question to the application, by a signed POST of JSON.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct CommandWebhook {
    /// Where it is asked: `https://…`, or `http://…` inside the cluster.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// How long an answer may take. From 10ms to 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::WEBHOOK_TIMEOUT)))]
    pub timeout: Option<DurationText>,
    /// The key of the signature.
    pub secret_ref: SecretRef,
    /// Most questions of this command at once, in each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024), extend("default" = defaults::WEBHOOK_MAX_IN_FLIGHT))]
    pub max_in_flight: Option<u32>,
}
