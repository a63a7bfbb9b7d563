//! Any bytes as a compressed message: bounded, and what is accepted is what another inflater reads. And the other way: what we
//! compress, it reads back.
//!
//! Input: the limit in units of 16 bytes, then the body of the message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miniz_oxide::{
    DataFormat, MZFlush, MZStatus,
    inflate::stream::{InflateState, inflate},
};
use rtgw_protocol::websocket::{
    Decoder, Flow, Incoming, Rules, Violation,
    deflate::{Window, compress},
};

fuzz_target!(|data: &[u8]| {
    let [limit, body @ ..] = data else { return };
    let limit = 16 * usize::from(*limit);
    match ours(body, limit) {
        Ok(payload) => {
            assert!(payload.len() <= limit, "the limit holds");
            assert_eq!(theirs(body), Some(payload), "both read the same");
        }
        Err(Violation::TooBig { .. } | Violation::Inflate) => {}
        Err(other) => panic!("{other}"),
    }
    for window in [Window::Bits12, Window::Bits9] {
        assert_eq!(theirs(&compress(window, body)).as_deref(), Some(body), "{window:?}");
    }
});

/// Through the decoder, in one frame whose mask is zero.
fn ours(body: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    let mut wire = vec![0xC2];
    match body.len() {
        len @ 0..126 => wire.push(0x80 | len as u8),
        len => {
            wire.push(0x80 | 126);
            wire.extend_from_slice(&u16::try_from(len).expect("inputs are short").to_be_bytes());
        }
    }
    wire.extend_from_slice(&[0; 4]);
    wire.extend_from_slice(body);
    let mut shown = None;
    let mut on = |incoming: Incoming<'_>| {
        if let Incoming::Binary(payload) = incoming {
            shown = Some(payload.to_vec());
        }
        Flow::Continue
    };
    Decoder::default().decode(&Rules { deflate: true, message_bytes: limit }, &mut wire, &mut on)?;
    Ok(shown.expect("a whole message is shown or refused"))
}

/// The body with the tail of RFC 7692 section 7.2.2 and an end, stream after stream.
fn theirs(body: &[u8]) -> Option<Vec<u8>> {
    let wire = [body, &[0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF]].concat();
    let (mut input, mut out, mut buffer) = (wire.as_slice(), Vec::new(), vec![0; 64 * 1024]);
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    loop {
        let result = inflate(&mut state, input, &mut buffer, MZFlush::None);
        input = &input[result.bytes_consumed..];
        out.extend_from_slice(&buffer[..result.bytes_written]);
        match result.status {
            Ok(MZStatus::StreamEnd) if input.is_empty() => return Some(out),
            Ok(MZStatus::StreamEnd) => state = InflateState::new_boxed(DataFormat::Raw),
            Ok(_) if result.bytes_consumed + result.bytes_written > 0 => {}
            _ => return None,
        }
    }
}
