//! Histories of channels in this process's memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use rtgw_model::{ChannelName, HistoryMode, HistoryPolicy, Position, Publication};
use tokio::time::Instant;

use super::history::{Kept, PAGE, Page};

/// The histories of all channels. A channel's ends when its time is over and nobody hears it; the next one has another epoch.
#[derive(Default)]
pub(super) struct Histories {
    channels: HashMap<ChannelName, History>,
    /// When to look at a channel again; one entry for each.
    ends: BinaryHeap<Reverse<(Instant, ChannelName)>>,
}

struct History {
    epoch: u64,
    /// Of the last publication.
    offset: u64,
    /// By their offsets.
    kept: VecDeque<Publication>,
    ends: Instant,
}

impl Histories {
    /// Numbers the publication, and keeps it unless it is ephemeral. `channel` is its place among the publication's channels.
    pub(super) fn append(
        &mut self,
        channel: usize,
        policy: &HistoryPolicy,
        publication: &Publication,
        now: Instant,
    ) -> Option<Position> {
        if publication.except.is_some() {
            return None;
        }
        let name = publication.channels.get(channel)?;
        let history = self.open(name, policy, now);
        history.offset += 1;
        history.ends = now + Duration::from_millis(policy.ttl_ms);
        let position = Position { offset: history.offset, epoch: history.epoch };
        if let HistoryMode::Cache(tags) = &policy.mode {
            let same = |kept: &Publication| {
                kept.event == publication.event
                    && tags.iter().all(|tag| kept.tag(tag) == publication.tag(tag))
            };
            history.kept.retain(|kept| !same(kept));
        }
        let (channels, positions) = ([name.clone()].into(), [Some(position)].into());
        history.kept.push_back(Publication { channels, positions, ..publication.clone() });
        history.bound(policy);
        Some(position)
    }

    /// Where the channel stands.
    pub(super) fn top(&mut self, channel: &ChannelName, policy: &HistoryPolicy, now: Instant) -> Position {
        let history = self.open(channel, policy, now);
        Position { offset: history.offset, epoch: history.epoch }
    }

    /// Reads a part.
    pub(super) fn read(
        &mut self,
        channel: &ChannelName,
        policy: &HistoryPolicy,
        page: Page,
        now: Instant,
    ) -> Kept {
        let history = self.open(channel, policy, now);
        history.bound(policy);
        let offset = |kept: &Publication| kept.position(0).map_or(0, |position| position.offset);
        let oldest = history.kept.front().map_or(history.offset + 1, offset);
        let limit = page.limit.min(PAGE) as usize;
        let publications = if page.reverse {
            let before = page.since.unwrap_or(u64::MAX);
            let kept = history.kept.iter().rev().filter(|kept| offset(kept) < before);
            kept.take(limit).cloned().collect()
        } else {
            let behind = page.since.unwrap_or_default();
            let kept = history.kept.iter().filter(|kept| offset(kept) > behind);
            kept.take(limit).cloned().collect()
        };
        Kept { publications, top: Position { offset: history.offset, epoch: history.epoch }, oldest }
    }

    /// Begins another epoch for those that are `concerned`.
    pub(super) fn outdate(&mut self, concerned: impl Fn(&ChannelName) -> bool) {
        for (_, history) in self.channels.iter_mut().filter(|(channel, _)| concerned(channel)) {
            history.epoch = fastrand::u64(..);
            for kept in &mut history.kept {
                for position in kept.positions.iter_mut().flatten() {
                    position.epoch = history.epoch;
                }
            }
        }
    }

    /// Forgets what has had its time and what `heard` says nobody hears.
    pub(super) fn forget(&mut self, now: Instant, heard: impl Fn(&ChannelName) -> bool) {
        while let Some(Reverse((at, _))) = self.ends.peek()
            && *at <= now
        {
            let Some(Reverse((_, channel))) = self.ends.pop() else { return };
            let Some(history) = self.channels.get_mut(&channel) else { continue };
            let mut again = history.ends;
            if again <= now {
                history.kept = VecDeque::new();
                if !heard(&channel) {
                    self.channels.remove(&channel);
                    continue;
                }
                again = now + Duration::from_secs(60);
            }
            self.ends.push(Reverse((again, channel)));
        }
    }

    fn open(&mut self, channel: &ChannelName, policy: &HistoryPolicy, now: Instant) -> &mut History {
        let Self { channels, ends } = self;
        let history = channels.entry(channel.clone()).or_insert_with(|| {
            let end = now + Duration::from_millis(policy.ttl_ms);
            ends.push(Reverse((end, channel.clone())));
            History { epoch: fastrand::u64(..), offset: 0, kept: VecDeque::new(), ends: end }
        });
        if history.ends <= now {
            history.kept.clear();
        }
        history
    }
}

impl History {
    fn bound(&mut self, policy: &HistoryPolicy) {
        while self.kept.len() > policy.size as usize {
            self.kept.pop_front();
        }
    }
}
