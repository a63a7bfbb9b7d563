//! Who hears a channel, as clients and programs are told.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::{ChannelName, ConnectionKey, Encoder, Event, GapReason, Message, Timestamp, Variant};

/// Most bytes of a member's info.
pub const INFO_BYTES: usize = 1_024;
/// Members of a page unless asked otherwise, and at most.
pub const MEMBERS: u32 = 100;
/// Most members of a page.
pub const MOST_MEMBERS: u32 = 1_000;
/// A channel of more connections than these announces neither joins nor leaves: everyone would be told of everyone.
pub const ANNOUNCED_CLIENTS: u64 = 1_000;

/// What is known of who hears a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    #[default]
    Off,
    /// Who does.
    Members,
    /// That, and subscribers that ask for it are told who comes and goes.
    JoinLeave,
}

impl Presence {
    /// Whether members are known.
    pub fn is_on(self) -> bool {
        self != Self::Off
    }
}

/// A connection that hears a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The connection's public id.
    pub connection: ConnectionKey,
    /// Its user; empty for anonymous.
    pub user: Box<str>,
    /// What the channel's rule shows of it: raw JSON of at most [`INFO_BYTES`].
    pub info: Bytes,
}

/// A part of a channel's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// In the order of their connections' ids.
    pub members: Vec<Member>,
    /// All connections that hear the channel.
    pub clients: u64,
    /// All users that do; a user with several connections counts once, anonymous connections do not count.
    pub users: u64,
    /// There are members behind the last one of this part.
    pub more: bool,
}

impl Members {
    /// Where the next part begins; `None` where this is the last.
    pub fn next(&self) -> Option<ConnectionKey> {
        self.members.last().filter(|_| self.more).map(|member| member.connection)
    }
}

/// What is told of a channel's members to those who asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A user came, or an anonymous connection.
    Joined(Member),
    /// A user's last connection went, or an anonymous one.
    Left(Member),
    /// The channel has grown above [`ANNOUNCED_CLIENTS`] or shrunk again: what came and went meanwhile was not told.
    Crowded,
    /// Who came and went may not have been heard: the broker was away.
    Unheard,
}

/// An [`Arrival`] with its encoded bytes: the first subscriber of a kind encodes, everyone else shares.
#[derive(Debug)]
pub struct Announced {
    channel: ChannelName,
    message: Message,
    frames: Box<[OnceLock<Bytes>]>,
    gap: Option<GapReason>,
}

impl Announced {
    /// Wraps an arrival for an encoder with `variants` variants.
    pub fn new(channel: ChannelName, arrival: Arrival, timestamp: Timestamp, variants: usize) -> Self {
        let gap = match arrival {
            Arrival::Joined(_) | Arrival::Left(_) => None,
            Arrival::Crowded => Some(GapReason::Crowded),
            Arrival::Unheard => Some(GapReason::BrokerReconnected),
        };
        let gap_event = |reason| Event::Gap { channel: channel.clone(), reason };
        let event = match arrival {
            Arrival::Joined(member) => Event::Joined { channel: channel.clone(), member },
            Arrival::Left(member) => Event::Left { channel: channel.clone(), member },
            Arrival::Crowded => gap_event(GapReason::Crowded),
            Arrival::Unheard => gap_event(GapReason::BrokerReconnected),
        };
        let message = Message { reply_to: None, timestamp, event };
        let frames = (0..variants).map(|_| OnceLock::new()).collect();
        Self { channel, message, frames, gap }
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// Why something was not told, where that is what it tells.
    pub fn gap(&self) -> Option<GapReason> {
        self.gap
    }

    /// The frame for `variant`. Variants that came after this was made, by a reload, are encoded each time.
    pub fn frame(&self, variant: Variant, encoder: &dyn Encoder) -> Bytes {
        let make = || encoder.message(variant, &self.message);
        self.frames.get(usize::from(variant.0)).map_or_else(make, |cell| cell.get_or_init(make).clone())
    }
}
