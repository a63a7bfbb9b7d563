//! The shard: sessions, channels, outboxes and timers under one roof; the life of a connection from `open` to its last frame.

use std::sync::Arc;

use rtgw_model::{
    ChannelPolicy, ConnectionId, Encoder, Event, Expiry, Message, Micros, Millis, Now, RuleIx,
    UnsubscribeReason,
};
use slab::Slab;

use crate::access::Revision;
use crate::account::Account;
use crate::channels::{ChannelIx, Channels, Member};
use crate::control::Controls;
use crate::counters::Counters;
use crate::fanout::Fanouts;
use crate::frame::Frame;
use crate::outbox::{Outboxes, Pushed};
use crate::recovery::Recoveries;
use crate::review::{Reviews, Standing};
use crate::session::{Holding, Profile, Session, Subscription, WAITING_COMMANDS, replace};
use crate::shaping::Shapers;
use crate::slow::{Marker, Queued};
use crate::wheel::Wheel;
use crate::{Effect, Fill, Grant, Input, Opening};

/// Room kept for the publications that a turn finishes; a burst's room is given back.
const FINISHED_ROOM: usize = 4_096;

/// Fixed properties of a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardSettings {
    /// Its index.
    pub index: u16,
    /// Number of endpoints, for the counters.
    pub endpoints: usize,
    /// Number of channel rules, for the counters.
    pub rules: usize,
    /// When holders of ending credentials are told and closed.
    pub expiry: Expiry,
    /// Seed of heartbeat phases and eviction delays.
    pub seed: u64,
}

/// What one turn of the loop may do before sockets are polled again.
#[derive(Clone, Copy, Debug)]
pub struct TurnBudget {
    /// Connections made dirty.
    pub connections: usize,
    /// Frames put into outboxes.
    pub deliveries: usize,
    /// Their bytes, as far as they go to sockets at once: copying large frames takes longer than the calls.
    pub bytes: usize,
}

/// What one turn of the loop may do of what concerns many connections.
#[derive(Clone, Copy, Debug)]
pub struct SweepBudget {
    /// Sessions or channels looked at, by the orders and again by the reviews; a look at a session may read its claims.
    pub steps: usize,
    /// Reviews of sessions that may be open at a time: a hundred thousand members must not become as many tasks at once.
    pub reviews: usize,
}

/// One I/O shard's state.
pub struct Shard {
    pub(crate) settings: ShardSettings,
    pub(crate) encoder: Arc<dyn Encoder>,
    pub(crate) sessions: Slab<Session>,
    /// By slot, outliving its tenants.
    pub(crate) generations: Vec<u32>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) channels: Channels,
    pub(crate) outboxes: Outboxes,
    pub(crate) marker: Option<Marker>,
    /// Until the pod holds so much, there is nothing to shed here.
    pub(crate) look_again_at: u64,
    pub(crate) fanouts: Fanouts,
    pub(crate) shapers: Shapers,
    pub(crate) wheel: Wheel,
    pub(crate) effects: Vec<Effect>,
    pub(crate) counters: Counters,
    pub(crate) random: fastrand::Rng,
    /// Where the next eviction begins.
    pub(crate) evict_from: usize,
    /// When the process last went on after it had stood still.
    pub(crate) woke: Option<Millis>,
    pub(crate) recoveries: Recoveries,
    pub(crate) reviews: Reviews,
    pub(crate) controls: Controls,
}

impl Shard {
    /// An empty shard.
    pub fn new(settings: ShardSettings, encoder: Arc<dyn Encoder>) -> Self {
        Self {
            settings,
            encoder,
            sessions: Slab::new(),
            generations: Vec::new(),
            profiles: Vec::new(),
            channels: Channels::default(),
            outboxes: Outboxes::new(Arc::new(Account::new(1, None))),
            marker: None,
            look_again_at: 0,
            fanouts: Fanouts::default(),
            shapers: Shapers::default(),
            wheel: Wheel::new(),
            effects: Vec::new(),
            counters: Counters::new(settings.endpoints, settings.rules),
            random: fastrand::Rng::with_seed(settings.seed),
            evict_from: 0,
            woke: None,
            recoveries: Recoveries::default(),
            reviews: Reviews::default(),
            controls: Controls::default(),
        }
    }

    /// The same, whose outboxes are on an account with those of other shards.
    #[must_use]
    pub fn on(mut self, account: Arc<Account>) -> Self {
        self.outboxes = Outboxes::new(account);
        self
    }

