//! The loop of a shard thread: poll, read, drain the inbox, fan out, write, and say what is wished.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};
use rtgw_hub::{Account, Effect, Input, Shard, ShardSettings, SweepBudget, TurnBudget};
use rtgw_model::{Close, CloseCode, CommandNames, ConnectionId, Encoder, Now};

use super::clock::Clock;
use super::flush::{CORK_BYTES, Traffic};
use super::handoff::{Handoff, Outward, ShardInput, ShardReport};
use super::inbox::{Load, ShardInbox, weight};
use super::linger::Linger;
use super::read::{Chunk, READ_BYTES, Ready};
use super::settings::Settings;
use super::socket::{self, Flag, Sockets};

/// The token of the inbox's waker; no slot and no lingering socket has it.
const WAKE: Token = Token(usize::MAX);
/// Events taken per poll; more come with the next one.
const EVENTS: usize = 1_024;
/// A shard's thread with all it owns.
pub(super) struct EventLoop {
    index: u16,
    clock: Clock,
    pub(super) poll: Poll,
    inbox: Arc<ShardInbox>,
    outward: Arc<dyn Outward>,
    /// What the JSON decoder knows besides the commands of the protocol.
    pub(super) commands: Arc<ArcSwap<CommandNames>>,
    pub(super) hub: Shard,
    budget: TurnBudget,
    sweep: SweepBudget,
    pub(super) sockets: Sockets,
    pub(super) linger: Linger,
    pub(super) traffic: Traffic,
    pub(super) ready: Ready,
    /// Sockets whose peer was gone when they were written.
    pub(super) dead: Vec<ConnectionId>,
    /// The one read buffer.
    pub(super) scratch: Vec<u8>,
    /// The one write buffer.
    pub(super) cork: Vec<u8>,
    items: Vec<ShardInput>,
    /// Weights of the publications that the state machine has not fanned out yet, in their order.
    waiting: VecDeque<usize>,
}

enum Turn {
    Sleep,
    Again,
    Stop,
}

impl EventLoop {
    /// A loop that is ready to run.
    pub(super) fn new(
        index: u16,
        settings: &Settings,
        encoder: Arc<dyn Encoder>,
        outward: Arc<dyn Outward>,
        commands: Arc<ArcSwap<CommandNames>>,
        memory: Arc<Account>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let most = Load { publications: settings.inbox_publications, bytes: settings.inbox_bytes };
        let shard = ShardSettings {
            index,
            endpoints: settings.endpoints,
            rules: settings.rules,
            expiry: settings.expiry,
            // Neighbouring shards must not ping in step.
            seed: settings.seed.wrapping_add(u64::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        };
        Ok(Self {
            index,
            clock: settings.clock,
            poll,
            inbox: Arc::new(ShardInbox::new(waker, most)),
            outward,
            commands,
            hub: Shard::new(shard, encoder).on(memory),
            budget: settings.budget,
            sweep: settings.sweep,
            sockets: Sockets::default(),
            linger: Linger::default(),
            traffic: Traffic::new(settings.endpoints),
            ready: Ready::default(),
            dead: Vec::new(),
            scratch: vec![0; READ_BYTES],
            cork: Vec::with_capacity(2 * CORK_BYTES),
            items: Vec::new(),
            waiting: VecDeque::new(),
        })
    }

    /// The way in.
    pub(super) fn inbox(&self) -> Arc<ShardInbox> {
        Arc::clone(&self.inbox)
    }

    /// Runs until [`ShardInput::Stop`].
    ///
    /// # Errors
    /// The poll failed, which the kernel does only for a broken program.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut turn = Turn::Again;
        loop {
            let timeout = match turn {
                Turn::Sleep => self.time_to_next_tick(),
                Turn::Again => Some(Duration::ZERO),
                Turn::Stop => break,
            };
            match self.poll.poll(&mut events, timeout) {
                // A signal ended the wait: a turn without events.
                Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
                result => result?,
            }
            turn = self.turn(&events);
        }
        self.inbox.close();
        Ok(())
    }

    fn turn(&mut self, events: &Events) -> Turn {
        let now = self.clock.now();
        for event in events {
            self.dispatch(now, event);
        }
        self.read_ready(now);
        if self.drain_inbox(now) {
            self.close_all(now);
            return Turn::Stop;
        }
        self.linger.tick(now.at);
        if self.hub.next_tick().is_some_and(|due| due <= now.at) {
            self.hub.tick(now);
        }
        // What a sweep takes away is not delivered in the same turn.
        let sweeping = self.hub.sweep(now, self.sweep);
        let more = self.hub.advance(now, self.budget) || sweeping;
        let done = self.fanned_out();
        // Before anything is written: who reads a greeting may publish at once, and must find the channels wanted.
        self.carry_effects();
        self.flush(now);
        if self.hub.has_fanned_out() {
            self.hub.written(self.clock.micros());
        }
        // And what writing brought about.
        self.carry_effects();
        let idle = !more && self.ready.is_empty();
        if self.inbox.settle(done, idle) { Turn::Sleep } else { Turn::Again }
    }

