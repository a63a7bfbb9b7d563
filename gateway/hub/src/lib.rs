//! One I/O shard's state as a pure machine: channels, subscriptions, sessions, outboxes, timers.
//!
//! Knows no socket, wire format, Redis or HTTP, does no I/O and reads no clock: inputs come in with the time, effects and bytes
//! go out. The same code runs under real sockets and under a simulation with virtual time.

pub mod access;
mod account;
mod blocked;
mod channels;
mod commands;
mod control;
mod counters;
mod effect;
mod ending;
mod expiry;
mod fanout;
mod filter;
mod frame;
mod heartbeat;
mod input;
mod lanes;
mod outbox;
mod presence;
mod rate;
mod recovery;
mod refresh;
mod relief;
mod review;
mod session;
mod shaping;
mod shard;
mod slow;
mod throttle;
mod told;
mod view;
mod wheel;

pub use access::Grant;
pub use account::Account;
pub use control::{Control, Order, Renewal, Tally, Target};
pub use counters::Counters;
pub use effect::{Ask, Effect, Fill, Present, Question};
pub use input::{Answer, GapScope, Input, Opening, Replay};
pub use shard::{Shard, ShardSettings, SweepBudget, TurnBudget};
pub use view::{ChannelViewer, ConnectionViewer, Seen};
