//! The shard itself. (Skeleton: the machine follows.)

use std::sync::Arc;

use bytes::Bytes;
use rtgw_model::{ConnectionId, Encoder, Millis, Now};

use crate::{Effect, Fill, Input, Opening};

/// Fixed properties of a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardSettings {
    /// Its index.
    pub index: u16,
    /// Number of endpoints and channel rules, for the counters.
    pub endpoints: usize,
    /// Number of channel rules.
    pub rules: usize,
    /// Seed of heartbeat phases and eviction delays.
    pub seed: u64,
}

/// What one turn of the loop may do before sockets are polled again.
#[derive(Clone, Copy, Debug)]
pub struct TurnBudget {
    /// Connections made dirty.
    pub connections: usize,
    /// Frames put into outboxes.
    pub deliveries: usize,
}

/// Counts since the start and gauges of now; plain numbers, read between turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Open connections, by endpoint.
    pub connections: Vec<u64>,
    /// Connections whose close is under way, by endpoint.
    pub closing: Vec<u64>,
    /// Held subscriptions, by rule.
    pub subscriptions: Vec<u64>,
    /// Channels with a member in this shard, by rule.
    pub channels: Vec<u64>,
    /// Publications put into outboxes, by `endpoint * rules + rule`.
    pub deliveries: Vec<u64>,
    /// Commands taken, by `(endpoint, intent name, "ok" or an error code)`.
    pub commands: std::collections::BTreeMap<(u16, &'static str, &'static str), u64>,
    /// Ends of connections, by `(endpoint, code, "server" or "client" or "lost")`; the code is 0 where none was seen and 4999 stands
    /// for a client's code outside the table, so that labels stay bounded.
    pub closes: std::collections::BTreeMap<(u16, u16, &'static str), u64>,
    /// Publications that were meant for a connection and dropped, by `(rule, reason)`.
    pub dropped: std::collections::BTreeMap<(u16, &'static str), u64>,
    /// Gap markers put into outboxes, by `(rule, reason)`.
    pub gaps: std::collections::BTreeMap<(u16, &'static str), u64>,
    /// Bytes waiting in the outboxes of blocked connections.
    pub outbound_bytes: u64,
    /// Publications waiting to be fanned out.
    pub waiting_publications: u64,
}

/// One I/O shard's state.
pub struct Shard {
    _encoder: Arc<dyn Encoder>,
}

impl Shard {
    /// An empty shard.
    pub fn new(_settings: ShardSettings, encoder: Arc<dyn Encoder>) -> Self {
        Self { _encoder: encoder }
    }

    /// Adopts a connection: the greeting is the first message, auto-subscriptions hold at once.
    pub fn open(&mut self, _now: Now, _opening: Opening) -> ConnectionId {
        todo!()
    }

    /// Takes one input.
    pub fn handle(&mut self, _now: Now, _input: Input) {
        todo!()
    }

    /// Carries waiting publications to outboxes, as far as `budget` goes; true when some are left for the next turn.
    pub fn advance(&mut self, _now: Now, _budget: TurnBudget) -> bool {
        todo!()
    }

    /// The next connection with bytes to write, each once; call until `None` after every turn.
    pub fn next_dirty(&mut self) -> Option<ConnectionId> {
        todo!()
    }

    /// Takes bytes of a connection's outbox. `cork` comes in empty; at most about 16 KiB are appended.
    pub fn fill(&mut self, _connection: ConnectionId, _cork: &mut Vec<u8>) -> Fill {
        todo!()
    }

    /// The socket took only a part: `rest` is what it left of the last [`Fill`]. The connection is written again after
    /// [`Shard::writable`].
    pub fn blocked(&mut self, _now: Now, _connection: ConnectionId, _rest: Bytes) {
        todo!()
    }

    /// The socket takes bytes again.
    pub fn writable(&mut self, _connection: ConnectionId) {
        todo!()
    }

    /// Whether the connection's commands are taken; false while too many wait for an answer or too much waits to be written.
    pub fn may_read(&self, _connection: ConnectionId) -> bool {
        todo!()
    }

    /// Fires the timers due at `now`.
    pub fn tick(&mut self, _now: Now) {
        todo!()
    }

    /// When [`Shard::tick`] is due next.
    pub fn next_tick(&self) -> Option<Millis> {
        todo!()
    }

    /// Takes the effects since the last call.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        todo!()
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        todo!()
    }
}
