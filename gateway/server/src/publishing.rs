//! Publications of the HTTP API and of clients: checked, then handed to the broker.

use std::sync::Arc;

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use rtgw_model::{
    CHANNELS, ChannelName, ChannelNameError, EVENT_BYTES, Publication, PublicationId, RuleIx, TAG_BYTES,
    TAGS, Timestamp,
};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::broker::{Appended, Broker, IdempotencyKey, PublishError};
use crate::intake::{Counts, DATA_BYTES, Origin};
use crate::redis_link::Fence;
pub use crate::sources::FindRule;

/// What RFC 3339 can print: years 0000 to 9999, as milliseconds since the Unix epoch.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

type Channels = SmallVec<[ChannelName; 1]>;
type Rules = SmallVec<[RuleIx; 1]>;

/// A publication as the API was given it; nothing is checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// Names.
    pub channels: Vec<String>,
    /// The event's name.
    pub event: String,
    /// Raw JSON.
    pub data: Bytes,
    /// `data` was read as one JSON value, without the space around it: it need not be read again.
    pub is_json: bool,
    /// Name and value pairs.
    pub tags: Vec<(String, String)>,
    /// Absent: now.
    pub timestamp: Option<Timestamp>,
    /// Shown by the `Event` envelope.
    pub priority: Option<String>,
    /// Not to be published again within the broker's window.
    pub idempotency: Option<Idempotency>,
}

/// Tells a publication that was sent again from another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is: nobody can hinder somebody else's publication by guessing its key.
    pub owner: String,
    /// What the owner calls the publication; counts for these channels alone. At most [`KEY_BYTES`].
    pub key: String,
}

/// Longest idempotency key, bytes.
pub const KEY_BYTES: usize = 128;

impl Idempotency {
    /// Parts are told apart by their lengths.
    fn digest(&self, channels: &[ChannelName]) -> IdempotencyKey {
        let mut context = Context::new(&SHA256);
        for part in [&*self.owner, &*self.key].into_iter().chain(channels.iter().map(ChannelName::as_str)) {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut half = [0; 16];
        half.copy_from_slice(&context.finish().as_ref()[..16]);
        IdempotencyKey(u128::from_le_bytes(half))
    }
}

/// What is wrong with a draft, and with which member of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {problem}")]
pub struct Invalid {
    /// The member, such as `channels[1]` or `tags.job_id`; the API puts its own path in front.
    pub path: String,
    /// What is wrong.
    pub problem: Problem,
}

/// Kinds of mistakes in a draft.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No channel.
    #[error("is empty: name at least one channel")]
    NoChannels,
    /// Above [`CHANNELS`].
    #[error("has {0} channels, at most {CHANNELS} are allowed")]
    TooManyChannels(usize),
    /// Not a channel name.
    #[error("{0}")]
    ChannelName(ChannelNameError),
    /// No rule of the manifest fits.
    #[error("is not declared: no pattern under `channels` of the manifest fits")]
    Undeclared,
    /// Empty, or longer than so many bytes.
    #[error("must have 1 to {0} bytes")]
    Length(usize),
    /// Above [`DATA_BYTES`].
    #[error("has {0} bytes, at most {DATA_BYTES} are allowed")]
    DataTooLarge(usize),
    /// Not one JSON value.
    #[error("is not JSON: {0}")]
    NotJson(String),
    /// Above [`TAGS`].
    #[error("has {0} tags, at most {TAGS} are allowed")]
    TooManyTags(usize),
    /// Longer than [`TAG_BYTES`].
    #[error("is longer than {TAG_BYTES} bytes")]
    TagTooLong,
    /// The same name twice.
    #[error("is given twice")]
    Repeated,
    /// Outside the years 0000 to 9999.
    #[error("is outside the years 0000 to 9999")]
    Timestamp,
}

/// Why nothing was published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPublished {
    /// The draft must be changed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The broker did not take it; the same draft may succeed later.
    #[error(transparent)]
    Broker(#[from] PublishError),
}

/// The way to the broker for everything that publishes.
#[derive(Clone)]
pub struct Publisher {
    broker: Arc<dyn Broker>,
    find_rule: FindRule,
    counts: Arc<Counts>,
}

