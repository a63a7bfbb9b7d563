//! I/O shards: one thread each, holding plain TCP sockets after their upgrade.

mod handoff;

pub use handoff::{Handoff, Inbox, InboxFull, Outward, Permit, ShardInput, ShardReport, SocketProtocol};
