//! Silence and its limits: pings, timeouts, idle ends, and closing sockets that are given up.

use rtgw_model::{Close, CloseCode, CloseReason, ConnectionId, Millis, Now};

use crate::expiry::Looked;
use crate::session::{Life, Profile};
use crate::shard::Shard;

/// A timer that is so late was not delayed by work: the process was stopped, frozen or starved.
const STOOD_STILL_MS: u64 = 1_000;

impl Shard {
    /// Fires the timers due at `now`.
    pub fn tick(&mut self, now: Now) {
        if self.wheel.next_due().is_some_and(|due| now.at.since(due) >= STOOD_STILL_MS) {
            self.woke = Some(now.at);
        }
        let mut due = Vec::new();
        self.wheel.expire(now.at, &mut due);
        for (slot, generation, tick) in due {
            let connection = ConnectionId { shard: self.settings.index, slot, generation };
            if self.is_current(connection) && self.sessions[slot as usize].look == tick {
                self.look(slot, now);
            }
        }
        self.release(now);
    }

    /// When [`Shard::tick`] is due next.
    pub fn next_tick(&self) -> Option<Millis> {
        [self.wheel.next_due(), self.shapers.next_due()].into_iter().flatten().min()
    }

    /// Looks at a connection whose wheel entry came up.
    fn look(&mut self, slot: u32, now: Now) {
        let Profile { heartbeat, variant, .. } = *self.profile(slot);
        let session = &mut self.sessions[slot as usize];
        if let Life::Closing(deadline) = session.life {
            if now.at.0 >= deadline.get() {
                let counters = &mut self.counters;
                self.outboxes.abandon(slot, |rule| counters.drop(rule, "connection_lost", 1));
            }
            return;
        }
        let heartbeat_due = session.heard.plus(heartbeat.interval_ms.into());
        // The silence may have been ours: who waits is asked, and has as long for the answer as after any ping.
        let answer = heartbeat.timeout_ms.saturating_sub(heartbeat.interval_ms);
        let excused = self.woke.map_or(Millis(0), |woke| woke.plus(answer.into()));
        let timeout_due = session.heard.plus(heartbeat.timeout_ms.into()).max(excused);
        let idle_due =
            (heartbeat.idle_ms > 0).then(|| session.spoke.plus(heartbeat.idle_ms.into()).max(excused));
        if now.at >= timeout_due {
            return self.close(slot, now, &Close::new(CloseCode::TimedOut, "nothing heard in time"));
        }
        if idle_due.is_some_and(|due| now.at >= due) {
            let close = Close::new(CloseCode::TimedOut, "idle").because(CloseReason::Idle);
            return self.close(slot, now, &close);
        }
        let Looked::Until(credential_due) = self.look_at_credential(slot, now) else { return };
        let session = &mut self.sessions[slot as usize];
        // A little early rather than looked at twice: silence is counted from the last answer, which came just after the last ping.
        let interval = u64::from(heartbeat.interval_ms);
        if !session.pinged && now.at.plus(interval / 8) >= heartbeat_due {
            session.pinged = true;
            self.outboxes.push_control(slot, self.encoder.ping(variant));
        }
        let session = &mut self.sessions[slot as usize];
        let silence_due = if session.pinged { timeout_due.min(now.at.plus(interval)) } else { heartbeat_due };
        let next = idle_due.map_or(silence_due, |idle| idle.min(silence_due)).min(credential_due);
        session.look = self.wheel.insert(next, slot, session.generation);
    }
}
