//! The end of one channel's history, as it was read and as it went on since.

use std::sync::Arc;

use rtgw_hub::Replay;
use rtgw_model::{Outgoing, Position, Publication, Recover};
use tokio::time::Instant;

/// So many that came since are joined to what was read.
const MORE: usize = 64;
/// What a publication costs besides its data.
const OVERHEAD: usize = 512;

/// What is asked of a history, and how new the answer has to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) wanted: Wanted,
    /// The answer goes at least so far.
    pub(super) walked: Option<Position>,
    /// When it was asked.
    pub(super) at: Instant,
    /// What the pod heard since an earlier read is as good as reading again.
    pub(super) heard: bool,
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Where the channel stands.
    Place,
    /// What a subscriber missed.
    Missed(Recover),
    /// The newest, as many as anybody is given.
    Newest,
}

impl Asked {
    /// Behind which place.
    pub(super) fn since(&self) -> Option<Position> {
        match self.wanted {
            Wanted::Missed(recover) => recover.since,
            Wanted::Place | Wanted::Newest => None,
        }
    }
}

/// Everything of a channel behind an offset; of current values, all unless they are [`Tail::partial`].
#[derive(Debug)]
pub(super) struct Tail {
    /// What was read, shared with those who are given it.
    base: Arc<[Arc<Outgoing>]>,
    /// What came since.
    more: Vec<Arc<Outgoing>>,
    /// It begins behind this offset.
    from: u64,
    /// Nothing before it is kept, or given.
    exhausted: bool,
    top: Position,
    /// Tells current values apart, besides their event; `None`: every publication counts.
    tags: Option<Box<[Box<str>]>>,
    /// There are older values than those that were read.
    partial: bool,
    bytes: usize,
}

fn weight(outgoing: &Outgoing) -> usize {
    outgoing.publication().data.len() + OVERHEAD
}

impl Tail {
    /// What was read, in its order: everything behind `from`. Where that is `exhausted` nobody is given more.
    pub(super) fn new(
        publications: Vec<Arc<Outgoing>>,
        (from, exhausted): (u64, bool),
        top: Position,
        tags: Option<Box<[Box<str>]>>,
    ) -> Self {
        let bytes = publications.iter().map(|outgoing| weight(outgoing)).sum();
        let (base, more) = (publications.into(), Vec::new());
        Self { base, more, from, exhausted, top, tags, partial: false, bytes }
    }

    /// The same, of values that are not all: enough for who wants the newest, and for nobody who wants what is current.
    pub(super) fn partial(self, partial: bool) -> Self {
        Self { partial, ..self }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Goes on with a publication whose place is `position`; false where it does not follow.
    pub(super) fn push(&mut self, outgoing: &Arc<Outgoing>, position: Position) -> bool {
        if position.epoch == self.top.epoch && position.offset <= self.top.offset {
            // It was read already.
            return true;
        }
        if !self.top.is_followed_by(position) {
            return false;
        }
        self.top = position;
        self.bytes += weight(outgoing);
        self.more.push(Arc::clone(outgoing));
        if self.more.len() >= MORE {
            self.fold();
        }
        true
    }

    /// Whether what is asked lies before what was read, and is kept.
    pub(super) fn is_too_short_for(&self, asked: &Asked) -> bool {
        let behind = |since: Position| since.epoch == self.top.epoch && since.offset < self.from;
        let reaches_back = asked.wanted == Wanted::Newest || asked.since().is_some_and(behind);
        self.tags.is_none() && reaches_back && !self.exhausted
    }

    /// What is asked; `None` where this does not tell.
    pub(super) fn serve(&mut self, asked: &Asked) -> Option<Replay> {
        let top = self.top;
        if asked.walked.is_some_and(|walked| walked.epoch != top.epoch || walked.offset > top.offset) {
            return None;
        }
        let nothing = |reaches| Some(Replay { base: [].into(), skip: 0, more: Box::default(), top, reaches });
        if asked.wanted == Wanted::Place {
            return nothing(true);
        }
        if self.tags.is_some() {
            if self.partial && asked.wanted != Wanted::Newest {
                return nothing(false);
            }
            if !self.more.is_empty() {
                self.fold();
            }
            let base = Arc::clone(&self.base);
            return Some(Replay { base, skip: 0, more: Box::default(), top, reaches: true });
        }
        if self.is_too_short_for(asked) {
            return None;
        }
        if asked.wanted == Wanted::Newest {
            let (base, more) = (Arc::clone(&self.base), self.more.as_slice().into());
            return Some(Replay { base, skip: 0, more, top, reaches: true });
        }
        let Some(since) = asked.since().filter(|since| since.epoch == top.epoch) else {
            return nothing(false);
        };
        if since.offset > top.offset {
            return None;
        }
        if since.offset < self.from {
            return nothing(false);
        }
        let skip = usize::try_from(since.offset - self.from).unwrap_or(usize::MAX);
        let known = skip.saturating_sub(self.base.len());
        let more = self.more.get(known..).unwrap_or_default().into();
        Some(Replay { base: Arc::clone(&self.base), skip, more, top, reaches: true })
    }

    /// Joins what came since to what was read; of current values each is there once.
    fn fold(&mut self) {
        let more = self.more.drain(..);
        let mut all: Vec<Arc<Outgoing>> = self.base.iter().cloned().chain(more).collect();
        if let Some(tags) = &self.tags {
            let mut seen = std::collections::HashSet::new();
            let newest = all.iter().rev().filter(|one| seen.insert(key(one.publication(), tags)));
            let mut current: Vec<Arc<Outgoing>> = newest.cloned().collect();
            current.reverse();
            all = current;
            self.bytes = all.iter().map(|outgoing| weight(outgoing)).sum();
        }
        self.base = all.into();
    }
}

/// The event and the tags that tell values apart.
fn key<'p>(publication: &'p Publication, tags: &[Box<str>]) -> (&'p str, Vec<Option<&'p str>>) {
    (&publication.event, tags.iter().map(|tag| publication.tag(tag)).collect())
}
