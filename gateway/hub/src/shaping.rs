//! Channels whose publications do not go at once: held to a rate, or waiting for others to be written with.
//!
//! Every shard decides for its own members. A connection lives on one shard, so it never sees two decisions, and nothing is shared
//! between threads. Channels without such a policy are told apart by one flag and touch nothing here.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rtgw_model::{ChannelPolicy, Millis, Now, Outgoing, RuleIx};
use smallvec::SmallVec;

use crate::channels::ChannelIx;
use crate::fanout::{Known, SHARED};
use crate::shard::Shard;
use crate::throttle::{self, Held, KeyIx, Keys, Turn};
use crate::told::{Told, ToldIx};

/// Most bytes that a shard holds back for throttled keys. At the bound publications pass instead of being lost.
const HELD_BYTES: usize = 64 << 20;

/// What waits in one channel.
#[derive(Debug)]
struct Shaper {
    /// Under which it waits.
    policy: Arc<ChannelPolicy>,
    keys: Keys,
    /// Publications that wait for others, each with the channel's index in its list.
    batch: Vec<(Arc<Outgoing>, u16)>,
    batch_ends: Millis,
    /// Its entry in the agenda.
    scheduled: Option<Millis>,
}

impl Shaper {
    fn new(policy: Arc<ChannelPolicy>) -> Self {
        Self {
            policy,
            keys: Keys::default(),
            batch: Vec::new(),
            batch_ends: Millis::default(),
            scheduled: None,
        }
    }

    /// What passes may wait in a batch before it goes: with that time added, no two of a key are closer than the interval.
    fn interval(&self) -> u64 {
        let delivery = &self.policy.delivery;
        let interval = delivery.throttle.as_ref().map_or(0, |throttle| throttle.interval_ms);
        u64::from(interval) + u64::from(delivery.batch_ms)
    }

    fn next_due(&self) -> Option<Millis> {
        let batch = (!self.batch.is_empty()).then_some(self.batch_ends);
        [self.keys.next_end(), batch].into_iter().flatten().min()
    }
}

/// What waits in all channels of a shard.
#[derive(Debug, Default)]
pub(crate) struct Shapers {
    channels: HashMap<ChannelIx, Shaper>,
    /// When which channel is looked at: one entry each, however many keys it has.
    agenda: BTreeSet<(Millis, ChannelIx)>,
    pub(crate) told: Told,
    held_bytes: usize,
    batched: usize,
    /// The key that is being asked for.
    name: Vec<u8>,
}

fn weight(outgoing: &Outgoing) -> usize {
    let publication = outgoing.publication();
    publication.data.len() + publication.event.len()
}

impl Shapers {
    /// When something must go.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// Publications that wait for others to be written with.
    pub(crate) fn batched(&self) -> usize {
        self.batched
    }

    /// Bytes held back for throttled keys.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether nothing waits and nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty()
            && self.agenda.is_empty()
            && self.told.is_empty()
            && self.held_bytes == 0
            && self.batched == 0
    }

    /// Puts the channel's entry in the agenda right; one with nothing to wait for is forgotten.
    fn schedule(&mut self, channel: ChannelIx) {
        let Some(shaper) = self.channels.get_mut(&channel) else { return };
        let due = shaper.next_due();
        if shaper.scheduled != due {
            if let Some(before) = std::mem::replace(&mut shaper.scheduled, due) {
                self.agenda.remove(&(before, channel));
            }
            self.agenda.extend(due.map(|due| (due, channel)));
        }
        if due.is_none() {
            self.channels.remove(&channel);
        }
    }

    fn shaper(&mut self, channel: ChannelIx, policy: &Arc<ChannelPolicy>) -> &mut Shaper {
        self.channels.entry(channel).or_insert_with(|| Shaper::new(policy.clone()))
    }

    /// What was held goes, or is dropped.
    fn let_go(&mut self, held: &Held) {
        self.held_bytes -= weight(&held.outgoing);
    }

    /// Drops what waits in a channel that nobody hears any more.
    pub(crate) fn forget(&mut self, channel: ChannelIx) {
        let Some(mut shaper) = self.channels.remove(&channel) else { return };
        if let Some(due) = shaper.scheduled {
            self.agenda.remove(&(due, channel));
        }
        self.batched -= shaper.batch.len();
        for held in shaper.keys.release(Millis::default(), 0) {
            self.let_go(&held);
            held.told.into_iter().for_each(|told| self.told.end(told));
        }
    }
}

