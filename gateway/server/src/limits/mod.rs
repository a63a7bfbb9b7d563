//! Bounds that admission keeps: how many connections, how many new ones per second.

mod connections;
mod handshakes;
mod open_files;
mod users;

pub use connections::{Connections, Place};
pub use handshakes::HandshakeRate;
pub use open_files::{Capacity, capacity, open_files};
pub use users::{UserConnection, Users};

/// Seconds for `Retry-After` when the pod is full or busy: spread, so that refused clients do not come back together.
pub fn retry_after() -> u32 {
    fastrand::u32(1..=5)
}
