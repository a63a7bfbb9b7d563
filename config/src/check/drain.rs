//! How a pod lets its clients go.

use std::time::Duration;

use super::Check;
use crate::checked::Drain;
use crate::{defaults, raw};

const SECOND: Duration = Duration::from_secs(1);
const MOST_CORDON: Duration = Duration::from_secs(300);
const MOST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

impl Check<'_> {
    pub(super) fn drain(&mut self, drain: &raw::Drain) -> Drain {
        let cordon = drain.cordon_delay.as_ref();
        let timeout = drain.timeout.as_ref();
        Drain {
            cordon_delay: self.duration(
                "spec.drain.cordonDelay",
                cordon,
                defaults::CORDON_DELAY,
                [SECOND, MOST_CORDON],
            ),
            timeout: self.duration(
                "spec.drain.timeout",
                timeout,
                defaults::DRAIN_TIMEOUT,
                [SECOND, MOST_TIMEOUT],
            ),
            max_per_second: drain.max_per_second.unwrap_or(defaults::DRAIN_PER_SECOND),
            jitter_percent: drain.jitter_percent.unwrap_or(defaults::DRAIN_JITTER_PERCENT),
        }
    }
}
