//! Counts of opening handshakes, by endpoint and result.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rtgw_model::EndpointIx;

type Results = BTreeMap<&'static str, u64>;

/// Handshakes since the start. Results are `accepted` or the code of a refusal, so their number is fixed by the program.
#[derive(Debug)]
pub struct Handshakes {
    /// By the endpoint's number; grows with reloads.
    by_endpoint: Mutex<Vec<Results>>,
    pending: AtomicU64,
}

/// A connection that is not upgraded yet, counted until it is dropped.
#[derive(Debug)]
pub struct Pending<'a>(&'a AtomicU64);

impl Handshakes {
    /// Zeros for so many endpoints.
    pub fn new(endpoints: usize) -> Self {
        Self { by_endpoint: Mutex::new(vec![Results::new(); endpoints]), pending: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn count(&self, endpoint: EndpointIx, result: &'static str) {
        let at = usize::from(endpoint.0);
        let mut by_endpoint = self.by_endpoint.lock();
        if at >= by_endpoint.len() {
            by_endpoint.resize_with(at + 1, Results::new);
        }
        *by_endpoint[at].entry(result).or_default() += 1;
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

    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_endpoint.lock().iter().flat_map(Results::values).sum()
    }

    /// The counts, by the endpoint's number.
    pub fn counts(&self) -> Vec<BTreeMap<&'static str, u64>> {
        self.by_endpoint.lock().clone()
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
