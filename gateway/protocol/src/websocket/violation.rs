//! How a client can break the framing, and the code each way is closed with.

use rtgw_model::CloseCode;

use super::close::CloseError;

/// Bytes of a client that are no WebSocket. The connection must be closed with [`Violation::code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// RFC 6455 section 5.1: a client masks every frame.
    #[error("a frame that is not masked")]
    Unmasked,
    /// RFC 6455 section 5.2: RSV2, RSV3, or RSV1 where no compressed message begins.
    #[error("reserved bits are set")]
    ReservedBits,
    /// RFC 6455 section 5.2.
    #[error("reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// RFC 6455 section 5.5.
    #[error("a control frame in fragments")]
    FragmentedControl,
    /// RFC 6455 section 5.5.
    #[error("a control frame above 125 bytes")]
    LongControl,
    /// RFC 6455 section 5.2: not the shortest form, or the top bit is set.
    #[error("a malformed payload length")]
    Length,
    /// RFC 6455 section 5.4.
    #[error("a continuation of no message")]
    Orphan,
    /// RFC 6455 section 5.4.
    #[error("a message inside the fragments of another")]
    Interleaved,
    /// The message is, declares or inflates to more than the limit.
    #[error("a message above the limit of {limit} bytes")]
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
    /// RFC 6455 section 8.1.
    #[error("text that is not UTF-8")]
    Utf8,
    /// RFC 7692 section 7.2.2.
    #[error("a compressed message that does not inflate")]
    Inflate,
    /// RFC 6455 section 5.5.1.
    #[error(transparent)]
    Close(#[from] CloseError),
}

impl Violation {
    /// The code to close with.
    pub fn code(self) -> CloseCode {
        match self {
            Self::TooBig { .. } => CloseCode::TooBig,
            Self::Utf8 | Self::Inflate => CloseCode::InvalidText,
            Self::Close(error) => error.code(),
            _ => CloseCode::ProtocolError,
        }
    }
}
