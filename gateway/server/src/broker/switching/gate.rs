//! Between a Redis and those who are given what it delivers: passes on, holds back until it is its turn, or lets nothing through.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Position, Publication};
use tokio::sync::Notify;

use super::super::{BrokerSink, Generation};

/// Most bytes of publications that are held back; beyond, everybody is told a gap instead.
const BYTES: usize = 32 << 20;
/// What one costs besides its data.
const OVERHEAD: usize = 256;

const HOLDS: u8 = 0;
const PASSES: u8 = 1;
const SHUT: u8 = 2;

/// A gate in front of the sink.
pub(super) struct Gate {
    mode: AtomicU8,
    sink: Arc<dyn BrokerSink>,
    /// Told when something waits that means something.
    hint: Arc<Notify>,
    held: Mutex<Held>,
    /// Channels are late: see [`Held::late`].
    some_late: AtomicBool,
}

#[derive(Default)]
struct Held {
    items: VecDeque<Item>,
    publications: usize,
    bytes: usize,
    overflow: bool,
    /// What this Redis carries, and since which mark.
    carried: HashMap<ChannelName, Carried>,
    /// Promised by the other Redis, and not yet carried by this one when its turn came.
    late: HashSet<ChannelName>,
    mark: u64,
    /// Nothing was missed up to this mark.
    vouched: u64,
}

struct Carried {
    generation: Generation,
    position: Option<Position>,
    mark: u64,
}

enum Item {
    Publication(Publication),
    Gap(GapScope, GapReason, u64),
}

impl Gate {
    /// A gate that passes everything on to `sink`, or holds it back.
    pub(super) fn new(sink: Arc<dyn BrokerSink>, hint: Arc<Notify>, passes: bool) -> Arc<Self> {
        let mode = AtomicU8::new(if passes { PASSES } else { HOLDS });
        Arc::new(Self { mode, sink, hint, held: Mutex::default(), some_late: AtomicBool::new(false) })
    }

    /// Lets nothing through any more.
    pub(super) fn shut(&self) {
        self.mode.store(SHUT, Ordering::Release);
        *self.held.lock() = Held::default();
    }

    /// Whether publications wait.
    pub(super) fn holds_some(&self) -> bool {
        let held = self.held.lock();
        held.publications > 0 || held.overflow
    }

    /// The moment, for [`Gate::vouch`].
    pub(super) fn mark(&self) -> u64 {
        self.held.lock().mark
    }

    /// Whether something happened that [`Gate::vouch`] could be asked about.
    pub(super) fn is_unvouched(&self) -> bool {
        let held = self.held.lock();
        held.vouched < held.mark
    }

    /// Nobody had published here when `mark` was taken: what was carried by then has missed nothing.
    pub(super) fn vouch(&self, mark: u64) {
        let mut held = self.held.lock();
        held.vouched = held.vouched.max(mark);
        while matches!(held.items.front(), Some(Item::Gap(.., at)) if *at <= mark) {
            held.items.pop_front();
        }
    }

    /// The channel is not wanted any more.
    pub(super) fn forget(&self, channel: &ChannelName) {
        if self.mode.load(Ordering::Acquire) == HOLDS || self.some_late.load(Ordering::Acquire) {
            let mut held = self.held.lock();
            held.carried.remove(channel);
            held.late.remove(channel);
        }
    }

    /// Passes on from now on. First what was missed is told of the channels that were wanted all the while: `unanswered` of them had not
    /// been promised to anybody, and of those that are `told` everybody has just heard of a gap. Then comes what was held back.
    pub(super) fn open(
        &self,
        wanted: Vec<ChannelName>,
        unanswered: &HashSet<ChannelName>,
        told: impl Fn(&ChannelName) -> bool,
    ) {
        let mut held = self.held.lock();
        let mut missed = Vec::new();
        let mut ready = Vec::new();
        for channel in wanted {
            match held.carried.remove(&channel) {
                Some(carried) if unanswered.contains(&channel) => ready.push((channel, carried)),
                Some(carried) if carried.mark > held.vouched && !told(&channel) => missed.push(channel),
                Some(_) => {}
                None if unanswered.contains(&channel) => {}
                None => drop(held.late.insert(channel)),
            }
        }
        if held.overflow {
            self.sink.gap(GapScope::All, GapReason::Missed);
        } else {
            super::tell(&*self.sink, &missed, GapReason::Missed);
        }
        for (channel, carried) in ready {
            self.sink.ready(channel, carried.generation, carried.position);
        }
        for item in std::mem::take(&mut held.items) {
            match item {
                Item::Publication(publication) => self.sink.publication(publication),
                Item::Gap(scope, reason, _) => self.sink.gap(scope, reason),
            }
        }
        let late = std::mem::take(&mut held.late);
        self.some_late.store(!late.is_empty(), Ordering::Release);
        *held = Held { late, ..Held::default() };
        self.mode.store(PASSES, Ordering::Release);
    }

    /// Holds `keep` back; where it is to be passed on instead, gives it back.
    fn hold<T>(&self, item: T, keep: impl FnOnce(&mut Held, T)) -> Option<T> {
        match self.mode.load(Ordering::Acquire) {
            PASSES => return Some(item),
            SHUT => return None,
            _ => {}
        }
        let mut held = self.held.lock();
        match self.mode.load(Ordering::Acquire) {
            PASSES => Some(item),
            SHUT => None,
            _ => {
                keep(&mut held, item);
                drop(held);
                self.hint.notify_one();
                None
            }
        }
    }

    /// Whether the channel was promised while nobody listened here.
    fn was_late(&self, channel: &ChannelName) -> bool {
        if !self.some_late.load(Ordering::Acquire) {
            return false;
        }
        let mut held = self.held.lock();
        let was = held.late.remove(channel);
        self.some_late.store(!held.late.is_empty(), Ordering::Release);
        was
    }
}

impl Held {
    fn push(&mut self, publication: Publication) {
        let bytes = OVERHEAD + publication.data.len();
        if self.overflow || self.bytes + bytes > BYTES {
            self.items.clear();
            self.overflow = true;
            return;
        }
        self.bytes += bytes;
        self.publications += 1;
        self.items.push_back(Item::Publication(publication));
    }
}

impl BrokerSink for Gate {
    fn publication(&self, publication: Publication) {
        if let Some(publication) = self.hold(publication, Held::push) {
            self.sink.publication(publication);
        }
    }

    fn publications(&self, publications: Vec<Publication>) {
        let all = |held: &mut Held, all: Vec<Publication>| all.into_iter().for_each(|one| held.push(one));
        if let Some(publications) = self.hold(publications, all) {
            self.sink.publications(publications);
        }
    }

    fn ready(&self, channel: ChannelName, generation: Generation, position: Option<Position>) {
        let carry = |held: &mut Held, (channel, generation, position)| {
            held.mark += 1;
            let mark = held.mark;
            held.carried.insert(channel, Carried { generation, position, mark });
        };
        if let Some((channel, generation, position)) = self.hold((channel, generation, position), carry) {
            if self.was_late(&channel) {
                super::tell(&*self.sink, std::slice::from_ref(&channel), GapReason::Missed);
            }
            self.sink.ready(channel, generation, position);
        }
    }

    fn gap(&self, scope: GapScope, reason: GapReason) {
        let keep = |held: &mut Held, (scope, reason)| {
            held.mark += 1;
            let mark = held.mark;
            held.items.push_back(Item::Gap(scope, reason, mark));
        };
        if let Some((scope, reason)) = self.hold((scope, reason), keep) {
            self.sink.gap(scope, reason);
        }
    }
}
