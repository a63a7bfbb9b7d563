//! Frames as the server writes them: unmasked and in one piece (RFC 6455 section 5.2).

/// The longest payload of a control frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES: usize = 125;

/// What a frame carries (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpCode {
    /// More of the message that an earlier frame began.
    Continuation = 0x0,
    /// UTF-8.
    Text = 0x1,
    /// Bytes.
    Binary = 0x2,
    /// The last frame of a side.
    Close = 0x8,
    /// A heartbeat.
    Ping = 0x9,
    /// The answer to a heartbeat, or one of its own accord.
    Pong = 0xA,
}

impl OpCode {
    /// The opcode with these four bits; `None` where the RFC reserves them.
    pub fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is a control frame: short, never fragmented, allowed between fragments (RFC 6455 section 5.5).
    pub fn is_control(self) -> bool {
        self as u8 >= Self::Close as u8
    }
}

/// How many bytes the header of an unmasked frame takes: 2, 4 or 10.
pub const fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Appends the header of an unmasked final frame. `rsv1` marks a compressed message (RFC 7692 section 6).
pub fn encode_header(opcode: OpCode, rsv1: bool, payload_len: usize, out: &mut Vec<u8>) {
    let first = 0x80 | (u8::from(rsv1) << 6) | opcode as u8;
    if let (Ok(short), true) = (u8::try_from(payload_len), payload_len <= CONTROL_BYTES) {
        out.extend_from_slice(&[first, short]);
    } else if let Ok(medium) = u16::try_from(payload_len) {
        let [high, low] = medium.to_be_bytes();
        out.extend_from_slice(&[first, 126, high, low]);
    } else {
        out.extend_from_slice(&[first, 127]);
        out.extend_from_slice(&(payload_len as u64).to_be_bytes());
    }
}

/// Appends an unmasked final frame. A control frame's payload is at most [`CONTROL_BYTES`].
pub fn encode(opcode: OpCode, rsv1: bool, payload: &[u8], out: &mut Vec<u8>) {
    debug_assert!(!opcode.is_control() || (payload.len() <= CONTROL_BYTES && !rsv1));
    out.reserve(header_len(payload.len()) + payload.len());
    encode_header(opcode, rsv1, payload.len(), out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_takes_the_fewest_bytes_that_hold_it() {
        for (len, header) in [
            (0, "81 00"),
            (125, "81 7d"),
            (126, "81 7e 00 7e"),
            (0xFFFF, "81 7e ff ff"),
            (0x1_0000, "81 7f 00 00 00 00 00 01 00 00"),
        ] {
            let mut out = Vec::new();
            encode(OpCode::Text, false, &vec![b'x'; len], &mut out);
            let hex: Vec<String> = out[..header_len(len)].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex.join(" "), header);
            assert_eq!(out.len(), header_len(len) + len);
        }
    }

    #[test]
    fn opcodes_survive_their_bits() {
        for bits in 0..=0xF {
            if let Some(opcode) = OpCode::from_bits(bits) {
                assert_eq!(opcode as u8, bits);
                assert_eq!(opcode.is_control(), bits >= 8);
            }
        }
        assert_eq!((0..=0xF).filter_map(OpCode::from_bits).count(), 6);
    }
}
