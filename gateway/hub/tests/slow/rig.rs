//! A shard whose channels give by their names, and sockets that take so many bytes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use rtgw_hub::access::{Action, Asker, Rules, Verdict, ask};
use rtgw_hub::{Account, Effect, Fill, Input, Opening, Shard, ShardSettings, TurnBudget};
use rtgw_model::{
    Admission, ChannelName, ChannelPolicy, ConnectionId, ConnectionKey, DeliveryPolicy, EndpointIx, Expiry,
    Heartbeat, Intent, Micros, Now, OutboxLimits, Outgoing, Principal, Priority, Publication, Request,
    RuleIx, SlowConsumer, Timestamp, Variant,
};

use crate::lines::{Lines, VARIANTS};

pub(crate) const PLAIN: Variant = Variant(0);
pub(crate) const SHOWN: Variant = Variant(1);
pub(crate) const NUMBERED: Variant = Variant(2);
/// The rules, by the first words of the channels' names.
const RULES: [&str; 4] = ["keep", "drop", "latest", "low"];

pub(crate) const WIDE: OutboxLimits = OutboxLimits { bytes: 10_000_000, messages: 1_000_000 };

/// At most so many messages wait.
pub(crate) fn messages(messages: u32) -> OutboxLimits {
    OutboxLimits { messages, ..WIDE }
}

struct Names;

impl Rules for Names {
    fn decide(
        &self,
        _: Action,
        channel: &ChannelName,
        _: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        let first = channel.as_str().split(':').next()?;
        let rule = RULES.iter().position(|known| *known == first)?;
        let slow_consumer = match first {
            "drop" | "low" => SlowConsumer::DropOldest,
            "latest" => SlowConsumer::LatestPerKey(Box::from(["k".into()])),
            _ => SlowConsumer::Disconnect,
        };
        let priority = if first == "low" { Priority::Low } else { Priority::Normal };
        let policy = ChannelPolicy {
            rule: RuleIx(rule as u16),
            pattern: first.into(),
            permission: 0,
            filters: Box::default(),
            history: None,
            presence: Default::default(),
            delivery: DeliveryPolicy { slow_consumer, priority, ..DeliveryPolicy::default() },
        };
        Some((Arc::new(policy), Verdict::Allow))
    }
}

/// A publication that any number of shards get.
pub(crate) fn publication(channels: &[&str], key: &str, text: &str) -> Arc<Outgoing> {
    let publication = Publication {
        channels: channels.iter().map(|name| ChannelName::parse(name).unwrap()).collect(),
        event: "e".into(),
        data: Bytes::copy_from_slice(text.as_bytes()),
        timestamp: Timestamp(0),
        tags: [("k".into(), key.into())].into_iter().collect(),
        id: None,
        positions: Default::default(),
        priority: None,
        except: None,
    };
    Arc::new(Outgoing::new(publication, usize::from(VARIANTS), Micros(0)))
}

