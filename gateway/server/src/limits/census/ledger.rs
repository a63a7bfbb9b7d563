//! Who holds connections in this pod, and the steps that Redis has not been told of. Pure: the keeper sends what is here and says how it
//! went.
//!
//! The ledger is the truth about this pod; Redis has a copy. While both agree ([`Ledger::agrees`]) the steps between them wait in a
//! queue, and one batch at a time is on its way. Whatever goes wrong with a batch, nobody can know how much of it was done: then the copy
//! is not trusted, and is written anew as a whole.

use std::collections::{HashMap, VecDeque};

use rtgw_model::ConnectionId;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use super::subject::Subject;

/// Most steps of a batch: they keep Redis busy for a few milliseconds at most.
pub(super) const BATCH: usize = 64;

/// So many numbers are remembered that gave way before their batch came back; there are never more than batches have steps.
const EARLY: usize = 1024;

/// Those whom one connection counts for.
pub(super) type Subjects = SmallVec<[Subject; 4]>;

/// A bound that a connection has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Whose connections.
    pub subject: Subject,
    /// How many there may be, at least one.
    pub most: u32,
    /// Whether the oldest gives way to one more, instead of refusing it. Only users have an oldest.
    pub oldest_gives_way: bool,
}

/// A step that Redis has to hear of.
#[derive(Debug)]
pub(super) enum Step<W> {
    /// Somebody wants in and waits for the answer.
    Enter(SmallVec<[Bound; 4]>, W),
    /// Somebody was let in by this pod's own counts.
    Entered(Subjects, u64),
    /// Somebody left.
    Left(Subjects, u64),
}

/// What came of a [`Step::Enter`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Let in, as number `stamp` of its pod; these give way to it.
    In { stamp: u64, giving_way: Vec<GivingWay> },
    /// Not let in because of the bound at this place.
    Refused(usize),
}

/// A connection that has to end because a newer one took its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivingWay {
    /// The pod that holds it.
    pub pod: String,
    /// Whose it is.
    pub subject: Subject,
    /// Its number in its pod.
    pub stamp: u64,
}

#[derive(Debug)]
struct Seat {
    stamp: u64,
    connection: Option<ConnectionId>,
    /// It has given way: it is counted no more and ends as soon as there is something to close.
    gone: bool,
}

#[derive(Debug)]
pub(super) struct Ledger<W> {
    counts: HashMap<Subject, u32, FxBuildHasher>,
    rows: HashMap<Subject, SmallVec<[Seat; 1]>, FxBuildHasher>,
    last: u64,
    /// Numbers that have given way before their batch came back.
    early: VecDeque<(Subject, u64)>,
    steps: VecDeque<Step<W>>,
    agrees: bool,
}

impl<W> Default for Ledger<W> {
    fn default() -> Self {
        Self {
            counts: HashMap::default(),
            rows: HashMap::default(),
            last: 0,
            early: VecDeque::new(),
            steps: VecDeque::new(),
            agrees: false,
        }
    }
}

impl<W> Ledger<W> {
    /// Whether Redis knows what is here, but for the steps that wait.
    pub(super) fn agrees(&self) -> bool {
        self.agrees
    }

    /// The last number that was given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Somebody wants in: `waits` is answered when its batch has come back. Only while [`Ledger::agrees`].
    pub(super) fn ask(&mut self, bounds: SmallVec<[Bound; 4]>, waits: W) {
        self.steps.push_back(Step::Enter(bounds, waits));
    }

    /// Somebody is let in by this pod's own counts at `now`, microseconds of any clock; its number.
    pub(super) fn enter(&mut self, subjects: &Subjects, now: u64) -> u64 {
        let stamp = now.max(self.last + 1);
        self.hold(subjects, stamp);
        self.steps.push_back(Step::Entered(subjects.clone(), stamp));
        stamp
    }

