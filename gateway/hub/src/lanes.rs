//! What waits for a blocked socket, in lanes: channels of higher priority first, each channel in its own order.
//!
//! What the server itself says, and publications for channels of several lanes, pass nothing and are passed by nothing: `subscribed`
//! stands before the publications it promises, `unsubscribed` behind the last. Between two of them the lanes are free, and who
//! speaks too often of the higher ones lets a lower one through ([`SHARE`]).
//!
//! Most connections know one lane only. For them this is one queue.

use std::collections::VecDeque;
use std::sync::Arc;

use rtgw_model::{Priority, RuleIx};
use smallvec::SmallVec;

use crate::frame::{Frame, Lane, Waiting};

/// So many frames in a row may pass a waiting one of a lower lane; then that lane has one.
const SHARE: u8 = 8;

/// The frames of one blocked socket.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// Normal and fixed frames.
    queue: VecDeque<Arc<Waiting>>,
    /// So many at its beginning are known not to yield.
    firm: usize,
    sides: Option<Box<Sides>>,
}

/// Exists from the first frame of another lane on.
#[derive(Debug, Default)]
struct Sides {
    /// Frames, each with how many fixed ones were put in before it.
    high: VecDeque<(u64, Arc<Waiting>)>,
    low: VecDeque<(u64, Arc<Waiting>)>,
    /// As in the queue.
    firm_high: usize,
    firm_low: usize,
    /// Fixed frames that were put in and taken out, counted from those that stood in the queue at the beginning.
    fixed_in: u64,
    fixed_out: u64,
    /// Frames in a row that passed a waiting one of the lane.
    passed_normal: u8,
    passed_low: u8,
}

/// One of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    High,
    Queue,
    Low,
}

impl Side {
    /// Who gives first.
    pub(crate) const GIVING: [Self; 3] = [Self::Low, Self::Queue, Self::High];

    /// Where frames of a lane stand.
    pub(crate) fn of(lane: Lane) -> Self {
        match lane {
            Lane::Of(Priority::High) => Self::High,
            Lane::Of(Priority::Low) => Self::Low,
            Lane::Of(Priority::Normal) | Lane::Fixed => Self::Queue,
        }
    }
}

fn is_fixed(frame: &Frame) -> bool {
    frame.lane == Lane::Fixed
}

impl Sides {
    /// The fixed frames before it have gone.
    fn may(&self, lane: &VecDeque<(u64, Arc<Waiting>)>) -> bool {
        lane.front().is_some_and(|(before, _)| *before <= self.fixed_out)
    }

    fn next(&self, queue: Option<&Frame>) -> Option<Side> {
        let (high, low) = (self.may(&self.high), self.may(&self.low));
        let normal = queue.is_some_and(|frame| !is_fixed(frame));
        if low && self.passed_low >= SHARE {
            return Some(Side::Low);
        }
        if normal && self.passed_normal >= SHARE {
            return Some(Side::Queue);
        }
        match (high, normal, low) {
            (true, _, _) => Some(Side::High),
            (_, true, _) => Some(Side::Queue),
            (_, _, true) => Some(Side::Low),
            // A fixed frame, when all before it have gone.
            _ => queue.map(|_| Side::Queue),
        }
    }

    fn taken(&mut self, from: Side, normal_waits: bool) {
        let low_waits = self.may(&self.low);
        match from {
            Side::High => {
                self.passed_normal = if normal_waits { self.passed_normal.saturating_add(1) } else { 0 };
                self.passed_low = if low_waits { self.passed_low.saturating_add(1) } else { 0 };
            }
            Side::Queue => {
                self.passed_normal = 0;
                self.passed_low = if low_waits { self.passed_low.saturating_add(1) } else { 0 };
            }
            Side::Low => self.passed_low = 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.high.is_empty() && self.low.is_empty()
    }
}

impl Lanes {
    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.sides.as_ref().map_or(0, |sides| sides.high.len() + sides.low.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.sides.as_ref().is_none_or(|sides| sides.is_empty())
    }

    /// Puts a frame behind those of its lane.
    pub(crate) fn push(&mut self, frame: Arc<Waiting>) {
        let lane = Side::of(frame.lane);
        if lane == Side::Queue {
            if let Some(sides) = &mut self.sides
                && is_fixed(&frame)
            {
                sides.fixed_in += 1;
            }
            return self.queue.push_back(frame);
        }
        let queue = &self.queue;
        let sides = self.sides.get_or_insert_with(|| {
            let fixed_in = queue.iter().filter(|frame| is_fixed(frame)).count() as u64;
            Box::new(Sides { fixed_in, ..Sides::default() })
        });
        let entry = (sides.fixed_in, frame);
        if lane == Side::High { sides.high.push_back(entry) } else { sides.low.push_back(entry) }
    }

    /// The frame that goes next.
    pub(crate) fn front(&self) -> Option<&Arc<Waiting>> {
        let queue = self.queue.front();
        let Some(sides) = &self.sides else { return queue };
        match sides.next(queue.map(|frame| &***frame))? {
            Side::High => sides.high.front().map(|(_, frame)| frame),
            Side::Queue => queue,
            Side::Low => sides.low.front().map(|(_, frame)| frame),
        }
    }

