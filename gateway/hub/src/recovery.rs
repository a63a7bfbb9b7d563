//! Giving a subscriber what it missed, and telling it where it stands.
//!
//! While the past is read, what is published is held for the subscriber. The answer says up to where the past goes; what was held and
//! lies behind that follows it, and what the live stream still brings of the past is passed over. So there is no hole between the two
//! and nothing comes twice, however late the answer and however far it is ahead of what this shard has heard.
//!
//! Nothing that was held is dropped: where the past cannot be told, the subscriber is told where what was held begins.

use std::collections::HashMap;
use std::sync::Arc;

use rtgw_model::{
    ChannelName, CommandId, Event, GapReason, HistoryMode, Now, Outgoing, Position, Recover, RuleIx,
};

use crate::Question;
use crate::channels::{ChannelIx, Member, is_behind};
use crate::frame::{Frame, Lane};
use crate::input::Replay;
use crate::outbox::Pushed;
use crate::session::InFlight;
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
    open: HashMap<(u32, ChannelIx), Recovery>,
    tickets: u32,
    /// Held more than they may.
    overfull: Vec<(u32, ChannelIx)>,
}

#[derive(Debug)]
enum Recovery {
    /// The past is not known yet.
    Holding(Holding),
    /// The past was told further than the live stream has come.
    Ahead(Ahead),
}

/// Up to where the past was told. What the live stream still brings of it is passed over.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    top: Position,
    /// The live stream has come to where another epoch begins. Before that, what is of another one is older than the past.
    epoch: bool,
    /// A gap came since.
    gap: bool,
}

impl Ahead {
    fn to(top: Position) -> Self {
        Self { top, epoch: false, gap: false }
    }

    fn passes_over(self, at: Position) -> bool {
        if at.epoch == self.top.epoch { at.offset <= self.top.offset } else { !self.epoch }
    }

    fn meets(&mut self, reason: GapReason) {
        self.gap = true;
        self.epoch |= may_end_epoch(reason);
    }
}

/// Whether another epoch may begin behind a gap. Of a full inbox nobody knows what was dropped.
fn may_end_epoch(reason: GapReason) -> bool {
    matches!(reason, GapReason::BrokerReset | GapReason::InboxFull)
}

/// What a publication that is held counts for.
fn cost(outgoing: &Outgoing) -> usize {
    outgoing.publication().data.len() + OVERHEAD
}

#[derive(Debug, Default)]
struct Holding {
    /// It has been told so far already, by an answer before.
    ahead: Option<Ahead>,
    held: Vec<Held>,
    bytes: usize,
    /// A gap is among what is held.
    gap: bool,
}

#[derive(Debug)]
enum Held {
    /// With its channel's index in its list, and with whom it has reached where it has several.
    Publication(Arc<Outgoing>, u16, Option<ToldIx>),
    Gap(GapReason),
}

impl Held {
    fn told(&self) -> Option<ToldIx> {
        match self {
            Self::Publication(_, _, told) => *told,
            Self::Gap(_) => None,
        }
    }
}

/// A subscribe whose channel is carried, and who was subscribed by it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) id: Option<CommandId>,
    pub(crate) recover: Option<Recover>,
    /// The subscription began with this command.
    pub(crate) fresh: bool,
    /// More came before the channel was carried than could be held.
    pub(crate) too_much: bool,
}

/// A question for the past that is open.
#[derive(Debug)]
pub(crate) struct Recovering {
    pub(crate) arrival: Arrival,
    pub(crate) channel: ChannelName,
    pub(crate) ticket: u32,
    /// What this shard has begun to carry when it asked: the past must go so far.
    walked: Option<Position>,
}