impl Publisher {
    /// A publisher to `broker` that knows the declared channels by `find_rule`.
    pub fn new(broker: Arc<dyn Broker>, find_rule: FindRule, counts: Arc<Counts>) -> Self {
        Self { broker, find_rule, counts }
    }

    /// Checks `draft` without publishing it: a batch is checked whole before its first publication goes out.
    ///
    /// # Errors
    /// The first member that breaks a rule.
    pub fn check(&self, draft: Draft, now: Timestamp) -> Result<Checked, Invalid> {
        let (channels, rules) = self.channels(&draft.channels)?;
        length("event", &draft.event)?;
        if let Some(priority) = &draft.priority {
            length("priority", priority)?;
        }
        let timestamp = draft.timestamp.unwrap_or(now);
        if !TIMESTAMPS.contains(&timestamp.0) {
            return Err(invalid("timestamp", Problem::Timestamp));
        }
        let key = match &draft.idempotency {
            Some(own) if !(1..=KEY_BYTES).contains(&own.key.len()) => {
                return Err(invalid("idempotencyKey", Problem::Length(KEY_BYTES)));
            }
            own => own.as_ref().map(|own| own.digest(&channels)),
        };
        let publication = Publication {
            channels,
            data: json(draft.data, draft.is_json)?,
            tags: tags(draft.tags)?,
            event: draft.event.into(),
            timestamp,
            id: None,
            priority: draft.priority.map(Into::into),
            positions: Default::default(),
            except: None,
        };
        Ok(Checked { publication, rules, key })
    }

    /// Publishes what was checked and counts it. What was published before under the same idempotency key is neither published nor
    /// counted, and its id is the first one's.
    ///
    /// # Errors
    /// Where the broker does not take it.
    pub async fn publish(&self, origin: Origin, checked: Checked) -> Result<PublicationId, PublishError> {
        Ok(self.publish_once(origin, checked).await?.id)
    }

    /// As [`Publisher::publish`]; also says whether it had been published before.
    ///
    /// # Errors
    /// Where the broker does not take it.
    pub async fn publish_once(&self, origin: Origin, checked: Checked) -> Result<Appended, PublishError> {
        self.publish_fenced(origin, checked, None).await
    }

    /// The same, as long as the right of `fence` is not lost; only what has an idempotency key can have one.
    ///
    /// # Errors
    /// Where the broker does not take it.
    pub async fn publish_fenced(
        &self,
        origin: Origin,
        checked: Checked,
        fence: Option<Fence>,
    ) -> Result<Appended, PublishError> {
        let timestamp = checked.publication.timestamp;
        let appended = match (checked.key, fence) {
            (None, _) => self.broker.publish(checked.publication).await?,
            (Some(key), None) => self.broker.publish_once(key, checked.publication).await?,
            (Some(key), Some(fence)) => self.broker.publish_fenced(fence, key, checked.publication).await?,
        };
        if !appended.repeated {
            self.counts.published(origin, checked.rules);
            self.counts.handed_over(origin, timestamp);
        }
        Ok(appended)
    }

    /// Publishes several together, and counts those that were taken. One answer for each, in their order. Where one has an idempotency
    /// key they go out one after the other.
    pub async fn publish_all(
        &self,
        origin: Origin,
        checked: Vec<Checked>,
    ) -> Vec<Result<Appended, PublishError>> {
        if checked.iter().any(|checked| checked.key.is_some()) {
            let mut answers = Vec::with_capacity(checked.len());
            for publication in checked {
                answers.push(self.publish_once(origin, publication).await);
            }
            return answers;
        }
        let counted = checked.iter().map(|checked| (checked.publication.timestamp, checked.rules.clone()));
        let counted: Vec<(Timestamp, Rules)> = counted.collect();
        let publications = checked.into_iter().map(|checked| checked.publication).collect();
        let answers = self.broker.publish_all(publications).await;
        for ((timestamp, rules), answer) in counted.into_iter().zip(&answers) {
            if answer.is_ok() {
                self.counts.published(origin, rules);
                self.counts.handed_over(origin, timestamp);
            }
        }
        answers
    }

