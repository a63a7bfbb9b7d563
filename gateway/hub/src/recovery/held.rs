//! What waits for a subscriber whose past is not known, and what is passed over for one whose past was told ahead of the stream.

use std::collections::HashMap;
use std::sync::Arc;

use rtgw_model::{Event, GapReason, Now, Outgoing, Position, RuleIx, SlowConsumer};

use super::place::{Ahead, may_end_epoch};
use crate::channels::{ChannelIx, Member, is_behind};
use crate::frame::{Frame, Lane};
use crate::outbox::Pushed;
use crate::shard::Shard;
use crate::slow::{self, Queued};
use crate::told::{Told, ToldIx};

/// Most publications that are held for one subscription. At the bound the past is given up.
const HELD: usize = 1_000;
/// What a publication costs an outbox besides its data.
const OVERHEAD: usize = 256;

/// Subscriptions for which the live stream is not simply passed on, by slot and channel: the rare ones.
#[derive(Debug, Default)]
pub(crate) struct Recoveries {
    pub(super) open: HashMap<(u32, ChannelIx), Recovery>,
    pub(super) tickets: u32,
    /// Held more than they may.
    pub(super) overfull: Vec<(u32, ChannelIx)>,
}

#[derive(Debug)]
pub(super) enum Recovery {
    /// The past is not known yet.
    Holding(Holding),
    /// The past was told further than the live stream has come.
    Ahead(Ahead),
}

/// What a publication that is held counts for.
pub(super) fn cost(outgoing: &Outgoing) -> usize {
    outgoing.publication().data.len() + OVERHEAD
}

#[derive(Debug, Default)]
pub(super) struct Holding {
    /// It has been told so far already, by an answer before.
    pub(super) ahead: Option<Ahead>,
    pub(super) held: Vec<Held>,
    pub(super) bytes: usize,
    /// A gap is among what is held.
    pub(super) gap: bool,
}

#[derive(Debug)]
pub(super) enum Held {
    /// With its channel's index in its list, and with whom it has reached where it has several.
    Publication(Arc<Outgoing>, u16, Option<ToldIx>),
    Gap(GapReason),
}

impl Held {
    pub(super) fn told(&self) -> Option<ToldIx> {
        match self {
            Self::Publication(_, _, told) => *told,
            Self::Gap(_) => None,
        }
    }
}

impl Recoveries {
    /// The live stream is passed on again, or to nobody any more.
    pub(crate) fn forget(&mut self, slot: u32, channel: ChannelIx, told: &mut Told) {
        if let Some(Recovery::Holding(holding)) = self.take(slot, channel) {
            holding.held.iter().filter_map(Held::told).for_each(|at| told.end(at));
        }
    }

    /// Up to where the subscriber was told, beyond what the live stream brought.
    pub(super) fn ahead(&self, slot: u32, channel: ChannelIx) -> Option<Ahead> {
        match self.open.get(&(slot, channel))? {
            Recovery::Holding(holding) => holding.ahead,
            Recovery::Ahead(ahead) => Some(*ahead),
        }
    }

    pub(super) fn holds(&self, slot: u32, channel: ChannelIx) -> bool {
        matches!(self.open.get(&(slot, channel)), Some(Recovery::Holding(_)))
    }

    pub(super) fn take(&mut self, slot: u32, channel: ChannelIx) -> Option<Recovery> {
        let taken = self.open.remove(&(slot, channel));
        // A storm gives its memory back.
        if self.open.is_empty() && self.open.capacity() > 1_024 {
            self.open = HashMap::new();
        }
        taken
    }
}

impl Shard {
    /// Has what is published on the channel wait for the subscriber from now on.
    pub(crate) fn hold(&mut self, slot: u32, channel: ChannelIx) {
        self.mark(slot, channel, true);
        if !self.recoveries.holds(slot, channel) {
            let ahead = match self.recoveries.open.get(&(slot, channel)) {
                Some(Recovery::Ahead(ahead)) => Some(*ahead),
                _ => None,
            };
            let holding = Holding { ahead, ..Holding::default() };
            self.recoveries.open.insert((slot, channel), Recovery::Holding(holding));
        }
    }

