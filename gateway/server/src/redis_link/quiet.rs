//! Keeps trouble that repeats itself out of the log.

use std::time::Duration;

use tokio::time::Instant;

/// Between two log lines of the same trouble.
const QUIET: Duration = Duration::from_secs(30);

/// What was said last.
#[derive(Debug, Default)]
pub struct Quiet {
    last: Option<(&'static str, Instant)>,
}

impl Quiet {
    /// True when `reason` is news, or the last line about it is long ago.
    pub fn speaks(&mut self, reason: &'static str) -> bool {
        let now = Instant::now();
        let news = self.last.is_none_or(|(last, at)| last != reason || now.duration_since(at) >= QUIET);
        if news {
            self.last = Some((reason, now));
        }
        news
    }

    /// The trouble is over: the next one is news.
    pub fn end(&mut self) {
        self.last = None;
    }
}
