//! What came in and what was dropped on the way to the shards, as numbers that `/metrics` reads.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rtgw_model::{Bounds, CLASSES, Histogram, Micros, RuleIx, Timestamp};

use crate::clock;

/// What is older is no delay but a wrong clock or an event of long ago; it counts as this old, so that one of them does not spoil
/// the sum.
const OLDEST_MS: i64 = 3_600_000;

/// Sources by other names that a reload may bring.
const MORE_SOURCES: usize = 16;

/// How a publication entered: the label `source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The HTTP API.
    Api,
    /// A command of a client.
    Client,
    /// The source at this index of the configuration.
    Source(u16),
}

impl Origin {
    fn index(self) -> usize {
        match self {
            Self::Api => 0,
            Self::Client => 1,
            Self::Source(source) => 2 + usize::from(source),
        }
    }
}

/// Why something did not reach a shard: the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// A shard's inbox was full; the shard tells the gap.
    InboxFull,
    /// The data was above [`super::DATA_BYTES`].
    TooLarge,
    /// A channel had too many members to tell who came and went; those who asked for it heard a gap.
    Crowded,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [DropReason; 3] = [Self::InboxFull, Self::TooLarge, Self::Crowded];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InboxFull => "inbox_full",
            Self::TooLarge => "too_large",
            Self::Crowded => "crowded",
        }
    }
}

/// Counts since the start. A publication counts once for each rule that its channels fall under, and once for each shard that could
/// not take it.
#[derive(Debug)]
pub struct Counts {
    /// A column per origin.
    publications: Table,
    /// A column per reason.
    dropped: Table,
    /// By origin.
    ages: Box<[Ages]>,
}

/// A [`Histogram`] that many threads count in.
#[derive(Debug, Default)]
struct Ages {
    counts: [AtomicU64; CLASSES],
    sum: AtomicU64,
}

impl Counts {
    /// Zeros, with room for so many sources and for as many more as reloads usually bring; what comes later still is not counted.
    pub fn new(sources: usize) -> Self {
        let sources = sources + MORE_SOURCES;
        Self {
            publications: Table::new(2 + sources),
            dropped: Table::new(DropReason::ALL.len()),
            ages: (0..2 + sources).map(|_| Ages::default()).collect(),
        }
    }

    /// `rtgw_publications_total{source,pattern}`.
    pub fn publications(&self, origin: Origin, rule: RuleIx) -> u64 {
        self.publications.read(rule, origin.index())
    }

    /// The same under all rules; a publication counts once for each of its own.
    pub fn all_publications(&self) -> u64 {
        self.publications.sum()
    }

    /// `rtgw_dropped_total{pattern,reason}`, of what was dropped before a shard; the shards count their own.
    pub fn dropped(&self, rule: RuleIx, reason: DropReason) -> u64 {
        self.dropped.read(rule, reason as usize)
    }

    /// `rtgw_end_to_end_seconds{source}`, in the classes of [`Bounds::BETWEEN`].
    pub fn ages(&self, origin: Origin) -> Histogram {
        self.ages.get(origin.index()).map_or_else(Histogram::default, |ages| Histogram {
            counts: std::array::from_fn(|class| load(&ages.counts[class])),
            sum: Micros(load(&ages.sum)),
        })
    }

    /// Counts how old a publication is now that it has been handed over.
    pub(crate) fn handed_over(&self, origin: Origin, timestamp: Timestamp) {
        let Some(ages) = self.ages.get(origin.index()) else { return };
        let took = age(timestamp, clock::wall());
        ages.counts[Bounds::BETWEEN.class(took)].fetch_add(1, Ordering::Relaxed);
        ages.sum.fetch_add(took.0, Ordering::Relaxed);
    }

    /// Counts a publication under the rules of its channels, each once.
    pub(crate) fn published(&self, origin: Origin, rules: impl IntoIterator<Item = RuleIx>) {
        let mut seen = smallvec::SmallVec::<[RuleIx; 4]>::new();
        for rule in rules {
            if !seen.contains(&rule) {
                seen.push(rule);
                self.publications.add(rule, origin.index());
            }
        }
    }

    /// Counts a `join` or `leave` that was not told.
    pub(crate) fn crowded(&self, rule: RuleIx) {
        self.drop_one(rule, DropReason::Crowded);
    }

    pub(super) fn drop_one(&self, rule: RuleIx, reason: DropReason) {
        self.dropped.add(rule, reason as usize);
    }
}

/// From `then` to `now`, between nothing and [`OLDEST_MS`]: a publisher's clock may be ahead, behind or absurd.
fn age(then: Timestamp, now: Timestamp) -> Micros {
    let ms = now.0.saturating_sub(then.0).clamp(0, OLDEST_MS);
    Micros(ms.unsigned_abs() * 1_000)
}

/// Rules of one part of a [`Table`].
const PART: usize = 64;

/// Counts by rule and column. Rules come with reloads, so it grows, a part at a time and without a lock.
#[derive(Debug)]
struct Table {
    columns: usize,
    parts: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Table {
    fn new(columns: usize) -> Self {
        Self { columns, parts: (0..=usize::from(u16::MAX) / PART).map(|_| OnceLock::new()).collect() }
    }

    fn add(&self, rule: RuleIx, column: usize) {
        let rule = usize::from(rule.0);
        let zeros = || (0..PART * self.columns).map(|_| AtomicU64::new(0)).collect();
        let part = self.parts[rule / PART].get_or_init(zeros);
        if column < self.columns {
            part[rule % PART * self.columns + column].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self, rule: RuleIx, column: usize) -> u64 {
        let rule = usize::from(rule.0);
        let part = self.parts[rule / PART].get().filter(|_| column < self.columns);
        part.map_or(0, |part| load(&part[rule % PART * self.columns + column]))
    }

    fn sum(&self) -> u64 {
        self.parts.iter().filter_map(OnceLock::get).flatten().map(load).sum()
    }
}

fn load(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publishers_clock_may_say_anything() {
        let now = Timestamp(1_700_000_000_000);
        let of = |then| age(Timestamp(then), now);
        assert_eq!(of(now.0 - 25), Micros(25_000));
        assert_eq!(of(now.0 + 60_000), Micros(0));
        assert_eq!([i64::MIN, 0].map(of), [Micros(3_600_000_000); 2]);
        assert_eq!(of(i64::MAX), Micros(0));
        let counts = Counts::new(1);
        for then in [i64::MIN, 0, i64::MAX] {
            counts.handed_over(Origin::Source(0), Timestamp(then));
        }
        let ages = counts.ages(Origin::Source(0));
        assert_eq!((ages.counts[0], ages.counts[CLASSES - 1], ages.sum), (1, 2, Micros(7_200_000_000)));
        assert_eq!(counts.ages(Origin::Source(9)), Histogram::default());
    }

    #[test]
    fn rules_that_come_later_count_for_themselves() {
        let counts = Counts::new(0);
        for (rule, times) in [(0, 1), (63, 2), (64, 3), (u16::MAX, 4)] {
            for _ in 0..times {
                counts.published(Origin::Client, [RuleIx(rule)]);
            }
        }
        let of = |rule| counts.publications(Origin::Client, RuleIx(rule));
        assert_eq!([0, 1, 63, 64, 65, u16::MAX].map(of), [1, 0, 2, 3, 0, 4]);
        assert_eq!((counts.publications(Origin::Api, RuleIx(0)), counts.all_publications()), (0, 10));
    }
}
