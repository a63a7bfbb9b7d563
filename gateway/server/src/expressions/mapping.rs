//! A source's message to a publication, as the source's rules say.

use bytes::Bytes;
use rtgw_config::checked::{PublishChannels, PublishRule};
use rtgw_model::{CHANNELS, ChannelName, EVENT_BYTES, Publication, RuleIx, TAG_BYTES, Tags, Timestamp};
use smallvec::SmallVec;

use super::condition::Condition;
use super::json::{JsonPlan, slice};
use super::message::MessageScope;
use super::names::{ChannelList, ChannelTemplate, NameError};
use super::scalar::{Scalar, ScalarExpression};
use super::scope::{EvaluateError, Scope};
use super::value::write_text;

pub use super::message::Origin;

/// Longest idempotency key, bytes.
const KEY_BYTES: usize = 128;

/// A message of a source.
#[derive(Clone, Copy, Debug)]
pub struct SourceMessage<'a> {
    /// Where it came from.
    pub origin: Origin<'a>,
    /// What came.
    pub payload: &'a Bytes,
    /// When it came: the publication's time unless a rule gives another, and `now` for expressions.
    pub heard: Timestamp,
}

/// What a message became.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// Without an id; the channels are declared and none repeats.
    pub publication: Publication,
    /// The rules of its channels, in their order.
    pub rules: SmallVec<[RuleIx; 1]>,
    /// What the message is published once under, where its rule says so: 1 to 128 bytes.
    pub idempotency_key: Option<Box<str>>,
    /// How many channels were left out: their template failed, nothing declares them, or there were too many.
    pub skipped: usize,
}

/// Why a message is dropped; a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DropReason {
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// No rule's `when` holds.
    #[error("no rule's `when` holds")]
    NoRule,
    /// No channel is left.
    #[error("no channel is left")]
    NoChannel,
    /// `event` failed or gave no string of 1 to 128 bytes.
    #[error("`event` failed or gave no string of 1 to 128 bytes")]
    Event,
    /// `data` failed.
    #[error("`data` failed")]
    Data,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [DropReason; 5] = [Self::NotText, Self::NoRule, Self::NoChannel, Self::Event, Self::Data];

    /// The word in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotText => "not_text",
            Self::NoRule => "no_rule",
            Self::NoChannel => "no_channel",
            Self::Event => "event",
            Self::Data => "data",
        }
    }
}

/// A source's rules, ready for messages.
#[derive(Clone, Debug)]
pub struct MappingRules(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    when: Option<Condition>,
    channels: Where,
    event: Option<ScalarExpression>,
    data: Option<JsonPlan>,
    tags: Vec<(Box<str>, ScalarExpression)>,
    timestamp: Option<ScalarExpression>,
    priority: Option<ScalarExpression>,
    idempotency_key: Option<ScalarExpression>,
}

#[derive(Clone, Debug)]
enum Where {
    Templates(Vec<ChannelTemplate>),
    From(ChannelList),
}

/// The channels of one message as they come together.
#[derive(Default)]
struct Channels {
    names: SmallVec<[ChannelName; 1]>,
    rules: SmallVec<[RuleIx; 1]>,
    skipped: usize,
}

impl Channels {
    fn add(
        &mut self,
        name: Result<ChannelName, NameError>,
        find_rule: impl Fn(&ChannelName) -> Option<RuleIx>,
    ) {
        let name = match name {
            Ok(name) if self.names.contains(&name) => return,
            Ok(name) => name,
            Err(error) => {
                tracing::debug!(%error, "a channel is skipped");
                self.skipped += 1;
                return;
            }
        };
        match find_rule(&name).filter(|_| self.names.len() < CHANNELS) {
            Some(rule) => {
                self.names.push(name);
                self.rules.push(rule);
            }
            None => self.skipped += 1,
        }
    }
}

impl MappingRules {
    /// Prepares `rules`.
    pub fn new(rules: &[PublishRule]) -> Self {
        Self(rules.iter().map(Rule::new).collect())
    }

    /// What `message` becomes by the first rule whose `when` holds. `find_rule` finds the first channel rule that fits a
    /// name.
    ///
    /// # Errors
    /// [`DropReason`]: nothing goes out.
    pub fn map(
        &self,
        message: SourceMessage<'_>,
        find_rule: impl Fn(&ChannelName) -> Option<RuleIx>,
    ) -> Result<Mapped, DropReason> {
        let Ok(text) = std::str::from_utf8(message.payload) else {
            return Err(DropReason::NotText);
        };
        let scope = MessageScope::new(text, message.origin, message.heard.0.div_euclid(1000));
        let applies = |rule: &&Rule| match &rule.when {
            None => true,
            Some(when) => when.holds(&scope).unwrap_or_else(|error| {
                tracing::debug!(expression = when.source(), %error, "a `when` failed and counts as false");
                false
            }),
        };
        match self.0.iter().find(applies) {
            None => Err(DropReason::NoRule),
            Some(rule) => rule.apply(&scope, text, message, find_rule),
        }
    }
}

