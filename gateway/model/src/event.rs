//! What the server says to one connection, besides publications.

use bytes::Bytes;

use crate::{
    ChannelName, CommandId, Denied, FilterLists, Member, Members, Position, Publication, PublicationId,
    Timestamp,
};

/// One message of the server with what every message may carry.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The command that this answers.
    pub reply_to: Option<CommandId>,
    /// When it was said.
    pub timestamp: Timestamp,
    /// What is said.
    pub event: Event,
}

/// The kinds of messages.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The first message, made at admission: the complete payload as the manifest's greeting says.
    Greeting(Bytes),
    /// A subscription holds.
    Subscribed {
        /// The channel.
        channel: ChannelName,
        /// Behind which place of its history publications follow, if it has one: all that was missed where it is recovered.
        position: Option<Position>,
        /// Whether all that was missed follows; present exactly when the client asked to recover.
        recovered: Option<bool>,
    },
    /// The full lists that narrow the auto-subscribed channels, after adding.
    Narrowed(FilterLists),
    /// The same after taking away.
    Widened(FilterLists),
    /// A subscription ended.
    Unsubscribed {
        /// The channel.
        channel: ChannelName,
        /// Why, unless the client asked for it.
        reason: Option<UnsubscribeReason>,
    },
    /// Answer to a ping command.
    Pong,
    /// A client's publication was accepted.
    Published {
        /// The channel.
        channel: ChannelName,
        /// What the broker gave it.
        id: Option<PublicationId>,
        /// Offset where the channel has history.
        offset: Option<u64>,
    },
    /// A page of what was published on a channel.
    History {
        /// The channel.
        channel: ChannelName,
        /// In the order asked for, each with this channel first and its position.
        publications: Vec<Publication>,
        /// Where the channel stood.
        position: Position,
        /// `since` of the next page; absent where there is none.
        next: Option<u64>,
    },
    /// Answer to a command of the manifest, dressed as a publication.
    Reply {
        /// The event's name.
        event: Box<str>,
        /// Raw JSON.
        data: Bytes,
        /// When it happened; absent: when it is said.
        at: Option<Timestamp>,
        /// Shown by the `Event` envelope.
        priority: Option<Box<str>>,
    },
    /// Who hears a channel.
    Presence {
        /// The channel.
        channel: ChannelName,
        /// Those of this page.
        page: Members,
    },
    /// Somebody hears a channel from now on.
    Joined {
        /// The channel.
        channel: ChannelName,
        /// Who.
        member: Member,
    },
    /// Somebody hears a channel no more.
    Left {
        /// The channel.
        channel: ChannelName,
        /// Who.
        member: Member,
    },
    /// A command of the manifest was carried out; with this raw JSON.
    Acknowledged(Bytes),
    /// A command was refused.
    Error(Denied),
    /// Publications of a channel were not delivered: recover or reload.
    Gap {
        /// The channel.
        channel: ChannelName,
        /// Why.
        reason: GapReason,
    },
    /// The connection goes on under a newer credential.
    Refreshed {
        /// When that ends; `None` where it does not.
        expires_at: Option<Timestamp>,
    },
    /// The credential ends soon: a client that does not refresh is closed.
    TokenExpiring {
        /// Milliseconds until then.
        in_ms: u64,
    },
    /// The connection should be made anew after this delay.
    Reconnect {
        /// Milliseconds.
        after_ms: u64,
        /// Why, one word.
        reason: &'static str,
    },
    /// `protocol: Echo`.
    Echo {
        /// Binary or text.
        binary: bool,
        /// The payload.
        payload: Bytes,
    },
}

/// Why a subscription ended without being asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnsubscribeReason {
    /// A reload or a refreshed token took the permission away.
    PermissionChanged,
    /// The API removed it.
    Removed,
}

impl UnsubscribeReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PermissionChanged => "permission_changed",
            Self::Removed => "removed",
        }
    }
}

/// Why publications were not delivered; a label of metrics, so a fixed table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// A source lost its Redis and came back.
    SourceReconnected,
    /// A source could not keep up and dropped.
    SourceOverflow,
    /// The broker was away.
    BrokerReconnected,
    /// The broker lost its memory, or came back with an older one: history begins anew.
    BrokerReset,
    /// A check of the position found that publications had not arrived.
    Missed,
    /// Another pod reads the source from now on.
    SourceTakeover,
    /// A shard's inbox was full.
    InboxFull,
    /// The connection read too slowly and its policy dropped.
    SlowConsumer,
    /// A channel has too many members to tell of all who come and go; no publication was missed.
    Crowded,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [GapReason; 9] = [
        Self::SourceReconnected,
        Self::SourceOverflow,
        Self::BrokerReconnected,
        Self::BrokerReset,
        Self::Missed,
        Self::SourceTakeover,
        Self::InboxFull,
        Self::SlowConsumer,
        Self::Crowded,
    ];

    /// The word on the wire and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SourceReconnected => "source_reconnected",
            Self::SourceOverflow => "source_overflow",
            Self::BrokerReconnected => "broker_reconnected",
            Self::BrokerReset => "broker_reset",
            Self::Missed => "missed",
            Self::SourceTakeover => "source_takeover",
            Self::InboxFull => "inbox_full",
            Self::SlowConsumer => "slow_consumer",
            Self::Crowded => "crowded",
        }
    }
}
