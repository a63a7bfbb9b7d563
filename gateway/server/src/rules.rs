//! The manifest's channel rules, ready to be asked: which rule a channel falls under, and whether it lets somebody in.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rtgw_config::checked::{self, Channel, Checked};
use rtgw_config::pattern::{Pattern, Segment};
use rtgw_hub::access::{Action, Asker, Lookup, Revision, Rules, Verdict};
use rtgw_model::{
    ChannelName, ChannelPolicy, DeliveryPolicy, EndpointIx, Expiry, HistoryMode, HistoryPolicy, INFO_BYTES,
    Presence, Priority, RuleIx, SlowConsumer, Throttle,
};
use rustc_hash::FxHashMap;

use crate::expressions::{CallerScope, Condition, Connection, JsonPlan, Known, Target};
use crate::numbers::Numbers;

/// What a pattern captured, by name, in the pattern's order.
pub type Captures<'a> = Vec<(&'a str, &'a str)>;

/// All channel rules of one configuration. Asking computes on the calling thread and never waits.
#[derive(Debug)]
pub struct CompiledRules {
    rules: Vec<Rule>,
    /// As many as rules, in the same order.
    policies: Vec<Arc<ChannelPolicy>>,
    /// Rules by the first segment of their patterns, in order; so 256 rules cost a channel about as much as one.
    by_first: FxHashMap<Box<str>, Vec<u16>>,
    /// Rules whose first segment is a capture, in order.
    by_any: Vec<u16>,
    /// At least one rule is sensitive.
    has_sensitive: bool,
    /// At least one rule keeps history.
    has_history: bool,
    /// With their numbers, in the configuration's order.
    endpoints: Vec<(EndpointIx, Box<str>)>,
    numbers: Arc<Numbers>,
    revision: Revision,
    expiry: Expiry,
}

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    subscribe: Condition,
    publish: Condition,
    /// What others see of a member.
    info: Option<JsonPlan>,
}

impl CompiledRules {
    /// Prepares the rules of `config`, the only configuration there is.
    pub fn new(config: &Checked) -> Self {
        Self::of(config, Arc::default(), Revision::FIRST)
    }

    /// Prepares the rules of one of several configurations.
    pub fn of(config: &Checked, numbers: Arc<Numbers>, revision: Revision) -> Self {
        let mut by_first: FxHashMap<Box<str>, Vec<u16>> = FxHashMap::default();
        let mut by_any = Vec::new();
        for (rule, channel) in (0..).zip(&config.channels) {
            match channel.pattern.segments().first() {
                Some(Segment::Literal(first)) => {
                    by_first.entry(first.as_str().into()).or_default().push(rule);
                }
                _ => by_any.push(rule),
            }
        }
        Self {
            rules: config.channels.iter().map(Rule::new).collect(),
            policies: config.channels.iter().map(|channel| policy(&numbers, channel)).collect(),
            by_first,
            by_any,
            has_sensitive: config.channels.iter().any(|channel| channel.delivery.sensitive),
            has_history: config.channels.iter().any(|channel| channel.history.is_some()),
            endpoints: config
                .endpoints
                .iter()
                .map(|endpoint| (numbers.endpoint(&endpoint.name), endpoint.name.as_str().into()))
                .collect(),
            numbers,
            revision,
            expiry: expiry(&config.auth.expiry),
        }
    }

