//! Counts of opening handshakes, by endpoint and result.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Handshakes since the start. Results are `accepted` or the code of a refusal, so their number is fixed by the program.
#[derive(Debug)]
pub struct Handshakes {
    by_endpoint: Box<[Mutex<BTreeMap<&'static str, u64>>]>,
    pending: AtomicU64,
}

/// A connection that is not upgraded yet, counted until it is dropped.
#[derive(Debug)]
pub struct Pending<'a>(&'a AtomicU64);

impl Handshakes {
    /// Zeros for so many endpoints.
    pub fn new(endpoints: usize) -> Self {
        Self { by_endpoint: (0..endpoints).map(|_| Mutex::default()).collect(), pending: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn count(&self, endpoint: usize, result: &'static str) {
        if let Some(results) = self.by_endpoint.get(endpoint) {
            *results.lock().entry(result).or_default() += 1;
        }
    }

    /// Counts a connection as not upgraded while the answer lives.
    pub fn begin(&self) -> Pending<'_> {
        self.pending.fetch_add(1, Ordering::Relaxed);
        Pending(&self.pending)
    }

    /// Connections that are not upgraded yet.
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    /// The counts, by endpoint.
    pub fn counts(&self) -> Vec<BTreeMap<&'static str, u64>> {
        self.by_endpoint.iter().map(|results| results.lock().clone()).collect()
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
