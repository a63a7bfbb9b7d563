//! What a client asks for, after its wire format was understood.

use bytes::Bytes;

use crate::{CommandName, ConnectionKey, Denied, FilterLists, Position, Token};

/// The client's own id of a command: the raw JSON of the member `id` (a string or number of at most 128 bytes),
/// echoed as it came.
pub type CommandId = Box<str>;

/// One decoded message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Echoed in the answer.
    pub id: Option<CommandId>,
    /// What is asked.
    pub intent: Intent,
}

/// A message that could not be understood; answered with an error, the connection lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Echoed where it could be read.
    pub id: Option<CommandId>,
    /// Why.
    pub denied: Denied,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Hear a channel; on a channel already heard the filters are replaced.
    Subscribe {
        /// Unchecked name.
        channel: Box<str>,
        /// What to hear of it.
        filters: FilterLists,
        /// The client asks for what it missed; it must be told whether it got that.
        recover: Option<Recover>,
        /// Be told who comes and goes.
        presence: bool,
    },
    /// Who hears a channel?
    Presence {
        /// Unchecked name.
        channel: Box<str>,
        /// Most members of the answer, at most [`crate::MOST_MEMBERS`]; 0 asks only how many there are.
        limit: u32,
        /// Only members behind this one: where the page before ended.
        after: Option<ConnectionKey>,
    },
    /// What was published on a channel, a page of it.
    History {
        /// Unchecked name.
        channel: Box<str>,
        /// Most publications; 0 asks only where the channel stands.
        limit: u32,
        /// Behind this offset, or with `reverse` before it; absent: from the end that the order begins with.
        since: Option<u64>,
        /// From the newest to the oldest.
        reverse: bool,
    },
    /// `subscribe` without a channel: add to the lists that narrow the auto-subscribed channels.
    Narrow(FilterLists),
    /// `unsubscribe` without a channel: take away from those lists.
    Widen(FilterLists),
    /// Stop hearing a channel.
    Unsubscribe {
        /// Unchecked name.
        channel: Box<str>,
    },
    /// Are you there?
    Ping,
    /// Say something on a channel.
    Publish {
        /// Unchecked name.
        channel: Box<str>,
        /// The event's name.
        event: Box<str>,
        /// Raw JSON.
        data: Bytes,
        /// Not kept and not echoed to the sender.
        ephemeral: bool,
        /// The sender's name for it: under the same one it is not published again.
        idempotency_key: Option<Box<str>>,
    },
    /// A command that the manifest defines.
    Command {
        /// Which.
        name: CommandName,
        /// Its arguments as raw JSON: the member `data`, or the message without what is not data.
        data: Bytes,
    },
    /// Go on under a newer token of the same identity.
    Refresh(Token),
    /// `protocol: Echo`: send the same message back.
    Echo {
        /// Binary or text.
        binary: bool,
        /// The payload as it came.
        payload: Bytes,
    },
}

/// A wish to be given what was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recover {
    /// What the client has of the channel. Absent: nothing that it knows of, so only current values can be recovered.
    pub since: Option<Position>,
}

impl Intent {
    /// The command's name as metrics label it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Subscribe { .. } | Self::Narrow(_) => "subscribe",
            Self::Unsubscribe { .. } | Self::Widen(_) => "unsubscribe",
            Self::Presence { .. } => "presence",
            Self::Ping => "ping",
            Self::History { .. } => "history",
            Self::Publish { .. } => "publish",
            Self::Command { name, .. } => name.as_str(),
            Self::Refresh(_) => "refresh",
            Self::Echo { .. } => "echo",
        }
    }
}
