//! How many shards there are and how much each may hold and do.

use rtgw_hub::{SweepBudget, TurnBudget};
use rtgw_model::Expiry;

use super::clock::Clock;

/// Fixed properties of a transport.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// I/O shards, each a thread; 1 to 65,535.
    pub shards: usize,
    /// Endpoints of the configuration, for the counters.
    pub endpoints: usize,
    /// Channel rules of the configuration, for the counters.
    pub rules: usize,
    /// When holders of ending credentials are told and closed.
    pub expiry: Expiry,
    /// Most publications that may wait in one shard, from the post to the end of their fan-out.
    pub inbox_publications: usize,
    /// Most bytes of publication data that may wait in one shard.
    pub inbox_bytes: usize,
    /// Seed of heartbeat phases and eviction delays; each shard derives its own.
    pub seed: u64,
    /// What one turn of the loop may carry to outboxes before sockets are polled again.
    pub budget: TurnBudget,
    /// The same for what concerns many connections.
    pub sweep: SweepBudget,
    /// Shared with whoever stamps publications, so that delays can be measured.
    pub clock: Clock,
}

impl Settings {
    /// The defaults for a configuration with so many endpoints and channel rules: a shard per core that this process may
    /// use (`available_parallelism` respects the cgroup's quota).
    pub fn new(endpoints: usize, rules: usize, seed: u64) -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            endpoints,
            rules,
            expiry: Expiry { warn_ms: 60_000, grace_ms: 25_000 },
            inbox_publications: 65_536,
            inbox_bytes: 64 << 20,
            seed,
            budget: TurnBudget { connections: 2_000, deliveries: 32_000, bytes: 8 << 20 },
            sweep: SweepBudget { steps: 512, reviews: 128 },
            clock: Clock::start(),
        }
    }
}
