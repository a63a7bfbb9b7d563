//! What a shard is told.

use std::sync::Arc;

use rtgw_model::{
    Admission, Announced, ChannelName, Close, ConnectionId, Denied, Event, GapReason, Members, Outgoing,
    Position, Principal, PublicationId, Rejection, Request, RuleIx,
};

use crate::access::{Lookup, Review};
use crate::{Control, Grant};

/// A new connection with the grants of its auto-subscriptions.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Everything the session needs.
    pub admission: Admission,
    /// Subscribed without being asked; narrowed by `subscribe` without a channel.
    pub auto: Vec<Grant>,
}

/// One event in a shard's life. Inputs about a connection that has gone are ignored.
pub enum Input {
    /// A decoded message of a client.
    Received(ConnectionId, Result<Request, Rejection>),
    /// Bytes came that are no message (a pong, a part of a frame): the connection lives.
    Heard(ConnectionId),
    /// A heartbeat of the client's wire, to be answered with the same payload of at most 125 bytes.
    WirePing(ConnectionId, Box<[u8]>),
    /// The answer to an [`crate::Effect::Ask`].
    Answered(ConnectionId, Answer),
    /// The connection must end: what waits in its outbox may go first, then the close frame.
    Close(ConnectionId, Close),
    /// The socket is gone (reset, end of stream, close handshake of the client with this code).
    Gone(ConnectionId, Option<u16>),
    /// A publication, in the order of its channels.
    Publication(Arc<Outgoing>),
    /// Somebody came or went, in the order of its channel.
    Announced(Arc<Announced>),
    /// Somebody may have come or gone and was not heard of: whoever asked to be told is told a gap.
    Unheard,
    /// Publications were missed.
    Gap(GapScope, GapReason),
    /// The broker carries the channel from now on; answers [`crate::Effect::Want`]. Where the channel keeps history, with where it stood:
    /// everything behind that arrives, and some of it may have arrived before this input.
    Ready(ChannelName, Option<Position>),
    /// Another configuration runs: channels take its policies, and who was let in by a rule that decides otherwise now is asked again.
    /// Whoever answers questions must have the configuration before the shards.
    Reconfigured(Arc<dyn Lookup>),
    /// An order of the application for many connections.
    Control(Control),
    /// The pod is near its outbound memory: shed those of this shard that hold most. See [`crate::Effect::Relieve`].
    Relieve,
    /// Close up to `count` connections with 1012, each told to come back after a random part of `spread_ms`.
    Evict {
        /// How many.
        count: u32,
        /// The window over which clients should return.
        spread_ms: u32,
    },
}

/// Answers to [`crate::Question`]s.
#[derive(Debug)]
pub enum Answer {
    /// To `Subscribe`.
    Subscribe(Result<Grant, Denied>),
    /// To `Refresh`: the new identity and what it may hear.
    Refreshed(Result<(Arc<Principal>, Review), Denied>),
    /// To `Reauthorize`: whom was asked about, and what it may hear.
    Reauthorized(Arc<Principal>, Review),
    /// To `Recover`, with its ticket; `None` where the past cannot be read.
    Recovered(u32, Option<Replay>),
    /// To `History`: the page.
    History(Result<Event, Denied>),
    /// To `Publish`: the channel it went to, its id and its offset there.
    Published(Result<(ChannelName, Option<PublicationId>, Option<u64>), Denied>),
    /// To `Presence`: the channel and who hears it.
    Presence(Result<(ChannelName, Members), Denied>),
    /// To `Command`: what is said.
    Command(Result<Event, Denied>),
}

/// The past of a channel. Its publications are shared by everybody who asks, encoded frames included.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Publications in their order; those before [`Replay::skip`] are not asked for.
    pub base: Arc<[Arc<Outgoing>]>,
    /// How many of them are not asked for.
    pub skip: usize,
    /// Those that follow.
    pub more: Box<[Arc<Outgoing>]>,
    /// Where the past ends: the last publication, or where the channel stood.
    pub top: Position,
    /// It is all that was asked for: everything behind the place, or every current value.
    pub reaches: bool,
}

impl Replay {
    /// Its publications.
    pub fn publications(&self) -> impl Iterator<Item = &Arc<Outgoing>> {
        self.base.iter().skip(self.skip).chain(self.more.iter())
    }

    /// Whether it goes as far as `walked`.
    pub(crate) fn follows(&self, walked: Option<Position>) -> bool {
        walked.is_none_or(|walked| walked.epoch == self.top.epoch && walked.offset <= self.top.offset)
    }
}

/// Whom a gap concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapScope {
    /// Every channel of these rules.
    Rules(Box<[RuleIx]>),
    /// These channels.
    Channels(Box<[ChannelName]>),
    /// Every channel.
    All,
}