    /// The channel is carried. What was held of it before is not known to be all, but for what lies behind the place where that `began`.
    pub(crate) fn hold_from(&mut self, slot: u32, channel: ChannelIx, began: Option<Position>) {
        let Some(Recovery::Holding(Holding { held, bytes, .. })) =
            self.recoveries.open.get_mut(&(slot, channel))
        else {
            return;
        };
        let told = &mut self.shapers.told;
        held.retain(|held| {
            let Held::Publication(outgoing, shown, part) = held else { return true };
            let at = outgoing.publication().position(usize::from(*shown));
            let stays = at.is_none_or(|at| began.is_some_and(|began| is_behind(at, began)));
            if !stays {
                *bytes -= cost(outgoing);
                part.iter().for_each(|part| told.end(*part));
            }
            stays
        });
    }

    /// Tells what was held, and passes the live stream on: at once, or when it has come to where the past ended.
    pub(super) fn go_on(&mut self, slot: u32, now: Now, channel: ChannelIx, top: Option<Position>) {
        let Some(Recovery::Holding(Holding { ahead, held, .. })) = self.recoveries.take(slot, channel) else {
            return;
        };
        self.reach_again(slot, channel);
        let rule = self.channels.get(channel).policy.rule;
        let mut ahead = match top {
            Some(top) => Some(Ahead::to(top)),
            None => ahead,
        };
        for held in held {
            if !self.session_is_open(slot) {
                held.told().into_iter().for_each(|at| self.shapers.told.end(at));
                continue;
            }
            match held {
                Held::Publication(outgoing, shown, told) => {
                    let at = outgoing.publication().position(usize::from(shown));
                    let past = at.is_some_and(|at| ahead.is_some_and(|ahead| ahead.passes_over(at)));
                    if at.is_some() && !past {
                        ahead = None;
                    }
                    if self.falls_to(slot, told, !past) {
                        let frame = self.frame_of(slot, channel, &outgoing);
                        self.tell(slot, now, rule, frame);
                    }
                }
                Held::Gap(reason) => {
                    if let Some(ahead) = &mut ahead {
                        ahead.meets(reason);
                    }
                    self.counters.gap(rule, reason.as_str());
                    let channel = self.channels.get(channel).name.clone();
                    self.say(slot, now, None, Event::Gap { channel, reason });
                }
            }
        }
        if !self.session_is_open(slot) {
            return;
        }
        let entry = self.channels.get(channel);
        let stood = entry.stood.filter(|_| !entry.walked);
        let behind = |ahead: &Ahead| {
            let top = ahead.top;
            !stood.is_some_and(|stood| stood.epoch == top.epoch && stood.offset >= top.offset)
        };
        match ahead.filter(behind) {
            Some(ahead) => {
                self.recoveries.open.insert((slot, channel), Recovery::Ahead(ahead));
            }
            None => self.mark(slot, channel, false),
        }
    }

    /// What stands in the middle of its walk may have come by another channel, before the `subscribed` of this one. Where it may be
    /// dropped again, it comes behind that, too: the hole would be told before.
    pub(super) fn reach_again(&mut self, slot: u32, channel: ChannelIx) {
        if self.channels.get(channel).policy.delivery.slow_consumer != SlowConsumer::Disconnect {
            self.sessions[slot as usize].reached = 0;
        }
    }

    /// Whether what was held is to be told now: it is `wanted`, and no other channel has brought it. It is held no more.
    fn falls_to(&mut self, slot: u32, told: Option<ToldIx>, wanted: bool) -> bool {
        let Some(at) = told else { return wanted };
        let generation = self.sessions[slot as usize].generation;
        let first = wanted && self.shapers.told.reach(at, slot, generation);
        self.shapers.told.end(at);
        first
    }

    pub(super) fn release_held(&mut self, slot: u32, now: Now, channel: ChannelIx) {
        if self.recoveries.holds(slot, channel) {
            self.go_on(slot, now, channel, None);
        }
    }

