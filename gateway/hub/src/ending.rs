//! How a connection ends: closed by the server, gone by itself, or evicted.

use rtgw_model::{Close, CloseCode, CloseReason, ConnectionId, Now};

use crate::session::{Life, Session};
use crate::shard::Shard;

/// A closing connection whose socket takes nothing is given up after so many milliseconds.
const CLOSE_PATIENCE_MS: u64 = 5_000;

impl Shard {
    /// The connection reads too slowly: what waits is dropped and it is told so by the close code.
    pub(crate) fn too_slow(&mut self, slot: u32, now: Now) {
        if !self.sessions[slot as usize].is_open() {
            return;
        }
        let counters = &mut self.counters;
        self.outboxes.shed(slot, |rule| counters.drop(rule, "slow_consumer", 1));
        self.close(
            slot,
            now,
            &Close::new(CloseCode::SlowConsumer, "slow consumer; recover after reconnecting"),
        );
    }

    /// Begins the end: no more commands and publications, what waits goes first, then the close frame.
    pub(crate) fn close(&mut self, slot: u32, now: Now, close: &Close) {
        let profile = self.profile(slot);
        let (endpoint, variant) = (profile.endpoint, profile.variant);
        self.leave_all(slot);
        let deadline = now.at.plus(CLOSE_PATIENCE_MS);
        let session = &mut self.sessions[slot as usize];
        session.life = Life::closing(deadline);
        session.commands = None;
        session.narrowing = None;
        let generation = session.generation;
        session.look = self.wheel.insert(deadline, slot, generation);
        self.counters.connections[usize::from(endpoint.0)] -= 1;
        self.counters.closing[usize::from(endpoint.0)] += 1;
        self.counters.close(endpoint, close.code.code(), close.why);
        let bytes = self.encoder.close(variant, close);
        self.outboxes.push_last(slot, bytes);
    }

    /// The socket is gone.
    pub(crate) fn gone(&mut self, connection: ConnectionId, code: Option<u16>) {
        if !self.is_current(connection) {
            return;
        }
        let endpoint = self.profile(connection.slot).endpoint;
        if self.sessions[connection.slot as usize].is_open() {
            let known = |code: u16| CloseCode::ALL.iter().any(|own| own.code() == code) || code == 1005;
            match code {
                Some(code) => {
                    let code = if known(code) { code } else { 4999 };
                    self.counters.close(endpoint, code, CloseReason::Client);
                }
                None => self.counters.close(endpoint, 0, CloseReason::Lost),
            }
        }
        self.forget(connection.slot);
    }

    /// Frees the slot.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.leave_all(slot);
        let endpoint = usize::from(self.profile(slot).endpoint.0);
        let session = self.sessions.remove(slot as usize);
        match session.life {
            Life::Open => self.counters.connections[endpoint] -= 1,
            Life::Closing(_) => self.counters.closing[endpoint] -= 1,
        }
        let counters = &mut self.counters;
        self.outboxes.clear(slot, |rule| counters.drop(rule, "connection_lost", 1));
        self.generations[slot as usize] = session.generation.wrapping_add(1);
    }

    pub(crate) fn evict(&mut self, now: Now, count: u32, spread_ms: u32) {
        let slots = self.generations.len();
        let mut left = count;
        for _ in 0..slots {
            if left == 0 {
                break;
            }
            let slot = self.evict_from % slots;
            self.evict_from = slot + 1;
            if self.sessions.get(slot).is_some_and(Session::is_open) {
                let after = self.random.u64(0..=u64::from(spread_ms));
                self.close(slot as u32, now, &Close::restart(after));
                left -= 1;
            }
        }
    }
}
