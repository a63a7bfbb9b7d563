//! How much of the machine's processors this process may use.

use super::cgroup;

/// Thousandths of one core: the least quota of its cgroup and of those above it, else the cores that it may run on.
pub fn cpu_millis() -> u32 {
    let quota = cgroup::least("cpu.max", "cpu", "cpu.cfs_quota_us", |text| quota(text, PERIOD));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = u64::try_from(cores).unwrap_or(1).saturating_mul(1000);
    u32::try_from(quota.unwrap_or(cores).max(1)).unwrap_or(u32::MAX)
}

/// Microseconds; version 1 keeps the period in a file of its own, which hardly anybody changes.
const PERIOD: u64 = 100_000;

/// `QUOTA PERIOD` (version 2) or `QUOTA` (version 1), in microseconds; without a quota `max` or a negative number.
fn quota(text: &str, period: u64) -> Option<u64> {
    let mut numbers = text.split_ascii_whitespace();
    let quota: u64 = numbers.next()?.parse().ok()?;
    let period = numbers.next().map_or(Some(period), |text| text.parse().ok())?;
    quota.checked_mul(1000)?.checked_div(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_in_both_versions() {
        assert_eq!(quota("50000 100000\n", PERIOD), Some(500));
        assert_eq!(quota("max 100000\n", PERIOD), None);
        assert_eq!(quota("250000\n", PERIOD), Some(2500));
        assert_eq!(quota("-1\n", PERIOD), None);
        assert_eq!(quota("1 0\n", PERIOD), None);
        assert_eq!(quota("", PERIOD), None);
    }
}
