//! What crosses the border of a shard thread: sockets and inputs in, wishes out.

use std::net::TcpStream;

use bytes::Bytes;
use rtgw_hub::{Ask, Counters, Input, Opening, Present};
use rtgw_model::{ChannelName, ConnectionId, ConnectionKey, RuleIx};

/// Held for the life of a connection; its drop gives the places back. Called on the shard's thread: must not wait.
pub trait Permit: Send {
    /// From now on the connection is found by this name.
    fn adopted(&mut self, _connection: ConnectionId) {}

    /// Whether [`Permit::may_speak`] is to be asked.
    fn is_metered(&self) -> bool {
        false
    }

    /// Whether one more message of the client is within what it shares with others; asked once per message.
    fn may_speak(&self) -> bool {
        true
    }
}

/// An upgraded socket on its way to a shard.
pub struct Handoff {
    /// The plain socket, non-blocking.
    pub stream: TcpStream,
    /// What the HTTP server had already read behind the request: may hold the first frames.
    pub read_ahead: Bytes,
    /// The session.
    pub opening: Opening,
    /// What messages mean.
    pub protocol: SocketProtocol,
    /// Whether permessage-deflate was negotiated: inbound frames may be compressed (without context takeover).
    pub deflate: bool,
    /// Largest inbound message, after inflation.
    pub message_bytes: usize,
    /// Places held.
    pub permit: Box<dyn Permit>,
}

/// Protocols over WebSocket frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketProtocol {
    /// JSON commands in text frames.
    Json,
    /// The same in MessagePack, in binary frames.
    MessagePack,
    /// Every message is sent back.
    Echo,
}

/// One item of a shard's inbox.
pub enum ShardInput {
    /// A new socket.
    Adopt(Box<Handoff>),
    /// For the state machine.
    Hub(Input),
    /// A wish for the numbers of now.
    Report(tokio::sync::oneshot::Sender<ShardReport>),
    /// Close what is left, without waiting, and end the thread.
    Stop,
}

/// A shard's numbers.
#[derive(Clone, Debug, Default)]
pub struct ShardReport {
    /// The state machine's.
    pub counters: Counters,
    /// Bytes read, by endpoint.
    pub bytes_in: Vec<u64>,
    /// Bytes written, by endpoint.
    pub bytes_out: Vec<u64>,
    /// Publications waiting in the inbox.
    pub inbox_publications: u64,
    /// Publications that the full inbox refused.
    pub inbox_refused: u64,
    /// Calls of `send`.
    pub sends: u64,
    /// Open sockets.
    pub sockets: u64,
    /// Closed sockets whose last bytes are still on their way.
    pub lingering: u64,
}

/// The inbox was full; what was posted is dropped. After a refused publication the shard raises a gap for the publication's
/// channels by itself, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shard's inbox is full")]
pub struct InboxFull;

/// The way into one shard. Posting never waits.
pub trait Inbox: Send + Sync {
    /// Appends an item and wakes the shard if it sleeps.
    ///
    /// # Errors
    /// [`InboxFull`]: only publications are refused; everything else is few and bounded by its cause.
    fn post(&self, input: ShardInput) -> Result<(), InboxFull>;

    /// Appends several items in their order and wakes the shard at most once. One result for each.
    fn post_all(&self, inputs: Vec<ShardInput>) -> Vec<Result<(), InboxFull>> {
        inputs.into_iter().map(|input| self.post(input)).collect()
    }
}

/// What a shard asks of the rest of the server. Called on the shard's thread: must not wait.
pub trait Outward: Send + Sync {
    /// A question of a session; the answer is posted to the asking shard.
    fn ask(&self, ask: Ask);
    /// The shard has its first subscriber of the channel; `Input::Ready` is posted when the broker carries it.
    fn want(&self, shard: u16, channel: ChannelName, rule: RuleIx);
    /// The shard's last subscriber of the channel left.
    fn unwant(&self, shard: u16, channel: ChannelName);
    /// A connection hears a channel whose members are known.
    fn present(&self, _present: Present) {}
    /// It hears it no more.
    fn absent(&self, _connection: ConnectionKey, _channel: ChannelName) {}
    /// Another shard holds most of the pod's outbound memory: `Input::Relieve` is posted to it.
    fn relieve(&self, _shard: u16) {}
}
