//! What waits to be written, per connection.
//!
//! Within a turn of the loop a connection's frames are a linked list of 8-byte nodes in one arena, pointing into one palette of
//! frames: putting a publication into a thousand outboxes touches no reference count and allocates nothing. Only what a socket
//! refuses outlives the turn, in a queue that exists while that socket is blocked.

use std::collections::VecDeque;

use bytes::Bytes;
use rtgw_model::{Encoder, OutboxLimits, RuleIx};

use crate::Fill;
use crate::frame::Frame;
use crate::lanes::Lanes;

/// Below this size a copy into the shard's cork buffer is cheaper than a system call of its own.
const CORK_BYTES: usize = 16 * 1024;
/// End of a list of nodes.
const NONE: u32 = u32::MAX;

/// Index of a frame in the turn's palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameIx(u32);

#[derive(Clone, Copy, Debug)]
struct Node {
    frame: u32,
    next: u32,
}

/// What a blocked socket left for later.
#[derive(Debug, Default)]
struct Blocked {
    /// The unsent part of what was last taken; never dropped, because the socket is inside a frame.
    rest: Bytes,
    /// The socket has not said that it takes bytes again.
    waiting: bool,
    /// A ping or pong passes publications; the newest replaces the one before.
    control: Option<Bytes>,
    frames: Lanes,
    bytes: usize,
}

impl Blocked {
    fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.control.is_none() && self.frames.is_empty()
    }

    fn fits(&self, length: usize, limits: OutboxLimits) -> bool {
        let room =
            self.bytes + length <= limits.bytes as usize && self.frames.len() < limits.messages as usize;
        // A frame that nothing stands before is always taken: it is bounded by the limit on messages.
        room || (self.rest.is_empty() && self.frames.is_empty())
    }
}

#[derive(Debug)]
struct Slot {
    head: u32,
    tail: u32,
    dirty: bool,
    /// The last frame is in: when nothing waits any more, the connection is finished.
    finish: bool,
    blocked: Option<Box<Blocked>>,
}

impl Default for Slot {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, dirty: false, finish: false, blocked: None }
    }
}

/// The outbox of the connection is full; the channel's policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

/// All outboxes of a shard.
#[derive(Debug, Default)]
pub(crate) struct Outboxes {
    slots: Vec<Slot>,
    palette: Vec<Frame>,
    nodes: Vec<Node>,
    dirty: VecDeque<u32>,
    /// The slot that [`Outboxes::next_dirty`] gave last and that may not be empty yet.
    current: Option<u32>,
    /// Bytes held for blocked sockets.
    held: usize,
}

