//! Channels and who may use them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    #[schemars(extend("maxProperties" = 64))]
    pub filters: Option<BTreeMap<String, String>>,
    /// What happens when a client reads too slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// What happens when a client reads too slowly.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Delivery {
    /// What is done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Disconnect"))]
    pub slow_consumer: Option<SlowConsumer>,
}

/// What is done with a client that reads too slowly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SlowConsumer {
    /// It is closed with 4430.
    #[default]
    Disconnect,
}
