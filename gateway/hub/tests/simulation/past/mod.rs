//! Worlds whose channels are remembered: clients come back with places of every kind, and the past comes late, cut, of another epoch or
//! not at all, while the live stream goes on, breaks and begins anew.
//!
//! Each client checks from its bytes alone: behind the place that it was told, every publication comes once and in order, or a gap says
//! where that ends. Who comes back names what another connection was told, so a place that is not exact is found, too.
//!
//! In half of the worlds publications go to several channels: what a client hears by one is no hole in another, and comes once.

mod listener;
mod log;
mod manifest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use listener::{Asked, Listener, Tally};
use log::Broker;
use manifest::{CHANNELS, Manifest};
use rtgw_hub::access::{Action, Asker, ask, by_api, review};
use rtgw_hub::{
    Answer, Control, Effect, Fill, Grant, Input, Opening, Order, Question, Shard, ShardSettings, SweepBudget,
    Target, TurnBudget,
};
use rtgw_model::{
    Admission, ChannelName, ConnectionId, ConnectionKey, DeliveryPolicy, EndpointIx, FilterLists, Heartbeat,
    Intent, Millis, Now, OutboxLimits, Position, Priority, Recover, Request, SlowConsumer, Timestamp,
    Variant,
};

use crate::lines::Lines;
use crate::rules::{EXPIRY, principal};

/// What comes to the shard later.
enum Due {
    Input(Input),
    /// A question for the past that is read only now.
    Read {
        connection: ConnectionId,
        channel: ChannelName,
        recover: Option<Recover>,
        late: u64,
        ticket: u32,
    },
    /// The broker begins to carry a channel.
    Carried(ChannelName, u64),
    /// It says so.
    Ready(ChannelName, u64),
}

