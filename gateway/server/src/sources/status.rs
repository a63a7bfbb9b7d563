//! How a source is doing, for readiness and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rtgw_model::GapReason;

/// The sources of this process's life by their numbers: what one of a name counted before a reload goes on after it.
#[derive(Debug, Default)]
pub struct SourceStatuses(Mutex<Vec<Named>>);

/// A source's name and how it is doing.
pub type Named = (Arc<str>, Arc<SourceStatus>);

impl SourceStatuses {
    /// The number and the status of the source called `name`, new ones if there was none of this name.
    pub fn of(&self, name: &str) -> (u16, Arc<SourceStatus>) {
        let mut all = self.0.lock();
        let at = all.iter().position(|(known, _)| **known == *name).unwrap_or_else(|| {
            all.push((name.into(), Arc::default()));
            all.len() - 1
        });
        (u16::try_from(at).unwrap_or(u16::MAX), Arc::clone(&all[at].1))
    }

    /// All of them by number.
    pub fn all(&self) -> Vec<Named> {
        self.0.lock().clone()
    }
}

/// Counts since the start and the state of now.
#[derive(Debug, Default)]
pub struct SourceStatus {
    up: AtomicBool,
    received: AtomicU64,
    published: AtomicU64,
    skipped: AtomicU64,
    errors: Mutex<BTreeMap<&'static str, u64>>,
    /// The newest announcement of a gap by the place where it was read.
    announced: Mutex<BTreeMap<String, String>>,
}

impl SourceStatus {
    /// Whether it is connected and subscribed to everything.
    pub fn up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Messages that came.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Messages that became a publication.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// Channels of publications that were left out: their template failed, or nothing declares them.
    pub fn skipped_channels(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// `rtgw_source_errors_total{source,reason}`: lost and refused connections, and messages that did not become a publication.
    pub fn errors(&self) -> BTreeMap<&'static str, u64> {
        self.errors.lock().clone()
    }

    /// Notes that nobody hears, because the source has ended.
    pub(crate) fn ended(&self) {
        self.set_up(false);
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    pub(super) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_published(&self, skipped_channels: usize) {
        self.published.fetch_add(1, Ordering::Relaxed);
        self.skipped.fetch_add(skipped_channels as u64, Ordering::Relaxed);
    }

    /// Counts an error and gives how many there were before; `reason` is a word of a fixed table.
    pub(super) fn count_error(&self, reason: &'static str) -> u64 {
        self.count_errors(reason, 1)
    }

    /// The same for several.
    pub(super) fn count_errors(&self, reason: &'static str, errors: u64) -> u64 {
        let mut all = self.errors.lock();
        let count = all.entry(reason).or_default();
        *count += errors;
        *count - errors
    }

    /// What pods had announced to each other at `place` before this one began; counts where nothing is known of the place.
    pub(super) fn begins(&self, place: &str, announced: &str) {
        self.announced.lock().entry(place.to_owned()).or_insert_with(|| announced.to_owned());
    }

    /// What pods announce to each other at `place`, as it is now: the reason of a gap where that is news. The first that is heard is
    /// none: it was announced before this pod had anybody to tell. An announcement ends with `:REASON`.
    pub(super) fn heard(&self, place: &str, announced: &str) -> Option<GapReason> {
        let before = self.announced.lock().insert(place.to_owned(), announced.to_owned());
        if before.is_none_or(|before| before == announced) {
            return None;
        }
        let word = announced.rsplit(':').next().unwrap_or_default();
        let known = GapReason::ALL.into_iter().find(|reason| reason.as_str() == word);
        // Whoever emptied the place lost more than that.
        Some(known.unwrap_or(GapReason::SourceReconnected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_news_once_and_not_at_first() {
        let status = SourceStatus::default();
        assert_eq!(status.heard("a", "1:source_overflow"), None);
        assert_eq!(status.heard("a", "1:source_overflow"), None);
        assert_eq!(status.heard("b", ""), None);
        assert_eq!(status.heard("a", "2:source_overflow"), Some(GapReason::SourceOverflow));
        assert_eq!(status.heard("b", "3:of another version"), Some(GapReason::SourceReconnected));
        assert_eq!(status.heard("a", ""), Some(GapReason::SourceReconnected));
        assert_eq!(status.heard("a", ""), None);
        status.begins("a", "4:source_overflow");
        assert_eq!(status.heard("a", ""), None, "what is known already counts");
        status.begins("c", "5:source_overflow");
        assert_eq!(status.heard("c", "6:source_takeover"), Some(GapReason::SourceTakeover));
    }
}
