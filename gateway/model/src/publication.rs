//! One event on its way to subscribers.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{ChannelName, ConnectionId, Timestamp};

/// Most channels of a publication.
pub const CHANNELS: usize = 64;
/// Longest event, and longest priority, in bytes; both at least one.
pub const EVENT_BYTES: usize = 128;
/// Most tags of a publication.
pub const TAGS: usize = 16;
/// Longest name and longest value of a tag in bytes.
pub const TAG_BYTES: usize = 128;

/// The broker's name for a publication; orders everything of one broker shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicationId {
    /// The broker shard's epoch: changes whenever its memory does.
    pub epoch: u64,
    /// Counts within the epoch.
    pub sequence: u64,
}

impl std::fmt::Display for PublicationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.sequence)
    }
}

/// A place in a channel's history: just behind the publication with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// Number of the last publication of the channel; the first is 1, and 0 is before it.
    pub offset: u64,
    /// Of this channel; changes whenever offsets stop being comparable.
    pub epoch: u64,
}

impl Position {
    /// Whether `next` is the publication that follows this place: nothing lies between them.
    pub fn is_followed_by(self, next: Self) -> bool {
        self.epoch == next.epoch && self.offset + 1 == next.offset
    }

    /// The epoch as clients are told it: 16 hexadecimal digits, because 64 bits do not fit the numbers of JavaScript.
    pub fn epoch_text(self) -> String {
        format!("{:016x}", self.epoch)
    }

    /// Reads an epoch as [`Position::epoch_text`] writes it; `None` for anything else.
    pub fn parse_epoch(text: &str) -> Option<u64> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    }
}

/// Where a publication stands in the history of each of its channels, in their order; `None` for a channel that keeps none. Empty where
/// no channel keeps any.
pub type Positions = SmallVec<[Option<Position>; 1]>;

/// Name and value pairs that filters ask; unique names.
pub type Tags = SmallVec<[(Box<str>, Box<str>); 1]>;

/// An event for one or several channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The channels in the publisher's order; at least one, no repeats.
    pub channels: SmallVec<[ChannelName; 1]>,
    /// The event's name.
    pub event: Box<str>,
    /// Raw JSON, never parsed on the way.
    pub data: Bytes,
    /// When it happened.
    pub timestamp: Timestamp,
    /// What filters ask.
    pub tags: Tags,
    /// Given by the broker; absent for what an `EveryPod` source brings past it.
    pub id: Option<PublicationId>,
    /// Given by the broker.
    pub positions: Positions,
    /// Shown by the `Event` envelope where the publisher gave one.
    pub priority: Option<Box<str>>,
    /// The connection that must not hear it: the sender of an ephemeral publication, which no channel keeps.
    pub except: Option<ConnectionId>,
}

impl Publication {
    /// The value of a tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }

    /// Where it stands in the history of the channel at this place of `channels`.
    pub fn position(&self, channel: usize) -> Option<Position> {
        self.positions.get(channel).copied().flatten()
    }
}
