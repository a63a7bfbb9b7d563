//! Two names of a connection: the slot a shard finds it by, and the key people and clients see.

use std::fmt;

/// Where a connection lives. `generation` tells a slot's tenants apart, so that an answer to a connection that has
/// gone is dropped instead of reaching its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// Index of the owning I/O shard.
    pub shard: u16,
    /// Slot in that shard's slab.
    pub slot: u32,
    /// Counts the tenants of the slot.
    pub generation: u32,
}

/// The public id of a connection: 128 random bits, made at admission, printed as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionKey(pub u128);

impl ConnectionKey {
    /// Reads what is printed.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let digits = text.len() == 32 && text.bytes().all(digit);
        digits.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for ConnectionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