    /// The place of the first rule whose pattern fits, and what it captures.
    fn find<'a>(&'a self, channel: &'a ChannelName) -> Option<(usize, Captures<'a>)> {
        let name = channel.as_str();
        let first = name.split_once(':').map_or(name, |(first, _)| first);
        let named = self.by_first.get(first).map_or(&[][..], Vec::as_slice);
        let (mut named, mut any) = (named.iter().peekable(), self.by_any.iter().peekable());
        loop {
            // Both lists are in the manifest's order: the smaller head is the next rule.
            let next = match (named.peek(), any.peek()) {
                (Some(a), Some(b)) if b < a => any.next(),
                (Some(_), _) => named.next(),
                (None, _) => any.next(),
            };
            let rule = *next?;
            let rule = usize::from(rule);
            if let Some(captures) = self.rules.get(rule)?.pattern.matches(name) {
                return Some((rule, captures));
            }
        }
    }

    /// The rule of a declared channel.
    pub fn rule_of(&self, channel: &ChannelName) -> Option<RuleIx> {
        self.find(channel).and_then(|(rule, _)| Some(self.policies.get(rule)?.rule))
    }

    /// Whether one of the channels is sensitive. Costs nothing where no rule is.
    pub fn any_sensitive(&self, channels: &[ChannelName]) -> bool {
        let sensitive = |channel: &ChannelName| {
            self.find(channel)
                .and_then(|(rule, _)| self.policies.get(rule))
                .is_some_and(|policy| policy.delivery.sensitive)
        };
        self.has_sensitive && channels.iter().any(sensitive)
    }

    /// What the broker keeps of the channel.
    pub fn history_of(&self, channel: &ChannelName) -> Option<Arc<HistoryPolicy>> {
        if !self.has_history {
            return None;
        }
        let (rule, _) = self.find(channel)?;
        self.policies.get(rule)?.history.clone()
    }

    /// What is to be known of `asker`, who hears `channel`: the rule, whether others are told, and what they see of it as JSON. `None`
    /// where nothing is.
    pub fn presence_of(&self, channel: &ChannelName, asker: &Asker<'_>) -> Option<(RuleIx, bool, Bytes)> {
        const NULL: Bytes = Bytes::from_static(b"null");
        let (place, captures) = self.find(channel)?;
        let (rule, policy) = (self.rules.get(place)?, self.policies.get(place)?);
        if !policy.presence.is_on() {
            return None;
        }
        let info = rule.info.as_ref().map_or(NULL, |plan| {
            let scope = self.scope(rule, channel, &captures, asker);
            match plan.evaluate(&scope, None) {
                Ok(info) if info.len() <= INFO_BYTES => info,
                Ok(info) => {
                    tracing::debug!(expression = plan.source(), %channel, bytes = info.len(), "the info of a member is too large and left out");
                    NULL
                }
                Err(error) => {
                    tracing::debug!(expression = plan.source(), %channel, %error, "the info of a member cannot be made and is left out");
                    NULL
                }
            }
        });
        Some((policy.rule, policy.presence == Presence::JoinLeave, info))
    }

    /// What a channel's rule sees.
    fn scope<'a>(
        &'a self,
        rule: &Rule,
        channel: &'a ChannelName,
        captures: &'a [(&'a str, &'a str)],
        asker: &Asker<'a>,
    ) -> CallerScope<'a> {
        let principal = asker.principal;
        let connection = Connection {
            key: asker.key,
            ip: principal.ip,
            endpoint: self.endpoint(asker.endpoint),
            query: &principal.query,
        };
        CallerScope::new(connection, principal.claims.as_bytes(), crate::clock::unix_seconds())
            .with_identity(&principal.user, &principal.tenant)
            .with_target(Target { channel: channel.as_str(), captures, rest: rule.pattern.takes_rest() })
    }

    /// Which configuration the rules are of.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The number of the rule at this place of the configuration.
    pub fn number(&self, place: usize) -> Option<RuleIx> {
        self.policies.get(place).map(|policy| policy.rule)
    }

    /// The number of the endpoint at this place of the configuration.
    pub fn endpoint_number(&self, place: usize) -> Option<EndpointIx> {
        self.endpoints.get(place).map(|(number, _)| *number)
    }

    /// The endpoint's name; empty where a reload has removed it.
    pub(crate) fn endpoint(&self, endpoint: EndpointIx) -> &str {
        self.endpoints.iter().find(|(number, _)| *number == endpoint).map_or("", |(_, name)| name)
    }
}

impl Lookup for CompiledRules {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn policy(&self, channel: &ChannelName) -> Option<Arc<ChannelPolicy>> {
        self.find(channel).and_then(|(rule, _)| self.policies.get(rule)).map(Arc::clone)
    }

    fn rules(&self) -> usize {
        self.numbers.rule_count()
    }

    fn endpoints(&self) -> usize {
        self.numbers.endpoint_count()
    }

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}

/// The distances as shards count them.
pub fn expiry(checked: &checked::Expiry) -> Expiry {
    let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    Expiry { warn_ms: millis(checked.warn), grace_ms: millis(checked.grace) }
}

impl Rule {
    fn new(channel: &Channel) -> Self {
        Self {
            pattern: channel.pattern.clone(),
            subscribe: Condition::new(&channel.subscribe),
            publish: Condition::new(&channel.publish),
            info: channel.presence.as_ref().and_then(|presence| presence.info.as_ref()).map(JsonPlan::new),
        }
    }
}

