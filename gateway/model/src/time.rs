//! Time as values: a monotonic instant for the machine and a wall-clock stamp for people.

/// Milliseconds since an arbitrary start; only differences mean anything. Virtual in simulations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The instant `ms` milliseconds later, saturating.
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Microseconds: a duration, or an instant since the same start as [`Millis`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// From `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time as milliseconds since the Unix epoch; clients read it as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Both clocks, read once per turn of a loop so that one turn has one time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// The monotonic clock, for timers.
    pub at: Millis,
    /// The wall clock, for `timestamp` members.
    pub wall: Timestamp,
}
