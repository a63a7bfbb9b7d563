//! What pods tell each other through the broker: publications, and where channels stand. Compact, and versioned by the first byte.
//!
//! A **stamp** begins each message. The broker's own script writes it, together with the append, so its layout is also that of
//! `broker/redis/*.lua`. Numbers are big endian.
//!
//! ```text
//! publication  1  epoch:8 sequence:8  places:1 (channel:1 salt:8 offset:8)*  body
//! standing     2  epoch:8 sequence:8  since:8 nonce:8 places:2 (salt:8 offset:8)*
//! body         flags:1 timestamp:8 channels:1 (length:1 text)* event:(length:1 text) [priority:(length:1 text)]
//!              [pod:8 shard:2 slot:4 generation:4]  tags:1 (name:(length:1 text) value:(length:1 text))*  data
//! ```
//!
//! `epoch` is the broker shard's, `salt` is random for each channel whose history begins; together they make the epoch of a
//! channel's positions, so that a new epoch of the shard is one of every channel without touching any.

mod read;
mod standing;
mod write;

use rtgw_model::{Position, PublicationId};
use smallvec::SmallVec;

pub use read::{publication, stamp};
pub use standing::{Standing, standing};
pub use write::{TooLarge, body};

/// First byte of a publication.
pub const PUBLICATION: u8 = 1;
/// First byte of a standing.
pub const STANDING: u8 = 2;

/// Not a message that this version reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Of another version, or not ours at all.
    #[error("begins with a byte that this version does not know")]
    Unknown,
    /// Too short.
    #[error("ends early")]
    Short,
    /// Text that is none, a name that is none, or more than may be.
    #[error("holds something that cannot be meant")]
    Invalid,
}

/// Where a channel's history stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Random since the channel's history began.
    pub salt: u64,
    /// Of the last publication.
    pub offset: u64,
}

impl Place {
    /// The position, where the shard's epoch is `epoch`.
    pub fn position(self, epoch: u64) -> Position {
        Position { offset: self.offset, epoch: epoch ^ self.salt }
    }
}

/// What the broker gave a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its id.
    pub id: PublicationId,
    /// For each channel that keeps history: its index among the publication's channels, and the place there.
    pub places: SmallVec<[(u8, Place); 1]>,
}

#[cfg(test)]
mod tests;
