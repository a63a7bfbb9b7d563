//! Who hears a channel, for clients and programs that ask.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether it is known who hears a channel.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Presence {
    /// It is known: whoever may hear the channel may ask who does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub enabled: Option<bool>,
    /// Subscribers that ask for it are told who comes and goes, by `join` and `leave`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub join_leave: Option<bool>,
    /// CEL giving JSON of at most 1024 bytes: what the others see of a member besides its user. Evaluated when it joins. Absent: null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub info: Option<String>,
}
