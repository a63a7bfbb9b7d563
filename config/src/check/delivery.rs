//! Policies of delivery: what they need of each other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Check, syntax};
use crate::checked::{Delivery, Priority, SlowConsumer, Throttle};
use crate::problem::Problem;
use crate::raw::{self, DurationText};

/// Faster than anybody sees, and slower than anybody waits.
const INTERVALS: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(600)];
const BATCHES: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];

impl Check<'_> {
    /// What is wrong is left out; the problem refuses the configuration anyway.
    pub(super) fn delivery(
        &mut self,
        path: &str,
        delivery: Option<&raw::Delivery>,
        filters: &BTreeMap<String, String>,
    ) -> Delivery {
        let Some(delivery) = delivery else { return Delivery::default() };
        let interval =
            delivery.max_rate.as_ref().and_then(|rate| self.rate(&format!("{path}.maxRate"), rate));
        self.conflate(path, delivery, filters);
        self.events(path, delivery);
        let batch = format!("{path}.batch");
        let batch =
            delivery.batch.as_ref().map(|text| self.duration(&batch, Some(text), BATCHES[0], BATCHES));
        Delivery {
            throttle: interval.map(|interval| Throttle { interval, conflate: delivery.conflate.clone() }),
            batch,
            events: delivery.events.clone().unwrap_or_default(),
            slow_consumer: match delivery.slow_consumer.unwrap_or_default() {
                raw::SlowConsumer::Disconnect => SlowConsumer::Disconnect,
                raw::SlowConsumer::DropOldest => SlowConsumer::DropOldest,
                raw::SlowConsumer::LatestPerKey => {
                    SlowConsumer::LatestPerKey { conflate: delivery.conflate.clone() }
                }
            },
            priority: match delivery.priority.unwrap_or_default() {
                raw::Priority::High => Priority::High,
                raw::Priority::Normal => Priority::Normal,
                raw::Priority::Low => Priority::Low,
            },
            sensitive: delivery.sensitive.unwrap_or_default(),
        }
    }

    fn rate(&mut self, path: &str, rate: &raw::RateText) -> Option<Duration> {
        let Some(interval) = rate.interval() else {
            let problem = Problem::error(path, "is not a rate");
            self.problems.add(problem.hint("a number per time: 1/s, 30/m, 1/5s or 1/200ms"));
            return None;
        };
        let [least, most] = INTERVALS;
        if (least..=most).contains(&interval) {
            return Some(interval);
        }
        let message = format!(
            "is {}, one every {}: must be one every {} to {}",
            rate.0,
            DurationText::of(interval).0,
            DurationText::of(least).0,
            DurationText::of(most).0
        );
        let problem = Problem::error(path, message);
        self.problems.add(match interval < least {
            true => problem.hint("without the field every publication goes at once"),
            false => problem.hint("a state that changes so rarely needs no bound"),
        });
        None
    }

    fn conflate(&mut self, path: &str, delivery: &raw::Delivery, filters: &BTreeMap<String, String>) {
        let Some(tag) = &delivery.conflate else { return };
        let path = format!("{path}.conflate");
        if !syntax::word(tag) {
            let problem = Problem::error(path, "does not name a tag");
            return self.problems.add(problem.hint("letters, digits and `_`, for example job_id"));
        }
        if delivery.max_rate.is_none() && !replaces(delivery) {
            let problem =
                Problem::error(path, "does nothing without `maxRate` or `slowConsumer: LatestPerKey`");
            let hint = "it names what is kept apart; add for example `maxRate: 1/s`";
            return self.problems.add(problem.hint(hint));
        }
        if let Some((name, _)) = filters.iter().find(|(_, known)| *known == tag) {
            let message =
                format!("adds nothing: the tags of filters count already, and `{name}` asks this one");
            self.problems.add(Problem::warning(path, message).hint("take it out"));
        }
    }

    fn events(&mut self, path: &str, delivery: &raw::Delivery) {
        let Some(events) = &delivery.events else { return };
        let path = format!("{path}.events");
        if delivery.max_rate.is_none() && delivery.batch.is_none() && !replaces(delivery) {
            let problem = Problem::error(&path, "limits a policy to some events, and there is none to limit");
            let hint = "add `maxRate`, `batch` or `slowConsumer: LatestPerKey`; `priority` and `sensitive` are about whole channels";
            return self.problems.add(problem.hint(hint));
        }
        for (at, event) in events.iter().enumerate() {
            let first = events.iter().position(|earlier| earlier == event);
            if let Some(first) = first.filter(|first| *first < at) {
                self.error(format!("{path}[{at}]"), format!("`{event}` is already {path}[{first}]"));
            }
        }
    }
}

/// Whether newer publications take the place of older ones of their key.
fn replaces(delivery: &raw::Delivery) -> bool {
    delivery.slow_consumer == Some(raw::SlowConsumer::LatestPerKey)
}