    /// Checks and publishes a draft of the API.
    ///
    /// # Errors
    /// [`NotPublished`].
    pub async fn accept(&self, draft: Draft, now: Timestamp) -> Result<PublicationId, NotPublished> {
        Ok(self.publish(Origin::Api, self.check(draft, now)?).await?)
    }

    fn channels(&self, names: &[String]) -> Result<(Channels, Rules), Invalid> {
        if names.is_empty() {
            return Err(invalid("channels", Problem::NoChannels));
        }
        if names.len() > CHANNELS {
            return Err(invalid("channels", Problem::TooManyChannels(names.len())));
        }
        let (mut channels, mut rules) = (Channels::new(), Rules::new());
        for (index, name) in names.iter().enumerate() {
            let wrong = |problem| invalid(format!("channels[{index}]"), problem);
            let channel = ChannelName::parse(name).map_err(|error| wrong(Problem::ChannelName(error)))?;
            if !channels.contains(&channel) {
                rules.push((self.find_rule)(&channel).ok_or_else(|| wrong(Problem::Undeclared))?);
                channels.push(channel);
            }
        }
        Ok((channels, rules))
    }
}

/// A publication that keeps every bound and names only declared channels, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    publication: Publication,
    rules: Rules,
    key: Option<IdempotencyKey>,
}

impl Checked {
    /// What a source's rules made of a message, to be published once under `own`: its channels are declared, and every bound is kept but
    /// that of the data.
    ///
    /// # Errors
    /// [`Problem::DataTooLarge`].
    pub fn mapped(publication: Publication, rules: Rules, own: &Idempotency) -> Result<Self, Invalid> {
        if publication.data.len() > DATA_BYTES {
            return Err(invalid("data", Problem::DataTooLarge(publication.data.len())));
        }
        let key = Some(own.digest(&publication.channels));
        Ok(Self { publication, rules, key })
    }

    /// The publication.
    pub fn publication(&self) -> &Publication {
        &self.publication
    }

    /// The same, not to be heard by its sender.
    #[must_use]
    pub fn except(mut self, sender: rtgw_model::ConnectionId) -> Self {
        self.publication.except = Some(sender);
        self
    }
}

fn invalid(path: impl Into<String>, problem: Problem) -> Invalid {
    Invalid { path: path.into(), problem }
}

fn length(path: &str, text: &str) -> Result<(), Invalid> {
    if (1..=EVENT_BYTES).contains(&text.len()) {
        Ok(())
    } else {
        Err(invalid(path, Problem::Length(EVENT_BYTES)))
    }
}

/// The one JSON value in `data`, without the space around it: wires put it into their frames as it is.
fn json(data: Bytes, known: bool) -> Result<Bytes, Invalid> {
    if data.len() > DATA_BYTES {
        return Err(invalid("data", Problem::DataTooLarge(data.len())));
    }
    if known {
        return Ok(data);
    }
    let value: &RawValue = serde_json::from_slice(&data)
        .map_err(|error| invalid("data", Problem::NotJson(error.to_string())))?;
    Ok(data.slice_ref(value.get().as_bytes()))
}

fn tags(given: Vec<(String, String)>) -> Result<rtgw_model::Tags, Invalid> {
    if given.len() > TAGS {
        return Err(invalid("tags", Problem::TooManyTags(given.len())));
    }
    let mut tags = rtgw_model::Tags::new();
    for (name, value) in given {
        if name.len() > TAG_BYTES {
            // The name itself is what is too long: it does not belong into the answer.
            return Err(invalid("tags", Problem::TagTooLong));
        }
        let wrong = |problem| invalid(format!("tags.{name}"), problem);
        if value.len() > TAG_BYTES {
            return Err(wrong(Problem::TagTooLong));
        }
        if tags.iter().any(|(known, _)| **known == *name) {
            return Err(wrong(Problem::Repeated));
        }
        tags.push((name.into(), value.into()));
    }
    Ok(tags)
}

#[cfg(test)]
#[path = "publishing_tests.rs"]
mod tests;
