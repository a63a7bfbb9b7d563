//! Whom a publication has reached whose channels get it at different times: a connection hears it once all the same.

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

#[derive(Debug)]
struct List {
    /// Deliveries of the publication that have not ended.
    parts: usize,
    /// Slots and generations.
    reached: HashSet<(u32, u32)>,
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
        let at = self.lists.insert(List { parts, reached: HashSet::new() });
        ToldIx(NonZeroU32::MIN.saturating_add(at as u32))
    }

    /// Notes that a part reaches the connection; false when another did before.
    pub(crate) fn reach(&mut self, at: ToldIx, slot: u32, generation: u32) -> bool {
        let list = &mut self.lists[at.at()];
        if list.parts == 1 {
            // Nobody comes after the last part to ask.
            return !list.reached.contains(&(slot, generation));
        }
        let first = list.reached.insert((slot, generation));
        self.entries += usize::from(first);
        first
    }

    /// A part has ended, or has been dropped.
    pub(crate) fn end(&mut self, at: ToldIx) {
        let list = &mut self.lists[at.at()];
        list.parts -= 1;
        if list.parts == 0 {
            self.entries -= list.reached.len();
            self.lists.remove(at.at());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.entries == 0
    }
}