    /// Adopts a connection: the greeting is the first message, auto-subscriptions hold at once.
    pub fn open(&mut self, now: Now, opening: Opening) -> ConnectionId {
        let Opening { admission, auto } = opening;
        let profile = Profile::of(&admission);
        let profile_ix = self.profiles.iter().position(|known| *known == profile).unwrap_or_else(|| {
            self.profiles.push(profile.clone());
            self.profiles.len() - 1
        });
        let slot = self.sessions.vacant_key();
        if slot == self.generations.len() {
            self.generations.push(0);
        }
        let generation = self.generations[slot];
        let session = Session::new(&admission, profile_ix as u16, generation, now, profile.rate);
        let ends = session.ends;
        self.sessions.insert(session);
        let slot = slot as u32;
        self.outboxes.open(slot);
        self.grow(usize::from(profile.endpoint.0) + 1, 0);
        self.counters.connections[usize::from(profile.endpoint.0)] += 1;
        // The first heartbeat falls anywhere in its interval, so that a reconnect storm does not become a heartbeat storm.
        let interval = u64::from(profile.heartbeat.interval_ms);
        let first = interval / 2 + self.random.u64(0..=interval / 2);
        let idle = Some(profile.heartbeat.idle_ms).filter(|idle| *idle > 0).map_or(first, u64::from);
        let first = now.at.plus(first.min(idle));
        let first = self.warning(ends).map_or(first, |warning| warning.min(first));
        self.sessions[slot as usize].look = self.wheel.insert(first, slot, generation);
        if let Some(greeting) = admission.greeting {
            self.say(slot, now, None, Event::Greeting(greeting));
        }
        for grant in &auto {
            let held = self.channels.find(grant.channel().as_str());
            let session = &self.sessions[slot as usize];
            // Two templates may give one name.
            if held.is_none_or(|held| session.subscription(held).is_none()) {
                self.subscribe_automatically(slot, now, grant);
            }
        }
        let connection = ConnectionId { shard: self.settings.index, slot, generation };
        self.review_later(connection);
        connection
    }

