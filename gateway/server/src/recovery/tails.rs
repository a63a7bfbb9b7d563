//! The ends of histories that are kept for a few seconds, and go on with what the pod is carried.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rtgw_hub::{GapScope, Replay};
use rtgw_model::{ChannelName, Outgoing};
use tokio::time::Instant;

use super::tail::{Asked, Tail};

/// Kept so long after the last one who asked.
const IDLE: Duration = Duration::from_secs(2);
/// And no longer: what the broker forgets meanwhile is to be forgotten here.
const LONGEST: Duration = Duration::from_secs(20);
/// Most channels, and most bytes of all.
const CHANNELS: usize = 256;
const BYTES: usize = 32 << 20;
/// Most publications that may come while a channel is read.
const MEANWHILE: usize = 1_000;

/// The ends of histories. Nothing here waits for anything but its lock.
#[derive(Default)]
pub struct Tails {
    /// Entries, for a look without the lock: mostly there are none.
    active: AtomicUsize,
    entries: Mutex<HashMap<ChannelName, Entry>>,
}

struct Entry {
    known: Option<Known>,
    /// What came since a read began, while one is under way.
    meanwhile: Option<Vec<Arc<Outgoing>>>,
    /// Somebody asked for more than the last read gave.
    deep: bool,
    /// When the last read began.
    read: Instant,
    used: Instant,
}

/// What a read gave.
struct Known {
    tail: Tail,
    /// When it began: what was published before is in it.
    read: Instant,
    /// The pod was carried the channel then, so the tail goes on with everything that is published.
    carried: bool,
}

impl Known {
    /// Whether it is as new as what is asked for.
    fn is_fresh_for(&self, asked: &Asked) -> bool {
        asked.at <= self.read || (asked.heard && self.carried)
    }
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        now > self.used + IDLE || now > self.read + LONGEST
    }
}

impl Tails {
    /// What is asked, where it is known.
    pub(super) fn serve(&self, channel: &ChannelName, asked: &Asked) -> Option<Replay> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(channel)?;
        if entry.is_over(now) {
            if entry.meanwhile.is_none() {
                entries.remove(channel);
                self.count(&entries);
            }
            return None;
        }
        let known = entry.known.as_mut().filter(|known| known.is_fresh_for(asked))?;
        entry.deep |= known.tail.is_too_short_for(asked);
        let replay = known.tail.serve(asked)?;
        entry.used = now;
        Some(replay)
    }

    /// When the last read of the channel began, where that is still known.
    pub(super) fn last_read(&self, channel: &ChannelName) -> Option<Instant> {
        self.entries.lock().get(channel).map(|entry| entry.read)
    }

    /// A read of the channel begins: from now on its publications are kept. `carried` says that there are any: that the pod has a
    /// subscriber.
    pub(super) fn begin<'t>(&'t self, channel: &'t ChannelName, carried: bool) -> Reading<'t> {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| entry.meanwhile.is_some() || !entry.is_over(now));
        let fresh = || Entry { known: None, meanwhile: None, deep: false, read: now, used: now };
        let entry = entries.entry(channel.clone()).or_insert_with(fresh);
        // What is known is still good for those who ask for less.
        entry.meanwhile = Some(Vec::new());
        (entry.read, entry.used) = (now, now);
        let deep = entry.deep;
        self.count(&entries);
        Reading { tails: self, channel, begun: now, carried, deep, under_way: true }
    }

    /// The pod is carried a publication; before any shard is given it.
    pub fn note(&self, outgoing: &Arc<Outgoing>) {
        if self.active.load(Ordering::Acquire) == 0 || outgoing.publication().positions.is_empty() {
            return;
        }
        let now = Instant::now();
        let mut entries = self.entries.lock();
        for channel in &outgoing.publication().channels {
            let (Some(entry), Some(position)) = (entries.get_mut(channel), position(channel, outgoing))
            else {
                continue;
            };
            if let Some(meanwhile) = &mut entry.meanwhile {
                meanwhile.push(Arc::clone(outgoing));
            }
            let goes_on = entry.known.as_mut().is_none_or(|known| known.tail.push(outgoing, position));
            let crowded = entry.meanwhile.as_ref().is_some_and(|meanwhile| meanwhile.len() > MEANWHILE);
            let large = entry.known.as_ref().is_some_and(|known| known.tail.bytes() > BYTES);
            if !goes_on || crowded || large || (entry.meanwhile.is_none() && entry.is_over(now)) {
                entries.remove(channel);
            }
        }
        self.count(&entries);
    }

    /// Publications of these channels may have been missed.
    pub fn gap(&self, scope: &GapScope) {
        let mut entries = self.entries.lock();
        match scope {
            GapScope::Channels(channels) => channels.iter().for_each(|channel| drop(entries.remove(channel))),
            GapScope::Rules(_) | GapScope::All => entries.clear(),
        }
        self.count(&entries);
    }

    /// The pod is not carried the channel any more.
    pub fn forget(&self, channel: &ChannelName) {
        if self.active.load(Ordering::Acquire) > 0 {
            let mut entries = self.entries.lock();
            entries.remove(channel);
            self.count(&entries);
        }
    }

    fn count(&self, entries: &HashMap<ChannelName, Entry>) {
        self.active.store(entries.len(), Ordering::Release);
    }
}

/// A read that is under way. Dropped, it has failed.
pub(super) struct Reading<'t> {
    tails: &'t Tails,
    channel: &'t ChannelName,
    begun: Instant,
    carried: bool,
    deep: bool,
    under_way: bool,
}

impl Reading<'_> {
    /// Whether all that anybody may ask for is to be read.
    pub(super) fn is_deep(&self) -> bool {
        self.deep
    }

    /// It has ended with `tail`; kept unless what came meanwhile does not follow it.
    pub(super) fn install(mut self, mut tail: Tail) {
        self.under_way = false;
        let Self { tails, channel, begun, carried, .. } = self;
        let mut entries = tails.entries.lock();
        let held: usize =
            entries.values().filter_map(|entry| entry.known.as_ref()).map(|known| known.tail.bytes()).sum();
        let Some(entry) = entries.get_mut(channel) else { return };
        // Nothing, where the channel was lost meanwhile.
        let Some(meanwhile) = entry.meanwhile.take() else { return };
        let follows = meanwhile
            .iter()
            .all(|outgoing| position(channel, outgoing).is_none_or(|position| tail.push(outgoing, position)));
        if follows && held + tail.bytes() <= BYTES {
            entry.known = Some(Known { tail, read: begun, carried });
        } else {
            entries.remove(channel);
        }
        if entries.len() > CHANNELS {
            let oldest =
                entries.iter().min_by_key(|(_, entry)| entry.used).map(|(channel, _)| channel.clone());
            oldest.into_iter().for_each(|channel| drop(entries.remove(&channel)));
        }
        tails.count(&entries);
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if !self.under_way {
            return;
        }
        let mut entries = self.tails.entries.lock();
        if let Some(entry) = entries.get_mut(self.channel) {
            entry.meanwhile = None;
            if entry.known.is_none() {
                entries.remove(self.channel);
            }
        }
        self.tails.count(&entries);
    }
}

fn position(channel: &ChannelName, outgoing: &Outgoing) -> Option<rtgw_model::Position> {
    let publication = outgoing.publication();
    let at = publication.channels.iter().position(|known| known == channel)?;
    publication.position(at)
}
