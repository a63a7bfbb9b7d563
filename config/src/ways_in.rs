//! The checked sources: how events get in besides the HTTP API.

use std::collections::BTreeMap;

use crate::checked::RedisAddress;
use crate::expression::Expression;
use crate::pattern::Pattern;
use crate::template::Template;

/// A way in.
#[derive(Clone, Debug)]
pub struct Source {
    /// Unique name; labels metrics.
    pub name: String,
    /// Which pods read it.
    pub ingest: Ingest,
    /// What is read.
    pub kind: SourceKind,
    /// The first rule whose `when` holds is used.
    pub publish: Vec<PublishRule>,
}

impl Source {
    /// Another Redis than the gateway's.
    pub fn redis(&self) -> Option<&RedisAddress> {
        match &self.kind {
            SourceKind::RedisPubSub(source) => source.redis.as_ref(),
            SourceKind::RedisStream(source) => source.redis.as_ref(),
        }
    }

    /// Whether its publications go through the broker: they have ids, and channels keep them.
    pub fn through_the_broker(&self) -> bool {
        match self.kind {
            SourceKind::RedisPubSub(_) => self.ingest == Ingest::OnePod,
            SourceKind::RedisStream(_) => true,
        }
    }
}

/// Which pods read a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ingest {
    /// All of them.
    #[default]
    EveryPod,
    /// One of them at a time.
    OnePod,
}

/// Kinds of sources built so far.
#[derive(Clone, Debug)]
pub enum SourceKind {
    /// Messages published in Redis.
    RedisPubSub(RedisPubSub),
    /// Entries of a Redis stream.
    RedisStream(RedisStream),
}

/// Messages published in Redis.
#[derive(Clone, Debug)]
pub struct RedisPubSub {
    /// Exact channels.
    pub channels: Vec<String>,
    /// Redis globs, or names with captures.
    pub patterns: Vec<SourcePattern>,
    /// Another Redis than the gateway's.
    pub redis: Option<RedisAddress>,
}

/// Entries of a Redis stream, read by a consumer group.
#[derive(Clone, Debug)]
pub struct RedisStream {
    /// The stream's key.
    pub key: String,
    /// The group's name.
    pub group: String,
    /// Where a group begins that there was none of.
    pub start: StreamStart,
    /// Another Redis than the gateway's.
    pub redis: Option<RedisAddress>,
}

/// Where a consumer group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamStart {
    /// With what is added from then on.
    #[default]
    New,
    /// With what the stream holds.
    Beginning,
}

/// A pattern of Redis channels.
#[derive(Clone, Debug)]
pub enum SourcePattern {
    /// As `PSUBSCRIBE` understands it.
    Glob(String),
    /// `workspace:{id}`: subscribed as the glob `workspace:*`, captures bound in `source.params`.
    Captures {
        /// For `PSUBSCRIBE`.
        glob: String,
        /// To bind and to refuse what the glob matched too widely.
        pattern: Pattern,
    },
}

/// How a source's message becomes a publication.
#[derive(Clone, Debug)]
pub struct PublishRule {
    /// Absent: always.
    pub when: Option<Expression>,
    /// Where it goes.
    pub channels: PublishChannels,
    /// Absent: the event is `message`.
    pub event: Option<Expression>,
    /// Absent: the whole message.
    pub data: Option<Expression>,
    /// Tag -> value.
    pub tags: BTreeMap<String, Expression>,
    /// RFC 3339, or Unix seconds or milliseconds; absent: now.
    pub timestamp: Option<Expression>,
    /// Text.
    pub priority: Option<Expression>,
    /// What a message is published once under; of a source whose publications go through the broker.
    pub idempotency_key: Option<Expression>,
}

/// Where a source's message goes.
#[derive(Clone, Debug)]
pub enum PublishChannels {
    /// Templates.
    List(Vec<Template>),
    /// One expression giving a list.
    From(Expression),
}
