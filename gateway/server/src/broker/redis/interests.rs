//! Which channels this pod carries, and how far each has been delivered: decided without I/O.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use rtgw_model::{ChannelName, Position};
use rtgw_protocol::pods::{Place, Stamp};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::super::Generation;

/// How long a channel that nobody wants any more is still heard: who reloads a page or follows a link wants it again at once.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The channels of a pod and the shard's epoch as the pod has heard it, in the order of what it hears.
#[derive(Default)]
pub(super) struct Interests {
    /// Clients choose names, so the hash is keyed.
    channels: HashMap<ChannelName, Interest>,
    /// To be subscribed.
    pending: VecDeque<ChannelName>,
    /// Left, by the time at which they end.
    leaving: VecDeque<(Instant, ChannelName)>,
    epoch: Option<u64>,
    /// Of the last publication that was heard in this epoch.
    last: u64,
}

struct Interest {
    /// `None`: nobody wants it any more.
    wanted: Option<Generation>,
    answered: bool,
    /// Redis has confirmed the subscription on this connection.
    carried: bool,
    keeps: bool,
    /// Everything up to here has been delivered.
    place: Option<Place>,
    ends: Option<Instant>,
}

/// A channel that is carried, to be told to whoever wanted it.
pub(super) type Ready = (ChannelName, Generation, Option<Position>);

/// Publications of a channel that did not arrive: those between two offsets, both exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) channel: ChannelName,
    pub(super) behind: Place,
    pub(super) before: u64,
}

/// What a publication or a standing brings to light.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Channels whose positions count no more.
    pub(super) reset: Vec<ChannelName>,
    pub(super) holes: Vec<Hole>,
    /// Redis gives out again what it has given out before.
    pub(super) went_back: bool,
    /// The shard's epoch is another one than before.
    pub(super) new_epoch: bool,
}

/// What to do with a publication.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is new and somebody wants it.
    Deliver,
    /// It is a copy, was delivered before, or nobody wants it.
    Skip,
    /// The holes come first; then it is asked again.
    Wait,
}

impl Interests {
    /// Somebody wants the channel. The answer, where it is carried already.
    pub(super) fn want(
        &mut self,
        channel: ChannelName,
        generation: Generation,
        keeps: bool,
    ) -> Option<Ready> {
        match self.channels.entry(channel) {
            Entry::Occupied(mut known) => {
                let name = known.key().clone();
                let interest = known.get_mut();
                (interest.wanted, interest.answered, interest.ends) = (Some(generation), false, None);
                interest.keeps = keeps;
                let ready = interest.answer(self.epoch)?;
                Some((name, ready.0, ready.1))
            }
            Entry::Vacant(free) => {
                self.pending.push_back(free.key().clone());
                free.insert(Interest {
                    wanted: Some(generation),
                    answered: false,
                    carried: false,
                    keeps,
                    place: None,
                    ends: None,
                });
                None
            }
        }
    }

    /// Nobody wants it any more.
    pub(super) fn unwant(&mut self, channel: &ChannelName, now: Instant) {
        let Some(interest) = self.channels.get_mut(channel) else { return };
        let ends = now + LINGER;
        (interest.wanted, interest.ends) = (None, Some(ends));
        self.leaving.push_back((ends, channel.clone()));
    }

    /// A new connection carries nothing yet: everything is to be subscribed again.
    pub(super) fn begin(&mut self) {
        self.channels.retain(|_, interest| interest.wanted.is_some());
        self.channels.values_mut().for_each(|interest| interest.carried = false);
        self.leaving.clear();
        self.pending = self.channels.keys().cloned().collect();
    }