impl Outboxes {
    /// Makes an empty outbox at `slot`.
    pub(crate) fn open(&mut self, slot: u32) {
        let at = slot as usize;
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, Slot::default);
        }
    }

    /// Forgets what waits at `slot`; returns how many publications of each rule were dropped with it.
    pub(crate) fn clear(&mut self, slot: u32, mut dropped: impl FnMut(RuleIx)) {
        let Some(slot) = self.slots.get_mut(slot as usize) else { return };
        let mut at = slot.head;
        while at != NONE {
            let node = self.nodes[at as usize];
            self.palette[node.frame as usize].rule.into_iter().for_each(&mut dropped);
            at = node.next;
        }
        if let Some(blocked) = slot.blocked.take() {
            self.held -= blocked.bytes;
            blocked.frames.rules().for_each(&mut dropped);
        }
        // A stale entry in the dirty list is harmless: an empty outbox has nothing to write.
        *slot = Slot { dirty: slot.dirty, ..Slot::default() };
    }

    /// Puts a frame into the palette.
    pub(crate) fn frame(&mut self, frame: Frame) -> FrameIx {
        self.palette.push(frame);
        FrameIx((self.palette.len() - 1) as u32)
    }

    /// Appends a frame of the palette to an outbox; true when the connection became dirty by it.
    pub(crate) fn push(&mut self, slot: u32, frame: FrameIx, limits: OutboxLimits) -> Result<bool, Overflow> {
        let at = slot as usize;
        if let Some(blocked) = &mut self.slots[at].blocked {
            let frame = &self.palette[frame.0 as usize];
            let length = frame.bytes.len();
            if !blocked.fits(length, limits) {
                return Err(Overflow);
            }
            blocked.frames.push(frame.clone());
            blocked.bytes += length;
            self.held += length;
            return Ok(self.mark_unless_waiting(slot));
        }
        self.nodes.push(Node { frame: frame.0, next: NONE });
        let node = (self.nodes.len() - 1) as u32;
        let entry = &mut self.slots[at];
        if entry.head == NONE {
            entry.head = node;
        } else {
            self.nodes[entry.tail as usize].next = node;
        }
        entry.tail = node;
        Ok(self.mark(slot))
    }

    /// Appends a ping or pong: before the publications that wait for a blocked socket.
    pub(crate) fn push_control(&mut self, slot: u32, bytes: Bytes) {
        let Some(blocked) = &mut self.slots[slot as usize].blocked else {
            return self.push_unbounded(slot, bytes);
        };
        let stale = blocked.control.as_ref().map_or(0, Bytes::len);
        blocked.bytes = blocked.bytes - stale + bytes.len();
        self.held = self.held - stale + bytes.len();
        blocked.control = Some(bytes);
        self.mark_unless_waiting(slot);
    }

    /// Appends the connection's last frame, behind all that waits; after it [`Outboxes::fill`] says `Finished`.
    pub(crate) fn push_last(&mut self, slot: u32, bytes: Bytes) {
        self.push_unbounded(slot, bytes);
        self.slots[slot as usize].finish = true;
    }

    fn push_unbounded(&mut self, slot: u32, bytes: Bytes) {
        let frame = self.frame(Frame::of_server(bytes));
        let unbounded = OutboxLimits { bytes: u32::MAX, messages: u32::MAX };
        // Cannot overflow without bounds.
        let _ = self.push(slot, frame, unbounded);
    }

    /// Drops the publications and answers that wait for a blocked socket, so that a close frame goes next.
    pub(crate) fn shed(&mut self, slot: u32, mut dropped: impl FnMut(RuleIx)) {
        if let Some(blocked) = &mut self.slots[slot as usize].blocked {
            for frame in blocked.frames.drain() {
                blocked.bytes -= frame.bytes.len();
                self.held -= frame.bytes.len();
                frame.rule.into_iter().for_each(&mut dropped);
            }
        }
    }

    fn mark(&mut self, slot: u32) -> bool {
        let entry = &mut self.slots[slot as usize];
        if entry.dirty {
            return false;
        }
        entry.dirty = true;
        self.dirty.push_back(slot);
        true
    }

    fn mark_unless_waiting(&mut self, slot: u32) -> bool {
        let waiting = self.slots[slot as usize].blocked.as_ref().is_some_and(|blocked| blocked.waiting);
        !waiting && self.mark(slot)
    }

    /// The socket at `slot` takes bytes again.
    pub(crate) fn writable(&mut self, slot: u32) {
        if let Some(entry) = self.slots.get_mut(slot as usize)
            && let Some(blocked) = &mut entry.blocked
            && blocked.waiting
        {
            blocked.waiting = false;
            self.mark(slot);
        }
    }

    /// Has the connection's end looked at by [`Outboxes::fill`] although its socket takes nothing; what waits is dropped.
    pub(crate) fn abandon(&mut self, slot: u32, dropped: impl FnMut(RuleIx)) {
        self.clear(slot, dropped);
        self.slots[slot as usize].finish = true;
        self.mark(slot);
    }

    /// The next slot to write. When there is none, every frame of the turn is in a socket or in a queue, and the palette is
    /// forgotten.
    pub(crate) fn next_dirty(&mut self) -> Option<u32> {
        if let Some(left) = self.current.take() {
            self.outlive_turn(left);
        }
        let Some(slot) = self.dirty.pop_front() else {
            self.palette.clear();
            self.nodes.clear();
            return None;
        };
        self.slots[slot as usize].dirty = false;
        self.current = Some(slot);
        Some(slot)
    }

    /// A socket that died while it was written leaves frames in the turn's list. Its end may be told after the turn, when the list is
    /// gone: until then they wait in a queue, so that they can be counted as what they are, dropped.
    fn outlive_turn(&mut self, slot: u32) {
        if self.slots[slot as usize].head != NONE {
            let unbounded = OutboxLimits { bytes: u32::MAX, messages: u32::MAX };
            // Cannot overflow without bounds.
            let _ = self.block(slot, Bytes::new(), unbounded);
        }
    }

    /// Takes bytes of the outbox at `slot`; `sequence` numbers the connection's publications.
    pub(crate) fn fill(
        &mut self,
        slot: u32,
        cork: &mut Vec<u8>,
        sequence: &mut u64,
        encoder: &dyn Encoder,
    ) -> Fill {
        let entry = &mut self.slots[slot as usize];
        if let Some(blocked) = &mut entry.blocked {
            if blocked.waiting {
                return Fill::Empty;
            }
            let before = blocked.bytes;
            let fill = fill_blocked(blocked, cork, sequence, encoder);
            self.held -= before - blocked.bytes;
            if !matches!(fill, Fill::Empty) {
                return fill;
            }
            entry.blocked = None;
        }
        while entry.head != NONE {
            let node = self.nodes[entry.head as usize];
            match append(&self.palette[node.frame as usize], cork, sequence, encoder) {
                Appended::Whole => entry.head = node.next,
                Appended::Full => return Fill::Cork,
                Appended::Alone(bytes) => {
                    entry.head = node.next;
                    return Fill::Direct(bytes);
                }
            }
        }
        entry.tail = NONE;
        match (cork.is_empty(), entry.finish) {
            (false, _) => Fill::Cork,
            (true, false) => Fill::Empty,
            (true, true) => Fill::Finished,
        }
    }

    /// The socket left `rest` of what was last taken. What else waits becomes a queue bounded by `limits`.
    pub(crate) fn block(&mut self, slot: u32, rest: Bytes, limits: OutboxLimits) -> Result<(), Overflow> {
        let entry = &mut self.slots[slot as usize];
        let mut blocked = entry.blocked.take().unwrap_or_default();
        self.held += rest.len();
        blocked.bytes += rest.len();
        blocked.rest = rest;
        blocked.waiting = true;
        let mut verdict = Ok(());
        let mut at = std::mem::replace(&mut entry.head, NONE);
        entry.tail = NONE;
        while at != NONE {
            let node = self.nodes[at as usize];
            let frame = self.palette[node.frame as usize].clone();
            if !blocked.fits(frame.bytes.len(), limits) {
                verdict = Err(Overflow);
            }
            blocked.bytes += frame.bytes.len();
            self.held += frame.bytes.len();
            blocked.frames.push(frame);
            at = node.next;
        }
        entry.blocked = Some(blocked);
        verdict
    }

    /// Bytes of a frame that the socket at `slot` has the beginning of: they come before all else.
    pub(crate) fn begun(&self, slot: u32) -> usize {
        self.slots[slot as usize].blocked.as_ref().map_or(0, |blocked| blocked.rest.len())
    }

    /// Bytes that wait for the socket at `slot`, beyond this turn.
    pub(crate) fn waiting_bytes(&self, slot: u32) -> usize {
        self.slots[slot as usize].blocked.as_ref().map_or(0, |blocked| blocked.bytes)
    }

    /// Bytes held for all blocked sockets.
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}

