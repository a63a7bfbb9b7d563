//! What is kept of channels.

use std::time::Duration;

use super::Check;
use crate::checked::{Delivery, History, HistoryMode, SlowConsumer};
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
        let field = match delivery {
            Delivery { throttle: Some(_), .. } => Some("maxRate"),
            Delivery { slow_consumer: SlowConsumer::LatestPerKey { .. }, .. } => Some("slowConsumer"),
            _ => None,
        };
        if let (HistoryMode::Stream, Some(field)) = (mode, field) {
            let message = format!(
                "cannot be Stream where `delivery.{field}` leaves publications out: clients would ask for them"
            );
            let problem = Problem::error(format!("{path}.mode"), message);
            let hint = format!("Cache keeps the newest of each key; or take `{field}` out");
            self.problems.add(problem.hint(hint));
        }
        Some(History { mode, size, ttl })
    }
}
