//! A shard whose channels have policies, clients whose sockets take all, and a clock that stops wherever the shard wants it to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rtgw_hub::access::{Action, Asker, Rules, Verdict, ask};
use rtgw_hub::{Answer, Effect, Fill, GapScope, Input, Opening, Question, Shard, ShardSettings, TurnBudget};
use rtgw_model::{
    Admission, ChannelName, ChannelPolicy, ConnectionId, ConnectionKey, DeliveryPolicy, EndpointIx, Expiry,
    FilterLists, GapReason, Heartbeat, Intent, Micros, Now, OutboxLimits, Outgoing, Principal, Publication,
    Request, RuleIx, Throttle, Timestamp, Variant,
};

use crate::lines::{Lines, VARIANTS};

/// Milliseconds between two publications of a key, on the channels that have such a bound.
pub(crate) const INTERVAL: u32 = 100;
pub(crate) const BATCH: u32 = 20;
/// The tag that the list `ks` of `rate` filters by.
pub(crate) const FILTER: &str = "k";

/// The policies by the channels' names: their order is that of the rules.
pub(crate) const CHANNELS: [&str; 5] = ["plain", "rate", "some", "batch", "both"];

pub(crate) fn policy(channel: &str) -> DeliveryPolicy {
    let throttle = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| Box::from(*tag)).collect();
        Some(Throttle { interval_ms: INTERVAL, tags })
    };
    let some = || Box::from([Box::from("s")]);
    match channel {
        "rate" => DeliveryPolicy { throttle: throttle(&[FILTER]), ..DeliveryPolicy::default() },
        "some" => DeliveryPolicy { throttle: throttle(&["c"]), events: some(), ..DeliveryPolicy::default() },
        "batch" => DeliveryPolicy { batch_ms: BATCH, events: some(), ..DeliveryPolicy::default() },
        "both" => DeliveryPolicy { throttle: throttle(&[]), batch_ms: BATCH, ..DeliveryPolicy::default() },
        _ => DeliveryPolicy::default(),
    }
}

pub(crate) struct Manifest {
    /// Said instead of [`policy`].
    pub(crate) changed: BTreeMap<String, DeliveryPolicy>,
}

impl Rules for Manifest {
    fn decide(
        &self,
        _: Action,
        channel: &ChannelName,
        _: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        let name = channel.as_str();
        let rule = CHANNELS.iter().position(|known| *known == name)?;
        let delivery = self.changed.get(name).cloned().unwrap_or_else(|| policy(name));
        let filters = if name == "rate" { Box::from([("ks".into(), FILTER.into())]) } else { Box::default() };
        let policy = ChannelPolicy {
            rule: RuleIx(rule as u16),
            pattern: name.into(),
            permission: 0,
            filters,
            delivery,
            history: None,
            presence: Default::default(),
        };
        Some((Arc::new(policy), Verdict::Allow))
    }
}

/// One publication as a client heard it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) at: u64,
    pub(crate) number: usize,
    /// By which channel.
    pub(crate) by: String,
}

pub(crate) struct Rig {
    pub(crate) shard: Shard,
    pub(crate) manifest: Manifest,
    pub(crate) now: Now,
    pub(crate) clients: Vec<(ConnectionId, Vec<Heard>)>,
    /// Gaps heard, with how many publications were heard before.
    pub(crate) gaps: Vec<(usize, usize)>,
    budget: TurnBudget,
    principal: Arc<Principal>,
}