    fn subscribe_automatically(&mut self, slot: u32, now: Now, grant: &Grant) {
        let (policy, granted) = match self.standing(grant) {
            Standing::Holds(policy, granted) => (policy, granted),
            // Admitted before a reload, adopted after it: asked again at once.
            Standing::Outdated(policy) => (policy, Revision::NONE),
            Standing::Undeclared => {
                let reason = Some(UnsubscribeReason::PermissionChanged);
                let event = Event::Unsubscribed { channel: grant.channel().clone(), reason };
                return self.say(slot, now, None, event);
            }
        };
        let holding = Holding { granted, auto: true, by_api: grant.by_api(), filter: None };
        self.join(slot, grant, &policy, holding);
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Received(connection, request) => self.receive(now, connection, request),
            Input::Heard(connection) => self.heard(now, connection),
            Input::WirePing(connection, payload) => {
                self.heard(now, connection);
                if self.open_session(connection) {
                    let variant = self.profile(connection.slot).variant;
                    self.outboxes.push_control(connection.slot, self.encoder.pong(variant, &payload));
                }
            }
            Input::Answered(connection, answer) => self.answered(now, connection, answer),
            Input::Close(connection, close) => {
                if self.open_session(connection) {
                    self.close(connection.slot, now, &close);
                }
            }
            Input::Gone(connection, code) => self.gone(connection, code),
            Input::Announced(announced) => self.enqueue_arrival(announced),
            Input::Unheard => self.enqueue_unheard(now),
            Input::Publication(outgoing) => self.enqueue_publication(now, outgoing),
            Input::Gap(scope, reason) => self.enqueue_gap(&scope, reason, now),
            Input::Ready(channel, position) => self.enqueue_ready(&channel, position, now),
            Input::Reconfigured(lookup) => self.reconfigure(lookup),
            Input::Control(control) => self.enqueue_control(control),
            Input::Relieve => {
                self.outboxes.account.heed(self.settings.index);
                self.relieve(now);
            }
            Input::Evict { count, spread_ms } => self.evict(now, count, spread_ms),
        }
    }

    /// Goes on with what concerns many connections, bounded per turn: orders of the application, reviews after a reload. True when
    /// there is more to do at once.
    pub fn sweep(&mut self, now: Now, budget: SweepBudget) -> bool {
        // Both, whatever the first says.
        self.control(now, budget) | self.review(now, budget)
    }

    /// The next connection with bytes to write, each once; call until `None` after every turn. A socket that dies while it is written
    /// is told by [`Input::Gone`], at once or after the last call.
    pub fn next_dirty(&mut self) -> Option<ConnectionId> {
        while let Some(slot) = self.outboxes.next_dirty() {
            if let Some(session) = self.sessions.get(slot as usize) {
                return Some(ConnectionId {
                    shard: self.settings.index,
                    slot,
                    generation: session.generation,
                });
            }
        }
        None
    }

    /// Takes bytes of a connection's outbox. `cork` comes in empty; at most about 16 KiB are appended. Call again after writing them,
    /// until [`Fill::Empty`] or [`Fill::Finished`], or until the socket blocks.
    pub fn fill(&mut self, connection: ConnectionId, cork: &mut Vec<u8>) -> Fill {
        let Some(session) = self.sessions.get_mut(connection.slot as usize) else { return Fill::Empty };
        if session.generation != connection.generation {
            return Fill::Empty;
        }
        let batch = self.profiles[usize::from(session.profile)].batch;
        // What a socket left of an earlier frame goes first and stays as it is.
        let begun = if batch { self.outboxes.begun(connection.slot) } else { 0 };
        let mut fill = self.outboxes.fill(connection.slot, cork, &mut session.sequence, &*self.encoder);
        if batch {
            fill = join(&*self.encoder, fill, cork, begun);
            if !matches!(fill, Fill::Direct(_)) {
                self.outboxes.copied();
            }
        }
        match fill {
            Fill::Finished => self.forget(connection.slot),
            Fill::Empty if session.paused => self.resume(connection.slot),
            _ => {}
        }
        fill
    }

    /// The socket takes bytes again.
    pub fn writable(&mut self, connection: ConnectionId) {
        if self.is_current(connection) {
            self.outboxes.writable(connection.slot);
        }
    }

    /// Whether the connection's commands are taken; false while too many wait for an answer or too much waits to be written. After a
    /// `false`, [`Effect::Resume`] says when to go on.
    pub fn may_read(&mut self, connection: ConnectionId) -> bool {
        if !self.is_current(connection) {
            return false;
        }
        let may = self.has_room(connection.slot);
        if let Some(session) = self.sessions.get_mut(connection.slot as usize) {
            session.paused = !may;
        }
        may
    }

    /// Takes the effects since the last call, oldest first.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// The counters.
    pub fn counters(&mut self) -> &Counters {
        self.counters.outbound_bytes = self.outboxes.queued() as u64;
        self.counters.waiting_publications = self.waiting_publications() as u64;
        self.counters.held_bytes = self.shapers.held_bytes() as u64;
        self.counters.channels.fill(0);
        for (_, channel) in self.channels.iter() {
            if let Some(count) = self.counters.channels.get_mut(usize::from(channel.policy.rule.0)) {
                *count += 1;
            }
        }
        &self.counters
    }

    /// Publications that [`Shard::advance`] has not carried to all their members yet, those of open batches included; cheap, for every
    /// turn.
    pub fn waiting_publications(&self) -> usize {
        self.fanouts.waiting() + self.shapers.batched()
    }

    /// Whether no channel holds a publication back or remembers one for its rate.
    pub fn holds_nothing_back(&self) -> bool {
        self.shapers.is_empty()
    }

    /// Whether publications have been carried to all their members since [`Shard::written`]; cheap, for every turn.
    pub fn has_fanned_out(&self) -> bool {
        !self.fanouts.finished.is_empty()
    }

    /// What the turn carried to outboxes has been written, or its sockets are full: counts how long that took since each publication
    /// was heard. `at` is read then, not when the turn began, because most of a fan-out's time is its writes.
    pub fn written(&mut self, at: Micros) {
        for (rule, heard) in self.fanouts.finished.drain(..) {
            self.counters.fanned_out(rule, at.since(heard));
        }
        self.fanouts.finished.shrink_to(FINISHED_ROOM);
    }

    /// Open and closing connections.
    pub fn connections(&self) -> usize {
        self.sessions.len()
    }

    fn has_room(&self, slot: u32) -> bool {
        let Some(session) = self.sessions.get(slot as usize) else { return false };
        let commands = session.commands.as_ref().map_or(0, |commands| commands.waiting.len());
        // Half the bound: answers to what is already decoded must still fit, so that a client that asks faster than it reads is
        // slowed down instead of closed.
        let half = self.profile(slot).outbox.bytes as usize / 2;
        commands < WAITING_COMMANDS && self.outboxes.pressing_bytes(slot) <= half
    }

    pub(crate) fn resume(&mut self, slot: u32) {
        if !self.has_room(slot) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(slot as usize)
            && session.paused
        {
            session.paused = false;
            let connection =
                ConnectionId { shard: self.settings.index, slot, generation: session.generation };
            self.effects.push(Effect::Resume(connection));
        }
    }

    pub(crate) fn is_current(&self, connection: ConnectionId) -> bool {
        self.sessions
            .get(connection.slot as usize)
            .is_some_and(|session| session.generation == connection.generation)
    }

    pub(crate) fn open_session(&self, connection: ConnectionId) -> bool {
        self.is_current(connection) && self.sessions[connection.slot as usize].is_open()
    }

    pub(crate) fn profile(&self, slot: u32) -> &Profile {
        &self.profiles[usize::from(self.sessions[slot as usize].profile)]
    }

    /// Puts a message of the server into a connection's outbox.
    pub(crate) fn say(&mut self, slot: u32, now: Now, reply_to: Option<rtgw_model::CommandId>, event: Event) {
        let profile = self.profile(slot);
        let variant = profile.variant;
        let bytes = self.encoder.message(variant, &Message { reply_to, timestamp: now.wall, event });
        let frame = self.outboxes.frame(Frame::of_server(bytes));
        if self.outboxes.push(slot, frame) == Pushed::Blocked
            && self.queue(slot, frame, now) == Queued::Overflow
        {
            self.too_slow(slot, now);
        }
    }

    /// Makes room in the counters for so many endpoints and rules.
    pub(crate) fn grow(&mut self, endpoints: usize, rules: usize) {
        if endpoints > self.settings.endpoints || rules > self.settings.rules {
            self.settings.endpoints = endpoints.max(self.settings.endpoints);
            self.settings.rules = rules.max(self.settings.rules);
            self.counters.grow(self.settings.endpoints, self.settings.rules);
        }
    }

    /// Makes a subscription under `policy`, the grant's or a newer one of its channel. The channel may not be carried yet.
    pub(crate) fn join(
        &mut self,
        slot: u32,
        grant: &Grant,
        policy: &Arc<ChannelPolicy>,
        holding: Holding,
    ) -> ChannelIx {
        let Holding { granted, auto, by_api, filter } = holding;
        let variant = self.profile(slot).variant;
        let member = Member { slot, variant, flags: u8::from(filter.is_some()) * Member::FILTERED };
        let (as_of, early) = (granted.max(self.revision()), granted > self.revision());
        let (channel, place, first) = self.channels.join(grant.channel(), (policy, as_of), early, member);
        let rule = self.channels.get(channel).policy.rule;
        self.grow(0, usize::from(rule.0) + 1);
        if first {
            self.effects.push(Effect::Want(grant.channel().clone(), rule));
        }
        self.count_subscription(rule, 1);
        let held = &mut self.sessions[slot as usize].subscriptions;
        if held.len() == held.capacity() && held.len() < 4 {
            held.reserve_exact(1);
        }
        held.push(Subscription { channel, place, auto, by_api, present: false, granted, filter });
        if self.channels.get(channel).policy.presence.is_on() {
            self.reconcile_presence(slot);
        }
        channel
    }

    pub(crate) fn count_subscription(&mut self, rule: RuleIx, change: i64) {
        if let Some(count) = self.counters.subscriptions.get_mut(usize::from(rule.0)) {
            *count = count.saturating_add_signed(change);
        }
    }

    /// Ends the subscription at index `at` of the session.
    pub(crate) fn leave(&mut self, slot: u32, at: usize) {
        let held = self.sessions[slot as usize].subscriptions.swap_remove(at);
        let (name, rule, shaped) = {
            let channel = self.channels.get(held.channel);
            (channel.name.clone(), channel.policy.rule, channel.shaped)
        };
        if self.channels.get(held.channel).members[held.place as usize].flags & Member::RECOVERS != 0 {
            self.recoveries.forget(slot, held.channel, &mut self.shapers.told);
        }
        let sessions = &mut self.sessions;
        let last = self.channels.leave(held.channel, held.place, &mut |slot, channel, place| {
            replace(sessions, slot, channel, place);
        });
        self.count_subscription(rule, -1);
        self.outboxes.note_left(slot, &name);
        if held.present {
            let key = self.sessions[slot as usize].key;
            self.effects.push(Effect::Absent(key, name.clone()));
        }
        if last {
            if shaped {
                self.shapers.forget(held.channel);
            }
            self.effects.push(Effect::Unwant(name));
        }
    }

    pub(crate) fn leave_all(&mut self, slot: u32) {
        while let Some(at) = self.sessions[slot as usize].subscriptions.len().checked_sub(1) {
            self.leave(slot, at);
        }
    }
}

/// Joins the messages that one write carries, behind the `begun` bytes of an earlier frame.
fn join(encoder: &dyn Encoder, fill: Fill, cork: &mut Vec<u8>, begun: usize) -> Fill {
    match fill {
        Fill::Cork => encoder.join(cork, begun),
        Fill::Direct(frame) if begun == 0 && encoder.joins_alone(&frame) => {
            cork.extend_from_slice(&frame);
            encoder.join(cork, 0);
            return Fill::Cork;
        }
        _ => {}
    }
    fill
}
