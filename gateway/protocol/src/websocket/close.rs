//! The payload of a close frame: a code and a reason (RFC 6455 sections 5.5.1 and 7.4).

use rtgw_model::CloseCode;

use super::frame::CONTROL_BYTES;

/// The longest reason in bytes.
pub const REASON_BYTES: usize = CONTROL_BYTES - 2;

/// A close payload that breaks the RFC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// One byte cannot hold a code.
    #[error("a close payload of one byte")]
    Short,
    /// Reserved, never sent on a wire, or outside 1000-4999.
    #[error("close code {0} may not be sent")]
    Code(u16),
    /// The reason is not UTF-8.
    #[error("a close reason that is not UTF-8")]
    Reason,
}

impl CloseError {
    /// The code to close with.
    pub fn code(self) -> CloseCode {
        match self {
            Self::Short | Self::Code(_) => CloseCode::ProtocolError,
            Self::Reason => CloseCode::InvalidText,
        }
    }
}

/// Whether an endpoint may send the code: registered ones and the ranges for libraries and applications. 1004, 1005, 1006
/// and 1015 are reserved for use inside an endpoint (RFC 6455 section 7.4.1); 1012 to 1014 came with the IANA registry.
pub fn is_sendable(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// The payload for a close; the reason is cut to [`REASON_BYTES`] at the border of a character.
pub fn encode_payload(code: u16, reason: &str) -> Vec<u8> {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    payload
}

/// Reads a received payload: `None` where it is empty.
///
/// # Errors
/// [`CloseError`]; the code to answer with is [`CloseError::code`].
pub fn parse_payload(payload: &[u8]) -> Result<Option<(u16, &str)>, CloseError> {
    match payload {
        [] => Ok(None),
        [_] => Err(CloseError::Short),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_sendable(code) {
                return Err(CloseError::Code(code));
            }
            let reason = std::str::from_utf8(reason).map_err(|_| CloseError::Reason)?;
            Ok(Some((code, reason)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(parse_payload(&encode_payload(1000, "bye")), Ok(Some((1000, "bye"))));
        assert_eq!(parse_payload(&encode_payload(4430, "")), Ok(Some((4430, ""))));
        assert_eq!(parse_payload(b""), Ok(None));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let payload = encode_payload(1000, &"ä".repeat(100));
        assert_eq!(payload.len(), 2 + 122);
        assert_eq!(parse_payload(&payload).unwrap().unwrap().1, "ä".repeat(61));
        assert_eq!(encode_payload(1000, &"x".repeat(124)).len(), CONTROL_BYTES);
    }

    #[test]
    fn refuses_what_the_rfc_refuses() {
        assert_eq!(parse_payload(b"\x03"), Err(CloseError::Short));
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(parse_payload(&encode_payload(code, "")), Err(CloseError::Code(code)));
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            assert_eq!(parse_payload(&encode_payload(code, "")), Ok(Some((code, ""))));
        }
        let torn = parse_payload(b"\x03\xe8\xce\xba\xe1\xbd").unwrap_err();
        assert_eq!(torn.code(), CloseCode::InvalidText);
    }

    #[test]
    fn every_code_of_ours_may_be_sent() {
        for code in CloseCode::ALL {
            assert!(is_sendable(code.code()), "{code:?}");
        }
    }
}