pub(crate) struct Rig {
    pub(crate) shard: Shard,
    pub(crate) account: Arc<Account>,
    /// What each socket still takes; absent: all.
    pub(crate) room: BTreeMap<u32, usize>,
    heard: BTreeMap<u32, Vec<u8>>,
    pub(crate) ended: Vec<u32>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::sharing(0, &Arc::new(Account::new(1, None)))
    }

    /// The shard with this index of those on one account.
    pub(crate) fn sharing(index: u16, account: &Arc<Account>) -> Self {
        let expiry = Expiry { warn_ms: 0, grace_ms: 0 };
        let settings = ShardSettings { index, endpoints: 1, rules: RULES.len(), expiry, seed: 1 };
        let shard = Shard::new(settings, Arc::new(Lines)).on(account.clone());
        Self {
            shard,
            account: account.clone(),
            room: BTreeMap::new(),
            heard: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    pub(crate) fn open(&mut self, channels: &[&str], variant: Variant, outbox: OutboxLimits) -> ConnectionId {
        let principal = Arc::new(Principal {
            user: "".into(),
            tenant: "".into(),
            claims: "".into(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            query: "".into(),
            expires: None,
        });
        let asker = Asker { key: ConnectionKey(0), endpoint: EndpointIx(0), principal: &principal };
        let auto = channels.iter().map(|name| ask(&Names, Action::Subscribe, name, &asker).unwrap());
        let auto = auto.collect();
        let admission = Admission {
            key: ConnectionKey(0),
            endpoint: EndpointIx(0),
            variant,
            batch: false,
            principal,
            greeting: None,
            heartbeat: Heartbeat { interval_ms: 25_000, timeout_ms: 60_000, idle_ms: 0 },
            outbox,
            rate: None,
            subscriptions: 16,
        };
        self.shard.open(Now::default(), Opening { admission, auto })
    }

    /// One that has taken the first three bytes of a ping, and takes nothing any more.
    pub(crate) fn stuck(
        &mut self,
        channels: &[&str],
        variant: Variant,
        outbox: OutboxLimits,
    ) -> ConnectionId {
        let stuck = self.open(channels, variant, outbox);
        self.room.insert(stuck.slot, 3);
        self.ask(stuck);
        self.flush();
        stuck
    }

    /// Sends a ping command, which is answered at once.
    pub(crate) fn ask(&mut self, connection: ConnectionId) {
        let request = Request { id: Some("1".into()), intent: Intent::Ping };
        self.shard.handle(Now::default(), Input::Received(connection, Ok(request)));
    }

    pub(crate) fn unsubscribe(&mut self, connection: ConnectionId, channel: &str) {
        let intent = Intent::Unsubscribe { channel: channel.into() };
        let request = Request { id: Some("1".into()), intent };
        self.shard.handle(Now::default(), Input::Received(connection, Ok(request)));
    }

    pub(crate) fn publish(&mut self, channels: &[&str], key: &str, text: &str) {
        self.take(publication(channels, key, text));
    }

    pub(crate) fn take(&mut self, outgoing: Arc<Outgoing>) {
        self.shard.handle(Now::default(), Input::Publication(outgoing));
        self.turn();
    }

    pub(crate) fn turn(&mut self) {
        let budget = TurnBudget { connections: 1_000, deliveries: 1_000, bytes: 1 << 20 };
        while self.shard.advance(Now::default(), budget) {}
        self.flush();
    }

    /// Writes all that the sockets take.
    pub(crate) fn flush(&mut self) {
        let mut cork = Vec::new();
        while let Some(connection) = self.shard.next_dirty() {
            loop {
                cork.clear();
                let bytes = match self.shard.fill(connection, &mut cork) {
                    Fill::Empty => break,
                    Fill::Finished => {
                        self.ended.push(connection.slot);
                        break;
                    }
                    Fill::Cork => Bytes::copy_from_slice(&cork),
                    Fill::Direct(bytes) => bytes,
                };
                let room = self.room.get_mut(&connection.slot);
                let taken = room.as_ref().map_or(bytes.len(), |room| bytes.len().min(**room));
                self.heard.entry(connection.slot).or_default().extend_from_slice(&bytes[..taken]);
                room.into_iter().for_each(|room| *room -= taken);
                if taken < bytes.len() {
                    self.shard.blocked(Now::default(), connection, bytes.slice(taken..));
                    break;
                }
            }
        }
    }

    /// The socket takes so many bytes more.
    pub(crate) fn take_bytes(&mut self, connection: ConnectionId, room: usize) {
        self.room.insert(connection.slot, room);
        self.shard.writable(connection);
        self.flush();
    }

    /// What the client has read since the last call, once its socket takes all.
    pub(crate) fn read(&mut self, connection: ConnectionId) -> Vec<String> {
        self.room.remove(&connection.slot);
        self.shard.writable(connection);
        self.flush();
        let text = String::from_utf8(self.heard.remove(&connection.slot).unwrap_or_default()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn gone(&mut self, connection: ConnectionId) {
        self.room.remove(&connection.slot);
        self.heard.remove(&connection.slot);
        self.shard.handle(Now::default(), Input::Gone(connection, None));
    }

    /// Shards that are asked to shed.
    pub(crate) fn relieved(&mut self) -> Vec<u16> {
        let asked = |effect| if let Effect::Relieve(shard) = effect { Some(shard) } else { None };
        self.shard.effects().filter_map(asked).collect()
    }

    fn count(counts: &BTreeMap<(u16, &'static str), u64>, rule: &str, reason: &str) -> u64 {
        let rule = RULES.iter().position(|known| *known == rule).unwrap() as u16;
        let of = counts.iter().filter(|((by, why), _)| *by == rule && *why == reason);
        of.map(|(_, count)| count).sum()
    }

    pub(crate) fn dropped(&mut self, rule: &str, reason: &str) -> u64 {
        Self::count(&self.shard.counters().dropped, rule, reason)
    }

    pub(crate) fn gaps(&mut self, rule: &str) -> u64 {
        Self::count(&self.shard.counters().gaps, rule, "slow_consumer")
    }

    pub(crate) fn superseded(&mut self) -> u64 {
        self.shard.counters().superseded.iter().sum()
    }

    pub(crate) fn closed(&mut self, code: u16) -> u64 {
        let closes = &self.shard.counters().closes;
        closes.iter().filter(|((_, of, _), _)| *of == code).map(|(_, count)| count).sum()
    }
}
