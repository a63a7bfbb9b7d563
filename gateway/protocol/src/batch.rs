//! Several messages in one frame: what goes out in one write to a client that asked for `?batch=1` becomes one array.

use crate::websocket::frame::{OpCode, encode_header, header_len};

/// First byte of a final, uncompressed text frame.
const TEXT: u8 = 0x80 | OpCode::Text as u8;

/// Joins neighbours among the whole frames in `frames[from..]`: messages that are text and uncompressed become one text frame with
/// an array of them, in their order. A single message stays as it is, unless it is an array itself (the envelope `Raw` may have
/// any data): that becomes an array of one, so that an array is always a batch.
pub fn join(frames: &mut Vec<u8>, from: usize) {
    let mut joined: Option<Vec<u8>> = None;
    let mut at = from;
    while let Some(first) = Frame::at(frames, at) {
        let run = Run::from(frames, first);
        if run.is_joined {
            let out = joined.get_or_insert_with(|| Vec::with_capacity(frames.len() + 16));
            if out.is_empty() {
                out.extend_from_slice(&frames[..at]);
            }
            run.write(frames, at, out);
        } else if let Some(out) = &mut joined {
            out.extend_from_slice(&frames[at..run.end]);
        }
        at = run.end;
    }
    if let Some(mut joined) = joined {
        joined.extend_from_slice(&frames[at.min(frames.len())..]);
        *frames = joined;
    }
}

/// Whether a frame that goes out alone must be joined: its message would be taken for a batch.
pub fn is_ambiguous(frame: &[u8]) -> bool {
    Frame::at(frame, 0).is_some_and(|whole| whole.first == TEXT && frame.get(whole.payload) == Some(&b'['))
}

/// Where a frame stands.
#[derive(Clone, Copy)]
struct Frame {
    first: u8,
    payload: usize,
    end: usize,
}

impl Frame {
    /// The frame that begins at `at`, if all of it is there.
    fn at(frames: &[u8], at: usize) -> Option<Self> {
        let [first, length, rest @ ..] = frames.get(at..)? else { return None };
        let length = match length {
            126 => u16::from_be_bytes(*rest.first_chunk()?).into(),
            127 => usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
            short => usize::from(*short),
        };
        let payload = at + header_len(length);
        let end = payload.checked_add(length).filter(|end| *end <= frames.len())?;
        Some(Self { first: *first, payload, end })
    }
}

/// Frames that stay together: messages up to what is none, or one of another kind.
struct Run {
    messages: usize,
    /// Of all payloads.
    bytes: usize,
    end: usize,
    is_joined: bool,
}

impl Run {
    fn from(frames: &[u8], first: Frame) -> Self {
        let mut run =
            Self { messages: 1, bytes: first.end - first.payload, end: first.end, is_joined: false };
        if first.first != TEXT {
            return run;
        }
        while let Some(next) = Frame::at(frames, run.end).filter(|next| next.first == TEXT) {
            run.messages += 1;
            run.bytes += next.end - next.payload;
            run.end = next.end;
        }
        run.is_joined = run.messages > 1 || frames.get(first.payload) == Some(&b'[');
        run
    }

    fn write(&self, frames: &[u8], mut at: usize, out: &mut Vec<u8>) {
        // Brackets, and a comma between two.
        encode_header(OpCode::Text, false, self.bytes + self.messages + 1, out);
        let mut before = b'[';
        while let Some(frame) = Frame::at(frames, at).filter(|frame| frame.end <= self.end) {
            out.push(before);
            out.extend_from_slice(&frames[frame.payload..frame.end]);
            before = b',';
            at = frame.end;
        }
        out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::websocket::frame::encode;

    fn frames(messages: &[(OpCode, bool, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (opcode, compressed, payload) in messages {
            encode(*opcode, *compressed, payload.as_bytes(), &mut out);
        }
        out
    }

    fn joined(messages: &[(OpCode, bool, &str)]) -> Vec<(u8, String)> {
        // What a socket left of an earlier frame stands before.
        let mut out = b"\x81\x05rest".to_vec();
        out.extend(frames(messages));
        join(&mut out, 6);
        assert_eq!(&out[..6], b"\x81\x05rest");
        let mut at = 6;
        let mut heard = Vec::new();
        while let Some(frame) = Frame::at(&out, at) {
            heard.push((frame.first, String::from_utf8(out[frame.payload..frame.end].to_vec()).unwrap()));
            at = frame.end;
        }
        assert_eq!(at, out.len());
        heard
    }

    #[test]
    fn neighbours_become_an_array_and_one_alone_stays() {
        use OpCode::{Close, Ping, Text};
        let text = |text: &str| (0x81, text.to_owned());
        assert_eq!(joined(&[]), []);
        assert_eq!(joined(&[(Text, false, "{}")]), [text("{}")]);
        assert_eq!(joined(&[(Text, false, "{}"), (Text, false, "7")]), [text("[{},7]")]);
        assert_eq!(joined(&[(Text, false, "[1]")]), [text("[[1]]")]);
        assert_eq!(joined(&[(Text, false, ""), (Text, false, "[]")]), [text("[,[]]")]);
        assert_eq!(
            joined(&[
                (Text, false, "1"),
                (Ping, false, "p"),
                (Text, false, "2"),
                (Text, false, "3"),
                (Text, true, "z"),
                (Text, false, "4"),
                (Close, false, ""),
            ]),
            [
                text("1"),
                (0x89, "p".into()),
                text("[2,3]"),
                (0xC1, "z".into()),
                text("4"),
                (0x88, String::new())
            ]
        );
    }

    #[test]
    fn lengths_around_the_borders_of_the_header() {
        for length in [60, 61, 62, 63, 32_765, 32_766, 32_767, 70_000] {
            let message = format!("\"{}\"", "x".repeat(length));
            let [(first, heard)] = &joined(&[(OpCode::Text, false, message.as_str()); 2])[..] else {
                unreachable!()
            };
            assert_eq!((*first, heard), (0x81, &format!("[{message},{message}]")));
        }
    }

    #[test]
    fn what_is_cut_short_stays_as_it_is() {
        let whole = frames(&[(OpCode::Text, false, "1"), (OpCode::Text, false, "2")]);
        for cut in 0..whole.len() {
            let mut frames = whole[..cut].to_vec();
            join(&mut frames, 0);
            assert_eq!(frames, whole[..cut]);
        }
        assert!(is_ambiguous(&frames(&[(OpCode::Text, false, "[")])));
        assert!(!is_ambiguous(&frames(&[(OpCode::Text, false, "{")])));
        assert!(!is_ambiguous(&frames(&[(OpCode::Text, false, "")])));
        assert!(!is_ambiguous(&frames(&[(OpCode::Text, true, "[")])));
    }
}
