//! Judges what one client heard of one channel against what the gateway accepted: what is missing has to have been announced.
//!
//! Pure: histories come in as values, so that a lossy one can be written down and must be found out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::time::Duration;

/// A publication as its publisher knows it; times count from the scenario's begin.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When the publisher began to ask.
    pub begun: Duration,
    /// Whether the API answered 200. Everything else may or may not have been appended.
    pub accepted: bool,
}

/// What was published to one channel by its one publisher, in the order of the numbers.
pub type Publications = BTreeMap<u64, Sent>;

/// What a client learnt about one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The first `subscribed`: what begins to be published from now on is owed.
    Joined,
    /// A publication by its number.
    Publication(u64),
    /// Something may be missing here: a `gap`. The client's position stays where it was.
    Announced,
    /// The same, and the client's position is another from here on: `recovered: false`, or a new connection to a channel that keeps
    /// nothing.
    Restarted,
    /// `recovered: true`: since the client's position nothing is missing.
    Recovered,
}

/// One line of a client's history.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    /// When it was heard.
    pub at: Duration,
    /// What was heard.
    pub heard: Heard,
}

/// What is promised of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Each publication, once.
    Each,
    /// The same; behind an announcement one may come again, because a Redis that lost its memory remembers no idempotency key.
    EachAgain,
    /// The same in any order, because pods share the work: an announcement may then stand anywhere.
    EachAnyhow,
    /// The newest value: an older one may be left out for it, and it may come again behind an announcement, as state.
    Newest,
}

/// The sum of one or many histories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Publications that were heard, each once.
    pub delivered: u64,
    /// Publications that were heard again.
    pub duplicated: u64,
    /// Owed, not heard, and announced.
    pub announced: u64,
    /// Owed, not heard, and a newer value was heard instead.
    pub superseded: u64,
    /// Owed, not heard, and not announced.
    pub unexplained: u64,
    /// Heard after one that was accepted later.
    pub disordered: u64,
    /// Heard and never published.
    pub invented: u64,
}

impl AddAssign<&Self> for Verdict {
    fn add_assign(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.duplicated += other.duplicated;
        self.announced += other.announced;
        self.superseded += other.superseded;
        self.unexplained += other.unexplained;
        self.disordered += other.disordered;
        self.invented += other.invented;
    }
}

/// The verdict on one history, and which numbers nothing explains.
///
/// A publication is owed when its publisher began after the client had joined and the gateway accepted it. If it is missing, an
/// announcement explains it that stands behind the last one heard before it and in front of the first heard after it, and that was
/// heard after its publisher had begun: who loads the state anew on an announcement must not miss what came later. A
/// `recovered: true` behind a `gap` takes it back.
pub fn judge(sent: &Publications, history: &[Note], promise: Promise) -> (Verdict, Vec<u64>) {
    let mut verdict = Verdict::default();
    let Some(joined) = history.iter().find(|note| note.heard == Heard::Joined).map(|note| note.at) else {
        return (verdict, Vec::new());
    };
    let firsts = firsts(sent, history, promise, &mut verdict);
    let mut order: Vec<(u64, usize)> = firsts
        .iter()
        .filter(|(number, _)| sent.get(number).is_some_and(|sent| sent.accepted))
        .map(|(number, at)| (*number, *at))
        .collect();
    if promise != Promise::EachAnyhow {
        verdict.disordered = disordered(&order);
    }
    order.sort_unstable();
    let mut unexplained = Vec::new();
    for (number, sent) in sent.iter().filter(|(_, sent)| sent.accepted && sent.begun >= joined) {
        if firsts.contains_key(number) {
            continue;
        }
        let next = order.partition_point(|(heard, _)| heard < number);
        let (from, to) = match promise {
            Promise::EachAnyhow => (0, history.len()),
            _ => (
                next.checked_sub(1).map_or(0, |before| order[before].1 + 1),
                order.get(next).map_or(history.len(), |(_, at)| *at),
            ),
        };
        if explained(history, from, to, sent.begun) {
            verdict.announced += 1;
        } else if promise == Promise::Newest && next < order.len() {
            verdict.superseded += 1;
        } else {
            verdict.unexplained += 1;
            unexplained.push(*number);
        }
    }
    (verdict, unexplained)
}

/// Where each number was heard first; counts the rest.
fn firsts(
    sent: &Publications,
    history: &[Note],
    promise: Promise,
    verdict: &mut Verdict,
) -> BTreeMap<u64, usize> {
    let mut firsts = BTreeMap::new();
    let mut announced = None;
    for (at, note) in history.iter().enumerate() {
        let number = match note.heard {
            Heard::Publication(number) => number,
            Heard::Announced | Heard::Restarted => {
                announced = Some(at);
                continue;
            }
            Heard::Joined | Heard::Recovered => continue,
        };
        if !sent.contains_key(&number) {
            verdict.invented += 1;
            continue;
        }
        match firsts.entry(number) {
            Entry::Vacant(first) => {
                first.insert(at);
                verdict.delivered += 1;
            }
            Entry::Occupied(first) => {
                let excused = promise != Promise::Each && announced > Some(*first.get());
                verdict.duplicated += u64::from(!excused);
            }
        }
    }
    firsts
}

/// How many stand behind one with a higher number.
fn disordered(order: &[(u64, usize)]) -> u64 {
    let mut by_place: Vec<(usize, u64)> = order.iter().map(|(number, at)| (*at, *number)).collect();
    by_place.sort_unstable();
    let mut highest = 0;
    let mut count = 0;
    for (_, number) in by_place {
        count += u64::from(number < highest);
        highest = highest.max(number);
    }
    count
}

fn explained(history: &[Note], from: usize, to: usize, begun: Duration) -> bool {
    let (from, to) = (from.min(history.len()), to.max(from).min(history.len()));
    let (mut restarted, mut announced) = (false, false);
    for note in &history[from..to] {
        match note.heard {
            Heard::Restarted => restarted |= note.at >= begun,
            Heard::Announced => announced |= note.at >= begun,
            Heard::Recovered => announced = false,
            Heard::Joined | Heard::Publication(_) => {}
        }
    }
    restarted || announced
}

/// Numbers as ranges, for people.
pub fn ranges(numbers: &[u64]) -> String {
    let numbers: BTreeSet<u64> = numbers.iter().copied().collect();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == number => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    let words = ranges.iter().map(|(from, to)| match from == to {
        true => from.to_string(),
        false => format!("{from}-{to}"),
    });
    words.collect::<Vec<_>>().join(" ")
}
