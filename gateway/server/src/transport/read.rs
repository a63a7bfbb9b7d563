//! From a socket's bytes to inputs of the state machine.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtgw_hub::{Input, Shard};
use rtgw_model::{
    Close, CloseCode, CommandNames, ConnectionId, Denied, ErrorCode, Intent, Now, Rejection, Request,
};
use rtgw_protocol::websocket::{Flow, Incoming, Progress, Violation};
use rtgw_protocol::{json, msgpack};

use super::event_loop::EventLoop;
use super::handoff::{Permit, SocketProtocol};
use super::socket::{Flag, Socket};

/// One read of a socket, and all that one socket may take of a turn.
pub(super) const READ_BYTES: usize = 64 << 10;

/// Longest time for reading before what was read is acted upon and written.
const READ_TIME: Duration = Duration::from_millis(4);
/// So many sockets are read between two looks at the clock.
const CLOCK_EVERY: usize = 32;

/// The sockets to read: those with an event, those with more than a turn's share, those that may go on after a pause.
#[derive(Default)]
pub(super) struct Ready(VecDeque<ConnectionId>);

impl Ready {
    /// Appends the socket, unless it is in the list.
    pub(super) fn add(&mut self, id: ConnectionId, socket: &mut Socket) {
        if !socket.has(Flag::Queued) {
            socket.set(Flag::Queued, true);
            self.0.push_back(id);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl EventLoop {
    /// Reads the sockets that were ready when the turn began, as far as the turn's time goes.
    pub(super) fn read_ready(&mut self, now: Now) {
        let start = Instant::now();
        for count in 1..=self.ready.0.len() {
            let Some(id) = self.ready.0.pop_front() else { break };
            self.read(now, id);
            if count % CLOCK_EVERY == 0 && start.elapsed() >= READ_TIME {
                break;
            }
        }
    }

    fn read(&mut self, now: Now, id: ConnectionId) {
        let Some(socket) = self.sockets.get(id) else { return };
        socket.set(Flag::Queued, false);
        if socket.has(Flag::Deaf) || !self.hub.may_read(id) {
            return; // `Effect::Resume` queues it again.
        }
        if socket.has(Flag::Paused) {
            self.decode(now, id, Chunk::Kept);
        }
        let Some(socket) = self.sockets.get(id) else { return };
        if socket.has(Flag::Deaf) || socket.has(Flag::Paused) || !socket.has(Flag::Readable) {
            return;
        }
        let read = loop {
            match socket.stream.read(&mut self.scratch) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(count) if count > 0 => {
                // A short read has emptied the kernel's buffer, and what comes later is a new event; but the end of the
                // stream may have come before, and its event is spent.
                let more = count == self.scratch.len() || socket.has(Flag::PeerClosed);
                socket.set(Flag::Readable, more);
                if more {
                    self.ready.add(id, socket);
                }
                let mut scratch = std::mem::take(&mut self.scratch);
                self.decode(now, id, Chunk::New(&mut scratch[..count]));
                self.scratch = scratch;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.set(Flag::Readable, false),
            Ok(_) | Err(_) => self.gone(now, id),
        }
    }

    /// Decodes bytes that came with the handoff or from the socket.
    pub(super) fn decode(&mut self, now: Now, id: ConnectionId, bytes: Chunk<'_>) {
        let Some((socket, profile)) = self.sockets.get_with_profile(id) else { return };
        let metered = socket.has(Flag::Metered);
        let decoder = &mut socket.decoder;
        let commands = self.commands.load();
        let mut ear = Ear {
            hub: &mut self.hub,
            commands: &commands,
            now,
            id,
            protocol: profile.protocol,
            limit: profile.rules.message_bytes,
            permit: metered.then_some(&*socket.permit),
            heard: false,
            ending: None,
        };
        let mut on = |incoming: Incoming<'_>| ear.hear(incoming);
        let outcome = match bytes {
            Chunk::New(bytes) => {
                self.traffic.read(profile.endpoint, bytes.len());
                decoder.decode(&profile.rules, bytes, &mut on)
            }
            Chunk::Kept => decoder.resume(&profile.rules, &mut on),
        };
        let (heard, ending) = (ear.heard, ear.ending);
        if !heard {
            self.hub.handle(now, Input::Heard(id));
        }
        socket.set(Flag::Paused, matches!(outcome, Ok(Progress::Paused)));
        match (outcome, ending) {
            (Err(violation), _) => self.violated(now, id, violation),
            (Ok(_), Some(Ending::Client(code))) => self.answer_close(now, id, code),
            (Ok(_), Some(Ending::Ours)) => socket.set(Flag::Deaf, true),
            (Ok(_), None) => {}
        }
    }

    fn violated(&mut self, now: Now, id: ConnectionId, violation: Violation) {
        if let Some(socket) = self.sockets.get(id) {
            socket.set(Flag::Deaf, true);
        }
        let close = Close::new(violation.code(), violation.to_string());
        self.hub.handle(now, Input::Close(id, close));
    }
}

/// What the decoder is given.
pub(super) enum Chunk<'a> {
    /// New ones.
    New(&'a mut [u8]),
    /// Those it kept behind a pause.
    Kept,
}

/// How the conversation ended while bytes were decoded.
#[derive(Clone, Copy)]
enum Ending {
    /// The client's close frame, with its code.
    Client(Option<u16>),
    /// A message that this protocol does not take.
    Ours,
}

/// Turns messages into inputs.
struct Ear<'a> {
    hub: &'a mut Shard,
    commands: &'a CommandNames,
    now: Now,
    id: ConnectionId,
    protocol: SocketProtocol,
    /// Most bytes of a message.
    limit: usize,
    /// Asked about every message, where there is something to ask.
    permit: Option<&'a dyn Permit>,
    /// The state machine was told something, so it knows that the client lives.
    heard: bool,
    ending: Option<Ending>,
}

impl Ear<'_> {
    fn hear(&mut self, incoming: Incoming<'_>) -> Flow {
        match incoming {
            Incoming::Pong(_) => return Flow::Continue,
            Incoming::Close(payload) => {
                self.ending = Some(Ending::Client(payload.map(|(code, _)| code)));
                return Flow::Continue;
            }
            Incoming::Ping(payload) => self.tell(Input::WirePing(self.id, payload.into())),
            Incoming::Text(text) => self.message(Payload::Text(text)),
            Incoming::Binary(bytes) => self.message(Payload::Binary(bytes)),
        }
        if self.ending.is_none() && self.hub.may_read(self.id) { Flow::Continue } else { Flow::Pause }
    }

    fn message(&mut self, payload: Payload<'_>) {
        let request = match (self.protocol, payload) {
            (SocketProtocol::Json, Payload::Text(text)) => json::decode(text, self.commands),
            (SocketProtocol::MessagePack, Payload::Binary(bytes)) => {
                msgpack::decode(bytes, self.limit, self.commands)
            }
            (SocketProtocol::Json, Payload::Binary(_)) => {
                return self.unsupported("this endpoint takes text messages only");
            }
            (SocketProtocol::MessagePack, Payload::Text(_)) => {
                return self.unsupported("this subprotocol has binary messages only");
            }
            (SocketProtocol::Echo, Payload::Text(text)) => Ok(echo(false, text.as_bytes())),
            (SocketProtocol::Echo, Payload::Binary(bytes)) => Ok(echo(true, bytes)),
        };
        // Asked after the message is understood: the refusal repeats its id, and keeps its place among the answers.
        let may_speak = self.permit.is_none_or(Permit::may_speak);
        let request = if may_speak { request } else { Err(above_the_shared_rate(request)) };
        self.tell(Input::Received(self.id, request));
    }

    fn unsupported(&mut self, why: &'static str) {
        self.ending = Some(Ending::Ours);
        self.tell(Input::Close(self.id, Close::new(CloseCode::UnsupportedData, why)));
    }

    fn tell(&mut self, input: Input) {
        self.heard = true;
        self.hub.handle(self.now, input);
    }
}

#[derive(Clone, Copy)]
enum Payload<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

fn above_the_shared_rate(request: Result<Request, Rejection>) -> Rejection {
    let id = match request {
        Ok(request) => request.id,
        Err(rejection) => rejection.id,
    };
    let message = "all clients of your tenant together send too many messages; try again later";
    Rejection { id, denied: Denied::new(ErrorCode::RateLimited, message) }
}

fn echo(binary: bool, payload: &[u8]) -> Request {
    Request { id: None, intent: Intent::Echo { binary, payload: Bytes::copy_from_slice(payload) } }
}
