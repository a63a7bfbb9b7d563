//! Whom a publication has reached whose channels get it at different times: a connection hears it once all the same.
//!
//! Two things part the times: a throttle, for all members of a channel, and the wait for a past, for one of them. What waits for a past
//! is nobody's yet: another channel of the connection may bring it first, and still brings it where the wait ends with the subscription.

use std::collections::HashSet;
use std::num::NonZeroU32;

use slab::Slab;

/// Most entries of a shard's lists. At the bound publications wait no more instead of being told twice.
const ENTRIES: usize = 1 << 20;

/// Index of a list, from 1 on, so that every fan-out can say cheaply that it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToldIx(NonZeroU32);

impl ToldIx {
    fn at(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A slot and its generation.
type Who = (u32, u32);

#[derive(Debug)]
struct List {
    /// Deliveries of the publication that have not ended.
    parts: usize,
    reached: HashSet<Who>,
    /// Whom alone it is kept for; `None` = everybody.
    waiting: Option<HashSet<Who>>,
}

impl List {
    fn entries(&self) -> usize {
        self.reached.len() + self.waiting.as_ref().map_or(0, HashSet::len)
    }
}

/// The lists of a shard; each exists as long as a part of its publication waits.
#[derive(Debug, Default)]
pub(crate) struct Told {
    lists: Slab<List>,
    entries: usize,
}

impl Told {
    pub(crate) fn is_full(&self) -> bool {
        self.entries >= ENTRIES
    }

    /// A list for a publication that is delivered in `parts` parts.
    pub(crate) fn open(&mut self, parts: usize) -> ToldIx {
        self.insert(List { parts, reached: HashSet::new(), waiting: None })
    }

    fn insert(&mut self, list: List) -> ToldIx {
        let at = self.lists.insert(list);
        ToldIx(NonZeroU32::MIN.saturating_add(at as u32))
    }

    /// Makes what waits for one connection a part of its own, to be ended like the others. Where the publication has no list yet, one
    /// is opened, for the part that is under way and this one.
    pub(crate) fn wait(&mut self, part: &mut Option<ToldIx>, slot: u32, generation: u32) -> ToldIx {
        let at = *part.get_or_insert_with(|| {
            self.insert(List { parts: 1, reached: HashSet::new(), waiting: Some(HashSet::new()) })
        });
        let list = &mut self.lists[at.at()];
        list.parts += 1;
        if let Some(waiting) = &mut list.waiting {
            self.entries += usize::from(waiting.insert((slot, generation)));
        }
        at
    }

    /// Whether a part has reached the connection.
    pub(crate) fn has_reached(&self, at: ToldIx, slot: u32, generation: u32) -> bool {
        self.lists[at.at()].reached.contains(&(slot, generation))
    }

    /// Notes that a part reaches the connection; false when another did before.
    pub(crate) fn reach(&mut self, at: ToldIx, slot: u32, generation: u32) -> bool {
        let (list, who) = (&mut self.lists[at.at()], (slot, generation));
        // Nobody comes after the last part to ask.
        let asked = list.parts > 1 && list.waiting.as_ref().is_none_or(|waiting| waiting.contains(&who));
        if !asked {
            return !list.reached.contains(&who);
        }
        let first = list.reached.insert(who);
        self.entries += usize::from(first);
        first
    }

    /// A part has ended, or has been dropped.
    pub(crate) fn end(&mut self, at: ToldIx) {
        let list = &mut self.lists[at.at()];
        list.parts -= 1;
        if list.parts == 0 {
            self.entries -= list.entries();
            self.lists.remove(at.at());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.entries == 0
    }
}
