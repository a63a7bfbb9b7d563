//! Logs on stderr: text for a person at a terminal, JSON for a collector.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtgw_config::checked::LogLevel;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload::Handle;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Text where stderr is a terminal.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// The logs are set up already.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already")]
pub struct AlreadySet;

/// Sends events of our crates from `level` on, and warnings of libraries, to stderr. `RUST_LOG` adds to that, as a way to look closer
/// without touching the manifest.
///
/// # Errors
/// [`AlreadySet`].
pub fn start(level: LogLevel, format: LogFormat) -> Result<(), AlreadySet> {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter(level))
        // A line that cannot be written would be reported on stderr, by a macro that panics where that fails too: a collector
        // that goes away would end whichever thread logs next.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => {
            // Colours are not built in.
            let subscriber = subscriber.with_ansi(false).with_target(false).with_filter_reloading();
            keep(subscriber.reload_handle());
            subscriber.try_init()
        }
        LogFormat::Json => {
            let subscriber =
                subscriber.json().flatten_event(true).with_current_span(false).with_filter_reloading();
            keep(subscriber.reload_handle());
            subscriber.try_init()
        }
    }
    .map_err(|_| AlreadySet)
}

/// Sends events from another level on, from now on; nothing before [`start`].
pub fn set_level(level: LogLevel) {
    if let Some(set) = SET.get() {
        set(filter(level));
    }
}

type Set = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// Replaces the filter of the one subscriber.
static SET: OnceLock<Set> = OnceLock::new();

fn keep<S: 'static>(handle: Handle<EnvFilter, S>) {
    // A second start changes nothing, as with the subscriber.
    let _kept = SET.set(Box::new(move |filter| {
        // The subscriber lives as long as the process.
        let _replaced = handle.reload(filter);
    }));
}

fn filter(level: LogLevel) -> EnvFilter {
    let (ours, others) = match level {
        LogLevel::Error => ("error", "error"),
        LogLevel::Warn => ("warn", "warn"),
        LogLevel::Info => ("info", "warn"),
        LogLevel::Debug => ("debug", "warn"),
    };
    let closer = std::env::var("RUST_LOG").unwrap_or_default();
    EnvFilter::builder().parse_lossy(format!("{others},rtgw={ours},rtgw_config={ours},{closer}"))
}

/// Lets a warning that repeats through at most once per interval, and says how many were held back before it. One per place that warns.
#[derive(Debug)]
pub struct Repeated {
    every: Duration,
    start: Instant,
    /// Milliseconds since `start` from which the next one passes.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl Repeated {
    /// At most one warning per `every`.
    pub fn new(every: Duration) -> Self {
        Self { every, start: Instant::now(), next: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// Whether to warn now: the number of warnings that were held back since the last one.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(self.start.elapsed())
    }

    fn pass_at(&self, now: Duration) -> Option<u64> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(now);
        let next = self.next.load(Ordering::Relaxed);
        let after = now.saturating_add(millis(self.every));
        let passes = now >= next
            && self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if passes {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_warning_per_interval_that_counts_the_others() {
        let repeated = Repeated::new(Duration::from_secs(10));
        let at = |seconds| repeated.pass_at(Duration::from_secs(seconds));
        assert_eq!(at(0), Some(0));
        assert_eq!((at(1), at(9)), (None, None));
        assert_eq!(at(10), Some(2));
        assert_eq!(at(25), Some(0));
    }
}
