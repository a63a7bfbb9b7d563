//! Giving a subscriber what it missed, and telling it where it stands.
//!
//! While the past is read, what is published is held for the subscriber. The answer says up to where the past goes; what was held and
//! lies behind that follows it, and what the live stream still brings of the past is passed over. So there is no hole between the two
//! and nothing comes twice, however late the answer and however far it is ahead of what this shard has heard.
//!
//! Nothing that was held is dropped once the channel is carried: where the past cannot be told, the subscriber is told where what was
//! held begins. What another channel brought before that is not known to be all, so it tells nothing of where that is.

mod held;
mod place;

pub(crate) use held::Recoveries;
use held::{Held, Recovery};
use rtgw_model::{ChannelName, CommandId, Event, HistoryMode, Now, Position, Recover};

use crate::Question;
use crate::channels::ChannelIx;
use crate::frame::Frame;
use crate::input::Replay;
use crate::session::InFlight;
use crate::shard::Shard;
use crate::told::ToldIx;

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

impl Shard {
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
        if kept {
            self.reach_again(slot, channel);
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

    pub(crate) fn session_is_open(&self, slot: u32) -> bool {
        self.sessions.get(slot as usize).is_some_and(|session| session.is_open())
    }
}
