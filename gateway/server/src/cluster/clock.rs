//! The time of Redis, which all pods have in common whatever their own clocks say.

use parking_lot::Mutex;
use tokio::time::Instant;

/// What Redis said last, and when.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<(Instant, u64)>>);

impl Clock {
    /// Redis says that it is `millis`, Unix time.
    pub(super) fn set(&self, millis: u64) {
        *self.0.lock() = Some((Instant::now(), millis));
    }

    /// The time of now, Unix milliseconds; `None` before Redis was asked.
    pub(super) fn now(&self) -> Option<u64> {
        let (at, millis) = (*self.0.lock())?;
        Some(millis.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }
}