/// How a wish to recover ended; the label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Recovered,
    NotKept,
    Unavailable,
    Unreachable,
    Gap,
    TooMuch,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NotKept => "not_kept",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::Gap => "gap",
            Self::TooMuch => "too_much",
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
    fn ahead(&self, slot: u32, channel: ChannelIx) -> Option<Ahead> {
        match self.open.get(&(slot, channel))? {
            Recovery::Holding(holding) => holding.ahead,
            Recovery::Ahead(ahead) => Some(*ahead),
        }
    }

    fn holds(&self, slot: u32, channel: ChannelIx) -> bool {
        matches!(self.open.get(&(slot, channel)), Some(Recovery::Holding(_)))
    }

    fn take(&mut self, slot: u32, channel: ChannelIx) -> Option<Recovery> {
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

    /// A subscription holds and its channel is carried: answers, at once or when the past is known. True while that is waited for.
    pub(crate) fn arrive(&mut self, slot: u32, now: Now, channel: ChannelIx, arrival: Arrival) -> bool {
        let entry = self.channels.get(channel);
        let (name, rule) = (entry.name.clone(), entry.policy.rule);
        let kept = entry.policy.history.is_some();
        let (stood, walked) = (self.stands(slot, channel), self.walked(slot, channel));
        if kept && !arrival.too_much && (arrival.recover.is_some() || stood.is_none()) {
            self.hold(slot, channel);
            self.recoveries.tickets = self.recoveries.tickets.wrapping_add(1);
            let ticket = self.recoveries.tickets;
            let question =
                Question::Recover { channel: name.clone(), recover: arrival.recover, walked, ticket };
            let open = Recovering { arrival, channel: name, ticket, walked };
            self.ask(slot, InFlight::Recover(Box::new(open)), question);
            return true;
        }
        let Arrival { id, recover, too_much, .. } = arrival;
        if recover.is_some() {
            let outcome = if too_much { Outcome::TooMuch } else { Outcome::NotKept };
            self.counters.recovery(rule, outcome.as_str());
        }
        let position = stood.filter(|_| kept);
        let event = Event::Subscribed { channel: name, position, recovered: recover.map(|_| false) };
        self.reply(slot, now, id, "subscribe", event);
        // Held for a wish that a reload has made void.
        if self.session_is_open(slot) {
            self.release_held(slot, now, channel);
        }
        false
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
                part.into_iter().for_each(|part| told.end(*part));
            }
            stays
        });
    }

    /// How far this shard was given the channel, or has told the subscriber of it.
    fn walked(&self, slot: u32, channel: ChannelIx) -> Option<Position> {
        let (stood, ahead) = (self.channels.get(channel).stood, self.recoveries.ahead(slot, channel));
        match (stood, ahead) {
            (Some(stood), Some(Ahead { top, .. })) if stood.epoch == top.epoch => {
                Some(if stood.offset > top.offset { stood } else { top })
            }
            // Of which epoch the live stream is now is not known.
            (stood, ahead) => ahead.filter(|ahead| !ahead.epoch).map(|ahead| ahead.top).or(stood),
        }
    }

    /// What the subscriber has, and nothing behind it; `None` where that is not known.
    fn stands(&self, slot: u32, channel: ChannelIx) -> Option<Position> {
        let entry = self.channels.get(channel);
        let gap = self.recoveries.ahead(slot, channel).is_some_and(|ahead| ahead.gap);
        // A walk that pauses may have come to it or not; behind a gap, the next publication says where the channel is.
        let known = !entry.walked && (entry.stood.is_some() || !gap);
        self.walked(slot, channel).filter(|_| known)
    }

    /// The same for who asked nothing: not known while the past is.
    pub(crate) fn stands_openly(&self, slot: u32, channel: ChannelIx) -> Option<Position> {
        let kept = self.channels.get(channel).policy.history.is_some();
        self.stands(slot, channel).filter(|_| kept && !self.recoveries.holds(slot, channel))
    }

    /// The past is known, or will not be: answers, and goes on with what was held.
    pub(crate) fn recovered(&mut self, slot: u32, now: Now, open: Recovering, replay: Option<&Replay>) {
        let Recovering { arrival: Arrival { id, recover, .. }, channel: name, walked, .. } = open;
        let Some(channel) = self.channels.find(name.as_str()) else { return };
        let entry = self.channels.get(channel);
        let (rule, policy) = (entry.policy.rule, entry.policy.history.clone());
        let stood = self.stands(slot, channel);
        let Some(Recovery::Holding(holding)) = self.recoveries.open.get(&(slot, channel)) else { return };
        let frames = match replay {
            None => Err(Outcome::Unavailable),
            Some(_) if holding.gap => Err(Outcome::Gap),
            Some(replay) if !replay.reaches || !replay.follows(walked) => Err(Outcome::Unreachable),
            Some(replay) => self.past(slot, channel, replay, holding.bytes).ok_or(Outcome::TooMuch),
        };
        if recover.is_some() {
            let outcome = frames.as_ref().err().copied().unwrap_or(Outcome::Recovered);
            self.counters.recovery(rule, outcome.as_str());
        }
        let current = policy.is_some_and(|policy| matches!(policy.mode, HistoryMode::Cache(_)));
        let (position, past) = match (frames, replay) {
            (Ok(frames), Some(replay)) if recover.is_some() => {
                let since = recover.and_then(|recover| recover.since).filter(|_| !current);
                (Some(since.unwrap_or(replay.top)), Some((frames, replay.top)))
            }
            _ => (None, None),
        };
        let recovered = recover.map(|_| past.is_some());
        let replay = replay.filter(|replay| replay.follows(walked));
        let position = position.or_else(|| self.begins(slot, channel, stood, replay));
        let event = Event::Subscribed { channel: name, position, recovered };
        self.reply(slot, now, id, "subscribe", event);
        if !self.session_is_open(slot) {
            return;
        }
        let top = match past {
            Some((frames, top)) => {
                if !frames.into_iter().all(|frame| self.tell(slot, now, rule, frame)) {
                    return;
                }
                Some(top)
            }
            // Nothing else is known of where it stands.
            None => position.filter(|_| stood.is_none()),
        };
        self.go_on(slot, now, channel, top);
    }

    /// Where the subscriber stands to whom the past is not told: before the first that was held and that no other channel has brought.
    fn begins(
        &self,
        slot: u32,
        channel: ChannelIx,
        stood: Option<Position>,
        replay: Option<&Replay>,
    ) -> Option<Position> {
        let generation = self.sessions[slot as usize].generation;
        let heard = |told: &Option<ToldIx>| {
            told.is_some_and(|at| self.shapers.told.has_reached(at, slot, generation))
        };
        let held = match self.recoveries.open.get(&(slot, channel)) {
            Some(Recovery::Holding(holding)) => holding.held.iter().find_map(|held| match held {
                Held::Publication(outgoing, shown, told) if !heard(told) => {
                    outgoing.publication().position(usize::from(*shown))
                }
                Held::Publication(..) | Held::Gap(_) => None,
            }),
            _ => None,
        };
        let before = held.map(|first| Position { offset: first.offset.saturating_sub(1), ..first });
        before.or(stood).or_else(|| replay.map(|replay| replay.top))
    }

    /// The frames of the past that the subscriber wants; `None` where they are more than its outbox takes.
    fn past(&self, slot: u32, channel: ChannelIx, replay: &Replay, held: usize) -> Option<Vec<Frame>> {
        let session = &self.sessions[slot as usize];
        let filter = session.subscription(channel).and_then(|at| session.subscriptions[at].filter.as_deref());
        let limits = self.profile(slot).outbox;
        let waiting = self.outboxes.pressing_bytes(slot);
        let mut room = (limits.bytes as usize).saturating_sub(waiting + held);
        // A blocked socket may hold some already.
        let most = if waiting > 0 { limits.messages / 2 } else { limits.messages } as usize;
        let mut frames = Vec::new();
        for outgoing in replay.publications() {
            let publication = outgoing.publication();
            if filter.is_some_and(|filter| !filter.matches(publication)) {
                continue;
            }
            let frame = self.frame_of(slot, channel, outgoing);
            room = room.checked_sub(frame.bytes().len())?;
            if frames.len() >= most {
                return None;
            }
            frames.push(frame);
        }
        Some(frames)
    }

    /// The frame of a publication as the subscriber of `channel` sees it, shared with everyone who does.
    fn frame_of(&self, slot: u32, channel: ChannelIx, outgoing: &Outgoing) -> Frame {
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
    fn tell(&mut self, slot: u32, now: Now, rule: RuleIx, frame: Frame) -> bool {
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

    /// Tells what was held, and passes the live stream on: at once, or when it has come to where the past ended.
    fn go_on(&mut self, slot: u32, now: Now, channel: ChannelIx, top: Option<Position>) {
        let Some(Recovery::Holding(Holding { ahead, held, .. })) = self.recoveries.take(slot, channel) else {
            return;
        };
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

    /// Whether what was held is to be told now: it is `wanted`, and no other channel has brought it. It is held no more.
    fn falls_to(&mut self, slot: u32, told: Option<ToldIx>, wanted: bool) -> bool {
        let Some(at) = told else { return wanted };
        let generation = self.sessions[slot as usize].generation;
        let first = wanted && self.shapers.told.reach(at, slot, generation);
        self.shapers.told.end(at);
        first
    }

    fn release_held(&mut self, slot: u32, now: Now, channel: ChannelIx) {
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

    /// Gives up the past of those for whom too much is held; when a walk pauses.
    pub(crate) fn relieve_overfull(&mut self, now: Now) {
        for (slot, channel) in std::mem::take(&mut self.recoveries.overfull) {
            let Some(session) = self.sessions.get_mut(slot as usize).filter(|session| session.is_open())
            else {
                continue;
            };
            let generation = session.generation;
            let entry = self.channels.get_mut(channel);
            let mut waiters = entry.waiters.iter_mut().filter(|waiter| !waiter.by_api);
            if let Some(waiter) =
                waiters.find(|waiter| (waiter.slot, waiter.generation) == (slot, generation))
            {
                // It has not been told that it is subscribed, and hears what comes as others do who wait for that.
                waiter.too_much = true;
                self.release_held(slot, now, channel);
                continue;
            }
            let Some(commands) = session.commands.as_mut() else { continue };
            match std::mem::replace(&mut commands.in_flight, InFlight::Publish { id: None }) {
                InFlight::Recover(open) if open.channel == entry.name => {
                    self.give_up(slot, now, channel, *open);
                    if self.session_is_open(slot) {
                        self.proceed(slot, now);
                    }
                }
                other => commands.in_flight = other,
            }
        }
    }

    fn give_up(&mut self, slot: u32, now: Now, channel: ChannelIx, open: Recovering) {
        let entry = self.channels.get(channel);
        let rule = entry.policy.rule;
        let stood = self.stands(slot, channel);
        let Arrival { id, recover, .. } = open.arrival;
        if recover.is_some() {
            self.counters.recovery(rule, Outcome::TooMuch.as_str());
        }
        let position = self.begins(slot, channel, stood, None);
        let recovered = recover.map(|_| false);
        self.reply(
            slot,
            now,
            id,
            "subscribe",
            Event::Subscribed { channel: open.channel, position, recovered },
        );
        if self.session_is_open(slot) {
            self.go_on(slot, now, channel, None);
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

    pub(crate) fn session_is_open(&self, slot: u32) -> bool {
        self.sessions.get(slot as usize).is_some_and(|session| session.is_open())
    }
}
