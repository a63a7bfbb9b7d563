//! How long things took, counted in fixed classes: a plain array, because a delivery may not allocate to be measured.

use crate::Micros;

/// Classes of a [`Histogram`]: one below each bound, and one for what lies above the last.
pub const CLASSES: usize = 14;

/// Upper bounds of the classes, growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds(pub [Micros; CLASSES - 1]);

const fn steps(first: u64) -> Bounds {
    let mut bounds = [Micros(0); CLASSES - 1];
    let (mut at, mut one) = (0, first);
    while at < bounds.len() {
        bounds[at] = Micros(if at % 2 == 0 { one } else { 3 * one });
        if at % 2 == 1 {
            one *= 10;
        }
        at += 1;
    }
    Bounds(bounds)
}

impl Bounds {
    /// 10 microseconds to 10 seconds: work inside one pod.
    pub const INSIDE: Self = steps(10);
    /// 1 millisecond to 1,000 seconds: ways between machines, whose clocks agree on no less.
    pub const BETWEEN: Self = steps(1_000);

    /// The class of something that took so long.
    pub fn class(&self, took: Micros) -> usize {
        self.0.partition_point(|bound| *bound < took)
    }
}

/// Observations by class, each in its own class only, and their sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By class.
    pub counts: [u64; CLASSES],
    /// Of all observations; wraps after half a million years.
    pub sum: Micros,
}

impl Histogram {
    /// Counts one that took so long.
    pub fn observe(&mut self, bounds: &Bounds, took: Micros) {
        self.counts[bounds.class(took)] += 1;
        self.sum = Micros(self.sum.0.wrapping_add(took.0));
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum = Micros(self.sum.0.wrapping_add(other.sum.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_grow_evenly_and_belong_to_the_class_below() {
        let inside = Bounds::INSIDE;
        assert_eq!((inside.0[0], inside.0[1], inside.0[2]), (Micros(10), Micros(30), Micros(100)));
        assert_eq!(inside.0[CLASSES - 2], Micros(10_000_000));
        assert_eq!(Bounds::BETWEEN.0[CLASSES - 2], Micros(1_000_000_000));
        assert!(inside.0.is_sorted());
        assert_eq!(
            [0, 10, 11, 10_000_000, u64::MAX].map(|took| inside.class(Micros(took))),
            [0, 0, 1, 12, 13]
        );
    }

    #[test]
    fn histograms_add_up() {
        let mut one = Histogram::default();
        one.observe(&Bounds::INSIDE, Micros(20));
        let mut all = one;
        all.add(&one);
        assert_eq!((all.counts[1], all.sum), (2, Micros(40)));
    }
}
