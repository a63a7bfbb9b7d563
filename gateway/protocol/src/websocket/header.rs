//! The header of a client's frame (RFC 6455 section 5.2): what can be judged without knowing the message.

use super::{Violation, frame::CONTROL_BYTES, frame::OpCode};

/// The longest header: 2 bytes, 8 of length, 4 of mask.
pub(super) const HEADER_BYTES: usize = 14;

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) opcode: OpCode,
    pub(super) fin: bool,
    pub(super) rsv1: bool,
    pub(super) mask: [u8; 4],
    /// Bytes of payload, as declared.
    pub(super) payload: u64,
    /// Bytes of the header itself.
    pub(super) size: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` when it is not whole yet. What the first two bytes already get wrong
    /// is refused as soon as they are here.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else {
            return bytes.first().map_or(Ok(()), |first| opcode(*first).map(drop)).map(|()| None);
        };
        let opcode = opcode(*first)?;
        let fin = first & 0x80 != 0;
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & 0x7F;
        if opcode.is_control() {
            if !fin {
                return Err(Violation::FragmentedControl);
            }
            if usize::from(short) > CONTROL_BYTES {
                return Err(Violation::LongControl);
            }
        }
        let Some((payload, rest)) = length(short, rest)? else { return Ok(None) };
        let Some(mask) = rest.first_chunk::<4>() else { return Ok(None) };
        let size = bytes.len() - rest.len() + 4;
        Ok(Some(Self { opcode, fin, rsv1: first & 0x40 != 0, mask: *mask, payload, size }))
    }
}

fn opcode(first: u8) -> Result<OpCode, Violation> {
    if first & 0x30 != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = OpCode::from_bits(first & 0x0F).ok_or(Violation::ReservedOpcode(first & 0x0F))?;
    // RFC 7692 section 6.1: only the first frame of a data message says whether it is compressed.
    if first & 0x40 != 0 && !matches!(opcode, OpCode::Text | OpCode::Binary) {
        return Err(Violation::ReservedBits);
    }
    Ok(opcode)
}

/// The payload's length and what follows it; the shortest form is the only one.
#[inline]
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, rest, least) = match short {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 126),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest, 0x1_0000),
            None => return Ok(None),
        },
        short => (u64::from(short), rest, 0),
    };
    if length < least || length >> 63 != 0 {
        return Err(Violation::Length);
    }
    Ok(Some((length, rest)))
}
