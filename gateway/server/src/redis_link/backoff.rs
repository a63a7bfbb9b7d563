//! Delays between attempts: doubling and jittered, so that pods do not come back in step.

use std::time::Duration;

/// The first delay is at most this.
const FIRST: Duration = Duration::from_millis(50);
/// Every delay is at most this: with the time of one attempt it stays below the 2 s in which delivery has to resume.
const LONGEST: Duration = Duration::from_millis(600);

/// Attempts without success so far.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay before the next attempt: between half of the current bound and the bound.
    pub fn delay(&mut self) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(5)).min(LONGEST);
        self.failures += 1;
        bound.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Starts over after a success that lasted.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_start_over() {
        let mut backoff = Backoff::default();
        for round in 0..2 {
            for bound in [50, 100, 200, 400, 600, 600, 600, 600] {
                let delay = backoff.delay();
                let bound = Duration::from_millis(bound);
                assert!(delay >= bound / 2 && delay <= bound, "{delay:?} of {bound:?} in round {round}");
            }
            backoff.reset();
        }
    }
}
