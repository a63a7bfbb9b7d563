//! How much memory this process may use, and which part of it outboxes may hold.

use std::fs;
use std::path::Path;

/// Bytes that the process may use: the least limit of its cgroup (version 2) and of those above it, and the machine's memory; `None`
/// where the system says neither.
pub fn memory() -> Option<u64> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let limit = cgroup_limit(&read(Path::new("/proc/self/cgroup")).unwrap_or_default(), |group| {
        read(&Path::new("/sys/fs/cgroup").join(group).join("memory.max"))
    });
    let machine = total(&read(Path::new("/proc/meminfo")).unwrap_or_default());
    limit.into_iter().chain(machine).min()
}

/// What outboxes may hold of `memory` bytes.
pub fn outbound_budget(percent: u8, memory: Option<u64>) -> Option<u64> {
    // In this order, because a percent of little memory must not be nothing.
    memory.map(|memory| memory.saturating_mul(u64::from(percent)) / 100)
}

/// `limit` reads the `memory.max` of a group by its path below the root, which is empty for the root itself.
fn cgroup_limit(groups: &str, limit: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // In a container the own group is the root of what is seen. Without a limit the file says `max`.
    Path::new(own).ancestors().filter_map(|group| limit(group)?.trim().parse().ok()).min()
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
    fn the_least_limit_of_the_groups_counts() {
        let groups = "4:memory:/elsewhere\n0::/pods/one\n";
        let limit = |limits: &[(&str, &str)]| {
            let of = |group: &Path| limits.iter().find(|(known, _)| Path::new(known) == group);
            cgroup_limit(groups, |group| Some(format!("{}\n", of(group)?.1)))
        };
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("pods/one", "max"), ("elsewhere", "1")]), None);
        assert_eq!(limit(&[("pods/one", "max"), ("pods", "1000")]), Some(1_000));
        assert_eq!(limit(&[("pods/one", "300"), ("pods", "1000"), ("", "2000")]), Some(300));
        assert_eq!(limit(&[("", "200")]), Some(200));
        assert_eq!(cgroup_limit("4:memory:/\n", |_| Some("1".into())), None);
    }

    #[test]
    fn the_budget_is_a_part_of_the_memory() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       2000 kB\n"), Some(2_048_000));
        assert_eq!(outbound_budget(25, Some(1 << 30)), Some(256 << 20));
        assert_eq!(outbound_budget(1, Some(150)), Some(1));
        assert_eq!(outbound_budget(25, None), None);
    }
}
