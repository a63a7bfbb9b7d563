//! A frame on its way to a socket, and where it may stand among others.

use bytes::Bytes;
use rtgw_model::{Priority, RuleIx, Variant};

/// Where a frame may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// In its place among all frames.
    Fixed,
    /// Among those of its priority.
    Of(Priority),
}

/// A complete frame, ready for a socket.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// The publication's rule; `None` for what the server itself says.
    pub(crate) rule: Option<RuleIx>,
    /// The variant, where each connection's copy gets a number spliced in.
    pub(crate) numbered: Option<Variant>,
    /// Where it stands when the socket is blocked.
    pub(crate) lane: Lane,
}

impl Frame {
    /// What the server itself says.
    pub(crate) fn of_server(bytes: Bytes) -> Self {
        Self { bytes, rule: None, numbered: None, lane: Lane::Fixed }
    }
}