fn policy(numbers: &Numbers, channel: &Channel) -> Arc<ChannelPolicy> {
    let pattern = channel.pattern.source();
    Arc::new(ChannelPolicy {
        rule: numbers.rule(pattern),
        pattern: pattern.into(),
        permission: permission(channel),
        filters: channel
            .filters
            .iter()
            .map(|(list, tag)| (list.as_str().into(), tag.as_str().into()))
            .collect(),
        delivery: delivery(channel),
        history: channel.history.as_ref().map(|history| Arc::new(kept(channel, history))),
        presence: match &channel.presence {
            None => Presence::Off,
            Some(checked::Presence { join_leave: false, .. }) => Presence::Members,
            Some(checked::Presence { join_leave: true, .. }) => Presence::JoinLeave,
        },
    })
}

fn kept(channel: &Channel, history: &checked::History) -> HistoryPolicy {
    let mode = match history.mode {
        checked::HistoryMode::Stream => HistoryMode::Stream,
        checked::HistoryMode::Cache => {
            let conflate = match &channel.delivery {
                checked::Delivery { throttle: Some(throttle), .. } => throttle.conflate.as_ref(),
                checked::Delivery {
                    slow_consumer: checked::SlowConsumer::LatestPerKey { conflate }, ..
                } => conflate.as_ref(),
                _ => None,
            };
            HistoryMode::Cache(tags_of_a_key(channel, conflate.into_iter().chain(&channel.asked_tags)))
        }
    };
    let ttl_ms = u64::try_from(history.ttl.as_millis()).unwrap_or(u64::MAX);
    HistoryPolicy { mode, size: history.size, ttl_ms }
}

/// The tags that tell publications of one event apart.
fn tags_of_a_key<'c>(channel: &'c Channel, more: impl IntoIterator<Item = &'c String>) -> Box<[Box<str>]> {
    let mut tags: Vec<Box<str>> =
        channel.filters.values().chain(more).map(|tag| tag.as_str().into()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags.into()
}

fn delivery(channel: &Channel) -> DeliveryPolicy {
    let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    let checked::Delivery { throttle, batch, events, slow_consumer, priority, sensitive } = &channel.delivery;
    let throttle = throttle.as_ref().map(|throttle| Throttle {
        interval_ms: millis(throttle.interval),
        tags: tags_of_a_key(channel, throttle.conflate.as_ref()),
    });
    DeliveryPolicy {
        throttle,
        batch_ms: batch.map_or(0, millis),
        events: events.iter().map(|event| event.as_str().into()).collect(),
        priority: match priority {
            checked::Priority::High => Priority::High,
            checked::Priority::Normal => Priority::Normal,
            checked::Priority::Low => Priority::Low,
        },
        sensitive: *sensitive,
        slow_consumer: match slow_consumer {
            checked::SlowConsumer::Disconnect => SlowConsumer::Disconnect,
            checked::SlowConsumer::DropOldest => SlowConsumer::DropOldest,
            checked::SlowConsumer::LatestPerKey { conflate } => {
                SlowConsumer::LatestPerKey(tags_of_a_key(channel, conflate.as_ref()))
            }
        },
    }
}

/// Two rules of one process with the same value let the same people hear the same channels: the pattern says what is captured, the
/// expression what is made of it.
fn permission(channel: &Channel) -> u64 {
    let mut hasher = DefaultHasher::new();
    (channel.pattern.source(), channel.subscribe.source()).hash(&mut hasher);
    hasher.finish()
}

impl Rules for CompiledRules {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn decide(
        &self,
        action: Action,
        channel: &ChannelName,
        asker: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        let (place, captures) = self.find(channel)?;
        let rule = self.rules.get(place)?;
        let policy = Arc::clone(self.policies.get(place)?);
        let condition = match action {
            Action::Subscribe => &rule.subscribe,
            Action::Publish => &rule.publish,
        };
        let principal = asker.principal;
        let allowed = match condition.known() {
            Some(Known::Always(answer)) => answer,
            Some(Known::HasUser) => !principal.user.is_empty(),
            None => {
                let scope = self.scope(rule, channel, &captures, asker);
                condition.holds(&scope).unwrap_or_else(|error| {
                    tracing::debug!(expression = condition.source(), %channel, %error, "a channel rule failed and denies");
                    false
                })
            }
        };
        Some((policy, if allowed { Verdict::Allow } else { Verdict::Deny }))
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
