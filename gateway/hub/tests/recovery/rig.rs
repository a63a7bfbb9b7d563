//! A shard whose channels are remembered, a publisher that counts, and clients that are asked about.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rtgw_hub::access::{Action, Asker, Rules, Verdict, ask};
use rtgw_hub::{
    Answer, Control, Effect, Fill, Input, Opening, Order, Question, Replay, Shard, ShardSettings,
    SweepBudget, Tally, TurnBudget,
};
use rtgw_model::{
    Admission, ChannelName, ChannelPolicy, ConnectionId, ConnectionKey, DeliveryPolicy, EndpointIx, Expiry,
    FilterLists, GapReason, Heartbeat, HistoryMode, HistoryPolicy, Intent, Micros, Millis, Now, OutboxLimits,
    Outgoing, Position, Principal, Publication, Recover, Request, RuleIx, Throttle, Timestamp, Variant,
};

use crate::lines::{Lines, VARIANTS};

const EXPIRY: Expiry = Expiry { warn_ms: 60_000, grace_ms: 25_000 };

/// Everything is for everybody and kept; what is published on `slow` is held to one in a second.
struct Kept;

impl Rules for Kept {
    fn decide(
        &self,
        _: Action,
        channel: &ChannelName,
        _: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        let throttle = Throttle { interval_ms: 1_000, tags: Box::default() };
        let throttle = (channel.as_str() == "slow").then_some(throttle);
        let history = HistoryPolicy { mode: HistoryMode::Stream, size: 100, ttl_ms: 1_000 };
        let policy = ChannelPolicy {
            rule: RuleIx(0),
            pattern: "{x}".into(),
            permission: 0,
            filters: Box::default(),
            delivery: DeliveryPolicy { throttle, ..DeliveryPolicy::default() },
            history: Some(Arc::new(history)),
            presence: Default::default(),
        };
        Some((Arc::new(policy), Verdict::Allow))
    }
}

pub(crate) fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel).unwrap()
}

pub(crate) fn at(offset: u64) -> Position {
    Position { offset, epoch: 1 }
}

/// A past that tells only where it ends.
pub(crate) fn ends_at(top: Position) -> Replay {
    Replay { base: [].into(), skip: 0, more: Box::default(), top, reaches: true }
}

