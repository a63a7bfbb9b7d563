//! Names expressions that took longer than a millisecond, at a bounded rate.

use std::time::{Duration, Instant};

use crate::pace::Pace;

/// From here on an expression is slow: at 10,000 messages a second it would keep ten cores busy.
const SLOW: Duration = Duration::from_millis(1);

static WARNINGS: Pace = Pace::every_ms(10_000);

/// Runs `evaluate` under the budget of one evaluation and warns if it was slow.
pub(super) fn timed<R>(source: &str, evaluate: impl FnOnce() -> R) -> R {
    super::meter::begin();
    let start = Instant::now();
    let result = evaluate();
    let took = start.elapsed();
    if took > SLOW
        && let Some(unsaid) = WARNINGS.due()
    {
        tracing::warn!(expression = source, took_us = took.as_micros(), unsaid, "an expression is slow");
    }
    result
}
