//! What the kernel says a process costs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// Time on a processor since the start, user and system, all threads, in nanoseconds of the scheduler's own account.
///
/// Threads that have ended are not in it, so the servers under test must not start and end threads while they are measured.
pub(super) fn cpu_time(pid: u32) -> Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("the server has ended")? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        total += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}

/// Anonymous resident memory in bytes: what the program itself holds, without its file-backed code and without the kernel's share.
pub(super) fn anonymous_memory(pid: u32) -> Result<u64> {
    let text =
        fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status"))).context("the server has ended")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or_else(|| anyhow!("no RssAnon"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
