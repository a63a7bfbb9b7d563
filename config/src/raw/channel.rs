//! Channels and who may use them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::delivery::Delivery;
use super::history::History;
use super::presence::Presence;
use crate::defaults;

/// Channels whose names fit a pattern, and who may use them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Channel {
    /// Segments joined by `:`. `{x}` stands for one segment, `{x*}` at the end for all the rest; rules see them by name.
    #[schemars(length(min = 1, max = 255))]
    pub pattern: String,
    /// CEL: who may hear it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("default" = defaults::SUBSCRIBE))]
    pub subscribe: Option<String>,
    /// CEL: which clients may publish to it. The HTTP API and sources are not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("default" = defaults::PUBLISH))]
    pub publish: Option<String>,
    /// Lists that a subscriber may narrow by: name of the list -> the tag that its values are compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 63}))]
    pub filters: Option<BTreeMap<String, String>>,
    /// What is kept of its publications. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// Whether it is known who hears it. Absent: not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    /// What happens to its publications on their way to clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}
