//! How a source is doing, for readiness and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

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
        let mut errors = self.errors.lock();
        let count = errors.entry(reason).or_default();
        *count += 1;
        *count - 1
    }
}
