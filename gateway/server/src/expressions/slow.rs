//! Names expressions that took longer than a millisecond, at a bounded rate.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// From here on an expression is slow: at 10,000 messages a second it would keep ten cores busy.
const SLOW: Duration = Duration::from_millis(1);
/// At most one warning in so long, for the whole process.
const WARN_EVERY_MS: u64 = 10_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// When the next warning may be written, milliseconds after [`START`].
static NEXT: AtomicU64 = AtomicU64::new(0);
static UNSAID: AtomicU64 = AtomicU64::new(0);

/// Runs `evaluate` and warns if it was slow.
pub(super) fn timed<R>(source: &str, evaluate: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = evaluate();
    let took = start.elapsed();
    if took > SLOW {
        warn(source, took);
    }
    result
}

#[cold]
fn warn(source: &str, took: Duration) {
    let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
    let due = NEXT.load(Ordering::Relaxed);
    let mine = now >= due
        && NEXT.compare_exchange(due, now + WARN_EVERY_MS, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if mine {
        let unsaid = UNSAID.swap(0, Ordering::Relaxed);
        tracing::warn!(expression = source, took_us = took.as_micros(), unsaid, "an expression is slow");
    } else {
        UNSAID.fetch_add(1, Ordering::Relaxed);
    }
}
