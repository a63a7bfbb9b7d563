//! What a broker keeps of a channel's publications, and how it is read.

use std::pin::Pin;
use std::sync::Arc;

use rtgw_model::{ChannelName, HistoryPolicy, Position, Publication};

/// What the running configuration says a channel keeps; `None`: nothing.
pub type Retention = Arc<dyn Fn(&ChannelName) -> Option<Arc<HistoryPolicy>> + Send + Sync>;

/// A [`Retention`] of channels that keep nothing.
pub fn nothing_kept() -> Retention {
    Arc::new(|_| None)
}

/// Most publications of one answer, whatever was asked for.
pub const PAGE: u32 = 1_000;

/// A part of a channel's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only publications behind this offset, or with `reverse` before it. Absent: from the oldest, or with `reverse` from the newest.
    pub since: Option<u64>,
    /// Most publications, at most [`PAGE`]; 0 asks only where the channel stands.
    pub limit: u32,
    /// From the newest to the oldest.
    pub reverse: bool,
}

/// What was kept of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// In the order asked for. Each has this channel alone, with its position, and the id that it was delivered with.
    pub publications: Vec<Publication>,
    /// Where the channel stood when it was read. A channel that nothing was published on stands at offset 0 of the epoch that its first
    /// publication will have.
    pub top: Position,
    /// The offset of the oldest publication that is kept; `top.offset + 1` where none is.
    pub oldest: u64,
}

impl Kept {
    /// Whether everything behind `since` was still kept when this was read: of the same epoch, and neither before what is kept nor behind
    /// what was ever published.
    pub fn reaches(&self, since: Position) -> bool {
        since.epoch == self.top.epoch && since.offset <= self.top.offset && since.offset + 1 >= self.oldest
    }
}

/// Why a history could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// No rule says that it is kept.
    #[error("the channel keeps no history")]
    NotKept,
    /// The broker cannot be reached.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
    /// The gateway's pods have left the broker for another.
    #[error("the other pods have left this Redis for {0}")]
    Left(String),
}

/// Boxed future of what a broker kept.
pub type HistoryFuture<'a> = Pin<Box<dyn Future<Output = Result<Kept, HistoryError>> + Send + 'a>>;
