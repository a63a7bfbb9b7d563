//! How much memory this process may use, and which part of it outboxes may hold.

use std::fs;

use super::cgroup;

/// What the process needs before the first connection, threads and caches included.
const BASE_BYTES: u64 = 48 << 20;
/// What a connection takes, the kernel's buffers for its socket and its part of handshakes and fragmentation included: several times
/// what an idle one was measured to take (`docs/performance.md`), because not all of them are idle.
const CONNECTION_BYTES: u64 = 16 << 10;

/// Bytes that the process may use: the least limit of its cgroup (version 2, or version 1) and of those above it, and the machine's
/// memory; `None` where the system says neither.
pub fn memory() -> Option<u64> {
    let limit =
        cgroup::least("memory.max", "memory", "memory.limit_in_bytes", |text| text.trim().parse().ok());
    let machine = total(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
    limit.into_iter().chain(machine).min()
}

/// Connections that `memory` bytes hold beside what outboxes may take of it.
pub fn connections_in(memory: Option<u64>, outbound_percent: u8) -> Option<u32> {
    let memory = memory?;
    let outbound = outbound_budget(outbound_percent, Some(memory))?;
    let left = memory.saturating_sub(outbound).saturating_sub(BASE_BYTES);
    // However little there is, one can be tried.
    Some(u32::try_from(left / CONNECTION_BYTES).unwrap_or(u32::MAX).max(1))
}

/// What outboxes may hold of `memory` bytes.
pub fn outbound_budget(percent: u8, memory: Option<u64>) -> Option<u64> {
    // In this order, because a percent of little memory must not be nothing.
    memory.map(|memory| memory.saturating_mul(u64::from(percent)) / 100)
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_beside_what_outboxes_may_hold() {
        assert_eq!(connections_in(Some(512 << 20), 25), Some((384 - 48) * 64));
        assert_eq!(connections_in(Some(1 << 20), 25), Some(1));
        assert_eq!(connections_in(Some(u64::MAX), 1), Some(u32::MAX));
        assert_eq!(connections_in(None, 25), None);
    }

    #[test]
    fn the_budget_is_a_part_of_the_memory() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       2000 kB\n"), Some(2_048_000));
        assert_eq!(outbound_budget(25, Some(1 << 30)), Some(256 << 20));
        assert_eq!(outbound_budget(1, Some(150)), Some(1));
        assert_eq!(outbound_budget(25, None), None);
    }
}