impl Rig {
    pub(crate) fn new(clients: usize) -> Self {
        let settings = ShardSettings {
            index: 0,
            endpoints: 1,
            rules: CHANNELS.len(),
            expiry: Expiry { warn_ms: 0, grace_ms: 0 },
            seed: 1,
        };
        let principal = Principal {
            user: "".into(),
            tenant: "".into(),
            claims: "".into(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            query: "".into(),
            expires: None,
        };
        let mut rig = Self {
            shard: Shard::new(settings, Arc::new(Lines)),
            manifest: Manifest { changed: BTreeMap::new() },
            now: Now::default(),
            clients: Vec::new(),
            gaps: Vec::new(),
            budget: TurnBudget { connections: 3, deliveries: 5, bytes: 1_000 },
            principal: Arc::new(principal),
        };
        for _ in 0..clients {
            rig.connect();
        }
        rig
    }

    pub(crate) fn connect(&mut self) {
        let admission = Admission {
            key: ConnectionKey(1),
            endpoint: EndpointIx(0),
            // Shows the channel.
            variant: Variant(1),
            principal: self.principal.clone(),
            greeting: None,
            heartbeat: Heartbeat { interval_ms: 25_000, timeout_ms: 60_000_000, idle_ms: 0 },
            outbox: OutboxLimits { bytes: 1_000_000, messages: 10_000 },
            batch: false,
            rate: None,
            subscriptions: 10,
        };
        let id = self.shard.open(self.now, Opening { admission, auto: Vec::new() });
        self.clients.push((id, Vec::new()));
    }

    /// The client goes away; a new one has its place.
    pub(crate) fn replace(&mut self, client: usize) {
        self.shard.handle(self.now, Input::Gone(self.clients[client].0, None));
        self.connect();
        self.clients.swap_remove(client);
        self.effects();
    }

    pub(crate) fn subscribe(&mut self, client: usize, channel: &str, only: Option<&str>) {
        let filters = only.map(|value| vec![("ks".into(), vec![value.into()])]).unwrap_or_default();
        self.command(
            client,
            Intent::Subscribe {
                channel: channel.into(),
                filters: FilterLists(filters),
                recover: None,
                presence: false,
            },
        );
    }

    pub(crate) fn unsubscribe(&mut self, client: usize, channel: &str) {
        self.command(client, Intent::Unsubscribe { channel: channel.into() });
    }

    fn command(&mut self, client: usize, intent: Intent) {
        let request = Request { id: Some("1".into()), intent };
        self.shard.handle(self.now, Input::Received(self.clients[client].0, Ok(request)));
        self.effects();
        self.turn();
    }

    pub(crate) fn publish(
        &mut self,
        number: usize,
        channels: &[&str],
        event: &str,
        tags: &[(&str, &str)],
        except: Option<usize>,
    ) {
        let publication = Publication {
            channels: channels.iter().map(|channel| ChannelName::parse(channel).unwrap()).collect(),
            event: event.into(),
            data: format!("{number}/{}", channels.join(",")).into(),
            timestamp: Timestamp(0),
            tags: tags.iter().map(|(name, value)| (Box::from(*name), Box::from(*value))).collect(),
            id: None,
            priority: None,
            positions: Default::default(),
            except: except.map(|client| self.clients[client].0),
        };
        let outgoing =
            Arc::new(Outgoing::new(publication, usize::from(VARIANTS), Micros(self.now.at.0 * 1000)));
        self.shard.handle(self.now, Input::Publication(outgoing));
        self.turn();
    }

    pub(crate) fn gap(&mut self) {
        self.shard.handle(self.now, Input::Gap(GapScope::All, GapReason::SourceReconnected));
        self.turn();
    }

    /// Lets time pass, as a loop does that sleeps until something is due.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now.at.plus(ms);
        while let Some(due) = self.shard.next_tick().filter(|due| *due <= until) {
            self.now.at = self.now.at.max(due);
            self.shard.tick(self.now);
            self.turn();
        }
        self.now.at = until;
    }

    /// Lets time pass in which the loop does nothing at all.
    pub(crate) fn stall(&mut self, ms: u64) {
        self.now.at = self.now.at.plus(ms);
    }

    pub(crate) fn turn(&mut self) {
        loop {
            let more = self.shard.advance(self.now, self.budget);
            let mut cork = Vec::new();
            while let Some(connection) = self.shard.next_dirty() {
                loop {
                    cork.clear();
                    match self.shard.fill(connection, &mut cork) {
                        Fill::Cork => self.hear(connection, &cork),
                        Fill::Direct(bytes) => self.hear(connection, &bytes),
                        Fill::Empty | Fill::Finished => break,
                    }
                }
            }
            if !more {
                return;
            }
        }
    }

    fn hear(&mut self, connection: ConnectionId, bytes: &[u8]) {
        let client = self.clients.iter().position(|(id, _)| *id == connection).unwrap();
        for line in String::from_utf8(bytes.to_vec()).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "pub" => {
                    let number = words[1].split('/').next().unwrap().parse().unwrap();
                    let by = words.last().unwrap().to_string();
                    self.clients[client].1.push(Heard { at: self.now.at.0, number, by });
                }
                "gap" => self.gaps.push((client, self.clients[client].1.len())),
                "subscribed" | "unsubscribed" | "ping" => {}
                other => panic!("unexpected {other}: {line}"),
            }
        }
    }

    fn effects(&mut self) {
        loop {
            let effects: Vec<Effect> = self.shard.effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                let input = match effect {
                    Effect::Ask(question) => {
                        let asker = Asker {
                            key: question.key,
                            endpoint: question.endpoint,
                            principal: &question.principal,
                        };
                        let Question::Subscribe(channel) = question.question else { panic!("asked") };
                        let grant = ask(&self.manifest, Action::Subscribe, &channel, &asker);
                        Input::Answered(question.connection, Answer::Subscribe(grant))
                    }
                    Effect::Want(channel, _) => Input::Ready(channel, None),
                    _ => continue,
                };
                self.shard.handle(self.now, input);
            }
        }
    }

    pub(crate) fn numbers(&self, client: usize) -> Vec<usize> {
        self.clients[client].1.iter().map(|heard| heard.number).collect()
    }

    pub(crate) fn superseded(&mut self) -> u64 {
        self.shard.counters().superseded.iter().sum()
    }
}
