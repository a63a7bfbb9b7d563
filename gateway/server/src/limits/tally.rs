//! How many connections each user, address or tenant has, at 16 bytes for each that has any: texts are kept as keyed hashes.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxBuildHasher;

/// So many locks share the keys, so that handshakes on several threads rarely meet at one.
const PARTS: usize = 16;

/// A part of a map. Two keys meet in one hash about once in 2^64, and nobody can make them: the hash has a key of this process.
pub(super) type Part<V> = HashMap<u64, V, FxBuildHasher>;

/// A map by hashed keys in parts with a lock each.
#[derive(Debug)]
pub(super) struct Parts<V> {
    hasher: RandomState,
    parts: [Mutex<V>; PARTS],
}

impl<V: Default> Default for Parts<V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), parts: Default::default() }
    }
}

impl<V> Parts<V> {
    pub(super) fn key(&self, of: &impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    /// The part where `key` is.
    pub(super) fn lock(&self, key: u64) -> MutexGuard<'_, V> {
        // Always within the parts.
        self.parts[(key >> 32) as usize % PARTS].lock()
    }

    /// The sum of `measure` over the parts, each as it is when it is asked.
    pub(super) fn sum(&self, measure: impl Fn(&V) -> usize) -> usize {
        self.parts.iter().map(|part| measure(&part.lock())).sum()
    }
}

/// Connections by whom they share.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Parts<Part<u32>>,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Counted {
    tally: Arc<Tally>,
    key: u64,
}

/// Nothing is counted, because there are as many as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are as many connections as there may be")]
pub struct AtLimit;

impl Tally {
    /// Nobody.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts a connection of `whom`.
    ///
    /// # Errors
    /// [`AtLimit`] where `most` are counted already.
    pub fn enter(self: &Arc<Self>, whom: &impl Hash, most: u32) -> Result<Counted, AtLimit> {
        let key = self.counts.key(whom);
        let mut counts = self.counts.lock(key);
        let held = counts.get(&key).copied().unwrap_or(0);
        if held >= most {
            return Err(AtLimit);
        }
        counts.insert(key, held + 1);
        Ok(Counted { tally: Arc::clone(self), key })
    }

    /// How many have a connection.
    pub fn count(&self) -> usize {
        self.counts.sum(Part::len)
    }
}

impl Counted {
    /// Tells apart whom connections belong to, within this process.
    pub(super) fn key(&self) -> u64 {
        self.key
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.tally.counts.lock(self.key);
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_has_a_limit_of_its_own_and_a_place_comes_back() {
        let tally = Tally::new();
        let first = tally.enter(&"a", 2).unwrap();
        let _second = tally.enter(&"a", 2).unwrap();
        assert_eq!(tally.enter(&"a", 2).unwrap_err(), AtLimit);
        let _other = tally.enter(&"b", 2).unwrap();
        assert_eq!(tally.count(), 2);
        drop(first);
        assert!(tally.enter(&"a", 2).is_ok());
    }

    #[test]
    fn the_count_is_exact_when_many_come_at_once_and_nothing_is_left_behind() {
        let tally = Tally::new();
        let barrier = std::sync::Barrier::new(8);
        for _ in 0..50 {
            let held: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            let held: Vec<_> = (0..5).filter_map(|_| tally.enter(&1, 17).ok()).collect();
                            barrier.wait();
                            held.len()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(held, 17);
            assert_eq!(tally.count(), 0);
        }
    }
}
