//! What came in and what was dropped on the way to the shards, as numbers that `/metrics` reads.

use std::sync::atomic::{AtomicU64, Ordering};

use rtgw_model::RuleIx;

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
}

impl DropReason {
    /// Every reason.
    pub const ALL: [DropReason; 2] = [Self::InboxFull, Self::TooLarge];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InboxFull => "inbox_full",
            Self::TooLarge => "too_large",
        }
    }
}

/// Counts since the start. A publication counts once for each rule that its channels fall under, and once for each shard that could
/// not take it.
#[derive(Debug)]
pub struct Counts {
    rules: usize,
    /// By `origin * rules + rule`.
    publications: Box<[AtomicU64]>,
    /// By `rule * reasons + reason`.
    dropped: Box<[AtomicU64]>,
}

impl Counts {
    /// Zeros for a configuration with so many sources and channel rules.
    pub fn new(sources: usize, rules: usize) -> Self {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            rules,
            publications: zeros((2 + sources) * rules),
            dropped: zeros(rules * DropReason::ALL.len()),
        }
    }

    /// `rtgw_publications_total{source,pattern}`.
    pub fn publications(&self, origin: Origin, rule: RuleIx) -> u64 {
        self.publications.get(origin.index() * self.rules + usize::from(rule.0)).map_or(0, load)
    }

    /// `rtgw_dropped_total{pattern,reason}`, of what was dropped before a shard; the shards count their own.
    pub fn dropped(&self, rule: RuleIx, reason: DropReason) -> u64 {
        self.dropped.get(drop_index(rule, reason)).map_or(0, load)
    }

    /// Counts a publication under the rules of its channels, each once.
    pub(crate) fn published(&self, origin: Origin, rules: impl IntoIterator<Item = RuleIx>) {
        let mut seen = smallvec::SmallVec::<[RuleIx; 4]>::new();
        for rule in rules {
            if !seen.contains(&rule) {
                seen.push(rule);
                add(&self.publications, origin.index() * self.rules + usize::from(rule.0));
            }
        }
    }

    pub(super) fn drop_one(&self, rule: RuleIx, reason: DropReason) {
        add(&self.dropped, drop_index(rule, reason));
    }
}

fn drop_index(rule: RuleIx, reason: DropReason) -> usize {
    usize::from(rule.0) * DropReason::ALL.len() + reason as usize
}

fn load(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

fn add(cells: &[AtomicU64], index: usize) {
    if let Some(cell) = cells.get(index) {
        cell.fetch_add(1, Ordering::Relaxed);
    }
}
