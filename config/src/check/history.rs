//! What is kept of channels.

use std::time::Duration;

use super::Check;
use crate::checked::{Delivery, History, HistoryMode};
use crate::problem::Problem;
use crate::{defaults, raw};

/// Shorter than a reconnect is of no use, and Redis is no archive.
const TTLS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(7 * 86_400)];

impl Check<'_> {
    /// What is wrong is left out; the problem refuses the configuration anyway.
    pub(super) fn history(
        &mut self,
        path: &str,
        history: Option<&raw::History>,
        delivery: &Delivery,
    ) -> Option<History> {
        let history = history?;
        let size = history.size.unwrap_or(defaults::HISTORY_SIZE);
        let ttl = self.duration(&format!("{path}.ttl"), history.ttl.as_ref(), defaults::HISTORY_TTL, TTLS);
        let mode = match history.mode {
            raw::HistoryMode::None => return None,
            raw::HistoryMode::Stream => HistoryMode::Stream,
            raw::HistoryMode::Cache => HistoryMode::Cache,
        };
        if mode == HistoryMode::Stream && delivery.throttle.is_some() {
            let message = "cannot be Stream where `delivery.maxRate` leaves publications out: clients would ask for them";
            let problem = Problem::error(format!("{path}.mode"), message);
            self.problems.add(problem.hint("Cache keeps the newest of each key; or take `maxRate` out"));
        }
        Some(History { mode, size, ttl })
    }
}
