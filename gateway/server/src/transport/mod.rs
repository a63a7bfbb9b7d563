//! I/O shards: one thread each, holding plain TCP sockets after their upgrade.
//!
//! A shard owns its sockets and their `rtgw_hub::Shard` completely; the rest of the server speaks to it through its
//! [`Inbox`] and hears from it through [`Outward`]. Nothing here waits, locks for long, or keeps a buffer for an idle
//! socket.

mod clock;
mod event_loop;
mod flush;
mod handoff;
mod inbox;
mod linger;
mod read;
mod settings;
mod socket;
mod threads;

pub use clock::Clock;
pub use handoff::{Handoff, Inbox, InboxFull, Outward, Permit, ShardInput, ShardReport, SocketProtocol};
pub use settings::Settings;
pub use threads::{Transport, start};
