//! The world around a shard: clients, sockets, a publisher, answers that come late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fastrand::Rng;
use rtgw_hub::access::{Action, Asker, ask};
use rtgw_hub::{
    Account, Answer, Effect, Fill, GapScope, Input, Opening, Question, Shard, ShardSettings, SweepBudget,
    TurnBudget,
};
use rtgw_model::{
    Admission, ChannelName, CommandName, ConnectionId, ConnectionKey, Denied, EndpointIx, ErrorCode, Event,
    FilterLists, GapReason, Heartbeat, Intent, Micros, Millis, Now, OutboxLimits, Outgoing, Publication,
    Request, RuleIx, Timestamp, Variant,
};

use crate::accounts::Outcome;
use crate::client::{Client, Expectation};
use crate::life::{end, lifetime};
use crate::lines::{Lines, VARIANTS};
use crate::plan::{Plan, event};
use crate::roll::Roll;
use crate::rules::{CHANNELS, EXPIRY, Manifest, Mode, claims, principal};

const OUTBOX: OutboxLimits = OutboxLimits { bytes: 400, messages: 12 };
/// For worlds of large publications: several turns' worth of what is above and below the cork buffer.
const LARGE_OUTBOX: OutboxLimits = OutboxLimits { bytes: 200_000, messages: 64 };
/// Longest publication of such a world, with its frame; the cork buffer holds 16 KiB.
const LARGE: usize = 20_000;

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) random: Rng,
    pub(crate) now: Now,
    pub(crate) shard: Shard,
    pub(crate) account: Arc<Account>,
    /// What those who answer questions have.
    pub(crate) manifest: Arc<Manifest>,
    /// All that ever were.
    pub(crate) manifests: Vec<Arc<Manifest>>,
    pub(crate) modes: BTreeMap<&'static str, BTreeSet<Mode>>,
    pub(crate) clients: Vec<Client>,
    plan: Arc<Plan>,
    /// Answers under way, with the time they arrive.
    pub(crate) answers: Vec<(Millis, Input)>,
    /// The time for those who are called by the shard, and what they noted.
    pub(crate) shared_now: Arc<Mutex<Now>>,
    pub(crate) renewed: Arc<Mutex<Vec<Renewed>>>,
    pub(crate) orders: u64,
    pub(crate) orders_done: Arc<Mutex<u64>>,
    /// When time last made a great leap.
    pub(crate) woke: Millis,
    refreshed: u64,
    /// Reviews without an answer.
    reviews: usize,
    /// The application gives orders.
    ordered: bool,
    /// Channels the broker carries for this shard.
    wanted: BTreeSet<String>,
    /// Commands in the order sent, per connection: what they do when carried out.
    sent: BTreeMap<u64, (usize, Command)>,
    next_command: u64,
    pub(crate) next_publication: u64,
    quiet: bool,
    backlog: bool,
    budget: TurnBudget,
    outbox: OutboxLimits,
    /// Connections whose socket died in this turn's flush, for a loop that ends them behind it.
    dead: Vec<ConnectionId>,
    sweep: SweepBudget,
    sweeping: bool,
    pub(crate) roll: Roll,
}

/// Who was renewed by an order, and when its new credential ends.
pub(crate) type Renewed = (String, Option<Millis>);

