//! At most one publication per key and interval: the keys of one channel.
//!
//! The first publication of a key goes at once and begins an interval. What comes within it is held, the newer replacing the older; when
//! the interval ends, what is held goes and begins the next one. A key that held nothing is forgotten, so a silent channel costs nothing.
//! All keys of a channel have the same interval: the order of their beginnings is the order of their ends, and no timer is needed per key.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rtgw_model::{Millis, Outgoing, Publication};
use slab::Slab;

use crate::told::ToldIx;

/// Most keys of a channel. They come from what publishers write, so their number is not ours to trust.
pub(crate) const KEYS: usize = 1_024;
/// So many of the oldest keys are looked at for one to forget.
const OLDEST: usize = 64;

/// A publication that waits for its interval to end.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) outgoing: Arc<Outgoing>,
    /// The channel's index in the publication's list.
    pub(crate) shown: u16,
    /// Whom the publication has reached by another of its channels.
    pub(crate) told: Option<ToldIx>,
}

/// Index of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyIx(usize);

/// What the throttle says of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It goes at once.
    Now,
    /// It is within the interval of this key.
    Within(KeyIx),
}

#[derive(Debug)]
struct Key {
    name: Arc<[u8]>,
    ends: Millis,
    held: Option<Held>,
}

/// The keys of one channel that are within an interval.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    keys: Slab<Key>,
    // The names are chosen by publishers, so the hash is seeded per process.
    by_name: HashMap<Arc<[u8]>, usize>,
    /// Every key once, the first to end first.
    order: VecDeque<usize>,
}

/// Writes the key of a publication: equal for equal events and values of `tags`, and for no others.
pub(crate) fn name(tags: &[Box<str>], publication: &Publication, name: &mut Vec<u8>) {
    name.clear();
    let mut part = |text: Option<&str>| match text {
        None => name.push(u8::MAX),
        Some(text) => {
            // At most 128 bytes, so lengths and the mark of an absent tag are different bytes.
            name.push(u8::try_from(text.len()).unwrap_or(u8::MAX - 1));
            name.extend_from_slice(text.as_bytes());
        }
    };
    part(Some(&publication.event));
    for tag in tags {
        part(publication.tag(tag));
    }
}

impl Keys {
    /// Asks for a publication with the key `name`. [`Keys::expire`] has been called for `now`. `Now` begins the key's interval,
    /// unless all keys hold something: then it passes without one.
    pub(crate) fn ask(&mut self, name: &[u8], now: Millis, interval: u64) -> Turn {
        if let Some(&at) = self.by_name.get(name) {
            return Turn::Within(KeyIx(at));
        }
        if self.keys.len() < KEYS || self.forget_oldest() {
            let name: Arc<[u8]> = name.into();
            let at = self.keys.insert(Key { name: name.clone(), ends: now.plus(interval), held: None });
            self.by_name.insert(name, at);
            self.order.push_back(at);
        }
        Turn::Now
    }

    /// Forgets the oldest key that holds nothing: if it speaks again, it is heard at once.
    fn forget_oldest(&mut self) -> bool {
        let idle = |at: &usize| self.keys[*at].held.is_none();
        let Some(place) = self.order.iter().take(OLDEST).position(idle) else { return false };
        if let Some(at) = self.order.remove(place) {
            self.remove(at);
        }
        true
    }

    fn remove(&mut self, at: usize) {
        let key = self.keys.remove(at);
        self.by_name.remove(&key.name);
    }

    /// Holds a publication until the key's interval ends; returns the one it replaces.
    pub(crate) fn hold(&mut self, key: KeyIx, held: Held) -> Option<Held> {
        self.keys[key.0].held.replace(held)
    }

    /// Takes what a key holds.
    pub(crate) fn take(&mut self, key: KeyIx) -> Option<Held> {
        self.keys[key.0].held.take()
    }

    /// When the next interval ends.
    pub(crate) fn next_end(&self) -> Option<Millis> {
        self.order.front().map(|at| self.keys[*at].ends)
    }

    /// Takes the next publication whose interval has ended at `now`; another one begins for it. Keys that hold nothing go.
    pub(crate) fn expire(&mut self, now: Millis, interval: u64) -> Option<Held> {
        while self.next_end().is_some_and(|end| end <= now) {
            let at = self.order.pop_front()?;
            let key = &mut self.keys[at];
            if let Some(held) = key.held.take() {
                key.ends = now.plus(interval);
                self.order.push_back(at);
                return Some(held);
            }
            self.remove(at);
        }
        None
    }

    /// Takes all that is held, before its time; intervals begin anew for these keys.
    pub(crate) fn release(&mut self, now: Millis, interval: u64) -> Vec<Held> {
        let mut released = Vec::new();
        for _ in 0..self.order.len() {
            let Some(at) = self.order.pop_front() else { break };
            let Some(held) = self.keys[at].held.take() else {
                self.order.push_back(at);
                continue;
            };
            self.keys[at].ends = now.plus(interval);
            released.push((at, held));
        }
        // Behind all others: nobody's interval ends later than one that begins now.
        self.order.extend(released.iter().map(|(at, _)| *at));
        released.into_iter().map(|(_, held)| held).collect()
    }
}