    /// The next channels to subscribe, at most `most`.
    pub(super) fn take_pending(&mut self, most: usize) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(channel) = self.pending.pop_front()
        {
            if self.channels.get(&channel).is_some_and(|interest| !interest.carried) {
                taken.push(channel);
            }
        }
        taken
    }

    /// Channels to give up now, at most `most`.
    pub(super) fn take_left(&mut self, most: usize, now: Instant) -> Vec<ChannelName> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((ends, _)) = self.leaving.front()
            && *ends <= now
        {
            let Some((ends, channel)) = self.leaving.pop_front() else { break };
            if self.channels.get(&channel).is_some_and(|interest| interest.ends == Some(ends)) {
                self.channels.remove(&channel);
                taken.push(channel);
            }
        }
        // A wave of leavers gives its memory back.
        if self.channels.capacity() > 1024 && self.channels.len() < self.channels.capacity() / 8 {
            self.channels.shrink_to(self.channels.len() * 2);
        }
        taken
    }

    /// Redis confirms a subscription.
    pub(super) fn subscribed(&mut self, channel: &ChannelName) -> Option<Ready> {
        let interest = self.channels.get_mut(channel)?;
        interest.carried = true;
        let (generation, position) = interest.answer(self.epoch)?;
        Some((channel.clone(), generation, position))
    }

    /// Whether somebody was told that the channel is carried, and it keeps nothing that could be read later.
    pub(super) fn was_promised(&self, channel: &ChannelName) -> bool {
        self.channels.get(channel).is_some_and(|interest| interest.answered && !interest.keeps)
    }

    /// Of these, those that keep history.
    pub(super) fn kept(&self, channels: Vec<ChannelName>) -> Vec<ChannelName> {
        let keeps = |name: &ChannelName| self.channels.get(name).is_some_and(|interest| interest.keeps);
        channels.into_iter().filter(keeps).collect()
    }

    /// Those that somebody wants.
    pub(super) fn wanted(&self) -> Vec<(ChannelName, Generation)> {
        let wanted = |(name, interest): (&ChannelName, &Interest)| Some((name.clone(), interest.wanted?));
        self.channels.iter().filter_map(wanted).collect()
    }

    /// Those that somebody wants and was not told to be carried.
    pub(super) fn unanswered(&self) -> Vec<ChannelName> {
        let unanswered = |(name, interest): (&ChannelName, &Interest)| {
            (interest.wanted.is_some() && !interest.answered).then(|| name.clone())
        };
        self.channels.iter().filter_map(unanswered).collect()
    }

    /// Whether everything that was promised to somebody is carried.
    pub(super) fn keeps_promises(&self) -> bool {
        self.channels
            .values()
            .all(|interest| interest.carried || !interest.answered || interest.wanted.is_none())
    }

    /// Every channel.
    pub(super) fn all(&self) -> Vec<ChannelName> {
        self.channels.keys().cloned().collect()
    }

    /// Notes which of these keep history by the configuration of now; gives those that do and are carried.
    pub(super) fn keep(&mut self, channels: Vec<(ChannelName, bool)>) -> Vec<ChannelName> {
        let mut carried = Vec::new();
        for (name, keeps) in channels {
            let Some(interest) = self.channels.get_mut(&name) else { continue };
            interest.keeps = keeps;
            if !keeps {
                interest.place = None;
            } else if interest.carried {
                carried.push(name);
            }
        }
        carried
    }

    /// Those that were promised to somebody and keep nothing that could be read later.
    pub(super) fn unkept(&self) -> Vec<ChannelName> {
        let unkept = |(name, interest): (&ChannelName, &Interest)| {
            (interest.answered && !interest.keeps).then(|| name.clone())
        };
        self.channels.iter().filter_map(unkept).collect()
    }

    /// Where a channel stands of which everything has been delivered.
    pub(super) fn position(&self, channel: &ChannelName) -> Option<Position> {
        let interest = self.channels.get(channel)?;
        Some(interest.place?.position(self.epoch?))
    }

    /// The shard's epoch, and the last number that was heard in it.
    pub(super) fn heard_so_far(&self) -> (Option<u64>, u64) {
        (self.epoch, self.last)
    }

    /// Where a channel stands, as the broker counts.
    pub(super) fn place(&self, channel: &ChannelName) -> Option<Place> {
        self.channels.get(channel)?.place
    }

    /// Judges what was heard. Unless it has to wait, it counts as delivered from then on.
    pub(super) fn hear(&mut self, channels: &[ChannelName], stamp: &Stamp) -> (Verdict, Findings) {
        let mut findings = self.enter(stamp.id.epoch);
        // One message is sent to each of its channels: the copies follow each other.
        if stamp.id.sequence == self.last {
            return (Verdict::Skip, findings);
        }
        findings.went_back = stamp.id.sequence < self.last;
        for (name, place) in places(channels, stamp) {
            let Some(interest) = self.channels.get_mut(name) else { continue };
            let Some(at) = interest.place else { continue };
            if at.salt != place.salt {
                interest.place = None;
                findings.reset.push(name.clone());
            } else if place.offset <= at.offset {
                findings.went_back = true;
            } else if place.offset > at.offset + 1 {
                findings.holes.push(Hole { channel: name.clone(), behind: at, before: place.offset });
            }
        }
        if !findings.went_back && !findings.holes.is_empty() {
            return (Verdict::Wait, findings);
        }
        findings.holes.clear();
        self.last = stamp.id.sequence;
        (self.pass(channels, stamp), findings)
    }

    /// A publication that was read from a history because it did not arrive.
    pub(super) fn repair(&mut self, channels: &[ChannelName], stamp: &Stamp) -> Verdict {
        let reached = |(name, place): (&ChannelName, Place)| {
            let at = self.channels.get(name).and_then(|interest| interest.place);
            at.is_some_and(|at| at.salt == place.salt && place.offset <= at.offset)
        };
        let known = self.epoch != Some(stamp.id.epoch) || places(channels, stamp).any(reached);
        if known { Verdict::Skip } else { self.pass(channels, stamp) }
    }

    fn pass(&mut self, channels: &[ChannelName], stamp: &Stamp) -> Verdict {
        for (name, place) in places(channels, stamp) {
            if let Some(interest) = self.channels.get_mut(name) {
                interest.place = Some(place);
            }
        }
        let wanted = |name| self.channels.get(name).is_some_and(|interest| interest.wanted.is_some());
        if channels.iter().any(wanted) { Verdict::Deliver } else { Verdict::Skip }
    }

    /// What is before `before` has been delivered, or told as missed.
    pub(super) fn close(&mut self, hole: &Hole) {
        let Some(interest) = self.channels.get_mut(&hole.channel) else { return };
        if let Some(place) = &mut interest.place
            && place.salt == hole.behind.salt
        {
            place.offset = place.offset.max(hole.before.saturating_sub(1));
        }
    }

    /// Compares with where the shard and `channels` stand.
    pub(super) fn stand(
        &mut self,
        epoch: u64,
        sequence: u64,
        channels: &[ChannelName],
        places: &[Place],
    ) -> Findings {
        let mut findings = self.enter(epoch);
        findings.went_back = sequence < self.last;
        self.last = self.last.max(sequence);
        for (name, place) in channels.iter().zip(places) {
            let Some(interest) = self.channels.get_mut(name) else { continue };
            match interest.place {
                None => interest.place = Some(*place),
                Some(at) if at.salt != place.salt => {
                    interest.place = Some(*place);
                    findings.reset.push(name.clone());
                }
                Some(at) if place.offset > at.offset => {
                    let before = place.offset + 1;
                    findings.holes.push(Hole { channel: name.clone(), behind: at, before });
                }
                Some(at) => findings.went_back |= place.offset < at.offset,
            }
        }
        findings
    }

    /// Of these, those that can be answered now.
    pub(super) fn answers(&mut self, channels: &[ChannelName]) -> Vec<Ready> {
        let mut ready = Vec::new();
        for name in channels {
            let Some(interest) = self.channels.get_mut(name) else { continue };
            if let Some((generation, position)) = interest.answer(self.epoch) {
                ready.push((name.clone(), generation, position));
            }
        }
        ready
    }

    /// Positions of another epoch count no more.
    fn enter(&mut self, epoch: u64) -> Findings {
        let mut findings = Findings::default();
        let before = self.epoch.replace(epoch);
        if before == Some(epoch) {
            return findings;
        }
        self.last = 0;
        findings.new_epoch = before.is_some();
        for (name, interest) in &mut self.channels {
            if interest.place.take().is_some() {
                findings.reset.push(name.clone());
            }
        }
        findings
    }
}

