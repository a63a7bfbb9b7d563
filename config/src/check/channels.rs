//! Channel rules: patterns, permissions, filters.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, syntax};
use crate::checked::Channel;
use crate::defaults;
use crate::expression::Scope;
use crate::pattern::Pattern;
use crate::problem::Problem;
use crate::raw;

/// Members of a client's `subscribe` that are no filters.
const TAKEN: &[&str] =
    &["type", "event", "id", "timestamp", "data", "channel", "filters", "recover", "presence", "event_types"];

impl Check<'_> {
    /// One result per rule that is right in itself; a rule that an earlier one covers is refused.
    pub(super) fn channels(&mut self, channels: &[raw::Channel]) -> Vec<Channel> {
        let mut checked: Vec<Channel> = Vec::new();
        let mut places: Vec<usize> = Vec::new();
        for (at, channel) in channels.iter().enumerate() {
            let Some(rule) = self.channel(at, channel) else { continue };
            let cover =
                checked.iter().zip(&places).find(|(earlier, _)| earlier.pattern.covers(&rule.pattern));
            if let Some((earlier, place)) = cover {
                let message = format!(
                    "is never reached: every channel that fits it fits spec.channels[{place}], `{}`, first",
                    earlier.pattern.source()
                );
                let problem = Problem::error(format!("spec.channels[{at}].pattern"), message);
                self.problems.add(problem.hint("put the narrower pattern before the wider one"));
                continue;
            }
            checked.push(rule);
            places.push(at);
        }
        checked
    }

    fn channel(&mut self, at: usize, channel: &raw::Channel) -> Option<Channel> {
        let path = format!("spec.channels[{at}]");
        let pattern = match Pattern::parse(&channel.pattern) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let problem = Problem::error(format!("{path}.pattern"), error.to_string());
                self.problems.add(Problem { hint: error.hint(), ..problem });
                None
            }
        };
        let captures = pattern.as_ref().map(Pattern::captures);
        let scope = Scope::Channel { captures: captures.as_deref() };
        let text = channel.subscribe.as_deref().unwrap_or(defaults::SUBSCRIBE);
        let subscribe = self.expression(&format!("{path}.subscribe"), text, &scope);
        let text = channel.publish.as_deref().unwrap_or(defaults::PUBLISH);
        let publish = self.expression(&format!("{path}.publish"), text, &scope);
        let filters = channel.filters.clone().unwrap_or_default();
        self.filters(&format!("{path}.filters"), &filters);
        let delivery = self.delivery(&format!("{path}.delivery"), channel.delivery.as_ref(), &filters);
        let history = self.history(&format!("{path}.history"), channel.history.as_ref(), &delivery);
        let presence = self.presence(&format!("{path}.presence"), channel.presence.as_ref(), &scope);
        let (subscribe, publish) = (subscribe?, publish?);
        let asked_tags = BTreeSet::new();
        Some(Channel {
            pattern: pattern?,
            subscribe,
            publish,
            filters,
            delivery,
            history,
            asked_tags,
            presence,
        })
    }

    fn filters(&mut self, path: &str, filters: &BTreeMap<String, String>) {
        for (name, tag) in filters {
            let place = format!("{path}.{name}");
            if TAKEN.contains(&name.as_str()) {
                let message = "is a name that the subscribe command already uses for something else";
                self.problems.add(Problem::error(place, message).hint(format!("for example `{name}_list`")));
            } else if !syntax::word(name) {
                let problem = Problem::error(place, "is not the name of a filter");
                self.problems.add(problem.hint("letters, digits and `_`, for example job_ids"));
            } else if !syntax::word(tag) {
                let message = "does not name a tag";
                self.problems
                    .add(Problem::error(place, message).hint("letters, digits and `_`, for example job_id"));
            }
        }
    }
}