    fn dispatch(&mut self, now: Now, event: &Event) {
        let token = event.token();
        if token == WAKE {
            return; // The inbox is drained in every turn.
        }
        if Linger::owns(token) {
            return self.linger.event(token, &mut self.scratch);
        }
        let Ok(slot) = u32::try_from(token.0) else { return };
        let Some((id, socket)) = self.sockets.at(self.index, slot) else { return };
        if event.is_writable() && socket.has(Flag::Blocked) {
            socket.set(Flag::Blocked, false);
            self.hub.writable(id);
        }
        if event.is_read_closed() {
            socket.set(Flag::PeerClosed, true);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            socket.set(Flag::Readable, true);
            self.ready.add(id, socket);
            // A socket that is not read now would not find out that it was reset.
            let reset = event.is_error() || event.is_write_closed();
            if reset && (socket.has(Flag::Deaf) || !self.hub.may_read(id)) {
                self.gone(now, id);
            }
        }
    }

    /// True for a wish to stop.
    fn drain_inbox(&mut self, now: Now) -> bool {
        let mut items = std::mem::take(&mut self.items);
        self.inbox.take(&mut items);
        let mut stop = false;
        for item in items.drain(..) {
            match item {
                ShardInput::Adopt(handoff) => self.adopt(now, *handoff),
                ShardInput::Hub(input) => {
                    if let Input::Publication(outgoing) = &input {
                        self.waiting.push_back(weight(outgoing.publication()));
                    }
                    self.hub.handle(now, input);
                }
                // Whoever asked may have given up.
                ShardInput::Report(reply) => drop(reply.send(self.report())),
                ShardInput::Stop => stop = true,
            }
        }
        self.items = items;
        stop
    }

    fn adopt(&mut self, now: Now, mut handoff: Handoff) {
        if let Err(error) = socket::prepare(&handoff.stream) {
            tracing::debug!(%error, "a socket option could not be set");
        }
        let read_ahead = std::mem::take(&mut handoff.read_ahead);
        let hub = &mut self.hub;
        let Some(id) = self.sockets.adopt(handoff, |opening| hub.open(now, opening)) else {
            return tracing::error!(
                "more kinds of endpoints than a shard can tell apart; a socket was closed"
            );
        };
        let Some(socket) = self.sockets.get(id) else { return };
        socket.permit.adopted(id);
        socket.set(Flag::Metered, socket.permit.is_metered());
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(id.slot as usize);
        if let Err(error) = self.poll.registry().register(&mut socket.stream, token, interest) {
            tracing::warn!(%error, "a socket could not be watched and was closed");
            return self.gone(now, id);
        }
        if !read_ahead.is_empty() {
            self.decode(now, id, Chunk::New(&mut Vec::from(read_ahead)));
        }
    }

    /// The peer is gone: so are the socket and the session.
    pub(super) fn gone(&mut self, now: Now, id: ConnectionId) {
        self.end(now, id, None);
    }

    /// The session ends without another byte; `code` is the one of the client's close frame.
    pub(super) fn end(&mut self, now: Now, id: ConnectionId, code: Option<u16>) {
        if self.sockets.remove(id).is_some() {
            self.hub.handle(now, Input::Gone(id, code));
        }
    }

    fn carry_effects(&mut self) {
        for effect in self.hub.effects() {
            match effect {
                Effect::Ask(ask) => self.outward.ask(*ask),
                Effect::Want(channel, rule) => self.outward.want(self.index, channel, rule),
                Effect::Unwant(channel) => self.outward.unwant(self.index, channel),
                Effect::Present(present) => self.outward.present(*present),
                Effect::Absent(connection, channel) => self.outward.absent(connection, channel),
                Effect::Relieve(shard) => self.outward.relieve(shard),
                Effect::Resume(id) => {
                    if let Some(socket) = self.sockets.get(id)
                        && (socket.has(Flag::Paused) || socket.has(Flag::Readable))
                    {
                        self.ready.add(id, socket);
                    }
                }
            }
        }
    }

    /// What of the waiting publications has been carried to outboxes since the last call.
    fn fanned_out(&mut self) -> Load {
        let left = self.hub.waiting_publications();
        let mut done = Load::default();
        while self.waiting.len() > left {
            done.publications += 1;
            done.bytes += self.waiting.pop_front().unwrap_or(0);
        }
        done
    }

    /// Tells everyone to come back elsewhere, as far as the sockets take it.
    fn close_all(&mut self, now: Now) {
        for id in self.sockets.ids(self.index) {
            let close = Close::new(CloseCode::GoingAway, "the server is stopping");
            self.hub.handle(now, Input::Close(id, close));
        }
        self.flush(now);
    }

    fn report(&mut self) -> ShardReport {
        let (posted, refused) = self.inbox.gauge();
        ShardReport {
            counters: self.hub.counters().clone(),
            bytes_in: self.traffic.bytes_in.clone(),
            bytes_out: self.traffic.bytes_out.clone(),
            inbox_publications: posted.saturating_sub(self.waiting.len()) as u64,
            inbox_refused: refused,
            sends: self.traffic.sends,
            sockets: self.sockets.count() as u64,
            lingering: self.linger.count() as u64,
        }
    }

    fn time_to_next_tick(&self) -> Option<Duration> {
        let due = [self.hub.next_tick(), self.linger.next_tick()].into_iter().flatten().min()?;
        Some(Duration::from_millis(due.since(self.clock.millis())))
    }
}