impl Shard {
    /// Takes a publication of which at least one channel has a policy that lets it wait.
    pub(crate) fn shape(&mut self, now: Now, outgoing: Arc<Outgoing>, known: Known) {
        let mut passing = Known::new();
        let mut within: SmallVec<[(ChannelIx, u16, KeyIx); 1]> = SmallVec::new();
        for (channel, shown) in known {
            match self.ask_throttle(now, channel, &outgoing) {
                Turn::Now => passing.push((channel, shown)),
                Turn::Within(key) => within.push((channel, shown, key)),
            }
        }
        let mut parts = within.len() + usize::from(!passing.is_empty());
        let bytes = self.shapers.held_bytes + within.len() * weight(&outgoing);
        if bytes > HELD_BYTES || (parts > 1 && self.shapers.told.is_full()) {
            for (channel, shown, key) in within.drain(..) {
                let shaper = self.shapers.channels.get_mut(&channel);
                let replaced = shaper.and_then(|shaper| shaper.keys.take(key));
                self.supersede(channel, replaced);
                passing.push((channel, shown));
            }
            passing.sort_unstable_by_key(|(_, shown)| *shown);
            parts = 1;
        }
        let told = (parts > 1).then(|| self.shapers.told.open(parts));
        for (channel, shown, key) in within {
            let held = Held { outgoing: outgoing.clone(), shown, told };
            self.shapers.held_bytes += weight(&outgoing);
            let shaper = self.shapers.channels.get_mut(&channel);
            let replaced = shaper.and_then(|shaper| shaper.keys.hold(key, held));
            self.supersede(channel, replaced);
        }
        if !passing.is_empty() {
            self.pass(now, outgoing, passing, told);
        }
    }

    /// Asks the channel's throttle, if it has one that concerns the publication.
    fn ask_throttle(&mut self, now: Now, channel: ChannelIx, outgoing: &Outgoing) -> Turn {
        if !self.channels.get(channel).shaped {
            return Turn::Now;
        }
        let policy = self.channels.get(channel).policy.clone();
        let other = |shaper: &Shaper| {
            !Arc::ptr_eq(&shaper.policy, &policy) && shaper.policy.delivery != policy.delivery
        };
        if self.shapers.channels.get(&channel).is_some_and(other) {
            // Another policy holds from now on; what waits under the old one goes first.
            self.unleash(now, channel);
            self.shapers.forget(channel);
        }
        let publication = outgoing.publication();
        let delivery = &policy.delivery;
        if !delivery.waits() {
            self.channels.get_mut(channel).shaped = false;
            return Turn::Now;
        }
        let Some(throttle) = &delivery.throttle else { return Turn::Now };
        if !delivery.concerns(&publication.event) {
            return Turn::Now;
        }
        self.expire(now, channel);
        let mut name = std::mem::take(&mut self.shapers.name);
        throttle::name(&throttle.tags, publication, &mut name);
        let shaper = self.shapers.shaper(channel, &policy);
        let turn = shaper.keys.ask(&name, now.at, shaper.interval());
        self.shapers.name = name;
        self.shapers.schedule(channel);
        turn
    }

