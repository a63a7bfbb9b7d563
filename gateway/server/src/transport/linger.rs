//! Sockets whose conversation is over and whose last bytes must still arrive.
//!
//! Closing a socket while bytes of the peer are unread makes the kernel send a reset, and a reset destroys what the peer has
//! not read yet: the close code. So our side is shut down first and the peer's bytes are thrown away until it closes too,
//! for a bounded time, a bounded amount and a bounded number of sockets.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use bytes::{Buf, Bytes};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rtgw_model::Millis;

/// Longest wait for the peer's end.
const LINGER_MS: u64 = 1_000;
/// Most bytes thrown away for one socket.
const DISCARD_BYTES: usize = 256 << 10;
/// Most sockets at once; beyond it the oldest goes.
const SOCKETS: usize = 10_000;
/// Marks the tokens of lingering sockets: above every slot of a slab.
const TOKEN_BIT: usize = 1 << (usize::BITS - 1);

/// The lingering sockets of a shard, oldest first: all wait equally long, so the queue's order is the order of deadlines.
#[derive(Default)]
pub(super) struct Linger {
    /// `None` where the socket went before its deadline.
    sockets: VecDeque<Option<Lingering>>,
    /// Number of the first one; numbers are never used twice, so a late event finds nothing instead of a stranger.
    first: usize,
}

struct Lingering {
    stream: TcpStream,
    deadline: Millis,
    discarded: usize,
    /// What must still be written before our side is shut down.
    rest: Bytes,
}

impl Linger {
    /// Takes over a socket. `rest` is written first.
    pub(super) fn add(&mut self, registry: &Registry, mut stream: TcpStream, rest: Bytes, now: Millis) {
        while self.sockets.len() >= SOCKETS {
            self.pop();
        }
        let number = self.first.wrapping_add(self.sockets.len());
        let token = Token(TOKEN_BIT | (number & !TOKEN_BIT));
        if rest.is_empty() && stream.shutdown(Shutdown::Write).is_err() {
            return; // Already reset: nothing can arrive any more.
        }
        // Registering anew reports what is readable and writable by now.
        if registry.reregister(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_ok() {
            let deadline = now.plus(LINGER_MS);
            self.sockets.push_back(Some(Lingering { stream, deadline, discarded: 0, rest }));
        }
    }

    /// Whether the token is one of ours.
    pub(super) fn owns(token: Token) -> bool {
        token.0 & TOKEN_BIT != 0
    }

    /// An event for a token that [`Linger::owns`].
    pub(super) fn event(&mut self, token: Token, scratch: &mut [u8]) {
        let at = (token.0 & !TOKEN_BIT).wrapping_sub(self.first & !TOKEN_BIT);
        let Some(slot) = self.sockets.get_mut(at) else { return };
        if slot.as_mut().is_some_and(|socket| socket.step(scratch) == Step::Over) {
            *slot = None;
        }
        while let Some(None) = self.sockets.front() {
            self.pop();
        }
    }

    /// Drops the sockets whose time is over.
    pub(super) fn tick(&mut self, now: Millis) {
        while self
            .sockets
            .front()
            .is_some_and(|front| front.as_ref().is_none_or(|socket| socket.deadline <= now))
        {
            self.pop();
        }
    }

    /// When [`Linger::tick`] is due next.
    pub(super) fn next_tick(&self) -> Option<Millis> {
        self.sockets.iter().flatten().next().map(|socket| socket.deadline)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.sockets.iter().flatten().count()
    }

    fn pop(&mut self) {
        if self.sockets.pop_front().is_some() {
            self.first = self.first.wrapping_add(1);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Step {
    Waits,
    Over,
}

impl Lingering {
    fn step(&mut self, scratch: &mut [u8]) -> Step {
        if self.write() == Step::Over {
            return Step::Over;
        }
        while self.discarded < DISCARD_BYTES {
            match self.stream.read(scratch) {
                // The peer's side is closed; it may still read what we have left to write.
                Ok(0) => return if self.rest.is_empty() { Step::Over } else { Step::Waits },
                Ok(count) => self.discarded += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waits,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Step::Over,
            }
        }
        Step::Over
    }

    fn write(&mut self) -> Step {
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(count) => self.rest.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waits,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Step::Over,
            }
            if self.rest.is_empty() && self.stream.shutdown(Shutdown::Write).is_err() {
                return Step::Over;
            }
        }
        Step::Waits
    }
}
