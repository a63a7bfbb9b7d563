//! What a blocked socket left for later, and what that holds of the pod's outbound memory.

use std::sync::Arc;

use bytes::Bytes;
use rtgw_model::{ChannelName, Encoder, OutboxLimits, RuleIx};
use smallvec::SmallVec;

use crate::Fill;
use crate::account::Account;
use crate::frame::{Frame, Waiting};
use crate::lanes::{Lanes, Side};
use crate::outbox::{Appended, CORK_BYTES, append};

/// What waits for one blocked socket. Its memory is on the account until it is dropped.
#[derive(Debug)]
pub(crate) struct Blocked {
    /// The unsent part of what was last taken; never dropped, because the socket is inside a frame.
    rest: Bytes,
    /// The frame that `rest` is a part of; absent where it is a copy.
    begun: Option<Arc<Waiting>>,
    /// The socket has not said that it takes bytes again.
    pub(crate) waiting: bool,
    /// A ping or pong passes publications; the newest replaces the one before.
    control: Option<Bytes>,
    frames: Lanes,
    /// Channels that the connection has left since it began to wait: it hears of that behind what stood here before.
    left: Vec<ChannelName>,
    bytes: usize,
    /// The part of `bytes` that a policy may drop.
    yielding: usize,
    /// Frames that tell of holes, and their bytes: they are not counted against the limits that made them.
    holes: usize,
    hole_bytes: usize,
    /// What is on the account: bytes that are nobody else's, and the queue itself.
    own: usize,
    places: usize,
    account: Arc<Account>,
}

impl Blocked {
    pub(crate) fn new(account: &Arc<Account>) -> Self {
        Self {
            rest: Bytes::new(),
            begun: None,
            waiting: false,
            control: None,
            frames: Lanes::default(),
            left: Vec::new(),
            bytes: 0,
            yielding: 0,
            holes: 0,
            hole_bytes: 0,
            own: 0,
            places: 0,
            account: account.clone(),
        }
    }

    /// Puts the account right, after every change.
    pub(crate) fn settle(&mut self) {
        let rest = if self.begun.is_some() { 0 } else { self.rest.len() };
        let own = rest + self.control.as_ref().map_or(0, Bytes::len);
        if self.frames.is_empty() {
            self.left = Vec::new();
        }
        let left = self.left.capacity() * size_of::<ChannelName>();
        let places = size_of::<Self>() + self.frames.footprint() + left;
        self.account.frames(std::mem::replace(&mut self.own, own), own);
        self.account.places(std::mem::replace(&mut self.places, places), places);
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.control.is_none() && self.frames.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those of them that no policy may drop.
    pub(crate) fn pressing(&self) -> usize {
        self.bytes - self.yielding
    }

    /// Bytes of the frame that the socket has the beginning of.
    pub(crate) fn begun(&self) -> usize {
        self.rest.len()
    }

    /// What it holds: bytes that wait, shared or not, and their places.
    pub(crate) fn weight(&self) -> usize {
        self.bytes + self.places
    }

    pub(crate) fn frames(&self) -> &Lanes {
        &self.frames
    }

    /// Notes that the connection has left a channel.
    pub(crate) fn note_left(&mut self, channel: &ChannelName) {
        if !self.frames.is_empty() && !self.has_left(channel) {
            self.left.push(channel.clone());
        }
    }

    /// Whether it has, and may be going to read so.
    pub(crate) fn has_left(&self, channel: &ChannelName) -> bool {
        self.left.contains(channel)
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = RuleIx> {
        self.frames.rules()
    }

    pub(crate) fn fits(&self, length: usize, limits: OutboxLimits) -> bool {
        let count = self.frames.len() - self.holes;
        let room = self.bytes - self.hole_bytes + length <= limits.bytes as usize
            && count < limits.messages as usize;
        // A frame that nothing stands before is always taken: it is bounded by the limit on messages.
        room || (self.rest.is_empty() && count == 0)
    }

    /// The socket left `rest` of what was last taken: of `begun`, or of a copy.
    pub(crate) fn stop(&mut self, rest: Bytes, begun: Option<Arc<Waiting>>) {
        self.bytes += rest.len();
        self.begun = begun.filter(|_| !rest.is_empty());
        self.rest = rest;
        self.waiting = true;
    }

    pub(crate) fn set_control(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.bytes -= self.control.replace(bytes).map_or(0, |stale| stale.len());
    }

    pub(crate) fn push(&mut self, frame: Arc<Waiting>) {
        self.enter(&frame);
        self.frames.push(frame);
    }

    /// Takes out the frame at a place and puts what tells of it there.
    pub(crate) fn replace(
        &mut self,
        side: Side,
        place: usize,
        instead: SmallVec<[Arc<Waiting>; 1]>,
    ) -> Option<Arc<Waiting>> {
        for frame in &instead {
            self.enter(frame);
        }
        let taken = self.frames.replace(side, place, instead)?;
        self.leave(&taken);
        Some(taken)
    }

    pub(crate) fn set_firm(&mut self, side: Side, count: usize) {
        self.frames.set_firm(side, count);
    }

    /// Takes all frames, in no order.
    pub(crate) fn shed(&mut self, mut dropped: impl FnMut(RuleIx)) {
        for frame in std::mem::take(&mut self.frames).drain() {
            self.leave(&frame);
            frame.rule.into_iter().for_each(&mut dropped);
        }
    }

    fn enter(&mut self, frame: &Frame) {
        let length = frame.bytes().len();
        self.bytes += length;
        if frame.hole {
            self.holes += 1;
            self.hole_bytes += length;
        } else if frame.yields() {
            self.yielding += length;
        }
    }

    fn leave(&mut self, frame: &Frame) {
        let length = frame.bytes().len();
        self.bytes -= length;
        if frame.hole {
            self.holes -= 1;
            self.hole_bytes -= length;
        } else if frame.yields() {
            self.yielding -= length;
        }
    }

    /// Takes what goes next; where that is bytes of one frame, the frame too.
    pub(crate) fn fill(
        &mut self,
        cork: &mut Vec<u8>,
        sequence: &mut u64,
        encoder: &dyn Encoder,
    ) -> (Fill, Option<Arc<Waiting>>) {
        let rest = std::mem::take(&mut self.rest);
        let begun = self.begun.take();
        self.bytes -= rest.len();
        if rest.len() > CORK_BYTES {
            return (Fill::Direct(rest), begun);
        }
        cork.extend_from_slice(&rest);
        if let Some(control) = self.control.take() {
            self.bytes -= control.len();
            cork.extend_from_slice(&control);
        }
        while let Some(frame) = self.frames.front() {
            let appended = append(frame, cork, sequence, encoder);
            if matches!(appended, Appended::Full) {
                return (Fill::Cork, None);
            }
            let Some(frame) = self.frames.pop() else { break };
            self.leave(&frame);
            if let Appended::Alone(bytes) = appended {
                return (Fill::Direct(bytes), Some(frame));
            }
        }
        debug_assert!(self.is_empty() && self.bytes == 0);
        (if cork.is_empty() { Fill::Empty } else { Fill::Cork }, None)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.account.frames(self.own, 0);
        self.account.places(self.places, 0);
    }
}
