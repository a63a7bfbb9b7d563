//! A timer wheel: one coarse due time per connection, instead of one timer per connection and purpose.
//!
//! An entry says "look at this slot then". What is due is computed by whoever looks, from state that changes far more often than
//! the wheel does; that makes activity on a connection free of timer work.

use rtgw_model::Millis;

/// Width of a wheel slot in milliseconds: the error of every timer.
const TICK_MS: u64 = 100;
/// Slots; due times beyond `SLOTS * TICK_MS` (102 s) are looked at early and put back.
const SLOTS: usize = 1024;

/// Due times of connection slots.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<(u32, u32)>>,
    occupied: [u64; SLOTS / 64],
    /// Everything before this tick has fired.
    next: u64,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { slots: vec![Vec::new(); SLOTS], occupied: [0; SLOTS / 64], next: 0 }
    }

    /// Has `slot` of this `generation` looked at when `due` has passed, or earlier when that is far away. Returns the tick at which
    /// that will be, by which the newest of several entries of a slot can be told.
    pub(crate) fn insert(&mut self, due: Millis, slot: u32, generation: u32) -> u32 {
        let tick = self.tick(due);
        let at = (tick % SLOTS as u64) as usize;
        self.slots[at].push((slot, generation));
        self.occupied[at / 64] |= 1 << (at % 64);
        tick as u32
    }

    /// The tick that an entry due at `due` would get now.
    pub(crate) fn tick(&self, due: Millis) -> u64 {
        (due.0 / TICK_MS + 1).clamp(self.next, self.next + SLOTS as u64 - 1)
    }

    /// Moves the entries due at `now` into `due`, as (slot, generation, tick).
    pub(crate) fn expire(&mut self, now: Millis, due: &mut Vec<(u32, u32, u32)>) {
        let current = now.0 / TICK_MS;
        while self.next <= current {
            match self.next_occupied() {
                Some(tick) if tick <= current => {
                    let at = (tick % SLOTS as u64) as usize;
                    // Its room goes too: kept, the wheel would come to hold room for a full turn of every connection.
                    let entries = std::mem::take(&mut self.slots[at]).into_iter();
                    due.extend(entries.map(|(slot, generation)| (slot, generation, tick as u32)));
                    self.occupied[at / 64] &= !(1 << (at % 64));
                    self.next = tick + 1;
                }
                _ => self.next = current + 1,
            }
        }
    }

    /// When [`Wheel::expire`] has something to do; never late.
    pub(crate) fn next_due(&self) -> Option<Millis> {
        self.next_occupied().map(|tick| Millis(tick * TICK_MS))
    }

    /// The first occupied tick at or after `next`, found a word of slots at a time.
    fn next_occupied(&self) -> Option<u64> {
        let start = (self.next % SLOTS as u64) as usize;
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let at = word * 64 + bits.trailing_zeros() as usize;
                let ahead = (at + SLOTS - start) % SLOTS;
                return Some(self.next + ahead as u64);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(Millis(now), &mut due);
        let mut slots: Vec<u32> = due.into_iter().map(|(slot, ..)| slot).collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn entries_fire_once_never_early_and_at_most_a_tick_late() {
        let mut wheel = Wheel::new();
        for slot in 0..1000u32 {
            wheel.insert(Millis(u64::from(slot) * 97), slot, 0);
        }
        let mut seen = Vec::new();
        for now in (0..100_000).step_by(50) {
            for slot in fired(&mut wheel, now) {
                let due = u64::from(slot) * 97;
                assert!(now >= due && now <= due + 2 * TICK_MS, "slot {slot} due {due} fired at {now}");
                seen.push(slot);
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn a_far_due_time_is_looked_at_early_and_a_long_sleep_loses_nothing() {
        let mut wheel = Wheel::new();
        wheel.insert(Millis(10_000_000), 1, 0);
        assert!(wheel.next_due().is_some_and(|due| due.0 <= SLOTS as u64 * TICK_MS));
        assert_eq!(fired(&mut wheel, 500_000), [1]);
        wheel.insert(Millis(0), 2, 0);
        assert_eq!(fired(&mut wheel, 900_000), [2]);
    }
}
