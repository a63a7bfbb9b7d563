//! Outbound permessage-deflate without context takeover: one compressor per thread and window, nothing per connection.

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress, Status};

/// What a sync flush leaves at the end of a message and the wire does not carry (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// The longest stored block of DEFLATE (RFC 1951 section 3.2.4).
const STORED_BYTES: usize = 0xFFFF;

/// The LZ77 window that the receiver must keep. Two sizes serve every offer, so that compressed bytes stay shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// 4 KiB: as good as 32 KiB for messages that start afresh, and a fraction of the client's memory.
    Bits12,
    /// 512 bytes, for clients that offer `server_max_window_bits` of 9, 10 or 11.
    Bits9,
}

impl Window {
    /// The base-2 logarithm of the window.
    pub fn bits(self) -> u8 {
        match self {
            Self::Bits12 => 12,
            Self::Bits9 => 9,
        }
    }
}

thread_local! {
    static BITS12: RefCell<Compress> = RefCell::new(compressor(Window::Bits12));
    static BITS9: RefCell<Compress> = RefCell::new(compressor(Window::Bits9));
}

fn compressor(window: Window) -> Compress {
    Compress::new_with_window_bits(Compression::new(1), false, window.bits())
}

/// The body of a compressed message (RFC 7692 section 7.2.1), to be sent with RSV1 set. It refers to nothing before it.
pub fn compress(window: Window, payload: &[u8]) -> Vec<u8> {
    let state = match window {
        Window::Bits12 => &BITS12,
        Window::Bits9 => &BITS9,
    };
    state.with_borrow_mut(|state| deflate(state, payload)).unwrap_or_else(|| store(payload))
}

/// `None` when the compressor fails, which zlib rules out for a state and a buffer that are valid.
fn deflate(state: &mut Compress, payload: &[u8]) -> Option<Vec<u8>> {
    state.reset();
    let mut out = Vec::with_capacity(payload.len() / 2 + 64);
    let mut rest = payload;
    loop {
        let before = state.total_in();
        let status = state.compress_vec(rest, &mut out, FlushCompress::Sync).ok()?;
        let taken = usize::try_from(state.total_in() - before).ok()?;
        rest = &rest[taken..];
        // A flush is complete only when room was left behind it.
        if rest.is_empty() && out.len() < out.capacity() {
            break;
        }
        if status == Status::StreamEnd {
            return None;
        }
        out.reserve(rest.len() / 2 + 64);
    }
    out.ends_with(&TAIL).then(|| {
        out.truncate(out.len() - TAIL.len());
        out
    })
}

/// The payload in stored blocks: valid for every window, and needs no compressor.
fn store(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 5 * (payload.len() / STORED_BYTES + 1) + 1);
    for block in payload.chunks(STORED_BYTES) {
        let len = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    // The header of the empty stored block whose lengths are the tail that the wire does not carry.
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    /// Inflates as a client with a window of `bits` does.
    fn inflate(bits: u8, body: &[u8], len: usize) -> Vec<u8> {
        let mut state = Decompress::new_with_window_bits(false, bits);
        let mut out = Vec::with_capacity(len + 1);
        let input = [body, &TAIL].concat();
        let mut at = 0;
        // Small steps: a decoder with the output at hand would never look into its window.
        while at < input.len() {
            let end = (at + 7).min(input.len());
            let before = state.total_in();
            let mut step = Vec::with_capacity(4096);
            state.decompress_vec(&input[at..end], &mut step, FlushDecompress::None).unwrap();
            out.extend_from_slice(&step);
            at += usize::try_from(state.total_in() - before).unwrap();
        }
        out
    }

    fn samples() -> Vec<Vec<u8>> {
        let json = br#"{"type":"job_update","job_id":"3fa2","status":"running","data":{"n":1}}"#;
        let mut noise = 1u32;
        let mut random = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        vec![
            Vec::new(),
            b"a".to_vec(),
            json.to_vec(),
            json.repeat(40),
            (0..200_000u32).map(|_| random()).collect(),
            (0..5_000u32).flat_map(|n| format!("row {n} of many, {};", n * 7).into_bytes()).collect(),
            vec![b'x'; 300_000],
        ]
    }

    #[test]
    fn inflates_with_the_negotiated_window() {
        for window in [Window::Bits12, Window::Bits9] {
            for sample in samples() {
                let body = compress(window, &sample);
                assert_eq!(inflate(window.bits(), &body, sample.len()), sample, "{window:?}");
            }
        }
    }

    #[test]
    fn repeats_shrink_and_messages_do_not_depend_on_each_other() {
        let sample = samples().swap_remove(3);
        let first = compress(Window::Bits12, &sample);
        assert!(first.len() * 4 < sample.len());
        compress(Window::Bits12, b"something else");
        assert_eq!(compress(Window::Bits12, &sample), first);
    }

    #[test]
    fn stored_blocks_inflate_too() {
        for sample in samples() {
            assert_eq!(inflate(9, &store(&sample), sample.len()), sample);
        }
    }
}
