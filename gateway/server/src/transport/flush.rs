//! From outboxes to sockets: one `send` for all that a turn has for a socket.

use std::io::{ErrorKind, Write};

use bytes::Bytes;
use mio::net::TcpStream;
use rtgw_hub::{Fill, Input};
use rtgw_model::{ConnectionId, EndpointIx, Now};
use rtgw_protocol::websocket::{close, frame};

use super::event_loop::EventLoop;
use super::socket::Flag;

/// Room of the cork buffer: below it one copy into a shared, cache-warm buffer is cheaper than a vector of pieces.
pub(super) const CORK_BYTES: usize = 16 << 10;

/// Stands for a close frame without a code (RFC 6455 section 7.4.1); never on a wire.
const NO_STATUS: u16 = 1005;

/// What crossed the sockets of a shard.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Bytes read, by endpoint.
    pub(super) bytes_in: Vec<u64>,
    /// Bytes written, by endpoint.
    pub(super) bytes_out: Vec<u64>,
    /// Calls of `send`.
    pub(super) sends: u64,
}

impl Traffic {
    /// Counters for so many endpoints; they grow when a reload brings more.
    pub(super) fn new(endpoints: usize) -> Self {
        Self { bytes_in: vec![0; endpoints], bytes_out: vec![0; endpoints], sends: 0 }
    }

    pub(super) fn read(&mut self, endpoint: EndpointIx, bytes: usize) {
        add(&mut self.bytes_in, endpoint, bytes);
    }
}

fn add(counts: &mut Vec<u64>, endpoint: EndpointIx, bytes: usize) {
    let at = usize::from(endpoint.0);
    if at >= counts.len() {
        counts.resize(at + 1, 0);
    }
    counts[at] += bytes as u64;
}

/// How far a write came.
enum Sent {
    All,
    /// So many bytes; then the socket was full. The kernel reports when it takes bytes again.
    Part(usize),
    /// The peer is gone.
    Dead,
}

impl Traffic {
    fn send(&mut self, endpoint: EndpointIx, stream: &mut TcpStream, bytes: &[u8]) -> Sent {
        let mut sent = 0;
        while sent < bytes.len() {
            self.sends += 1;
            match stream.write(&bytes[sent..]) {
                // A short write, too, means that the buffer is full, and arms the next writable event.
                Ok(count) => {
                    add(&mut self.bytes_out, endpoint, count);
                    sent += count;
                    if sent < bytes.len() {
                        return Sent::Part(sent);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Sent::Part(sent),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Sent::Dead,
            }
        }
        Sent::All
    }
}

impl EventLoop {
    /// Writes what outboxes hold. The turn's budget has bounded how many there are; stopping in between would let the state
    /// machine's frames of one turn pile up on those of the next.
    pub(super) fn flush(&mut self, now: Now) {
        while let Some(id) = self.hub.next_dirty() {
            self.flush_one(now, id);
        }
        // Sessions end after the walk over the dirty ones, not under it.
        let mut dead = std::mem::take(&mut self.dead);
        for id in dead.drain(..) {
            self.gone(now, id);
        }
        self.dead = dead;
    }

    fn flush_one(&mut self, now: Now, id: ConnectionId) {
        let Some((socket, profile)) = self.sockets.get_with_profile(id) else { return };
        loop {
            self.cork.clear();
            let fill = self.hub.fill(id, &mut self.cork);
            let piece: &[u8] = match &fill {
                Fill::Empty => return,
                Fill::Finished => return self.finish(now, id, Bytes::new()),
                Fill::Cork => &self.cork,
                Fill::Direct(piece) => piece,
            };
            match self.traffic.send(profile.endpoint, &mut socket.stream, piece) {
                Sent::All => {}
                Sent::Part(sent) => {
                    let rest = match fill {
                        Fill::Direct(piece) => piece.slice(sent..),
                        _ => Bytes::copy_from_slice(&self.cork[sent..]),
                    };
                    socket.set(Flag::Blocked, true);
                    return self.hub.blocked(now, id, rest);
                }
                Sent::Dead => return self.dead.push(id),
            }
        }
    }

    /// Answers a client's close frame and ends the session: what waits goes first as far as the socket takes it, a frame
    /// begun is completed, then comes a close with the client's own code (RFC 6455 section 5.5.1).
    pub(super) fn answer_close(&mut self, now: Now, id: ConnectionId, code: Option<u16>) {
        let Some((socket, profile)) = self.sockets.get_with_profile(id) else { return };
        if socket.has(Flag::Blocked) {
            socket.set(Flag::Blocked, false);
            self.hub.writable(id);
        }
        let ended_with = code.unwrap_or(NO_STATUS);
        let payload = code.map(|code| close::encode_payload(code, "")).unwrap_or_default();
        let mut reply = Vec::new();
        frame::encode(frame::OpCode::Close, false, &payload, &mut reply);
        let mut rest = Vec::new();
        let mut answered = false;
        while rest.is_empty() && !answered {
            self.cork.clear();
            let fill = self.hub.fill(id, &mut self.cork);
            let piece: &[u8] = match &fill {
                Fill::Finished => return self.finish(now, id, Bytes::new()),
                Fill::Empty => {
                    answered = true;
                    &reply
                }
                Fill::Cork => &self.cork,
                Fill::Direct(piece) => piece,
            };
            match self.traffic.send(profile.endpoint, &mut socket.stream, piece) {
                Sent::All => {}
                Sent::Part(sent) => rest.extend_from_slice(&piece[sent..]),
                Sent::Dead => return self.end(now, id, Some(ended_with)),
            }
        }
        if !answered {
            rest.extend_from_slice(&reply);
        }
        self.hub.handle(now, Input::Gone(id, Some(ended_with)));
        self.finish(now, id, Bytes::from(rest));
    }

    /// The session has ended; the socket goes when its last bytes have arrived. `rest` is still to be written.
    fn finish(&mut self, now: Now, id: ConnectionId, rest: Bytes) {
        if let Some(stream) = self.sockets.remove(id) {
            self.linger.add(self.poll.registry(), stream, rest, now.at);
        }
    }
}
