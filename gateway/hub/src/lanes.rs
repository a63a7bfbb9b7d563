//! What waits for a blocked socket, in lanes: channels of higher priority first, each channel in its own order.
//!
//! What the server itself says, and publications for channels of several lanes, pass nothing and are passed by nothing: `subscribed`
//! stands before the publications it promises, `unsubscribed` behind the last. Between two of them the lanes are free, and who
//! speaks too often of the higher ones lets a lower one through ([`SHARE`]).
//!
//! Most connections know one lane only. For them this is one queue.

use std::collections::VecDeque;

use rtgw_model::{Priority, RuleIx};

use crate::frame::{Frame, Lane};

/// So many frames in a row may pass a waiting one of a lower lane; then that lane has one.
const SHARE: u8 = 8;

/// The frames of one blocked socket.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// Normal and fixed frames.
    queue: VecDeque<Frame>,
    sides: Option<Box<Sides>>,
}

/// Exists from the first frame of another lane on.
#[derive(Debug, Default)]
struct Sides {
    /// Frames, each with how many fixed ones were put in before it.
    high: VecDeque<(u64, Frame)>,
    low: VecDeque<(u64, Frame)>,
    /// Fixed frames that were put in and taken out, counted from those that stood in the queue at the beginning.
    fixed_in: u64,
    fixed_out: u64,
    /// Frames in a row that passed a waiting one of the lane.
    passed_normal: u8,
    passed_low: u8,
}

/// Which queue the next frame comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    High,
    Queue,
    Low,
}

fn is_fixed(frame: &Frame) -> bool {
    frame.lane == Lane::Fixed
}

impl Sides {
    /// The fixed frames before it have gone.
    fn may(&self, lane: &VecDeque<(u64, Frame)>) -> bool {
        lane.front().is_some_and(|(before, _)| *before <= self.fixed_out)
    }

    fn next(&self, queue: Option<&Frame>) -> Option<From> {
        let (high, low) = (self.may(&self.high), self.may(&self.low));
        let normal = queue.is_some_and(|frame| !is_fixed(frame));
        if low && self.passed_low >= SHARE {
            return Some(From::Low);
        }
        if normal && self.passed_normal >= SHARE {
            return Some(From::Queue);
        }
        match (high, normal, low) {
            (true, _, _) => Some(From::High),
            (_, true, _) => Some(From::Queue),
            (_, _, true) => Some(From::Low),
            // A fixed frame, when all before it have gone.
            _ => queue.map(|_| From::Queue),
        }
    }

    fn taken(&mut self, from: From, normal_waits: bool) {
        let low_waits = self.may(&self.low);
        match from {
            From::High => {
                self.passed_normal = if normal_waits { self.passed_normal.saturating_add(1) } else { 0 };
                self.passed_low = if low_waits { self.passed_low.saturating_add(1) } else { 0 };
            }
            From::Queue => {
                self.passed_normal = 0;
                self.passed_low = if low_waits { self.passed_low.saturating_add(1) } else { 0 };
            }
            From::Low => self.passed_low = 0,
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
    pub(crate) fn push(&mut self, frame: Frame) {
        let lane = match frame.lane {
            Lane::Of(Priority::High) => From::High,
            Lane::Of(Priority::Low) => From::Low,
            Lane::Of(Priority::Normal) | Lane::Fixed => From::Queue,
        };
        if lane == From::Queue {
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
        if lane == From::High { sides.high.push_back(entry) } else { sides.low.push_back(entry) }
    }

    /// The frame that goes next.
    pub(crate) fn front(&self) -> Option<&Frame> {
        let queue = self.queue.front();
        let Some(sides) = &self.sides else { return queue };
        match sides.next(queue)? {
            From::High => sides.high.front().map(|(_, frame)| frame),
            From::Queue => queue,
            From::Low => sides.low.front().map(|(_, frame)| frame),
        }
    }

    /// Takes the frame that [`Lanes::front`] shows.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let queue = self.queue.front();
        let Some(sides) = &mut self.sides else { return self.queue.pop_front() };
        let normal_waits = queue.is_some_and(|frame| !is_fixed(frame));
        let from = sides.next(queue)?;
        sides.taken(from, normal_waits);
        let frame = match from {
            From::High => sides.high.pop_front().map(|(_, frame)| frame),
            From::Low => sides.low.pop_front().map(|(_, frame)| frame),
            From::Queue => {
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
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Frame> {
        let sides = self.sides.take().unwrap_or_default();
        let queue = std::mem::take(&mut self.queue);
        queue.into_iter().chain(sides.high.into_iter().chain(sides.low).map(|(_, frame)| frame))
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