    /// Takes the frame that [`Lanes::front`] shows.
    pub(crate) fn pop(&mut self) -> Option<Arc<Waiting>> {
        let queue = self.queue.front();
        let Some(sides) = &mut self.sides else {
            self.firm = self.firm.saturating_sub(1);
            return self.queue.pop_front();
        };
        let normal_waits = queue.is_some_and(|frame| !is_fixed(frame));
        let from = sides.next(queue.map(|frame| &***frame))?;
        sides.taken(from, normal_waits);
        let frame = match from {
            Side::High => {
                sides.firm_high = sides.firm_high.saturating_sub(1);
                sides.high.pop_front().map(|(_, frame)| frame)
            }
            Side::Low => {
                sides.firm_low = sides.firm_low.saturating_sub(1);
                sides.low.pop_front().map(|(_, frame)| frame)
            }
            Side::Queue => {
                self.firm = self.firm.saturating_sub(1);
                sides.fixed_out += u64::from(!normal_waits);
                self.queue.pop_front()
            }
        };
        if sides.is_empty() {
            self.sides = None;
        }
        frame
    }

    /// Takes everything, in no order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Arc<Waiting>> {
        self.firm = 0;
        let sides = self.sides.take().unwrap_or_default();
        let queue = std::mem::take(&mut self.queue);
        queue.into_iter().chain(sides.high.into_iter().chain(sides.low).map(|(_, frame)| frame))
    }

    /// Memory of the queues themselves, bytes.
    pub(crate) fn footprint(&self) -> usize {
        let sides = self.sides.as_ref().map_or(0, |sides| {
            let places = sides.high.capacity() + sides.low.capacity();
            size_of::<Sides>() + places * size_of::<(u64, Arc<Waiting>)>()
        });
        self.queue.capacity() * size_of::<Arc<Waiting>>() + sides
    }

    /// The frame at a place of one side, the first to go at 0.
    pub(crate) fn at(&self, side: Side, place: usize) -> Option<&Arc<Waiting>> {
        match (side, &self.sides) {
            (Side::Queue, _) => self.queue.get(place),
            (Side::High, Some(sides)) => sides.high.get(place).map(|(_, frame)| frame),
            (Side::Low, Some(sides)) => sides.low.get(place).map(|(_, frame)| frame),
            (_, None) => None,
        }
    }

    /// Whether the server says something between two places of one side; `to` may be behind its last frame.
    pub(crate) fn are_parted(&self, side: Side, from: usize, to: usize) -> bool {
        let lane = match (side, &self.sides) {
            (Side::Queue, _) => {
                let between = self.queue.iter().take(to).skip(from);
                return between.into_iter().any(|frame| is_fixed(frame));
            }
            (Side::High, Some(sides)) => &sides.high,
            (Side::Low, Some(sides)) => &sides.low,
            (_, None) => return false,
        };
        let fixed_in = self.sides.as_ref().map_or(0, |sides| sides.fixed_in);
        let before = |place| lane.get(place).map_or(fixed_in, |(before, _)| *before);
        before(from) != before(to)
    }

    /// How many frames stand on one side.
    pub(crate) fn count(&self, side: Side) -> usize {
        match (side, &self.sides) {
            (Side::Queue, _) => self.queue.len(),
            (Side::High, Some(sides)) => sides.high.len(),
            (Side::Low, Some(sides)) => sides.low.len(),
            (_, None) => 0,
        }
    }

    /// How many at the beginning of a side are known not to yield.
    pub(crate) fn firm(&self, side: Side) -> usize {
        match (side, &self.sides) {
            (Side::Queue, _) => self.firm,
            (Side::High, Some(sides)) => sides.firm_high,
            (Side::Low, Some(sides)) => sides.firm_low,
            (_, None) => 0,
        }
    }

    /// Notes that.
    pub(crate) fn set_firm(&mut self, side: Side, count: usize) {
        match (side, &mut self.sides) {
            (Side::Queue, _) => self.firm = count,
            (Side::High, Some(sides)) => sides.firm_high = count,
            (Side::Low, Some(sides)) => sides.firm_low = count,
            (_, None) => {}
        }
    }

    /// Takes out the frame at a place, no fixed one, and puts those of `instead` there, which are of the same lane.
    pub(crate) fn replace(
        &mut self,
        side: Side,
        place: usize,
        instead: SmallVec<[Arc<Waiting>; 1]>,
    ) -> Option<Arc<Waiting>> {
        let firm = self.firm(side);
        let firm = if place < firm { firm - 1 + instead.len() } else { firm };
        self.set_firm(side, firm);
        match (side, &mut self.sides) {
            (Side::Queue, _) => {
                let taken = self.queue.remove(place)?;
                for frame in instead.into_iter().rev() {
                    self.queue.insert(place, frame);
                }
                Some(taken)
            }
            (_, None) => None,
            (side, Some(sides)) => {
                let lane = if side == Side::High { &mut sides.high } else { &mut sides.low };
                let (before, taken) = lane.remove(place)?;
                for frame in instead.into_iter().rev() {
                    lane.insert(place, (before, frame));
                }
                if sides.is_empty() {
                    self.sides = None;
                }
                Some(taken)
            }
        }
    }

    /// The rules of the publications that wait.
    pub(crate) fn rules(&self) -> impl Iterator<Item = RuleIx> {
        let sides = self.sides.iter().flat_map(|sides| sides.high.iter().chain(&sides.low));
        self.queue.iter().chain(sides.map(|(_, frame)| frame)).filter_map(|frame| frame.rule)
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
