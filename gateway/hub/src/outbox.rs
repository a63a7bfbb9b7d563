//! What waits to be written, per connection.
//!
//! Within a turn of the loop a connection's frames are a linked list of 8-byte nodes in one arena, pointing into one palette of
//! frames: putting a publication into a thousand outboxes touches no reference count and allocates nothing. Only what a socket
//! refuses outlives the turn, in a queue that exists while that socket is blocked.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use rtgw_model::{ChannelName, Encoder, OutboxLimits, RuleIx};
use smallvec::SmallVec;

use crate::Fill;
use crate::account::Account;
use crate::blocked::Blocked;
use crate::frame::{Frame, Waiting};
use crate::lanes::{Lanes, Side};

/// Below this size a copy into the shard's cork buffer is cheaper than a system call of its own.
pub(crate) const CORK_BYTES: usize = 16 * 1024;
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

/// A frame of the turn, and its other self in the queues of blocked sockets.
#[derive(Debug)]
struct Color {
    frame: Frame,
    waiting: Weak<Waiting>,
}

impl Color {
    fn waiting(&mut self, account: &Arc<Account>) -> Arc<Waiting> {
        self.waiting.upgrade().unwrap_or_else(|| {
            let waiting = Arc::new(Waiting::new(self.frame.clone(), account));
            self.waiting = Arc::downgrade(&waiting);
            waiting
        })
    }
}

/// Which frame the last [`Fill::Direct`] is of.
#[derive(Debug, Default)]
enum Direct {
    #[default]
    None,
    Turn(u32),
    Waiting(Arc<Waiting>),
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

const _: () = assert!(size_of::<Slot>() <= 24, "an outbox is paid by every idle connection");

/// What became of a frame that was put into an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is in; true when the connection became dirty by it.
    In(bool),
    /// The socket is blocked: policies and limits have to be asked.
    Blocked,
}

/// All outboxes of a shard.
#[derive(Debug)]
pub(crate) struct Outboxes {
    slots: Vec<Slot>,
    palette: Vec<Color>,
    nodes: Vec<Node>,
    dirty: VecDeque<u32>,
    /// The slot that [`Outboxes::next_dirty`] gave last and that may not be empty yet.
    current: Option<u32>,
    direct: Direct,
    /// Bytes that wait for blocked sockets, each copy counted.
    queued: usize,
    pub(crate) account: Arc<Account>,
    /// What waits has become more since the last look.
    pub(crate) grown: bool,
    /// The most that a connection held since the last look.
    pub(crate) largest: usize,
}

