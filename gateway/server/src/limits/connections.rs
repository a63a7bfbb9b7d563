//! Places for connections: how many this pod holds, and on which I/O shard the next one goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The pod's places.
#[derive(Debug)]
pub struct Connections {
    capacity: AtomicU32,
    held: AtomicU32,
    by_shard: Box<[AtomicU32]>,
}

/// One held place; its drop gives it back.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    shard: u16,
}

impl Connections {
    /// `capacity` places over `shards` shards (at least one).
    pub fn new(capacity: u32, shards: u16) -> Arc<Self> {
        let by_shard = (0..shards.max(1)).map(|_| AtomicU32::new(0)).collect();
        let capacity = AtomicU32::new(capacity);
        Arc::new(Self { capacity, held: AtomicU32::new(0), by_shard })
    }

    /// Has so many places from now on; who holds one beyond them keeps it.
    pub fn resize(&self, capacity: u32) {
        self.capacity.store(capacity, Ordering::Relaxed);
    }

    /// Takes a place on the shard that holds fewest; `None` when all are taken, or `most`.
    pub fn take(self: &Arc<Self>, most: Option<u32>) -> Option<Place> {
        let most = most.unwrap_or(u32::MAX).min(self.capacity());
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| (held < most).then_some(held + 1))
            .ok()?;
        // Two takers may choose the same shard at once; the next ones even that out.
        let counts = self.by_shard.iter().zip(0_u16..);
        let (count, shard) = counts.min_by_key(|(count, _)| count.load(Ordering::Relaxed))?;
        count.fetch_add(1, Ordering::Relaxed);
        Some(Place { connections: Arc::clone(self), shard })
    }

    /// Whether [`Connections::take`] would find none at the moment, however many others may be.
    pub fn is_full(&self) -> bool {
        self.held() >= self.capacity()
    }

    /// `count` split over the shards as their places in use are.
    pub fn shares(&self, count: u32) -> Vec<u32> {
        let held: Vec<u64> =
            self.by_shard.iter().map(|held| u64::from(held.load(Ordering::Relaxed))).collect();
        let all = held.iter().sum::<u64>().max(1);
        // Cumulative, so that nothing is lost to rounding.
        let upto = |held: u64| u32::try_from(u64::from(count) * held / all).unwrap_or(u32::MAX);
        let shares = held.iter().scan(0, |before, held| {
            let from = *before;
            *before += held;
            Some(upto(*before) - upto(from))
        });
        shares.collect()
    }

    /// Places in use.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }

    /// All places.
    pub fn capacity(&self) -> u32 {
        self.capacity.load(Ordering::Relaxed)
    }
}

impl Place {
    /// Index of the shard that the connection goes to.
    pub fn shard(&self) -> u16 {
        self.shard
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(count) = self.connections.by_shard.get(usize::from(self.shard)) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        self.connections.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_run_out_and_come_back() {
        let connections = Connections::new(2, 1);
        let first = connections.take(None).unwrap();
        assert!(!connections.is_full());
        let _second = connections.take(None).unwrap();
        assert!(connections.is_full() && connections.take(None).is_none());
        connections.resize(1);
        drop(first);
        assert_eq!(connections.held(), 1);
        assert!(connections.is_full() && connections.take(None).is_none(), "one place is no more");
        connections.resize(2);
        assert!(connections.take(Some(1)).is_none(), "all pods together may hold fewer");
        assert!(connections.take(Some(2)).is_some());
    }

    #[test]
    fn shares_add_up() {
        let connections = Connections::new(100, 3);
        assert_eq!(connections.shares(5), [0, 0, 0]);
        let mut places: Vec<Place> = (0..30).map(|_| connections.take(None).unwrap()).collect();
        assert_eq!(connections.shares(20).iter().sum::<u32>(), 20);
        places.retain(|place| place.shard() == 2);
        assert_eq!(connections.shares(7), [0, 0, 7]);
    }

    #[test]
    fn the_emptiest_shard_is_next() {
        let connections = Connections::new(100, 3);
        let mut places: Vec<Place> = (0..6).map(|_| connections.take(None).unwrap()).collect();
        let mut shards: Vec<u16> = places.iter().map(Place::shard).collect();
        shards.sort_unstable();
        assert_eq!(shards, [0, 0, 1, 1, 2, 2]);
        places.retain(|place| place.shard() != 1);
        assert_eq!(connections.take(None).unwrap().shard(), 1);
    }
}