    /// Whether the publication is not for the outbox: held until the past is known, or of a past that has been told. `told` notes whom
    /// one of several channels has reached: not this connection, by what it keeps back.
    #[cold]
    pub(crate) fn keeps_back(
        &mut self,
        slot: u32,
        channel: ChannelIx,
        outgoing: &Arc<Outgoing>,
        shown: u16,
        told: Option<&mut Option<ToldIx>>,
    ) -> bool {
        let generation = self.sessions[slot as usize].generation;
        let most = self.profile(slot).outbox.bytes as usize / 2;
        let at = outgoing.publication().position(usize::from(shown));
        match self.recoveries.open.get_mut(&(slot, channel)) {
            None => false,
            Some(Recovery::Ahead(ahead)) => {
                let past = at.is_some_and(|at| ahead.passes_over(at));
                // Of another epoch it may be one of several that still wait, with what the past is of behind them.
                let waits = self.channels.get(channel).fanouts > 1;
                let comes_to =
                    |at: Position| at == ahead.top || (!past && (at.epoch == ahead.top.epoch || !waits));
                if at.is_some_and(comes_to) {
                    self.recoveries.take(slot, channel);
                    self.mark(slot, channel, false);
                }
                past
            }
            Some(Recovery::Holding(holding)) => {
                match (holding.ahead, at) {
                    (Some(ahead), Some(at)) if ahead.passes_over(at) => return true,
                    (_, Some(_)) => holding.ahead = None,
                    _ => {}
                }
                let told = told.map(|part| self.shapers.told.wait(part, slot, generation));
                holding.held.push(Held::Publication(Arc::clone(outgoing), shown, told));
                holding.bytes += cost(outgoing);
                if (holding.held.len() > HELD || holding.bytes > most)
                    && self.recoveries.overfull.last() != Some(&(slot, channel))
                {
                    self.recoveries.overfull.push((slot, channel));
                }
                true
            }
        }
    }

    /// Whether the gap waits in its place among what is held.
    #[cold]
    pub(crate) fn keeps_gap_back(&mut self, slot: u32, channel: ChannelIx, reason: GapReason) -> bool {
        match self.recoveries.open.get_mut(&(slot, channel)) {
            Some(Recovery::Holding(holding)) => {
                holding.gap = true;
                if let Some(ahead) = &mut holding.ahead {
                    ahead.meets(reason);
                }
                match holding.held.last_mut() {
                    // Two that nothing lies between are told as one: the one that says more.
                    Some(Held::Gap(told)) if may_end_epoch(*told) || !may_end_epoch(reason) => {}
                    Some(Held::Gap(told)) => *told = reason,
                    _ => holding.held.push(Held::Gap(reason)),
                }
                true
            }
            Some(Recovery::Ahead(ahead)) => {
                ahead.meets(reason);
                false
            }
            None => false,
        }
    }

    /// Notes with the member whether [`Shard::keeps_back`] has to be asked.
    fn mark(&mut self, slot: u32, channel: ChannelIx, recovers: bool) {
        let session = &self.sessions[slot as usize];
        if let Some(at) = session.subscription(channel) {
            let place = session.subscriptions[at].place as usize;
            self.channels.get_mut(channel).members[place].set(Member::RECOVERS, recovers);
        }
    }

    /// The frame of a publication as the subscriber of `channel` sees it, shared with everyone who does.
    pub(super) fn frame_of(&self, slot: u32, channel: ChannelIx, outgoing: &Outgoing) -> Frame {
        let entry = self.channels.get(channel);
        let variant = self.profile(slot).variant;
        let channels = &outgoing.publication().channels;
        let shown = channels.iter().position(|name| *name == entry.name).unwrap_or_default();
        let encoded = outgoing.frame(variant, shown, &*self.encoder).clone();
        let numbered = self.encoder.numbers(variant).then_some(variant);
        let alone = channels.len() == 1;
        let lane = if alone { Lane::Of(entry.policy.delivery.priority) } else { Lane::Fixed };
        let origin = self.origin(&smallvec::smallvec![(channel, shown as u16)], 0, outgoing);
        Frame { encoded, rule: Some(entry.policy.rule), numbered, lane, origin, hole: false }
    }

    /// Puts a publication into the subscriber's outbox, outside of a walk; false when that was the end of the connection.
    pub(super) fn tell(&mut self, slot: u32, now: Now, rule: RuleIx, frame: Frame) -> bool {
        let endpoint = self.profile(slot).endpoint;
        let frame = self.outboxes.frame(frame);
        let queued = match self.outboxes.push(slot, frame) {
            Pushed::In(dirty) => Queued::In(dirty),
            Pushed::Blocked => self.queue(slot, frame, now),
        };
        match queued {
            Queued::In(_) => self.delivered(endpoint, rule),
            Queued::Dropped | Queued::Overflow => self.counters.drop(rule, slow::REASON, 1),
        }
        if queued == Queued::Overflow {
            self.too_slow(slot, now);
        }
        queued != Queued::Overflow
    }
}