#[derive(Clone)]
pub(crate) enum Command {
    Subscribe(String),
    Unsubscribe(String),
    Refresh { good: bool },
    Other,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let settings = ShardSettings { index: 0, endpoints: 1, rules: 4, expiry: EXPIRY, seed };
        let mut random = Rng::with_seed(seed);
        let ordered = random.u8(0..3) == 0;
        let sweep = SweepBudget { steps: random.usize(1..6), reviews: random.usize(1..4) };
        let budget = TurnBudget {
            connections: random.usize(1..12),
            deliveries: random.usize(1..60),
            bytes: random.usize(1..6_000),
        };
        let outbox = if random.u8(0..4) == 0 { LARGE_OUTBOX } else { OUTBOX };
        let plan = Arc::new(Plan::new(&mut random));
        let most = if outbox == LARGE_OUTBOX { 200_000 } else { 4_000 };
        let memory = (random.u8(0..3) == 0).then(|| random.u64(500..most));
        let account = Arc::new(Account::new(1, memory));
        let manifest = Arc::new(Manifest::first(plan.clone()));
        Self {
            seed,
            outbox,
            dead: Vec::new(),
            random,
            now: Now { at: Millis(0), wall: Timestamp(1_700_000_000_000) },
            shard: Shard::new(settings, Arc::new(Lines)).on(account.clone()),
            account,
            plan,
            modes: CHANNELS.into_iter().zip(manifest.modes.map(|mode| BTreeSet::from([mode]))).collect(),
            manifests: vec![manifest.clone()],
            manifest,
            clients: Vec::new(),
            answers: Vec::new(),
            shared_now: Arc::default(),
            renewed: Arc::default(),
            orders: 0,
            orders_done: Arc::default(),
            woke: Millis(0),
            refreshed: 0,
            reviews: 0,
            ordered,
            wanted: BTreeSet::new(),
            sent: BTreeMap::new(),
            next_command: 1,
            next_publication: 1,
            quiet: false,
            backlog: false,
            budget,
            sweep,
            sweeping: false,
            roll: Roll::default(),
        }
    }

    pub(crate) fn run(mut self) -> Outcome {
        for _ in 0..self.random.usize(2..8) {
            self.connect();
        }
        for _ in 0..self.random.usize(50..250) {
            let actions = if self.random.u8(0..10) == 0 { 25 } else { self.random.usize(0..4) };
            for _ in 0..actions {
                self.act();
            }
            self.turn();
        }
        self.settle();
        self.judge()
    }

    fn act(&mut self) {
        let client = self.random.usize(0..self.clients.len());
        match self.random.u8(0..100) {
            0..45 => self.publish(),
            45..70 => self.command(client),
            70..80 => self.hinder(client),
            80..90 => self.relieve(client),
            90..93 => self.connect(),
            93..94 => self.lose(client),
            94..95 => self.doom(client),
            95 => self.gap(),
            96 => match self.random.u8(0..4) {
                0 | 1 => self.reconfigure(),
                2 if self.ordered => self.order(),
                3 if self.random.u8(0..4) == 0 => self.set_clock(),
                _ => {}
            },
            _ => self.shard.handle(self.now, Input::WirePing(self.clients[client].id, Box::from(&b"x"[..]))),
        }
    }

    fn connect(&mut self) {
        let variant = Variant(self.random.u8(0..VARIANTS));
        let batch = self.random.u8(0..4) == 0;
        let (user, claims) = (format!("user-{}", self.clients.len()), claims(&mut self.random));
        let expires = lifetime(&mut self.random).map(|ms| self.now.wall.0 + ms);
        let principal = Arc::new(principal(&user, &claims, expires));
        let admission = Admission {
            key: ConnectionKey(self.random.u128(..)),
            endpoint: EndpointIx(0),
            variant,
            batch,
            principal: principal.clone(),
            greeting: Some(Bytes::from_static(b"hello")),
            heartbeat: Heartbeat { interval_ms: 5_000, timeout_ms: 600_000, idle_ms: 0 },
            outbox: self.outbox,
            rate: None,
            subscriptions: 3,
        };
        let key = admission.key;
        let asker = Asker { key, endpoint: admission.endpoint, principal: &principal };
        // Admitted under a configuration that may have been replaced meanwhile.
        let late = self.random.usize(0..self.manifests.len().min(3));
        let manifest = &self.manifests[self.manifests.len() - 1 - late];
        let auto =
            self.random.bool().then(|| ask(&**manifest, Action::Subscribe, "a", &asker).ok()).flatten();
        let subscribed = auto.is_some();
        let id = self.shard.open(self.now, Opening { admission, auto: Vec::from_iter(auto) });
        let mut client = Client::new(id, key, user, claims, variant.0 == 2, batch, self.plan.clone());
        client.ends.push(end(&principal, self.now));
        if subscribed {
            client.view.insert("a".into());
            client.channels.insert("a".into(), Expectation { subscribed: true, ..Expectation::default() });
        }
        self.clients.push(client);
        self.effects();
    }

    fn publish(&mut self) {
        let mut channels: Vec<&str> = CHANNELS[..3].to_vec();
        self.random.shuffle(&mut channels);
        channels.truncate(if self.random.u8(0..5) == 0 { self.random.usize(2..=3) } else { 1 });
        if channels.iter().any(|channel| self.wanted.contains(*channel)) {
            self.publish_to(&channels);
        }
    }

    pub(crate) fn publish_to(&mut self, channels: &[&str]) {
        let number = self.next_publication;
        self.next_publication += 1;
        let large = self.outbox == LARGE_OUTBOX && self.random.u8(0..3) == 0;
        let padding =
            if large { self.random.usize(4_000..LARGE - 100) } else { self.random.usize(0..3) * 20 };
        let padding = "x".repeat(padding);
        for client in self.clients.iter_mut().filter(|client| !client.finished && client.close_code.is_none())
        {
            for channel in channels {
                if let Some(expectation) = client.channels.get_mut(*channel)
                    && expectation.subscribed
                {
                    let key = self.plan.key(channel, number);
                    // A newer one of the same key may have taken its place.
                    expectation.required.retain(|_, known| key.is_none() || *known != key);
                    expectation.required.insert(number, key);
                }
            }
        }
        if std::env::var("SHOW").is_ok() {
            eprintln!("{number} {channels:?}");
        }
        let publication = Publication {
            channels: channels.iter().map(|channel| ChannelName::parse(channel).unwrap()).collect(),
            event: event(number).into(),
            data: format!("{number}/{} {padding}", channels.join(",")).into(),
            timestamp: Timestamp(0),
            tags: Default::default(),
            id: None,
            priority: None,
            positions: Default::default(),
            except: None,
        };
        let outgoing =
            Arc::new(Outgoing::new(publication, usize::from(VARIANTS), Micros(self.now.at.0 * 1000)));
        self.shard.handle(self.now, Input::Publication(outgoing));
    }

    fn command(&mut self, at: usize) {
        let id = self.clients[at].id;
        if self.clients[at].finished || !self.shard.may_read(id) {
            return;
        }
        let channel = CHANNELS[self.random.usize(0..CHANNELS.len())];
        let (intent, command) = match self.random.u8(0..10) {
            0..5 => {
                let intent = Intent::Subscribe {
                    channel: channel.into(),
                    filters: FilterLists::default(),
                    recover: None,
                    presence: self.clients[at].asks_to_be_told(&mut self.random, channel),
                };
                (intent, Command::Subscribe(channel.to_owned()))
            }
            5..7 => {
                (Intent::Unsubscribe { channel: channel.into() }, Command::Unsubscribe(channel.to_owned()))
            }
            7 => {
                let data = Bytes::from_static(b"{}");
                let intent = Intent::Publish {
                    channel: channel.into(),
                    event: "e".into(),
                    data,
                    ephemeral: false,
                    idempotency_key: None,
                };
                (intent, Command::Other)
            }
            8 if self.random.bool() => {
                let name = CommandName::declare("ask");
                (Intent::Command { name, data: Bytes::from_static(b"{}") }, Command::Other)
            }
            8 => self.refresh_command(at),
            _ => (Intent::Ping, Command::Other),
        };
        let number = self.next_command;
        self.next_command += 1;
        self.clients[at].asked.push_back(number);
        self.clients[at].channels.entry(channel.to_owned()).or_default();
        match &command {
            Command::Subscribe(channel) => {
                self.clients[at].subscribing.insert(number, channel.clone());
                self.clients[at].channels.entry(channel.clone()).or_default().silenced = false;
            }
            // From the moment an unsubscribe is sent, what waits for the channel may be dropped.
            Command::Unsubscribe(channel) => self.clients[at].forgive(channel),
            Command::Refresh { good } => {
                self.clients[at].refreshing.insert(number, *good);
                self.refreshed += u64::from(*good);
            }
            Command::Other => {}
        }
        self.sent.insert(number, (at, command));
        let request = Request { id: Some(number.to_string().into()), intent };
        self.shard.handle(self.now, Input::Received(id, Ok(request)));
        self.effects();
    }

    fn hinder(&mut self, at: usize) {
        if !self.clients[at].blocked {
            self.clients[at].room = Some(self.random.usize(0..120));
        }
    }

    fn relieve(&mut self, at: usize) {
        let room = if self.random.bool() { None } else { Some(self.random.usize(1..200)) };
        self.clients[at].room = room;
        if std::mem::take(&mut self.clients[at].blocked) {
            self.shard.writable(self.clients[at].id);
        }
    }

    fn lose(&mut self, at: usize) {
        if !self.clients[at].finished {
            self.clients[at].finished = true;
            self.shard.handle(self.now, Input::Gone(self.clients[at].id, None));
        }
    }

    /// The socket will die inside a flush, at the first write or between two.
    fn doom(&mut self, at: usize) {
        self.clients[at].dies_at = Some(self.random.u32(1..4));
    }

    fn gap(&mut self) {
        let scope = if self.random.bool() { GapScope::All } else { GapScope::Rules(Box::new([RuleIx(0)])) };
        self.shard.handle(self.now, Input::Gap(scope, GapReason::SourceReconnected));
    }

    /// One turn of an I/O loop.
    fn turn(&mut self) {
        let leap = !self.quiet && self.random.u8(0..200) == 0;
        let step = if leap { 4_000 } else { self.random.u64(0..200) };
        self.now.at = self.now.at.plus(step);
        self.now.wall.0 += step as i64;
        if leap {
            self.woke = self.now.at;
        }
        *self.shared_now.lock().unwrap() = self.now;
        self.shard.tick(self.now);
        let now = self.now.at;
        let (due, later) =
            std::mem::take(&mut self.answers).into_iter().partition(|(at, _)| *at <= now || self.quiet);
        self.answers = later;
        for (_, input) in Vec::from_iter::<Vec<(Millis, Input)>>(due) {
            if let Input::Answered(connection, answer) = &input {
                self.reviews -= usize::from(matches!(answer, Answer::Reauthorized(..)));
                self.note_refresh(*connection, answer);
            }
            self.shard.handle(self.now, input);
            self.effects();
        }
        self.sweeping = self.shard.sweep(self.now, self.sweep);
        self.effects();
        self.backlog = self.shard.advance(self.now, self.budget);
        let mut cork = Vec::new();
        while let Some(connection) = self.shard.next_dirty() {
            self.flush(connection, &mut cork);
        }
        for connection in std::mem::take(&mut self.dead) {
            self.shard.handle(self.now, Input::Gone(connection, None));
        }
        self.effects();
        for client in &mut self.clients {
            client.read(self.seed);
        }
        self.observe_subscriptions();
        self.check_expiry();
        let open = self.clients.iter().filter(|client| !client.finished).count();
        let held = self.shard.counters().outbound_bytes;
        // Each socket may hold its outbox, what one write took and the socket refused, a control frame and the close frame.
        let frame = if self.outbox == LARGE_OUTBOX { LARGE } else { 100 };
        let most = open as u64
            * (u64::from(self.outbox.bytes) + frame as u64 * (self.budget.deliveries as u64 * 2 + 30));
        assert!(held <= most, "seed {}: {held} bytes held for {open} connections", self.seed);
        let used = self.account.used();
        let budget = self.account.budget().unwrap_or(u64::MAX);
        assert!(used <= budget, "seed {}: {used} bytes held, {budget} allowed", self.seed);
    }

    fn flush(&mut self, connection: ConnectionId, cork: &mut Vec<u8>) {
        let at = self.clients.iter().position(|client| client.id == connection).unwrap();
        for write in 1.. {
            cork.clear();
            let bytes = match self.shard.fill(connection, cork) {
                Fill::Empty => return,
                Fill::Finished => {
                    self.clients[at].finished = true;
                    return;
                }
                Fill::Cork => Bytes::copy_from_slice(cork),
                Fill::Direct(bytes) => bytes,
            };
            self.clients[at].count(&bytes);
            if self.clients[at].dies_at.is_some_and(|dies_at| write >= dies_at) {
                self.clients[at].finished = true;
                // Either kind of loop: one that ends the session at once, one that does behind the walk.
                if self.random.bool() {
                    self.shard.handle(self.now, Input::Gone(connection, None));
                } else {
                    self.dead.push(connection);
                }
                return;
            }
            let taken = self.clients[at].write(&bytes);
            if taken < bytes.len() {
                self.clients[at].blocked = true;
                self.shard.blocked(self.now, connection, bytes.slice(taken..));
                return;
            }
        }
    }

    /// Answers of the shard that its clients have read tell which commands were carried out.
    fn observe_subscriptions(&mut self) {
        let carried_out: Vec<u64> = self
            .sent
            .iter()
            .filter(|(id, (at, _))| !self.clients[*at].asked.contains(id))
            .map(|(id, _)| *id)
            .collect();
        for id in carried_out {
            let Some((at, command)) = self.sent.remove(&id) else { continue };
            let later_unsubscribe = |channel: &str| {
                self.sent.values().any(|(other, command)| {
                    *other == at && matches!(command, Command::Unsubscribe(name) if name == channel)
                })
            };
            if let Command::Subscribe(channel) = &command
                && self.clients[at].heard_subscribed(id)
                && self.clients[at].view.contains(channel)
                && !later_unsubscribe(channel)
                && let Some(expectation) = self.clients[at].channels.get_mut(channel)
            {
                expectation.subscribed = true;
            }
        }
    }

    fn effects(&mut self) {
        let effects: Vec<Effect> = self.shard.effects().collect();
        for effect in effects {
            let delay = if self.quiet { 0 } else { self.random.u64(0..2_000) };
            match effect {
                Effect::Ask(question) => {
                    let asker = Asker {
                        key: question.key,
                        endpoint: question.endpoint,
                        principal: &question.principal,
                    };
                    let answer = match question.question {
                        Question::Refresh { token, held } => self.judge_token(&asker, &token, &held),
                        Question::Reauthorize(channels) => {
                            self.reviews += 1;
                            assert!(
                                self.reviews <= self.sweep.reviews,
                                "seed {}: too many reviews",
                                self.seed
                            );
                            let review = self.review(&asker, &channels);
                            Answer::Reauthorized(question.principal.clone(), review)
                        }
                        Question::Subscribe(channel) => {
                            Answer::Subscribe(ask(&*self.manifest, Action::Subscribe, &channel, &asker))
                        }
                        Question::Publish { channel, .. } => {
                            Answer::Published(match ChannelName::parse(&channel) {
                                Ok(channel) => Ok((channel, None, None)),
                                Err(_) => Err(Denied::new(ErrorCode::BadRequest, "bad")),
                            })
                        }
                        Question::Presence { .. } => unreachable!("no client asks"),
                        Question::Recover { .. } | Question::History { .. } => panic!("no channel keeps any"),
                        Question::Command { .. } => Answer::Command(if self.random.bool() {
                            Ok(Event::Acknowledged(Bytes::from_static(b"1")))
                        } else {
                            Err(Denied::new(ErrorCode::NotAvailable, "nothing"))
                        }),
                    };
                    let input = Input::Answered(question.connection, answer);
                    self.answers.push((self.now.at.plus(delay), input));
                }
                Effect::Present(present) => self.arrives(&present),
                Effect::Absent(key, channel) => self.goes(key, &channel),
                Effect::Want(channel, _) => {
                    assert!(self.wanted.insert(channel.to_string()), "seed {}: wanted twice", self.seed);
                    self.answers.push((self.now.at.plus(delay), Input::Ready(channel, None)));
                }
                Effect::Unwant(channel) => {
                    assert!(self.wanted.remove(channel.as_str()), "seed {}: unwanted unasked", self.seed);
                }
                Effect::Relieve(shard) => panic!("seed {}: there is no shard {shard}", self.seed),
                Effect::Resume(_) => {}
            }
        }
    }

    /// Lets everything come to rest: sockets take all, answers arrive.
    pub(crate) fn settle(&mut self) {
        self.quiet = true;
        for at in 0..self.clients.len() {
            self.clients[at].room = None;
            if std::mem::take(&mut self.clients[at].blocked) {
                self.shard.writable(self.clients[at].id);
            }
        }
        for _ in 0..50_000 {
            let before: usize = self.clients.iter().map(|client| client.heard.len()).sum();
            self.turn();
            let after: usize = self.clients.iter().map(|client| client.heard.len()).sum();
            let resting = !self.backlog && !self.sweeping && self.shard.holds_nothing_back();
            if before == after && self.answers.is_empty() && resting {
                return self.turn();
            }
        }
        panic!("seed {}: never comes to rest", self.seed);
    }

    fn judge(mut self) -> Outcome {
        self.judge_identities();
        let mut outcome = Outcome {
            delivered: 0,
            slow_consumers: 0,
            joined: 0,
            superseded: 0,
            lost: 0,
            expired: 0,
            taken: 0,
            refreshed: self.refreshed,
            arrivals: self.clients.iter().map(|client| client.arrivals).sum(),
            holes: 0,
            shed: 0,
        };
        self.roll.judge(self.seed, &self.manifest, &self.clients);
        for client in &self.clients {
            outcome.delivered += client.heard.len() as u64;
            outcome.taken += client.lost.len() as u64;
            outcome.joined += client.joined;
            outcome.holes += client.seen_holes;
            for channel in &client.lost {
                let modes = &self.modes[channel.as_str()];
                assert!(client.may_lose(channel, modes), "seed {}: {channel} lost for nothing", self.seed);
            }
            match client.close_code {
                Some(4430) => outcome.slow_consumers += 1,
                Some(4401) if client.ends.iter().any(Option::is_some) => outcome.expired += 1,
                Some(4403) if client.ordered_away => {}
                Some(1013) if self.account.budget().is_some() => outcome.shed += 1,
                Some(code) => panic!("seed {}: closed with {code}", self.seed),
                None if client.finished => {}
                None => {
                    assert!(
                        client.asked.is_empty(),
                        "seed {}: never answered: {:?}",
                        self.seed,
                        client.asked
                    );
                    for (channel, expectation) in &client.channels {
                        let lost = &expectation.required;
                        let told = expectation.hole || lost.is_empty();
                        assert!(told, "seed {}: {channel} silently lost {lost:?}", self.seed);
                    }
                }
            }
        }
        self.judge_accounts(&mut outcome);
        outcome
    }
}
