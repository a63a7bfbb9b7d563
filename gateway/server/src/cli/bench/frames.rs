//! The frames of the benchmark: all of one size, so that counting bytes counts messages; each with the time it was published.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a publication's data.
pub(super) const DATA_BYTES: usize = 128;
/// A server frame around it: two bytes, and two more for a length above 125 (RFC 6455 section 5.2).
pub(super) const FRAME_BYTES: usize = DATA_BYTES + 4;
/// Where the digits of the time stand in a frame: behind the header and `{"t":"`.
pub(super) const STAMP_AT: usize = 4 + 6;
/// Digits of the time.
pub(super) const STAMP_BYTES: usize = 19;

/// Nanoseconds since the Unix epoch: one clock for all processes of the machine.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A publication's data, stamped with now.
pub(super) fn data() -> String {
    let head = format!("{{\"t\":\"{:0width$}\",\"p\":\"", now(), width = STAMP_BYTES);
    let padding = "x".repeat(DATA_BYTES - head.len() - 2);
    format!("{head}{padding}\"}}")
}

/// The whole text frame around [`data`].
pub(super) fn frame() -> Vec<u8> {
    let mut frame = vec![0x81, 126, 0, DATA_BYTES as u8];
    frame.extend_from_slice(data().as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_one_size_and_its_time_at_one_place() {
        let before = now();
        let frame = frame();
        assert_eq!(frame.len(), FRAME_BYTES);
        let stamp = std::str::from_utf8(&frame[STAMP_AT..STAMP_AT + STAMP_BYTES]);
        let stamp: u64 = stamp.expect("digits").parse().expect("digits");
        assert!(stamp >= before && stamp <= now());
        assert!(serde_json::from_slice::<serde_json::Value>(&frame[4..]).is_ok());
    }
}
