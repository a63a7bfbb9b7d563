//! A frame on its way to a socket, and where it may stand among others.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use rtgw_model::{ChannelName, Encoded, Priority, RuleIx, Variant};
use smallvec::SmallVec;

use crate::account::Account;

/// Where a frame may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// In its place among all frames.
    Fixed,
    /// Among those of its priority.
    Of(Priority),
}

/// Which channels a frame is of; only where the policy of one lets it be dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) parts: SmallVec<[Part; 1]>,
    /// The one by which the connections of this frame hear it.
    pub(crate) by: usize,
}

/// One of the channels.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) channel: ChannelName,
    /// The channel's policy lets nothing be dropped.
    pub(crate) firm: bool,
    /// A newer publication of the same channel and key may take its place.
    pub(crate) key: Option<Box<[u8]>>,
}

impl Origin {
    pub(crate) fn part(&self, channel: &ChannelName) -> Option<&Part> {
        self.parts.iter().find(|part| part.channel == *channel)
    }
}

/// A complete frame, ready for a socket.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) encoded: Arc<Encoded>,
    /// The publication's rule; `None` for what the server itself says.
    pub(crate) rule: Option<RuleIx>,
    /// The variant, where each connection's copy gets a number spliced in.
    pub(crate) numbered: Option<Variant>,
    /// Where it stands when the socket is blocked.
    pub(crate) lane: Lane,
    pub(crate) origin: Option<Arc<Origin>>,
    /// It tells of a hole in its origin's channel and stands where that is.
    pub(crate) hole: bool,
}

impl Frame {
    /// What the server itself says.
    pub(crate) fn of_server(bytes: Bytes) -> Self {
        let encoded = Arc::new(Encoded::new(bytes));
        Self { encoded, rule: None, numbered: None, lane: Lane::Fixed, origin: None, hole: false }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        self.encoded.bytes()
    }

    /// A policy may drop it. What has its place among the frames of all lanes stays: the others are counted by it.
    pub(crate) fn yields(&self) -> bool {
        self.origin.is_some() && !self.hole && self.lane != Lane::Fixed
    }
}

/// A frame that waits for blocked sockets of a shard: as long as there is one, its bytes are on the account.
#[derive(Debug)]
pub(crate) struct Waiting {
    frame: Frame,
    account: Arc<Account>,
}

impl Waiting {
    pub(crate) fn new(frame: Frame, account: &Arc<Account>) -> Self {
        if frame.encoded.hold() {
            account.frames(0, frame.bytes().len());
        }
        Self { frame, account: account.clone() }
    }
}

impl Deref for Waiting {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.frame.encoded.release() {
            self.account.frames(self.frame.bytes().len(), 0);
        }
    }
}
