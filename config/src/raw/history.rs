//! What is kept of a channel's publications.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::DurationText;
use crate::defaults;

/// What is kept of a channel's publications, for clients that were away.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct History {
    /// What is kept.
    pub mode: HistoryMode,
    /// Most publications of a channel (with `Cache`: most keys). 1 to 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000), extend("default" = defaults::HISTORY_SIZE))]
    pub size: Option<u32>,
    /// How long a channel's history lives after its last publication. 1s to 168h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "5m"))]
    pub ttl: Option<DurationText>,
}

/// Ways to keep publications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum HistoryMode {
    /// Nothing.
    #[default]
    None,
    /// The last publications in their order: a client that comes back is sent what it missed.
    Stream,
    /// The newest publication of each key (the event with the tags that `filters` ask and the one of `conflate`): a client that comes is
    /// sent the current values.
    Cache,
}
