//! How many files this process may hold open: each socket is one.

use std::fs;

/// The soft limit on open files; `None` where the system does not say.
pub fn open_files() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Most connections in their handshake, and most that are held, where `asked` is the manifest's limit and `memory` what memory holds: what
/// the system's limit on open files leaves of it, so that a full pod answers 503 instead of running out of descriptors.
pub fn capacity(asked: Option<u32>, open_files: Option<u64>, memory: Option<u32>) -> Capacity {
    /// For listeners, logs, Redis, threads' wake-ups and scrapes.
    const RESERVED: u64 = 128;
    const PENDING: u64 = 4096;
    let files = open_files.unwrap_or(u64::MAX).saturating_sub(RESERVED);
    let pending = (files / 4).clamp(16, PENDING);
    let room = u32::try_from(files.saturating_sub(pending)).unwrap_or(u32::MAX);
    let room = memory.map_or(room, |memory| memory.min(room));
    Capacity {
        connections: asked.map_or(room, |asked| asked.min(room)),
        pending: usize::try_from(pending).unwrap_or(16),
    }
}

/// What [`capacity`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Most connections held.
    pub connections: u32,
    /// Most connections that are not upgraded yet.
    pub pending: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_bound_connections() {
        let text = "Limit     Soft Limit  Hard Limit  Units\nMax open files   20000   20000   files\n";
        assert_eq!(parse(text), Some(20_000));
        assert_eq!(
            capacity(Some(10_000), Some(20_000), None),
            Capacity { connections: 10_000, pending: 4096 }
        );
        assert_eq!(capacity(Some(10_000), Some(1024), None), Capacity { connections: 672, pending: 224 });
        assert_eq!(capacity(None, None, None).connections, u32::MAX);
        assert_eq!(capacity(Some(10_000), Some(20_000), Some(900)).connections, 900);
        assert_eq!(capacity(None, Some(1024), Some(10_000)).connections, 672);
    }
}
