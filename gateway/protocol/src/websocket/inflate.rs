//! Inbound permessage-deflate without context takeover: one inflater per thread, output bounded before memory is taken.

use std::cell::{Cell, RefCell};

use flate2::{Decompress, FlushDecompress, Status};

use super::Violation;

/// What the wire leaves out of a message (RFC 7692 section 7.2.2), then an empty final block. The inflater ends exactly behind
/// it when the message ended at the border of a block; a message that was cut short does not.
const TRAILER: [u8; 9] = [0x00, 0x00, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF, 0xFF];

/// How many final blocks a message may have. RFC 7692 section 7.2.3.4 allows them for flushing; each costs a fresh state.
const FINAL_BLOCKS: usize = 64;

/// The output kept per thread between messages, in bytes.
const KEPT_BYTES: usize = 64 * 1024;

thread_local! {
    static STATE: RefCell<Decompress> = RefCell::new(Decompress::new(false));
    static OUTPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Inflates a whole message and shows it to `show`.
///
/// # Errors
/// [`Violation::TooBig`] above `limit` bytes, [`Violation::Inflate`] for anything that is not a DEFLATE stream.
pub(super) fn inflate<R>(body: &[u8], limit: usize, show: impl FnOnce(&[u8]) -> R) -> Result<R, Violation> {
    // Taken out, so that `show` may inflate on this thread too.
    let mut output = OUTPUT.take();
    output.clear();
    let result = STATE.with_borrow_mut(|state| {
        state.reset(false);
        fill(state, body, limit, &mut output)
    });
    let shown = result.map(|()| show(&output));
    if output.capacity() <= KEPT_BYTES {
        OUTPUT.set(output);
    }
    shown
}

fn fill(state: &mut Decompress, body: &[u8], limit: usize, output: &mut Vec<u8>) -> Result<(), Violation> {
    let mut blocks = FINAL_BLOCKS;
    for (last, mut input) in [(false, body), (true, TRAILER.as_slice())] {
        loop {
            // One byte above the limit: room to see that there is more.
            if output.len() == output.capacity() {
                grow(output, limit.saturating_add(1), body.len());
            }
            let (taken, given) = (state.total_in(), output.len());
            let status =
                state.decompress_vec(input, output, FlushDecompress::None).map_err(|_| Violation::Inflate)?;
            let taken = (state.total_in() - taken) as usize;
            input = &input[taken..];
            if output.len() > limit {
                return Err(Violation::TooBig { limit });
            }
            if status == Status::StreamEnd {
                if last && input.is_empty() {
                    return Ok(());
                }
                blocks = blocks.checked_sub(1).ok_or(Violation::Inflate)?;
                state.reset(false);
            }
            // With room left, everything that the input says has been written.
            if input.is_empty() && output.len() < output.capacity() {
                break;
            }
            if taken == 0 && output.len() == given && status != Status::StreamEnd {
                return Err(Violation::Inflate);
            }
        }
    }
    Err(Violation::Inflate)
}

/// Doubles the room, at first by what JSON usually inflates to, never above `most`.
fn grow(output: &mut Vec<u8>, most: usize, body: usize) {
    let wish = (output.capacity() * 2).max(body.saturating_mul(4)).max(256);
    output.reserve_exact(wish.min(most).max(output.len() + 1) - output.len());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::websocket::deflate::{Window, compress};

    fn inflated(body: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
        inflate(body, limit, <[u8]>::to_vec)
    }

    #[test]
    fn returns_what_was_compressed_up_to_the_limit() {
        for len in [0, 1, 100, 5_000, 70_000, 1_000_000] {
            let payload: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
            let body = compress(Window::Bits12, &payload);
            assert_eq!(inflated(&body, payload.len()).unwrap(), payload);
            if let Some(limit) = payload.len().checked_sub(1) {
                assert_eq!(inflated(&body, limit), Err(Violation::TooBig { limit }));
            }
        }
    }

    #[test]
    fn examples_of_the_rfc() {
        // RFC 7692 section 7.2.3: one block, two blocks, a stored block, a final block.
        for body in [
            b"\xf2\x48\xcd\xc9\xc9\x07\x00".as_slice(),
            b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        ] {
            assert_eq!(inflated(body, 100).unwrap(), b"Hello", "{body:x?}");
        }
    }

    #[test]
    fn a_bomb_takes_no_more_memory_than_the_limit() {
        let bomb = compress(Window::Bits12, &vec![0; 64 << 20]);
        let limit = 20_000;
        assert!(bomb.len() > limit);
        let mut output = Vec::new();
        let result = fill(&mut Decompress::new(false), &bomb, limit, &mut output);
        assert_eq!(result, Err(Violation::TooBig { limit }));
        assert!(output.capacity() <= limit + 1);
    }

    #[test]
    fn garbage_and_cut_messages_are_refused() {
        let body = compress(Window::Bits12, "a text of some length, of some length".as_bytes());
        for end in 0..body.len() {
            assert!(inflated(&body[..end], 1_000).is_err(), "{end}");
        }
        for body in [b"\xff\xff\xff".as_slice(), b"\x07", b"\x01\x00", b"\x02\x09"] {
            assert_eq!(inflated(body, 1_000), Err(Violation::Inflate));
        }
        // Final blocks without end.
        assert_eq!(inflated(&b"\x03\x00".repeat(1_000), 1_000), Err(Violation::Inflate));
    }
}