enum Appended {
    Whole,
    Full,
    Alone(Bytes),
}

/// Copies a frame into the cork buffer if it fits there.
fn append(frame: &Frame, cork: &mut Vec<u8>, sequence: &mut u64, encoder: &dyn Encoder) -> Appended {
    if !cork.is_empty() && cork.len() + frame.bytes.len() > CORK_BYTES {
        return Appended::Full;
    }
    if let Some(variant) = frame.numbered {
        *sequence += 1;
        encoder.splice(variant, &frame.bytes, *sequence, cork);
        return Appended::Whole;
    }
    if frame.bytes.len() > CORK_BYTES {
        return Appended::Alone(frame.bytes.clone());
    }
    cork.extend_from_slice(&frame.bytes);
    Appended::Whole
}

fn fill_blocked(
    blocked: &mut Blocked,
    cork: &mut Vec<u8>,
    sequence: &mut u64,
    encoder: &dyn Encoder,
) -> Fill {
    let rest = std::mem::take(&mut blocked.rest);
    blocked.bytes -= rest.len();
    if rest.len() > CORK_BYTES {
        return Fill::Direct(rest);
    }
    cork.extend_from_slice(&rest);
    if let Some(control) = blocked.control.take() {
        blocked.bytes -= control.len();
        cork.extend_from_slice(&control);
    }
    while let Some(frame) = blocked.frames.front() {
        let length = frame.bytes.len();
        let appended = append(frame, cork, sequence, encoder);
        if matches!(appended, Appended::Full) {
            return Fill::Cork;
        }
        blocked.frames.pop();
        blocked.bytes -= length;
        if let Appended::Alone(bytes) = appended {
            return Fill::Direct(bytes);
        }
    }
    debug_assert!(blocked.is_empty() && blocked.bytes == 0);
    if cork.is_empty() { Fill::Empty } else { Fill::Cork }
}