impl Rule {
    fn new(rule: &PublishRule) -> Self {
        let scalar = |expression: &Option<_>| expression.as_ref().map(ScalarExpression::new);
        Self {
            when: rule.when.as_ref().map(Condition::new),
            channels: match &rule.channels {
                PublishChannels::List(list) => {
                    Where::Templates(list.iter().map(ChannelTemplate::new).collect())
                }
                PublishChannels::From(expression) => Where::From(ChannelList::new(expression)),
            },
            event: scalar(&rule.event),
            data: rule.data.as_ref().map(JsonPlan::new),
            tags: rule
                .tags
                .iter()
                .map(|(tag, value)| (tag.as_str().into(), ScalarExpression::new(value)))
                .collect(),
            timestamp: scalar(&rule.timestamp),
            priority: scalar(&rule.priority),
            idempotency_key: scalar(&rule.idempotency_key),
        }
    }

    fn apply(
        &self,
        scope: &MessageScope<'_>,
        text: &str,
        message: SourceMessage<'_>,
        find_rule: impl Fn(&ChannelName) -> Option<RuleIx>,
    ) -> Result<Mapped, DropReason> {
        let Channels { names: channels, rules, skipped } = self.channels(scope, find_rule);
        if channels.is_empty() {
            return Err(DropReason::NoChannel);
        }
        let event = match &self.event {
            None => "message".into(),
            Some(event) => named(event.evaluate(scope)).map_err(|error| {
                tracing::debug!(expression = event.source(), %error, "a message is dropped for its event");
                DropReason::Event
            })?,
        };
        let data = match &self.data {
            None => whole(scope, text, message.payload),
            Some(data) => data.evaluate(scope, Some(message.payload)).map_err(|error| {
                tracing::debug!(expression = data.source(), %error, "a message is dropped for its data");
                DropReason::Data
            })?,
        };
        let timestamp = self.timestamp.as_ref().and_then(|expression| timestamp(expression, scope));
        let priority = self.priority.as_ref().and_then(|expression| named(expression.evaluate(scope)).ok());
        let idempotency_key = self.idempotency_key.as_ref().and_then(|key| {
            let printed = key.evaluate(scope).and_then(Scalar::into_printed).ok();
            printed.filter(|text| (1..=KEY_BYTES).contains(&text.len()))
        });
        Ok(Mapped {
            publication: Publication {
                channels,
                event,
                data,
                timestamp: timestamp.unwrap_or(message.heard),
                tags: self.tags(scope),
                id: None,
                priority,
                positions: Default::default(),
                except: None,
            },
            rules,
            idempotency_key,
            skipped,
        })
    }

    fn channels(&self, scope: &dyn Scope, find_rule: impl Fn(&ChannelName) -> Option<RuleIx>) -> Channels {
        let mut channels = Channels::default();
        let add = |name: Result<ChannelName, NameError>| channels.add(name, &find_rule);
        match &self.channels {
            Where::Templates(templates) => {
                templates.iter().map(|template| template.name(scope)).for_each(add);
            }
            Where::From(list) => match list.names(scope) {
                Ok(names) => names.into_iter().for_each(add),
                Err(error) => std::iter::once(Err(error.into())).for_each(add),
            },
        }
        channels
    }

    fn tags(&self, scope: &dyn Scope) -> Tags {
        let value = |expression: &ScalarExpression| {
            let printed = expression.evaluate(scope).and_then(Scalar::into_printed).ok();
            printed.filter(|text| text.len() <= TAG_BYTES)
        };
        self.tags.iter().filter_map(|(tag, expression)| Some((tag.clone(), value(expression)?))).collect()
    }
}

/// A text that may name an event or a priority.
fn named(value: Result<Scalar, EvaluateError>) -> Result<Box<str>, EvaluateError> {
    let text = value?.into_text()?;
    if (1..=EVENT_BYTES).contains(&text.len()) {
        return Ok(text);
    }
    Err(EvaluateError::Kind {
        wanted: "a string of 1 to 128 bytes",
        found: format!("string of {} bytes", text.len()),
    })
}

/// The message itself: as it came where it is JSON, else as a JSON string.
fn whole(scope: &MessageScope<'_>, text: &str, payload: &Bytes) -> Bytes {
    match scope.json() {
        Some(json) => slice(json, Some(payload)),
        None => {
            let mut out = Vec::with_capacity(text.len() + 2);
            write_text(text, &mut out);
            out.into()
        }
    }
}

/// RFC 3339 text, or Unix seconds, or milliseconds where the number is too large for seconds of this age: 10^11 seconds are the
/// year 5138, 10^11 milliseconds are 1973. What lies outside the years 1 to 9999 is no timestamp, because RFC 3339 cannot say it.
fn timestamp(expression: &ScalarExpression, scope: &dyn Scope) -> Option<Timestamp> {
    const MILLISECONDS_FROM: f64 = 1e11;
    let ms = match expression.evaluate(scope).ok()? {
        Scalar::Text(text) => text.parse::<jiff::Timestamp>().ok()?.as_millisecond(),
        Scalar::Int(number) if number.unsigned_abs() < 100_000_000_000 => number * 1000,
        Scalar::Int(number) => number,
        #[allow(clippy::cast_possible_truncation, reason = "checked against the range below")]
        Scalar::Double(number) if number.abs() < MILLISECONDS_FROM => (number * 1000.0) as i64,
        #[allow(
            clippy::cast_possible_truncation,
            reason = "saturates and is checked against the range below"
        )]
        Scalar::Double(number) if number.is_finite() => number as i64,
        Scalar::Double(_) | Scalar::Uint(_) | Scalar::Bool(_) => return None,
    };
    const YEAR_1: i64 = -62_135_596_800_000;
    const YEAR_10000: i64 = 253_402_300_800_000;
    (YEAR_1..YEAR_10000).contains(&ms).then_some(Timestamp(ms))
}
