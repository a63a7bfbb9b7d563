//! A model of the broker: what it keeps of each channel, and what is on its way to the shard.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use rtgw_hub::{GapScope, Input, Replay};
use rtgw_model::{
    ChannelName, ConnectionId, GapReason, Micros, Outgoing, Position, Positions, Publication, Recover,
    Timestamp,
};

use crate::lines::VARIANTS;

/// What is kept of one channel.
pub(crate) struct Log {
    pub(crate) top: Position,
    kept: VecDeque<(Position, Arc<Outgoing>)>,
    size: usize,
    /// Where it stood when the pod last heard of a gap: what was read before that is given to nobody who asks later.
    broke: Position,
}

/// What the pod is carried of a channel.
struct Carried {
    /// Which wish for it this is.
    generation: u64,
    /// Everything behind it is on its way, or the shard has it; `None` while what is published on the channel comes by others only.
    from: Option<Position>,
    ready: bool,
}

pub(crate) struct Broker {
    logs: BTreeMap<&'static str, Log>,
    carried: BTreeMap<String, Carried>,
    generation: u64,
    /// On its way, in order.
    pub(crate) underway: VecDeque<Input>,
    published: u64,
}

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}

impl Broker {
    pub(crate) fn new(channels: &[&'static str], random: &mut Rng) -> Self {
        let top = Position { offset: 0, epoch: 1 };
        let log = |random: &mut Rng| Log {
            top,
            kept: VecDeque::new(),
            size: if random.bool() { random.usize(1..12) } else { 1_000 },
            broke: top,
        };
        let logs = channels.iter().map(|channel| (*channel, log(random))).collect();
        let (carried, underway) = (BTreeMap::new(), VecDeque::new());
        Self { logs, carried, generation: 0, underway, published: 0 }
    }

    pub(crate) fn top(&self, channel: &str) -> Position {
        self.logs[channel].top
    }

    /// Appends a publication; the channels that are `kept` keep it, and it goes on its way unless that fails.
    pub(crate) fn publish(
        &mut self,
        channels: &[(&'static str, bool)],
        padding: usize,
        except: Option<ConnectionId>,
        arrives: bool,
    ) {
        self.published += 1;
        let positions = channels.iter().map(|(channel, kept)| {
            let top = &mut self.logs.get_mut(channel).unwrap().top;
            top.offset += u64::from(*kept);
            kept.then_some(*top)
        });
        let positions: Positions = positions.collect();
        let names: Vec<&str> = channels.iter().map(|(channel, _)| *channel).collect();
        let text =
            |at: &Option<Position>| at.map_or("-".to_owned(), |at| format!("{}@{}", at.offset, at.epoch));
        let places: Vec<String> = positions.iter().map(text).collect();
        let (names, places) = (names.join(","), places.join(","));
        let data = format!("{}/{names} {places} {}", self.published, "x".repeat(padding));
        let publication = Publication {
            channels: channels.iter().map(|(channel, _)| name(channel)).collect(),
            event: "e".into(),
            data: data.into(),
            timestamp: Timestamp(0),
            tags: Default::default(),
            id: None,
            priority: None,
            positions: positions.clone(),
            except,
        };
        let outgoing = Arc::new(Outgoing::new(publication, usize::from(VARIANTS), Micros(0)));
        for ((channel, _), position) in channels.iter().zip(&positions) {
            let log = self.logs.get_mut(channel).unwrap();
            log.kept.extend(position.map(|position| (position, outgoing.clone())));
            if log.kept.len() > log.size {
                log.kept.pop_front();
            }
        }
        let carried = |channel: &str| self.carried.get(channel).is_some_and(|carried| carried.from.is_some());
        if arrives && channels.iter().any(|(channel, _)| carried(channel)) {
            self.underway.push_back(Input::Publication(outgoing));
        }
    }

    /// Some do not arrive, and the shard is told.
    pub(crate) fn miss(&mut self, channel: &'static str, count: usize) {
        for _ in 0..count {
            self.publish(&[(channel, true)], 0, None, false);
        }
        self.tell(channel, GapReason::Missed);
    }

    /// Forgets everything: offsets begin anew.
    pub(crate) fn reset(&mut self, channel: &'static str) {
        let log = self.logs.get_mut(channel).unwrap();
        log.top = Position { offset: 0, epoch: log.top.epoch + 1 };
        log.kept.clear();
        self.tell(channel, GapReason::BrokerReset);
    }

    fn tell(&mut self, channel: &'static str, reason: GapReason) {
        let top = self.top(channel);
        if let Some(carried) = self.carried.get_mut(channel) {
            // Before that, it does not say that it carries the channel.
            carried.from = carried.from.map(|_| top);
            let scope = GapScope::Channels([name(channel)].into());
            self.underway.push_back(Input::Gap(scope, reason));
        }
    }

    pub(crate) fn reconnect(&mut self) {
        self.underway.push_back(Input::Gap(GapScope::All, GapReason::BrokerReconnected));
    }

    /// Which wish for the channel this is.
    pub(crate) fn want(&mut self, channel: &str) -> u64 {
        self.generation += 1;
        let carried = Carried { generation: self.generation, from: None, ready: false };
        assert!(self.carried.insert(channel.to_owned(), carried).is_none(), "wanted twice");
        self.generation
    }

    pub(crate) fn unwant(&mut self, channel: &str) {
        assert!(self.carried.remove(channel).is_some(), "unwanted unasked");
        // Its receiver drops what was meant for an earlier wish.
        let carried = |name: &ChannelName| self.carried.contains_key(name.as_str());
        self.underway.retain(|input| match input {
            Input::Ready(name, _) => name.as_str() != channel,
            Input::Publication(outgoing) => outgoing.publication().channels.iter().any(carried),
            _ => true,
        });
    }

    /// Begins to carry the channel, unless nobody wants that any more.
    pub(crate) fn carry(&mut self, channel: &str, generation: u64) {
        let top = self.top(channel);
        if let Some(carried) = self.carried.get_mut(channel).filter(|wish| wish.generation == generation) {
            carried.from.get_or_insert(top);
        }
    }

    /// Says that it carries the channel, unless nobody wants that any more.
    pub(crate) fn ready(&mut self, channel: &str, generation: u64, early: bool) {
        self.carry(channel, generation);
        let top = self.top(channel);
        let Some(carried) = self.carried.get_mut(channel) else { return };
        if carried.generation == generation && !carried.ready {
            carried.ready = true;
            let position = if early { carried.from } else { Some(top) };
            self.underway.push_back(Input::Ready(name(channel), position));
        }
    }

    /// The pod hears of a gap.
    pub(crate) fn breaks(&mut self, scope: &GapScope) {
        for (channel, log) in &mut self.logs {
            let concerned = match scope {
                GapScope::Channels(names) => names.iter().any(|name| name.as_str() == *channel),
                GapScope::Rules(_) | GapScope::All => true,
            };
            if concerned {
                log.broke = log.top;
            }
        }
    }

    /// How many of the newest publications may be unknown to who is answered by what others have read shortly before.
    pub(crate) fn unknown(&self, channel: &str, most: u64) -> u64 {
        let log = &self.logs[channel];
        let since = if log.broke.epoch == log.top.epoch { log.top.offset - log.broke.offset } else { 0 };
        most.min(since)
    }

    /// What was kept behind a place when `late` publications fewer had been made.
    pub(crate) fn read(
        &self,
        channel: &str,
        recover: Option<Recover>,
        late: u64,
        random: &mut Rng,
    ) -> Replay {
        let log = &self.logs[channel];
        let top = Position { offset: log.top.offset.saturating_sub(late), ..log.top };
        let nothing = |reaches| Replay { base: [].into(), skip: 0, more: Box::default(), top, reaches };
        let Some(recover) = recover else { return nothing(true) };
        let first = log.kept.front().map_or(log.top.offset + 1, |(first, _)| first.offset);
        let Some(since) = recover.since.filter(|since| {
            since.epoch == top.epoch && since.offset <= top.offset && since.offset + 1 >= first
        }) else {
            return nothing(false);
        };
        let known = || log.kept.iter().filter(|(place, _)| place.offset <= top.offset);
        let all: Vec<Arc<Outgoing>> = known().map(|(_, outgoing)| outgoing.clone()).collect();
        let skip = known().filter(|(place, _)| place.offset <= since.offset).count();
        let cut = random.usize(skip..=all.len());
        Replay { base: all[..cut].into(), skip, more: all[cut..].into(), top, reaches: true }
    }
}