    /// Redis has let somebody in.
    pub(super) fn hold(&mut self, subjects: &Subjects, stamp: u64) {
        self.last = self.last.max(stamp);
        for subject in subjects {
            if subject.is_ordered() {
                let gone = self.was_early(*subject, stamp);
                let row = self.rows.entry(*subject).or_default();
                row.push(Seat { stamp, connection: None, gone });
            } else {
                *self.counts.entry(*subject).or_default() += 1;
            }
        }
    }

    /// Somebody leaves.
    pub(super) fn leave(&mut self, subjects: Subjects, stamp: u64) {
        for subject in &subjects {
            if subject.is_ordered() {
                if let Some(row) = self.rows.get_mut(subject) {
                    row.retain(|seat| seat.stamp != stamp);
                    if row.is_empty() {
                        self.rows.remove(subject);
                    }
                }
            } else if let Some(count) = self.counts.get_mut(subject) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(subject);
                }
            }
        }
        self.steps.push_back(Step::Left(subjects, stamp));
    }

    /// Names the connection of a number; true where it has given way already and is to be closed.
    pub(super) fn name(&mut self, subject: Subject, stamp: u64, connection: ConnectionId) -> bool {
        let seat = self.seat(subject, stamp);
        seat.is_some_and(|seat| {
            seat.connection = Some(connection);
            seat.gone
        })
    }

    /// A connection gives way; what there is to close.
    pub(super) fn give_way(&mut self, subject: Subject, stamp: u64) -> Option<ConnectionId> {
        if stamp > self.last {
            // The other pod heard of it before this one did.
            if self.early.len() == EARLY {
                self.early.pop_front();
            }
            self.early.push_back((subject, stamp));
            return None;
        }
        let seat = self.seat(subject, stamp).filter(|seat| !seat.gone)?;
        seat.gone = true;
        seat.connection
    }

    fn was_early(&mut self, subject: Subject, stamp: u64) -> bool {
        let at = self.early.iter().position(|early| *early == (subject, stamp));
        at.is_some_and(|at| self.early.remove(at).is_some())
    }

    fn seat(&mut self, subject: Subject, stamp: u64) -> Option<&mut Seat> {
        self.rows.get_mut(&subject)?.iter_mut().find(|seat| seat.stamp == stamp)
    }

    /// The next batch.
    pub(super) fn batch(&mut self) -> Vec<Step<W>> {
        let most = self.steps.len().min(BATCH);
        self.steps.drain(..most).collect()
    }

    /// The copy in Redis is not trusted any more. Returns who waits for an answer that will not come; the other steps are forgotten,
    /// because what they say is here.
    pub(super) fn distrust(&mut self) -> Vec<(SmallVec<[Bound; 4]>, W)> {
        self.agrees = false;
        waiting(self.steps.drain(..))
    }

    /// All that Redis has to know, as fields and values; what happens from now on waits as steps until [`Ledger::registered`].
    pub(super) fn picture(&mut self) -> Vec<(Subject, Vec<u8>)> {
        self.steps.clear();
        let counts = self.counts.iter().map(|(subject, count)| (*subject, count.to_string().into_bytes()));
        let rows = self.rows.iter().map(|(subject, row)| {
            let stamps = row.iter().filter(|seat| !seat.gone).flat_map(|seat| seat.stamp.to_be_bytes());
            (*subject, stamps.collect::<Vec<u8>>())
        });
        counts.chain(rows.filter(|(_, stamps)| !stamps.is_empty())).collect()
    }

    /// Redis has the picture.
    pub(super) fn registered(&mut self) {
        self.agrees = true;
    }
}

/// Those of `steps` that somebody waits for.
pub(super) fn waiting<W>(steps: impl IntoIterator<Item = Step<W>>) -> Vec<(SmallVec<[Bound; 4]>, W)> {
    let mut waiting = Vec::new();
    for step in steps {
        if let Step::Enter(bounds, waits) = step {
            waiting.push((bounds, waits));
        }
    }
    waiting
}

/// Those whom `bounds` are about.
pub(super) fn subjects(bounds: &[Bound]) -> Subjects {
    bounds.iter().map(|bound| bound.subject).collect()
}