pub(crate) struct Rig {
    pub(crate) shard: Shard,
    pub(crate) now: Now,
    places: BTreeMap<&'static str, Position>,
    /// The questions for the past that are open.
    tickets: HashMap<ConnectionId, u32>,
    received: HashMap<ConnectionId, String>,
    published: u32,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let settings = ShardSettings { index: 0, endpoints: 1, rules: 1, expiry: EXPIRY, seed: 1 };
        Self {
            shard: Shard::new(settings, Arc::new(Lines)),
            now: Now::default(),
            places: BTreeMap::new(),
            tickets: HashMap::new(),
            received: HashMap::new(),
            published: 0,
        }
    }

    fn principal() -> Principal {
        Principal {
            user: "ann".into(),
            tenant: "".into(),
            claims: "{}".into(),
            ip: [127, 0, 0, 1].into(),
            query: "".into(),
            expires: None,
        }
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        let admission = Admission {
            key: ConnectionKey(1),
            endpoint: EndpointIx(0),
            variant: Variant(0),
            principal: Arc::new(Self::principal()),
            greeting: None,
            heartbeat: Heartbeat { interval_ms: 25_000, timeout_ms: 60_000, idle_ms: 0 },
            outbox: OutboxLimits { bytes: 100_000, messages: 100 },
            batch: false,
            rate: None,
            subscriptions: 10,
        };
        self.shard.open(self.now, Opening { admission, auto: Vec::new() })
    }

    fn effects(&mut self) {
        loop {
            let effects: Vec<Effect> = self.shard.effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                let Effect::Ask(asked) = effect else { continue };
                match asked.question {
                    Question::Subscribe(channel) => {
                        let principal = Self::principal();
                        let (key, endpoint) = (asked.key, asked.endpoint);
                        let asker = Asker { key, endpoint, principal: &principal };
                        let answer = Answer::Subscribe(ask(&Kept, Action::Subscribe, &channel, &asker));
                        self.shard.handle(self.now, Input::Answered(asked.connection, answer));
                    }
                    Question::Recover { ticket, .. } => {
                        self.tickets.insert(asked.connection, ticket);
                    }
                    other => panic!("nobody asks {other:?}"),
                }
            }
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.shard.handle(self.now, input);
        self.effects();
    }

    fn command(&mut self, client: ConnectionId, intent: Intent) {
        self.input(Input::Received(client, Ok(Request { id: Some("1".into()), intent })));
    }

    pub(crate) fn subscribe(&mut self, client: ConnectionId, channel: &str, recover: Option<Recover>) {
        let (channel, filters) = (channel.into(), FilterLists::default());
        self.command(client, Intent::Subscribe { channel, filters, recover, presence: false });
    }

    /// Subscribes, and says that the channel is carried from where it stands.
    pub(crate) fn join(&mut self, client: ConnectionId, channel: &'static str) {
        self.subscribe(client, channel, None);
        self.ready(channel);
        // Of a channel that is held back, the shard cannot tell by itself.
        if self.tickets.contains_key(&client) {
            let top = *self.place(channel);
            self.answer(client, Some(ends_at(top)));
        }
    }

    pub(crate) fn unsubscribe(&mut self, client: ConnectionId, channel: &str) {
        self.command(client, Intent::Unsubscribe { channel: channel.into() });
    }

    /// The application takes the channel away from everybody.
    pub(crate) fn take_away(&mut self, channel: &str) {
        let control = Control {
            target: Arc::new(|_, _| true),
            order: Order::Unsubscribe(name(channel)),
            tally: Tally::new(|_| {}),
        };
        self.input(Input::Control(control));
        self.shard.sweep(self.now, SweepBudget { steps: 100, reviews: 10 });
        self.effects();
    }

    fn place(&mut self, channel: &'static str) -> &mut Position {
        self.places.entry(channel).or_insert(at(0))
    }

    pub(crate) fn ready(&mut self, channel: &'static str) {
        let place = *self.place(channel);
        self.ready_at(channel, Some(place));
    }

    /// The broker carries the channel, from a place on.
    pub(crate) fn ready_at(&mut self, channel: &str, place: Option<Position>) {
        self.input(Input::Ready(name(channel), place));
    }

    /// Publishes a letter; what is not `carried` reaches the histories alone.
    pub(crate) fn publish(&mut self, channels: &[&'static str], carried: bool) {
        let letter = char::from(b'A' + self.published as u8);
        self.published += 1;
        let positions = channels.iter().map(|channel| {
            let place = self.place(channel);
            place.offset += 1;
            Some(*place)
        });
        let publication = Publication {
            positions: positions.collect(),
            channels: channels.iter().map(|channel| name(channel)).collect(),
            event: "e".into(),
            data: letter.to_string().into(),
            timestamp: Timestamp(0),
            tags: Default::default(),
            id: None,
            priority: None,
            except: None,
        };
        if carried {
            let outgoing = Arc::new(Outgoing::new(publication, usize::from(VARIANTS), Micros(0)));
            self.input(Input::Publication(outgoing));
        }
    }

    pub(crate) fn gap(&mut self, channel: &str, reason: GapReason) {
        self.input(Input::Gap(rtgw_hub::GapScope::Channels([name(channel)].into()), reason));
    }

    /// The channel's offsets begin anew.
    pub(crate) fn reset(&mut self, channel: &'static str) {
        let place = self.place(channel);
        *place = Position { offset: 0, epoch: place.epoch + 1 };
        self.gap(channel, GapReason::BrokerReset);
    }

    /// One turn of so many deliveries.
    pub(crate) fn step(&mut self, deliveries: usize) -> bool {
        let budget = TurnBudget { connections: 100, deliveries, bytes: 1 << 20 };
        let more = self.shard.advance(self.now, budget);
        self.effects();
        more
    }

    pub(crate) fn carry(&mut self) {
        while self.step(100) {}
    }

    pub(crate) fn wait(&mut self, milliseconds: u64) {
        self.now.at = Millis(self.now.at.0 + milliseconds);
        self.shard.tick(self.now);
        self.effects();
    }

    pub(crate) fn answer(&mut self, client: ConnectionId, replay: Option<Replay>) {
        let ticket = self.tickets.remove(&client).expect("nobody asked for a past");
        self.input(Input::Answered(client, Answer::Recovered(ticket, replay)));
    }

    /// What the client has read since the last call.
    pub(crate) fn hears(&mut self, client: ConnectionId) -> String {
        let mut cork = Vec::new();
        while let Some(connection) = self.shard.next_dirty() {
            loop {
                cork.clear();
                match self.shard.fill(connection, &mut cork) {
                    Fill::Empty | Fill::Finished => break,
                    Fill::Cork => {
                        let text = std::str::from_utf8(&cork).unwrap();
                        self.received.entry(connection).or_default().push_str(text);
                    }
                    Fill::Direct(_) => panic!("nothing is so large"),
                }
            }
        }
        let lines = self.received.remove(&client).unwrap_or_default();
        lines.lines().collect::<Vec<_>>().join(", ")
    }
}
