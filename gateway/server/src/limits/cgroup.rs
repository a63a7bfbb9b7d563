//! What the process's cgroup and those above it allow, in version 2 and in version 1, which some nodes still have.

use std::fs;
use std::path::Path;

/// The least value that a file called `unified` (version 2), or `legacy` of the controller `controller` (version 1), gives by `value` in
/// the process's group or one above it.
pub(super) fn least<T: Ord>(
    unified: &str,
    controller: &str,
    legacy: &str,
    value: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let read = |path: &Path| fs::read_to_string(path).ok();
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let root = Path::new("/sys/fs/cgroup");
    let of_unified = |group: &Path| value(&read(&root.join(group).join(unified))?);
    let of_legacy = |group: &Path| value(&read(&root.join(controller).join(group).join(legacy))?);
    let unified = least_above(group(&groups, ""), of_unified);
    let legacy = least_above(group(&groups, controller), of_legacy);
    unified.into_iter().chain(legacy).min()
}

/// The process's group of `controller`, whose list is empty for version 2 (cgroups(7), `/proc/PID/cgroup`).
fn group<'g>(groups: &'g str, controller: &str) -> Option<&'g str> {
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let known = fields.next()?.split(',').any(|known| known == controller);
        fields.next().filter(|_| known)?.strip_prefix('/')
    })
}

/// In a container the own group is the root of what is seen; where it is not, the root is looked at too.
fn least_above<T: Ord>(group: Option<&str>, value: impl Fn(&Path) -> Option<T>) -> Option<T> {
    Path::new(group?).ancestors().filter_map(value).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_their_controller() {
        let groups = "4:memory:/pods/one\n3:cpu,cpuacct:/pods/two\n0::/unified\n";
        assert_eq!(group(groups, "memory"), Some("pods/one"));
        assert_eq!(group(groups, "cpu"), Some("pods/two"));
        assert_eq!(group(groups, ""), Some("unified"));
        assert_eq!(group(groups, "pids"), None);
    }

    #[test]
    fn the_least_of_the_groups_counts() {
        let limits = |limits: &'static [(&str, u64)]| {
            move |group: &Path| {
                limits.iter().find(|(known, _)| Path::new(known) == group).map(|(_, limit)| *limit)
            }
        };
        assert_eq!(least_above(Some("pods/one"), limits(&[])), None);
        assert_eq!(least_above(Some("pods/one"), limits(&[("elsewhere", 1)])), None);
        assert_eq!(
            least_above(Some("pods/one"), limits(&[("pods/one", 300), ("pods", 1000), ("", 2000)])),
            Some(300)
        );
        assert_eq!(least_above(Some(""), limits(&[("", 200)])), Some(200));
        assert_eq!(least_above(None, limits(&[("", 200)])), None);
    }
}
