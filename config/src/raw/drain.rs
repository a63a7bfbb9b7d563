//! How a pod that goes lets its clients go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::DurationText;
use crate::defaults;

/// How a pod that goes lets its clients go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Drain {
    /// How long a pod that was told to end still takes new connections: what load balancers need to notice. From 1s to 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::CORDON_DELAY)))]
    pub cordon_delay: Option<DurationText>,
    /// When the last connection is closed at the latest, counted from the end of `cordonDelay`; a pod that would need longer closes faster.
    /// From 1s to 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = DurationText::of(defaults::DRAIN_TIMEOUT)))]
    pub timeout: Option<DurationText>,
    /// Connections that the whole gateway closes a second. A pod by itself closes half as many: two may go at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000), extend("default" = defaults::DRAIN_PER_SECOND))]
    pub max_per_second: Option<u32>,
    /// How much the pauses between closes vary, so that pods that drain together do not close in step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("default" = defaults::DRAIN_JITTER_PERCENT))]
    pub jitter_percent: Option<u8>,
}