impl Outboxes {
    /// No outbox yet; what they will hold is on `account`.
    pub(crate) fn new(account: Arc<Account>) -> Self {
        Self {
            slots: Vec::new(),
            palette: Vec::new(),
            nodes: Vec::new(),
            dirty: VecDeque::new(),
            current: None,
            direct: Direct::None,
            queued: 0,
            account,
            grown: false,
            largest: 0,
        }
    }

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
            self.palette[node.frame as usize].frame.rule.into_iter().for_each(&mut dropped);
            at = node.next;
        }
        if let Some(blocked) = slot.blocked.take() {
            self.queued -= blocked.bytes();
            blocked.rules().for_each(&mut dropped);
        }
        // A stale entry in the dirty list is harmless: an empty outbox has nothing to write.
        *slot = Slot { dirty: slot.dirty, ..Slot::default() };
    }

    /// Puts a frame into the palette.
    pub(crate) fn frame(&mut self, frame: Frame) -> FrameIx {
        self.palette.push(Color { frame, waiting: Weak::new() });
        FrameIx((self.palette.len() - 1) as u32)
    }

    /// A frame of the palette.
    pub(crate) fn of(&self, frame: FrameIx) -> &Frame {
        &self.palette[frame.0 as usize].frame
    }

    /// Appends a frame of the palette to an outbox whose socket takes bytes.
    pub(crate) fn push(&mut self, slot: u32, frame: FrameIx) -> Pushed {
        let entry = &mut self.slots[slot as usize];
        if entry.blocked.is_some() {
            return Pushed::Blocked;
        }
        self.nodes.push(Node { frame: frame.0, next: NONE });
        let node = (self.nodes.len() - 1) as u32;
        if entry.head == NONE {
            entry.head = node;
        } else {
            self.nodes[entry.tail as usize].next = node;
        }
        entry.tail = node;
        Pushed::In(self.mark(slot))
    }

    /// Whether a frame of `length` bytes is within the bounds of a blocked socket's queue.
    pub(crate) fn fits(&self, slot: u32, length: usize, limits: OutboxLimits) -> bool {
        self.slots[slot as usize].blocked.as_ref().is_none_or(|blocked| blocked.fits(length, limits))
    }

    /// Appends a frame of the palette to a blocked socket's queue, whatever its bounds; true when the connection became dirty by it.
    pub(crate) fn queue(&mut self, slot: u32, frame: FrameIx) -> bool {
        let waiting = self.palette[frame.0 as usize].waiting(&self.account);
        self.queue_waiting(slot, waiting)
    }

    /// The same for what is in no palette.
    pub(crate) fn queue_waiting(&mut self, slot: u32, frame: Arc<Waiting>) -> bool {
        self.change(slot, |blocked| blocked.push(frame));
        self.mark_unless_waiting(slot)
    }

    /// Changes what waits at `slot` and puts the accounts right.
    fn change<T>(&mut self, slot: u32, change: impl FnOnce(&mut Blocked) -> T) -> Option<T> {
        let blocked = self.slots[slot as usize].blocked.as_mut()?;
        let before = blocked.bytes();
        let changed = change(blocked);
        blocked.settle();
        self.queued = self.queued - before + blocked.bytes();
        self.largest = self.largest.max(blocked.weight());
        self.grown |= blocked.bytes() > before;
        Some(changed)
    }

    /// The frames that wait at `slot` for a blocked socket.
    pub(crate) fn waiting(&self, slot: u32) -> Option<&Lanes> {
        self.slots[slot as usize].blocked.as_ref().map(|blocked| blocked.frames())
    }

    /// Notes that the connection at `slot` has left a channel; it matters to what waits.
    pub(crate) fn note_left(&mut self, slot: u32, channel: &ChannelName) {
        self.change(slot, |blocked| blocked.note_left(channel));
    }

    /// Whether it has, with something waiting that it may have heard before.
    pub(crate) fn has_left(&self, slot: u32, channel: &ChannelName) -> bool {
        self.slots[slot as usize].blocked.as_ref().is_some_and(|blocked| blocked.has_left(channel))
    }

    /// Takes out a frame that waits, and puts what tells of it in its place.
    pub(crate) fn replace(
        &mut self,
        slot: u32,
        (side, place): (Side, usize),
        instead: SmallVec<[Arc<Waiting>; 1]>,
    ) -> Option<Arc<Waiting>> {
        self.change(slot, |blocked| blocked.replace(side, place, instead)).flatten()
    }

    /// Notes that so many frames at the beginning of a side do not yield.
    pub(crate) fn set_firm(&mut self, slot: u32, side: Side, count: usize) {
        if let Some(blocked) = &mut self.slots[slot as usize].blocked {
            blocked.set_firm(side, count);
        }
    }

    /// Appends a ping or pong: before the publications that wait for a blocked socket.
    pub(crate) fn push_control(&mut self, slot: u32, bytes: Bytes) {
        if self.slots[slot as usize].blocked.is_none() {
            return self.push_unbounded(slot, bytes);
        }
        self.change(slot, |blocked| blocked.set_control(bytes));
        self.mark_unless_waiting(slot);
    }

    /// Appends the connection's last frame, behind all that waits; after it [`Outboxes::fill`] says `Finished`.
    pub(crate) fn push_last(&mut self, slot: u32, bytes: Bytes) {
        self.push_unbounded(slot, bytes);
        self.slots[slot as usize].finish = true;
    }

    fn push_unbounded(&mut self, slot: u32, bytes: Bytes) {
        let frame = self.frame(Frame::of_server(bytes));
        if self.push(slot, frame) == Pushed::Blocked {
            self.queue(slot, frame);
        }
    }

    /// Drops the publications and answers that wait for a blocked socket, so that a close frame goes next.
    pub(crate) fn shed(&mut self, slot: u32, dropped: impl FnMut(RuleIx)) {
        self.change(slot, |blocked| blocked.shed(dropped));
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
        self.direct = Direct::None;
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
            self.block(slot, Bytes::new());
            while let Some(frame) = self.unlink(slot) {
                self.queue(slot, frame);
            }
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
        self.direct = Direct::None;
        if let Some(blocked) = &self.slots[slot as usize].blocked {
            if blocked.waiting {
                return Fill::Empty;
            }
            let filled = self.change(slot, |blocked| blocked.fill(cork, sequence, encoder));
            if let Some((fill, frame)) = filled
                && !matches!(fill, Fill::Empty)
            {
                self.direct = frame.map_or(Direct::None, Direct::Waiting);
                return fill;
            }
            self.slots[slot as usize].blocked = None;
        }
        let entry = &mut self.slots[slot as usize];
        while entry.head != NONE {
            let node = self.nodes[entry.head as usize];
            match append(&self.palette[node.frame as usize].frame, cork, sequence, encoder) {
                Appended::Whole => entry.head = node.next,
                Appended::Full => return Fill::Cork,
                Appended::Alone(bytes) => {
                    entry.head = node.next;
                    self.direct = Direct::Turn(node.frame);
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

    /// What was last taken has been copied: what a socket leaves of it is no part of a frame.
    pub(crate) fn copied(&mut self) {
        self.direct = Direct::None;
    }

    /// The socket left `rest` of what was last taken. What else waits goes into its queue: [`Outboxes::unlink`].
    pub(crate) fn block(&mut self, slot: u32, rest: Bytes) {
        let begun = match std::mem::take(&mut self.direct) {
            Direct::None => None,
            Direct::Turn(frame) => Some(self.palette[frame as usize].waiting(&self.account)),
            Direct::Waiting(frame) => Some(frame),
        };
        let account = &self.account;
        let entry = &mut self.slots[slot as usize];
        entry.blocked.get_or_insert_with(|| Box::new(Blocked::new(account)));
        self.change(slot, |blocked| blocked.stop(rest, begun));
    }

    /// Takes the first frame out of the turn's list of a blocked socket.
    pub(crate) fn unlink(&mut self, slot: u32) -> Option<FrameIx> {
        let entry = &mut self.slots[slot as usize];
        if entry.head == NONE {
            entry.tail = NONE;
            return None;
        }
        let node = self.nodes[entry.head as usize];
        entry.head = node.next;
        Some(FrameIx(node.frame))
    }

    /// Bytes of a frame that the socket at `slot` has the beginning of: they come before all else.
    pub(crate) fn begun(&self, slot: u32) -> usize {
        self.slots[slot as usize].blocked.as_ref().map_or(0, |blocked| blocked.begun())
    }

    /// Bytes that wait for the socket at `slot`, beyond this turn, and that no policy may drop.
    pub(crate) fn pressing_bytes(&self, slot: u32) -> usize {
        self.slots[slot as usize].blocked.as_ref().map_or(0, |blocked| blocked.pressing())
    }

    /// Bytes that wait for all blocked sockets, each copy counted.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// What the blocked sockets hold, each with its slot.
    pub(crate) fn weights(&self) -> impl Iterator<Item = (usize, u32)> {
        self.slots
            .iter()
            .zip(0_u32..)
            .filter_map(|(slot, at)| slot.blocked.as_ref().map(|blocked| (blocked.weight(), at)))
    }

    /// What the socket at `slot` holds; nothing where it takes bytes.
    pub(crate) fn weight(&self, slot: u32) -> usize {
        self.slots[slot as usize].blocked.as_ref().map_or(0, |blocked| blocked.weight())
    }
}

pub(crate) enum Appended {
    Whole,
    Full,
    Alone(Bytes),
}

/// Copies a frame into the cork buffer if it fits there.
pub(crate) fn append(
    frame: &Frame,
    cork: &mut Vec<u8>,
    sequence: &mut u64,
    encoder: &dyn Encoder,
) -> Appended {
    let bytes = frame.bytes();
    if !cork.is_empty() && cork.len() + bytes.len() > CORK_BYTES {
        return Appended::Full;
    }
    if let Some(variant) = frame.numbered {
        *sequence += 1;
        encoder.splice(variant, bytes, *sequence, cork);
        return Appended::Whole;
    }
    if bytes.len() > CORK_BYTES {
        return Appended::Alone(bytes.clone());
    }
    cork.extend_from_slice(bytes);
    Appended::Whole
}
