//! How many of something a second: a token bucket of one second's worth, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SECOND: u64 = 1_000_000_000;

/// A token bucket as its virtual schedule (GCRA): one number says when the bucket would be full again.
#[derive(Debug)]
pub struct Rate {
    start: Instant,
    per_second: u32,
    cost: u64,
    full_at: AtomicU64,
}

impl Rate {
    /// `per_second` a second (at least one), with a burst of as many.
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        let cost = SECOND / u64::from(per_second);
        Self { start: Instant::now(), per_second, cost, full_at: AtomicU64::new(0) }
    }

    /// Takes one token; false when none is left.
    pub fn take(&self) -> bool {
        self.take_at(self.now())
    }

    /// Whether [`Rate::take`] would find none at the moment.
    pub fn is_empty(&self) -> bool {
        self.full_at.load(Ordering::Relaxed).max(self.now()) + self.cost > self.now() + SECOND
    }

    /// Whether it is as if nothing had ever been taken.
    pub fn is_full(&self) -> bool {
        self.full_at.load(Ordering::Relaxed) <= self.now()
    }

    /// Tokens a second.
    pub fn per_second(&self) -> u32 {
        self.per_second
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn take_at(&self, now: u64) -> bool {
        self.full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = full_at.max(now) + self.cost;
                (next <= now + SECOND).then_some(next)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let rate = Rate::new(10);
        let taken = |from: u64, tries: u32| (0..tries).filter(|_| rate.take_at(from)).count();
        assert_eq!(taken(0, 50), 10);
        assert_eq!(taken(SECOND / 10, 50), 1);
        assert_eq!(taken(SECOND / 2, 50), 4);
        assert_eq!(taken(100 * SECOND, 50), 10);
    }

    #[test]
    fn looking_takes_nothing() {
        let rate = Rate::new(1);
        assert!(rate.is_full() && !rate.is_empty());
        assert!(rate.take());
        assert!(!rate.is_full() && rate.is_empty() && !rate.take());
    }
}
