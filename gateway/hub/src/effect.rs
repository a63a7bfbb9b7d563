//! What a shard asks of the world.

use std::sync::Arc;

use bytes::Bytes;
use rtgw_model::{
    ChannelName, CommandId, CommandName, ConnectionId, ConnectionKey, EndpointIx, Position, Principal,
    Recover, RuleIx, Token,
};

/// A wish of the shard, drained after each turn in order.
#[derive(Debug)]
pub enum Effect {
    /// A question that needs waiting; answered by [`crate::Input::Answered`]. At most one
    /// per connection is open, and beside it one [`Question::Reauthorize`].
    Ask(Box<Ask>),
    /// This shard has its first subscriber of the channel; answered by [`crate::Input::Ready`].
    Want(ChannelName, RuleIx),
    /// This shard's last subscriber of the channel has left.
    Unwant(ChannelName),
    /// A connection hears a channel whose members are known, from now on. What follows for the same two is in order.
    Present(Box<Present>),
    /// It hears it no more.
    Absent(ConnectionKey, ChannelName),
    /// That shard has the connections that hold most of the pod's outbound memory, and is to shed: [`crate::Input::Relieve`].
    Relieve(u16),
    /// The socket may be read again (see [`crate::Shard::may_read`]).
    Resume(ConnectionId),
}

/// A connection that hears a channel.
#[derive(Debug)]
pub struct Present {
    /// The connection's public id.
    pub key: ConnectionKey,
    /// Its endpoint.
    pub endpoint: EndpointIx,
    /// Its identity.
    pub principal: Arc<Principal>,
    /// What it hears.
    pub channel: ChannelName,
}

/// A question with all that an answer needs.
#[derive(Debug)]
pub struct Ask {
    /// Where the answer goes.
    pub connection: ConnectionId,
    /// The connection's public id.
    pub key: ConnectionKey,
    /// Its endpoint.
    pub endpoint: EndpointIx,
    /// Its identity.
    pub principal: Arc<Principal>,
    /// The question.
    pub question: Question,
}

/// Questions of a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// May it hear this channel (unchecked name)?
    Subscribe(Box<str>),
    /// What was published on the channel behind a place, and where does it stand? Asked once the channel is carried; answered by
    /// [`crate::Answer::Recovered`] with the ticket. What others have read shortly before serves, too, but not what was read before the
    /// last gap that this shard was given: who is told of it first is given what lies in it by this.
    Recover {
        /// The channel.
        channel: ChannelName,
        /// From where; absent: only where it stands is asked.
        recover: Option<Recover>,
        /// What this shard has been given at least: the answer must go so far.
        walked: Option<Position>,
        /// Repeated in the answer.
        ticket: u32,
    },
    /// A page of what was published on a channel (unchecked name).
    History {
        /// The channel.
        channel: Box<str>,
        /// Most publications.
        limit: u32,
        /// Behind this offset, or with `reverse` before it.
        since: Option<u64>,
        /// From the newest to the oldest.
        reverse: bool,
    },
    /// Is this token good for this connection? And if so, which of these channels may its bearer hear?
    Refresh {
        /// Unchecked.
        token: Token,
        /// What the connection hears.
        held: Box<[ChannelName]>,
    },
    /// Which of these channels may it still hear? No command of the client: it is asked beside the open question.
    Reauthorize(Box<[ChannelName]>),
    /// May it publish, and if so do.
    Publish {
        /// Unchecked name.
        channel: Box<str>,
        /// The event.
        event: Box<str>,
        /// Raw JSON.
        data: Bytes,
        /// Not kept, not echoed to the sender.
        ephemeral: bool,
        /// Not to be published again under the same one of the same sender.
        idempotency_key: Option<Box<str>>,
    },
    /// Who hears this channel?
    Presence {
        /// Unchecked name.
        channel: Box<str>,
        /// Most members of the answer.
        limit: u32,
        /// Only members behind this one.
        after: Option<ConnectionKey>,
        /// The application lets it hear the channel, whatever the rule says.
        by_api: bool,
    },
    /// What does this command of the manifest answer?
    Command {
        /// The client's own id.
        id: Option<CommandId>,
        /// Which.
        name: CommandName,
        /// Its arguments, raw JSON.
        data: Bytes,
    },
}

/// What [`crate::Shard::fill`] put where.
#[derive(Debug)]
pub enum Fill {
    /// Nothing waits; the connection is clean.
    Empty,
    /// Whole frames (or the rest of one) were appended to the cork buffer; ask again after writing it.
    Cork,
    /// One large piece to write as it is, the cork buffer is untouched; ask again after writing it.
    Direct(Bytes),
    /// The close frame has been written: shut down our side, discard input for a while, forget the connection. The shard
    /// has already forgotten it.
    Finished,
}
