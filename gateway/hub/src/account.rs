//! The pod's outbound memory: what all shards hold for sockets that take nothing, against what they may.
//!
//! A frame is counted once while any outbox of any shard holds it; what a connection has for itself (bytes that a socket has the
//! beginning of, a ping, the places of its queue) is counted beside it. Only blocked sockets touch this.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Shedding begins this part of the budget below it, so that what comes between two looks still fits.
const HEADROOM: u64 = 16;

/// What a shard tells the others, on a cache line of its own: it is told for every frame that a blocked socket keeps waiting.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Notice {
    /// The most that one of its connections held when it last grew: never less than the truth.
    largest: AtomicU64,
    /// It was asked to shed and has not looked yet.
    asked: AtomicBool,
}

/// What is held, apart from what is only read.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Sums {
    frames: AtomicU64,
    places: AtomicU64,
    peak: AtomicU64,
}

/// One account for all shards of a pod.
#[derive(Debug)]
pub struct Account {
    held: Sums,
    budget: AtomicU64,
    shards: Box<[Notice]>,
}

impl Account {
    /// An account for so many shards that may hold `budget` bytes together; `None` = any number.
    pub fn new(shards: usize, budget: Option<u64>) -> Self {
        let shards = (0..shards.max(1)).map(|_| Notice::default()).collect();
        Self { held: Sums::default(), budget: AtomicU64::new(budget.unwrap_or(u64::MAX)), shards }
    }

    /// Bytes that are held now.
    pub fn used(&self) -> u64 {
        self.frame_bytes() + self.held.places.load(Relaxed)
    }

    /// The part of it that is going to be written: frames, each once, and what else waits for single sockets.
    pub fn frame_bytes(&self) -> u64 {
        self.held.frames.load(Relaxed)
    }

    /// The most that was ever held.
    pub fn peak(&self) -> u64 {
        self.held.peak.load(Relaxed)
    }

    /// The most that may be held; `None` = any number.
    pub fn budget(&self) -> Option<u64> {
        Some(self.budget.load(Relaxed)).filter(|budget| *budget != u64::MAX)
    }

    /// Another budget; what is above it goes when its shard next grows.
    pub fn set_budget(&self, budget: Option<u64>) {
        self.budget.store(budget.unwrap_or(u64::MAX), Relaxed);
    }

    /// Where shedding begins, and how far it goes.
    pub(crate) fn marks(&self) -> (u64, u64) {
        let budget = self.budget.load(Relaxed);
        (budget - budget / HEADROOM, budget - budget / (HEADROOM / 2))
    }

    /// More or fewer bytes of frames.
    pub(crate) fn frames(&self, before: usize, after: usize) {
        self.change(&self.held.frames, before, after);
    }

    /// More or fewer bytes of queues.
    pub(crate) fn places(&self, before: usize, after: usize) {
        self.change(&self.held.places, before, after);
    }

    fn change(&self, of: &AtomicU64, before: usize, after: usize) {
        if after > before {
            of.fetch_add((after - before) as u64, Relaxed);
            let used = self.used();
            // Mostly it is not: then nothing is written.
            if used > self.peak() {
                self.held.peak.fetch_max(used, Relaxed);
            }
        } else if after < before {
            of.fetch_sub((before - after) as u64, Relaxed);
        }
    }

    /// Tells the others what `shard`'s largest connection holds.
    pub(crate) fn tell_largest(&self, shard: u16, bytes: usize) {
        if let Some(notice) = self.shards.get(usize::from(shard))
            && notice.largest.load(Relaxed) != bytes as u64
        {
            notice.largest.store(bytes as u64, Relaxed);
        }
    }

    /// The shard besides `shard` whose largest connection holds more than `bytes`, the one with the most.
    pub(crate) fn larger_elsewhere(&self, shard: u16, bytes: usize) -> Option<u16> {
        let largest = |index: &u16| self.shards[usize::from(*index)].largest.load(Relaxed);
        let others = (0..self.shards.len() as u16).filter(|index| *index != shard);
        others.max_by_key(largest).filter(|index| largest(index) > bytes as u64)
    }

    /// Notes that `shard` is asked to shed; true unless it was already.
    pub(crate) fn ask(&self, shard: u16) -> bool {
        self.shards.get(usize::from(shard)).is_some_and(|notice| !notice.asked.swap(true, Relaxed))
    }

    /// `shard` looks.
    pub(crate) fn heed(&self, shard: u16) {
        if let Some(notice) = self.shards.get(usize::from(shard)) {
            notice.asked.store(false, Relaxed);
        }
    }
}