struct World {
    seed: u64,
    random: Rng,
    now: Now,
    shard: Shard,
    broker: Broker,
    manifest: Arc<Manifest>,
    listeners: Vec<Listener>,
    /// Places that connections which have gone were told of.
    places: Vec<(&'static str, Position)>,
    due: Vec<(Millis, Due)>,
    outbox: OutboxLimits,
    budget: TurnBudget,
    commands: u64,
    /// Some channels are forgotten by reloads.
    forgets: bool,
    /// The past cannot always be read.
    fails: bool,
    /// The application gives orders.
    orders: bool,
    /// What it ever subscribed everybody to.
    ordered: BTreeSet<&'static str>,
    /// Publications go to several channels.
    several: bool,
    /// Something waits to be carried on.
    backlog: bool,
    quiet: bool,
}

fn delivery(random: &mut Rng) -> DeliveryPolicy {
    let priority = [Priority::High, Priority::Normal, Priority::Low][random.usize(0..3)];
    let slow_consumer =
        if random.u8(0..4) == 0 { SlowConsumer::DropOldest } else { SlowConsumer::Disconnect };
    let batch_ms = if random.u8(0..5) == 0 { random.u32(1..500) } else { 0 };
    DeliveryPolicy { priority, slow_consumer, batch_ms, ..DeliveryPolicy::default() }
}

/// What happens, with `SHOW=1`.
fn show(what: impl FnOnce() -> String) {
    if std::env::var_os("SHOW").is_some() {
        eprintln!("{}", what());
    }
}

fn described(input: &Input) -> String {
    match input {
        Input::Publication(outgoing) => {
            format!("comes {}", String::from_utf8_lossy(&outgoing.publication().data))
        }
        Input::Ready(channel, position) => format!("ready {channel} {position:?}"),
        Input::Gap(scope, reason) => format!("gap {scope:?} {reason:?}"),
        Input::Answered(connection, Answer::Recovered(ticket, replay)) => {
            let replay = replay.as_ref().map(|replay| (replay.top, replay.reaches));
            format!("{connection:?} past {ticket} {replay:?}")
        }
        Input::Answered(connection, answer) => format!("{connection:?} {answer:?}"),
        Input::Reconfigured(_) => "reconfigured".to_owned(),
        _ => String::new(),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let settings = ShardSettings { index: 0, endpoints: 1, rules: 3, expiry: EXPIRY, seed };
        let mut random = Rng::with_seed(seed ^ 0x9a57);
        let small = OutboxLimits { bytes: 3_000, messages: 12 };
        let large = OutboxLimits { bytes: 100_000, messages: 1_000 };
        let manifest = Arc::new(Manifest::first(std::array::from_fn(|_| delivery(&mut random))));
        Self {
            seed,
            now: Now { at: Millis(0), wall: Timestamp(1_700_000_000_000) },
            shard: Shard::new(settings, Arc::new(Lines)),
            broker: Broker::new(&CHANNELS, &mut random),
            manifest,
            listeners: Vec::new(),
            places: Vec::new(),
            due: Vec::new(),
            outbox: if random.bool() { small } else { large },
            budget: TurnBudget {
                connections: random.usize(1..6),
                deliveries: random.usize(1..30),
                bytes: random.usize(1..3_000),
            },
            commands: 0,
            forgets: random.u8(0..4) == 0,
            fails: random.bool(),
            orders: random.u8(0..4) == 0,
            ordered: BTreeSet::new(),
            several: random.bool(),
            backlog: false,
            quiet: false,
            random,
        }
    }

    fn run(mut self) -> (Tally, BTreeMap<&'static str, u64>) {
        for _ in 0..self.random.usize(1..5) {
            self.connect();
        }
        for _ in 0..self.random.usize(30..150) {
            for _ in 0..self.random.usize(0..6) {
                self.act();
            }
            self.turn();
        }
        self.judge()
    }

    fn act(&mut self) {
        let at = self.random.usize(0..self.listeners.len());
        let channel = CHANNELS[self.random.usize(0..CHANNELS.len())];
        match self.random.u8(0..100) {
            0..45 => self.publish(channel),
            45..75 => self.command(at),
            75..79 => self.listeners[at].room = Some(self.random.usize(0..200)),
            79..84 => self.relieve(at),
            84..90 => self.lose(at),
            90..94 => self.connect(),
            94 => {
                let count = self.random.usize(0..3);
                self.broker.miss(channel, count);
            }
            95 => self.broker.reset(channel),
            96 => self.broker.reconnect(),
            97 | 98 => {
                let next = Arc::new(self.manifest.next(&mut self.random, self.forgets));
                self.manifest = next.clone();
                self.later(Due::Input(Input::Reconfigured(next)));
            }
            _ if self.orders => self.order(channel),
            _ => {}
        }
    }

    fn publish(&mut self, channel: &'static str) {
        let ephemeral = self.random.u8(0..12) == 0;
        let except = ephemeral.then(|| self.listeners[0].id);
        let padding = self.random.usize(0..3) * 40;
        let mut channels = vec![channel];
        if self.several && self.random.u8(0..3) == 0 {
            let mut others = CHANNELS.to_vec();
            self.random.shuffle(&mut others);
            others.truncate(self.random.usize(1..=2));
            channels.extend(others.into_iter().filter(|other| *other != channel));
        }
        let kept = |channel| (channel, !ephemeral && self.manifest.keeps(channel));
        let channels: Vec<_> = channels.into_iter().map(kept).collect();
        self.broker.publish(&channels, padding, except, true);
    }

    fn connect(&mut self) {
        let key = ConnectionKey(self.random.u128(..));
        let principal = principal("somebody", "", None);
        let asker = Asker { key, endpoint: EndpointIx(0), principal: &principal };
        let auto = (self.random.u8(0..4) == 0)
            .then(|| ask(&*self.manifest, Action::Subscribe, CHANNELS[0], &asker).ok())
            .flatten();
        let subscribed = auto.is_some();
        let id = self.open(key, Vec::from_iter(auto));
        let mut listener = Listener::new(id, subscribed, self.manifest.yields(), &CHANNELS);
        for channel in &self.ordered {
            listener.expect_by_api(channel);
        }
        self.listeners.push(listener);
        self.effects();
    }

    fn open(&mut self, key: ConnectionKey, auto: Vec<Grant>) -> ConnectionId {
        let admission = Admission {
            key,
            endpoint: EndpointIx(0),
            variant: Variant(0),
            batch: false,
            principal: Arc::new(principal("somebody", "", None)),
            greeting: None,
            heartbeat: Heartbeat { interval_ms: 50_000, timeout_ms: 6_000_000, idle_ms: 0 },
            outbox: self.outbox,
            rate: None,
            subscriptions: 3,
        };
        self.shard.open(self.now, Opening { admission, auto })
    }

    /// A place of any kind: its own, another connection's, too old, of the future, of another epoch, made up.
    fn place(&mut self, at: usize, channel: &'static str) -> Position {
        let top = self.broker.top(channel);
        let own = self.listeners[at].standings[channel].at;
        let known: Vec<Position> =
            self.places.iter().filter(|(name, _)| *name == channel).map(|(_, place)| *place).collect();
        let newest = known.last().copied();
        match self.random.u8(0..12) {
            0 => Position { offset: self.random.u64(0..=top.offset), ..top },
            1 => Position { offset: top.offset + self.random.u64(1..4), ..top },
            2 => Position { epoch: top.epoch + 7, ..top },
            3 if !known.is_empty() => known[self.random.usize(0..known.len())],
            4 => top,
            5..8 => newest.or(own).unwrap_or(top),
            _ => own.or(newest).unwrap_or(top),
        }
    }

    fn command(&mut self, at: usize) {
        let id = self.listeners[at].id;
        if self.listeners[at].gone || !self.shard.may_read(id) {
            return;
        }
        let channel = CHANNELS[self.random.usize(0..CHANNELS.len())];
        let (intent, asked) = match self.random.u8(0..10) {
            0..7 => {
                let recovers = self.random.u8(0..4) > 0;
                let since = (recovers && self.random.u8(0..12) > 0).then(|| self.place(at, channel));
                let recover = recovers.then_some(Recover { since });
                let filters = FilterLists::default();
                let intent = Intent::Subscribe { channel: channel.into(), filters, recover, presence: false };
                self.listeners[at].standings.get_mut(channel).unwrap().awaits = true;
                (intent, Asked::Subscribe { channel, since, recovers })
            }
            7 | 8 => (Intent::Unsubscribe { channel: channel.into() }, Asked::Unsubscribe),
            _ => (Intent::Ping, Asked::Other),
        };
        self.commands += 1;
        show(|| format!("{id:?} asks {} {asked:?}", self.commands));
        self.listeners[at].asked.push_back((self.commands, asked));
        let request = Request { id: Some(self.commands.to_string().into()), intent };
        self.shard.handle(self.now, Input::Received(id, Ok(request)));
        self.effects();
    }

    fn relieve(&mut self, at: usize) {
        self.listeners[at].room = None;
        if std::mem::take(&mut self.listeners[at].blocked) {
            self.shard.writable(self.listeners[at].id);
        }
    }

    /// The connection breaks; another one comes, and may name what this one was told.
    fn lose(&mut self, at: usize) {
        let listener = &mut self.listeners[at];
        if !listener.is_open() {
            return;
        }
        listener.gone = true;
        for (channel, standing) in &listener.standings {
            if let (true, Some(place)) = (standing.holds, standing.at) {
                self.places.push((channel, place));
            }
        }
        self.shard.handle(self.now, Input::Gone(listener.id, None));
        self.effects();
        self.connect();
    }

    fn order(&mut self, channel: &'static str) {
        let order = if self.random.bool() {
            let Ok(grant) = by_api(&*self.manifest, channel) else { return };
            // Also who comes before the order is carried out.
            self.ordered.insert(channel);
            for listener in &mut self.listeners {
                listener.expect_by_api(channel);
            }
            Order::Subscribe(grant)
        } else {
            Order::Unsubscribe(ChannelName::parse(channel).unwrap())
        };
        let target: Target = Arc::new(|_, _| true);
        let tally = rtgw_hub::Tally::new(|_| {});
        self.shard.handle(self.now, Input::Control(Control { target, order, tally }));
    }

    fn later(&mut self, due: Due) {
        let delay = if self.quiet { 0 } else { self.random.u64(0..1_500) };
        self.due.push((self.now.at.plus(delay), due));
    }

    fn effects(&mut self) {
        let effects: Vec<Effect> = self.shard.effects().collect();
        for effect in effects {
            match effect {
                Effect::Ask(question) => self.question(*question),
                Effect::Want(channel, _) => {
                    let generation = self.broker.want(channel.as_str());
                    self.later(Due::Carried(channel.clone(), generation));
                    let never = !self.quiet && self.random.u8(0..8) == 0;
                    if never {
                        // Not before everything comes to rest.
                        self.due.push((Millis(u64::MAX), Due::Ready(channel, generation)));
                    } else {
                        self.later(Due::Ready(channel, generation));
                    }
                }
                Effect::Unwant(channel) => self.broker.unwant(channel.as_str()),
                _ => {}
            }
        }
    }

    fn question(&mut self, asked: rtgw_hub::Ask) {
        let rtgw_hub::Ask { connection, key, endpoint, principal, question } = asked;
        show(|| format!("{connection:?} is asked about: {question:?}"));
        let asker = Asker { key, endpoint, principal: &principal };
        let answer = match question {
            Question::Subscribe(channel) => {
                Answer::Subscribe(ask(&*self.manifest, Action::Subscribe, &channel, &asker))
            }
            Question::Reauthorize(channels) => {
                Answer::Reauthorized(principal.clone(), review(&*self.manifest, &channels, &asker))
            }
            Question::Recover { channel, recover, walked, ticket } => {
                // What others have read shortly before serves, too, while nothing broke.
                let late = walked.map_or(0, |_| self.random.u64(0..4).saturating_sub(1));
                let late = self.broker.unknown(channel.as_str(), late);
                if self.fails && self.random.u8(0..8) == 0 {
                    Answer::Recovered(ticket, None)
                } else if self.random.bool() {
                    return self.later(Due::Read { connection, channel, recover, late, ticket });
                } else {
                    let replay = self.broker.read(channel.as_str(), recover, late, &mut self.random);
                    Answer::Recovered(ticket, Some(replay))
                }
            }
            other => panic!("nobody asks {other:?}"),
        };
        self.later(Due::Input(Input::Answered(connection, answer)));
    }

    fn turn(&mut self) {
        let step = self.random.u64(0..200);
        self.now.at = self.now.at.plus(step);
        self.now.wall.0 += step as i64;
        self.shard.tick(self.now);
        let (now, quiet) = (self.now.at, self.quiet);
        let (due, later) = std::mem::take(&mut self.due).into_iter().partition(|(at, _)| *at <= now || quiet);
        self.due = later;
        for (_, due) in Vec::from_iter::<Vec<(Millis, Due)>>(due) {
            self.happen(due);
        }
        // The broker's stream lags behind what was appended.
        let all = self.broker.underway.len();
        for _ in 0..if quiet { all } else { self.random.usize(0..=all) } {
            let Some(input) = self.broker.underway.pop_front() else { break };
            show(|| described(&input));
            if let Input::Gap(scope, _) = &input {
                self.broker.breaks(scope);
            }
            self.shard.handle(self.now, input);
            self.effects();
        }
        self.shard.sweep(self.now, SweepBudget { steps: 4, reviews: 2 });
        self.effects();
        self.backlog = self.shard.advance(self.now, self.budget);
        self.effects();
        let mut cork = Vec::new();
        while let Some(connection) = self.shard.next_dirty() {
            self.flush(connection, &mut cork);
        }
        self.effects();
        let who = format!("seed {}", self.seed);
        for listener in self.listeners.iter_mut().filter(|listener| !listener.gone) {
            listener.read(&who);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Input(input) => {
                show(|| described(&input));
                self.shard.handle(self.now, input);
            }
            Due::Carried(channel, generation) => {
                show(|| format!("carried {channel}"));
                self.broker.carry(channel.as_str(), generation);
            }
            Due::Ready(channel, generation) => {
                let early = self.random.bool();
                self.broker.ready(channel.as_str(), generation, early);
            }
            Due::Read { connection, channel, recover, late, ticket } => {
                let replay = self.broker.read(channel.as_str(), recover, late, &mut self.random);
                let input = Input::Answered(connection, Answer::Recovered(ticket, Some(replay)));
                show(|| described(&input));
                self.shard.handle(self.now, input);
            }
        }
        self.effects();
    }

    fn flush(&mut self, connection: ConnectionId, cork: &mut Vec<u8>) {
        let at = self.listeners.iter().position(|listener| listener.id == connection).unwrap();
        loop {
            cork.clear();
            let filled = self.shard.fill(connection, cork);
            let bytes = match filled {
                Fill::Empty => return,
                Fill::Finished => {
                    self.listeners[at].closed = true;
                    return;
                }
                Fill::Cork => Bytes::copy_from_slice(cork),
                Fill::Direct(bytes) => bytes,
            };
            let taken = self.listeners[at].write(&bytes);
            if taken < bytes.len() {
                self.listeners[at].blocked = true;
                return self.shard.blocked(self.now, connection, bytes.slice(taken..));
            }
        }
    }

    fn settle(&mut self) {
        self.quiet = true;
        for at in 0..self.listeners.len() {
            self.relieve(at);
        }
        let mut still = 0;
        for _ in 0..5_000 {
            let before: u64 = self.listeners.iter().map(|listener| listener.tally.heard).sum();
            self.turn();
            let after: u64 = self.listeners.iter().map(|listener| listener.tally.heard).sum();
            let rests = before == after
                && self.due.is_empty()
                && self.broker.underway.is_empty()
                && !self.backlog
                && self.shard.waiting_publications() == 0
                && self.shard.holds_nothing_back();
            still = if rests { still + 1 } else { 0 };
            // Gaps and reviews go by steps.
            if still > 20 {
                return;
            }
        }
        panic!("seed {}: never comes to rest", self.seed);
    }

    /// Everything has come to rest: whoever was told that it is subscribed has everything, and nobody waits for an answer.
    fn judge(mut self) -> (Tally, BTreeMap<&'static str, u64>) {
        self.settle();
        self.check_places("at rest");
        for channel in CHANNELS {
            let kept = self.manifest.keeps(channel);
            self.broker.publish(&[(channel, kept)], 0, None, true);
        }
        self.settle();
        self.check_places("behind the last one");
        let mut tally = Tally::default();
        for listener in &self.listeners {
            let Tally { heard, several, recovered, not_recovered, holes, nowhere, taken, slow } =
                listener.tally;
            tally.heard += heard;
            tally.several += several;
            tally.recovered += recovered;
            tally.not_recovered += not_recovered;
            tally.holes += holes;
            tally.nowhere += nowhere;
            tally.taken += taken;
            tally.slow += slow;
            let asked = &listener.asked;
            assert!(!listener.is_open() || asked.is_empty(), "seed {}: never answered: {asked:?}", self.seed);
        }
        let counters = self.shard.counters();
        assert_eq!(counters.outbound_bytes, 0, "seed {}: bytes held for nobody", self.seed);
        let mut ends = BTreeMap::new();
        for ((_, result), count) in &counters.recoveries {
            *ends.entry(*result).or_default() += count;
        }
        (tally, ends)
    }

    fn check_places(&self, when: &str) {
        for listener in self.listeners.iter().filter(|listener| listener.is_open()) {
            for (channel, standing) in &listener.standings {
                let (Some(_), true, false) = (standing.at, standing.holds, standing.hole) else { continue };
                let at = listener.stands(channel).unwrap();
                let top = self.broker.top(channel);
                let who = format!("seed {}: {when}, {:?} on {channel}", self.seed, listener.id);
                assert!(at == top, "{who}: at {at:?} of {top:?}");
            }
        }
    }
}

#[test]
fn no_seed_loses_the_past() {
    let mut tally = Tally::default();
    let mut ends: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in crate::seeds() {
        let (one, results) = World::new(seed).run();
        tally.heard += one.heard;
        tally.several += one.several;
        tally.recovered += one.recovered;
        tally.not_recovered += one.not_recovered;
        tally.holes += one.holes;
        tally.nowhere += one.nowhere;
        tally.taken += one.taken;
        tally.slow += one.slow;
        for (result, count) in results {
            *ends.entry(result).or_default() += count;
        }
    }
    // A simulation in which nothing happens proves nothing.
    if crate::seeds().count() >= 100 {
        eprintln!("{tally:?} {ends:?}");
        assert!(tally.recovered > 1_000 && tally.not_recovered > 1_000 && tally.holes > 100, "{tally:?}");
        assert!(tally.taken > 100 && tally.slow > 10 && tally.several > 1_000, "{tally:?}");
        for result in ["recovered", "not_kept", "unavailable", "unreachable", "gap", "too_much"] {
            assert!(ends.get(result).is_some_and(|count| *count > 10), "{result}: {ends:?}");
        }
    }
}
