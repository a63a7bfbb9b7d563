//! Encoded bytes that any number of outboxes share, of any shard.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

/// A complete frame with a count of who holds it for later: memory that is shared is to be counted once.
#[derive(Debug)]
pub struct Encoded {
    bytes: Bytes,
    holders: AtomicU32,
}

impl Encoded {
    /// Held by nobody yet.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, holders: AtomicU32::new(0) }
    }

    /// The frame.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// One more holds it; true for the first.
    pub fn hold(&self) -> bool {
        self.holders.fetch_add(1, Ordering::AcqRel) == 0
    }

    /// One holds it no more; true for the last. Once for every [`Encoded::hold`].
    pub fn release(&self) -> bool {
        self.holders.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