impl Interest {
    /// Once for each wish: as soon as the channel is carried, and its place is known where it keeps history.
    fn answer(&mut self, epoch: Option<u64>) -> Option<(Generation, Option<Position>)> {
        let generation = self.wanted?;
        let position = epoch.and_then(|epoch| Some(self.place?.position(epoch)));
        if self.answered || !self.carried || (self.keeps && position.is_none()) {
            return None;
        }
        self.answered = true;
        Some((generation, position))
    }
}

/// Channels of a publication that keep history, and its places there.
fn places<'a>(
    channels: &'a [ChannelName],
    stamp: &'a Stamp,
) -> impl Iterator<Item = (&'a ChannelName, Place)> {
    stamp.places.iter().filter_map(|(at, place)| Some((channels.get(usize::from(*at))?, *place)))
}

/// Channels of a publication that stand in its way: what is missing of them has to be delivered before it.
pub(super) fn missing_before(
    interests: &Interests,
    channels: &[ChannelName],
    stamp: &Stamp,
    known: &HashSet<ChannelName>,
) -> SmallVec<[Hole; 1]> {
    let hole = |(name, place): (&ChannelName, Place)| {
        let behind = interests.place(name)?;
        let missing = behind.salt == place.salt && place.offset > behind.offset + 1 && !known.contains(name);
        missing.then(|| Hole { channel: name.clone(), behind, before: place.offset })
    };
    places(channels, stamp).filter_map(hole).collect()
}
