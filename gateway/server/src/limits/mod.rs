//! Bounds that admission keeps: how many connections, of the pod and of each user, address and tenant; how many new ones a second, and
//! how many messages of a tenant. Counts are exact however many come at once, and given back by drop.

mod census;
mod cgroup;
mod connections;
mod cpu;
mod memory;
mod network;
mod open_files;
mod rate;
mod tally;
mod tenants;
mod users;

pub use census::{Bound, Census, Claim, GivingWay, Reach, Subject, Verdict};
pub use connections::{Connections, Place};
pub use cpu::cpu_millis;
pub use memory::{connections_in, memory, outbound_budget};
pub use network::network_of;
pub use open_files::{Capacity, capacity, open_files};
pub use rate::Rate;
pub use tally::{AtLimit, Counted, Tally};
pub use tenants::{TenantConnection, Tenants};
pub use users::{Seat, Users};

/// Seconds for `Retry-After` when the pod is full or busy: spread, so that refused clients do not come back together.
pub fn retry_after() -> u32 {
    fastrand::u32(1..=5)
}

/// Seconds for `Retry-After` when a user, an address or a tenant is at its limit: nothing here will make room, so later, and spread.
pub fn retry_when_one_left() -> u32 {
    fastrand::u32(5..=15)
}
