//! A pace for log lines that somebody outside can cause: the first is written, then one per interval with the number left unsaid.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Any fixed point; only differences count.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The pace of one kind of line; shared by all threads.
#[derive(Debug)]
pub struct Pace {
    every_ms: u64,
    /// When the next line may be written, milliseconds after [`START`].
    next: AtomicU64,
    unsaid: AtomicU64,
}

impl Pace {
    /// One line per `every_ms` milliseconds.
    pub const fn every_ms(every_ms: u64) -> Self {
        Self { every_ms, next: AtomicU64::new(0), unsaid: AtomicU64::new(0) }
    }

    /// Whether a line may be written now, and how many were left out since the last one.
    pub fn due(&self) -> Option<u64> {
        self.due_at(u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn due_at(&self, now: u64) -> Option<u64> {
        let due = self.next.load(Ordering::Relaxed);
        let next = now.saturating_add(self.every_ms);
        // Of threads that come at once, one writes.
        if now >= due && self.next.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return Some(self.unsaid.swap(0, Ordering::Relaxed));
        }
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_interval_with_the_number_left_unsaid() {
        let pace = Pace::every_ms(1000);
        let said: Vec<Option<u64>> = [0, 1, 999, 1000, 1001, 5000, 5001].map(|now| pace.due_at(now)).into();
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1), None]);
    }
}
