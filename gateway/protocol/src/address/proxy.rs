//! The PROXY protocol, version 2 (HAProxy's `doc/proxy-protocol.txt`, section 2.2): what a balancer writes before a client's bytes.
//!
//! A header is read in two steps, so that nothing behind it is touched: [`HEAD_BYTES`], then as many as [`Head::block_bytes`] says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the fixed part.
pub const HEAD_BYTES: usize = 16;
/// Largest variable part that is read: addresses, and what a balancer adds to them (its own ids, a TLS certificate's names).
pub const BLOCK_BYTES: usize = 4096 - HEAD_BYTES;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How the textual version 1 begins.
const VERSION_1: &[u8] = b"PROXY ";

/// Why the bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// They begin otherwise: the client's own bytes.
    #[error("it does not begin with a PROXY header")]
    Missing,
    /// The balancer is set to version 1.
    #[error("its PROXY header has version 1: set the balancer to version 2")]
    Version1,
    /// Another version than 2.
    #[error("its PROXY header has an unknown version")]
    Version,
    /// Neither LOCAL nor PROXY.
    #[error("its PROXY header has an unknown command")]
    Command,
    /// A family or transport that the specification does not know.
    #[error("its PROXY header has an unknown family or transport")]
    Family,
    /// Fewer bytes than the family's addresses need.
    #[error("its PROXY header is too short for its addresses")]
    Short,
    /// More than [`BLOCK_BYTES`].
    #[error("its PROXY header has more than 4096 bytes")]
    Long,
}

/// The fixed part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    source: Source,
    block_bytes: usize,
}

/// Where the variable part says who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The balancer speaks for itself (LOCAL), or for somebody without an IP address.
    Peer,
    V4,
    V6,
}

impl Head {
    /// Reads the fixed part.
    ///
    /// # Errors
    /// See [`ProxyError`].
    pub fn parse(head: &[u8; HEAD_BYTES]) -> Result<Self, ProxyError> {
        let Some([version, family, high, low]) = head.strip_prefix(&SIGNATURE) else {
            let version_1 = head.starts_with(VERSION_1);
            return Err(if version_1 { ProxyError::Version1 } else { ProxyError::Missing });
        };
        let block_bytes = usize::from(u16::from_be_bytes([*high, *low]));
        let source = match version {
            // Whatever the family says: "the receiver must use the real connection endpoints and discard the protocol block".
            0x20 => Source::Peer,
            0x21 => match family {
                // Unspecified, and UNIX sockets: no address of a client on a network.
                0x00 | 0x31 | 0x32 => Source::Peer,
                0x11 | 0x12 => Source::V4,
                0x21 | 0x22 => Source::V6,
                _ => return Err(ProxyError::Family),
            },
            0x22..=0x2F => return Err(ProxyError::Command),
            _ => return Err(ProxyError::Version),
        };
        if block_bytes > BLOCK_BYTES {
            return Err(ProxyError::Long);
        }
        if block_bytes < source.bytes() {
            return Err(ProxyError::Short);
        }
        Ok(Self { source, block_bytes })
    }

    /// Bytes of the variable part; at most [`BLOCK_BYTES`].
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The client's address as the variable part says it; `None` where the client is the peer itself. What stands behind the
    /// addresses is not looked at.
    ///
    /// # Errors
    /// [`ProxyError::Short`] for fewer bytes than [`Head::block_bytes`].
    pub fn client(&self, block: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
        if block.len() < self.block_bytes {
            return Err(ProxyError::Short);
        }
        let client = match self.source {
            Source::Peer => return Ok(None),
            Source::V4 => block.first_chunk().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets).into()),
            Source::V6 => block.first_chunk().map(|octets: &[u8; 16]| Ipv6Addr::from(*octets).into()),
        };
        client.map(|client: IpAddr| Some(client.to_canonical())).ok_or(ProxyError::Short)
    }
}

impl Source {
    /// Both addresses and both ports.
    fn bytes(self) -> usize {
        match self {
            Self::Peer => 0,
            Self::V4 => 2 * 4 + 2 * 2,
            Self::V6 => 2 * 16 + 2 * 2,
        }
    }
}
