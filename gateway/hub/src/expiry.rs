//! The end of a credential: the client is told before, and closed after, unless it refreshes.
//!
//! What counts is the time a credential had left when it was judged, measured by the clock that never jumps: a wall clock that is set
//! neither ends everybody at once nor lets anybody stay for ever. And where the process stood still, clients get the grace they
//! would have had.

use rtgw_model::{Close, CloseCode, Event, Millis, Now, Timestamp};

use crate::shard::Shard;

/// The unit of [`Ends`]: that of the timer wheel.
const STEP_MS: u64 = 100;

/// When a session's credential ends, in tenths of a second of the shard's clock; half the size of an instant, because every
/// connection has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends(u32);

impl Ends {
    /// The end of a credential that expires at `expires` by the wall clock.
    pub(crate) fn of(expires: Option<Timestamp>, now: Now) -> Self {
        let Some(expires) = expires else { return Self(u32::MAX) };
        let left = u64::try_from(expires.0.saturating_sub(now.wall.0)).unwrap_or(0);
        let step = now.at.plus(left).0.div_ceil(STEP_MS);
        Self(u32::try_from(step).unwrap_or(u32::MAX))
    }

    /// The instant; `None` where it never comes.
    pub(crate) fn at(self) -> Option<Millis> {
        (self.0 < u32::MAX).then(|| Millis(u64::from(self.0) * STEP_MS))
    }
}

/// What a look at a session's credential came to.
pub(crate) enum Looked {
    /// Nothing more to do before this instant.
    Until(Millis),
    /// The connection was closed.
    Closed,
}

impl Shard {
    /// When the holder of a credential that ends at `ends` is to be told.
    pub(crate) fn warning(&self, ends: Ends) -> Option<Millis> {
        let at = ends.at()?;
        Some(Millis(at.0.saturating_sub(self.settings.expiry.warn_ms.into())))
    }

    /// Tells or closes the holder of a credential that ends.
    pub(crate) fn look_at_credential(&mut self, slot: u32, now: Now) -> Looked {
        let session = &self.sessions[slot as usize];
        let (ends, warned) = (session.ends, session.warned);
        let (Some(end), Some(warning)) = (ends.at(), self.warning(ends)) else {
            return Looked::Until(Millis(u64::MAX));
        };
        if now.at < warning {
            return Looked::Until(warning);
        }
        if !warned {
            self.sessions[slot as usize].warned = true;
            self.say(slot, now, None, Event::TokenExpiring { in_ms: end.since(now.at) });
            if !self.sessions[slot as usize].is_open() {
                return Looked::Closed;
            }
        }
        let grace = self.settings.expiry.grace_ms.into();
        // Who could not be told in time is given as long from the moment it was.
        let close_at = end.plus(grace).max(self.woke.map_or(Millis(0), |woke| woke.plus(grace)));
        if now.at >= close_at {
            let close = Close::new(CloseCode::Unauthenticated, "the token has expired");
            self.close(slot, now, &close);
            return Looked::Closed;
        }
        Looked::Until(close_at)
    }

    /// The session's credential is another now: its end is looked at in time.
    pub(crate) fn credential_changed(&mut self, slot: u32, now: Now) {
        let session = &mut self.sessions[slot as usize];
        session.ends = Ends::of(session.principal.expires, now);
        session.warned = false;
        let ends = session.ends;
        if let Some(warning) = self.warning(ends) {
            self.look_by(slot, warning);
        }
    }

    /// Has the session looked at no later than `due`.
    pub(crate) fn look_by(&mut self, slot: u32, due: Millis) {
        let session = &mut self.sessions[slot as usize];
        if self.wheel.tick(due) < u64::from(session.look) {
            session.look = self.wheel.insert(due, slot, session.generation);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_as_far_as_it_was_when_judged_and_never_early() {
        let now = Now { at: Millis(1_234), wall: Timestamp(1_000_000) };
        assert_eq!(Ends::of(None, now).at(), None);
        assert_eq!(Ends::of(Some(Timestamp(1_060_000)), now).at(), Some(Millis(61_300)));
        assert_eq!(Ends::of(Some(Timestamp(0)), now).at(), Some(Millis(1_300)), "past: now");
        assert_eq!(Ends::of(Some(Timestamp(i64::MAX)), now).at(), None, "beyond what a process lives");
        assert_eq!(Ends::of(Some(Timestamp(i64::MIN)), now).at(), Some(Millis(1_300)));
    }
}