    /// Counts a publication that a newer one of its key replaced.
    fn supersede(&mut self, channel: ChannelIx, replaced: Option<Held>) {
        let Some(held) = replaced else { return };
        self.shapers.let_go(&held);
        held.told.into_iter().for_each(|told| self.shapers.told.end(told));
        let RuleIx(rule) = self.channels.get(channel).policy.rule;
        if let Some(count) = self.counters.superseded.get_mut(usize::from(rule)) {
            *count += 1;
        }
    }

    /// Sends on what no throttle holds: into the channel's batch, or to the members.
    fn pass(&mut self, now: Now, outgoing: Arc<Outgoing>, channels: Known, told: Option<ToldIx>) {
        if let (&[(channel, shown)], None) = (&channels[..], told)
            && self.channels.get(channel).shaped
        {
            let policy = self.channels.get(channel).policy.clone();
            if policy.delivery.batch_ms > 0 && policy.delivery.concerns(&outgoing.publication().event) {
                return self.batch(now, channel, shown, &policy, outgoing);
            }
        }
        // What goes at once goes behind what waits: a channel keeps its order.
        for &(channel, _) in &channels {
            if self.channels.get(channel).shaped {
                self.write_batch(channel);
                self.shapers.schedule(channel);
            }
        }
        self.enqueue(outgoing, channels, told);
    }

    fn batch(
        &mut self,
        now: Now,
        channel: ChannelIx,
        shown: u16,
        policy: &Arc<ChannelPolicy>,
        outgoing: Arc<Outgoing>,
    ) {
        self.shapers.batched += 1;
        let shaper = self.shapers.shaper(channel, policy);
        if shaper.batch.is_empty() {
            shaper.batch_ends = now.at.plus(u64::from(policy.delivery.batch_ms));
        }
        shaper.batch.push((outgoing, shown));
        if shaper.batch.len() >= SHARED {
            self.write_batch(channel);
        }
        self.shapers.schedule(channel);
    }

    fn write_batch(&mut self, channel: ChannelIx) {
        let Some(shaper) = self.shapers.channels.get_mut(&channel) else { return };
        let batch = std::mem::take(&mut shaper.batch);
        self.shapers.batched -= batch.len();
        for (outgoing, shown) in batch {
            self.enqueue(outgoing, smallvec::smallvec![(channel, shown)], None);
        }
    }

    /// Sends what the ended intervals of the channel held.
    fn expire(&mut self, now: Now, channel: ChannelIx) {
        loop {
            let Some(shaper) = self.shapers.channels.get_mut(&channel) else { return };
            let interval = shaper.interval();
            let Some(held) = shaper.keys.expire(now.at, interval) else { return };
            self.send_held(now, channel, held);
        }
    }

    fn send_held(&mut self, now: Now, channel: ChannelIx, held: Held) {
        self.shapers.let_go(&held);
        self.pass(now, held.outgoing, smallvec::smallvec![(channel, held.shown)], held.told);
    }

    /// Sends what waits in the channel, before its time: something comes that must stand behind it.
    pub(crate) fn unleash(&mut self, now: Now, channel: ChannelIx) {
        let Some(shaper) = self.shapers.channels.get_mut(&channel) else { return };
        let interval = shaper.interval();
        for held in shaper.keys.release(now.at, interval) {
            self.send_held(now, channel, held);
        }
        self.write_batch(channel);
        self.shapers.schedule(channel);
    }

    /// Sends what is due.
    pub(crate) fn release(&mut self, now: Now) {
        while self.shapers.next_due().is_some_and(|due| due <= now.at) {
            let Some((_, channel)) = self.shapers.agenda.pop_first() else { return };
            if let Some(shaper) = self.shapers.channels.get_mut(&channel) {
                shaper.scheduled = None;
            }
            self.expire(now, channel);
            let ended = |shaper: &Shaper| shaper.batch_ends <= now.at;
            if self.shapers.channels.get(&channel).is_some_and(ended) {
                self.write_batch(channel);
            }
            self.shapers.schedule(channel);
        }
    }
}
