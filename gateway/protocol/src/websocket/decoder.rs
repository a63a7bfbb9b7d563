//! Client frames to messages, incrementally, in place, and without memory between frames.

use std::mem;

use super::{
    Violation, close,
    frame::{CONTROL_BYTES, OpCode},
    header::{HEADER_BYTES, Header},
    mask,
    message::{Kind, Message},
};

/// What was agreed for a connection.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether permessage-deflate was negotiated, without context takeover.
    pub deflate: bool,
    /// The largest message in bytes, after inflation.
    pub message_bytes: usize,
}

/// A whole message or control frame of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// Asked for or not.
    Pong(&'a [u8]),
    /// The client's last frame, with its code and reason; to be answered with a close.
    Close(Option<(u16, &'a str)>),
}

/// The receiver's word after each [`Incoming`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More, please.
    Continue,
    /// This one is taken, but nothing more until [`Decoder::resume`].
    Pause,
}

/// Where the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every byte was used; read the socket for more.
    Drained,
    /// The receiver paused. Do not read the socket; call [`Decoder::resume`] when the receiver has room.
    Paused,
    /// A close frame or a [`Violation`] came before; whatever arrives now is ignored.
    Ended,
}

/// The decoder of one connection.
///
/// Between frames it owns no memory. A frame that lies whole in the input is unmasked and shown in place; only the beginning of
/// a frame or message that goes on is kept. All bytes of `input` belong to the decoder after a call, whatever it returns: the
/// caller forgets them and may overwrite its buffer. After a pause the bytes not looked at yet wait here, still masked, so
/// nothing is ever unmasked twice.
#[derive(Debug, Default)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
}

/// What is kept while something is incomplete or waits.
#[derive(Debug, Default)]
struct Partial {
    /// The beginning of a header.
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// The frame whose payload is still arriving.
    frame: Option<Frame>,
    /// The payload so far of a control frame.
    control: Vec<u8>,
    /// The data message so far.
    message: Option<Message>,
    /// Input behind a pause, from `waiting_from` on.
    waiting: Vec<u8>,
    waiting_from: usize,
    paused: bool,
    /// Nothing is decoded any more. Kept here because a flag beside the pointer would cost every idle connection a word.
    ended: bool,
}

/// A frame whose header was read and accepted.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    rsv1: bool,
    /// Turned to the next byte.
    mask: [u8; 4],
    /// Bytes of payload to come.
    left: usize,
}

type Receiver<'a> = &'a mut dyn FnMut(Incoming<'_>) -> Flow;

impl Decoder {
    /// Takes the next bytes of the connection and shows every message that they complete.
    ///
    /// While [`Progress::Paused`] more bytes are kept, not decoded; the caller bounds them by not reading.
    ///
    /// # Errors
    /// [`Violation`], after everything before it was shown. The decoder has then ended.
    pub fn decode(
        &mut self,
        rules: &Rules,
        input: &mut [u8],
        on: &mut dyn FnMut(Incoming<'_>) -> Flow,
    ) -> Result<Progress, Violation> {
        if let Some(partial) = self.partial.as_mut().filter(|partial| partial.paused) {
            partial.waiting.extend_from_slice(input);
            return Ok(Progress::Paused);
        }
        let (used, progress) = self.run(rules, input, on)?;
        if progress == Progress::Paused {
            self.pause(input[used..].to_vec(), 0);
        }
        Ok(progress)
    }

    /// Goes on after a pause with the bytes that wait. Without a pause there is nothing to do.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn resume(
        &mut self,
        rules: &Rules,
        on: &mut dyn FnMut(Incoming<'_>) -> Flow,
    ) -> Result<Progress, Violation> {
        let (mut waiting, from) = match &mut self.partial {
            Some(partial) => {
                partial.paused = false;
                (mem::take(&mut partial.waiting), mem::take(&mut partial.waiting_from))
            }
            None => Default::default(),
        };
        let (used, progress) = self.run(rules, &mut waiting[from..], on)?;
        if progress == Progress::Paused {
            self.pause(waiting, from + used);
        }
        Ok(progress)
    }

    /// After a pause, the bytes that wait, for another decoder: nothing of what was shown is among them, and all frames in them are
    /// whole from their first byte. Without a pause there are none.
    pub fn into_waiting(self) -> Vec<u8> {
        let paused = self.partial.filter(|partial| partial.paused);
        paused.map_or_else(Vec::new, |mut partial| partial.waiting.split_off(partial.waiting_from))
    }

    /// Bytes kept for this connection besides the decoder itself; zero between frames. The fixed note of a decoder that has
    /// ended is not counted: its connection is about to go.
    pub fn kept_bytes(&self) -> usize {
        self.partial.as_ref().filter(|partial| !partial.ended).map_or(0, |partial| {
            let message = partial.message.as_ref().map_or(0, |message| message.bytes.capacity());
            size_of::<Partial>() + partial.control.capacity() + message + partial.waiting.capacity()
        })
    }

    /// Decodes until the input is used up, the receiver pauses or the connection ends. Returns how much was used.
    fn run(
        &mut self,
        rules: &Rules,
        input: &mut [u8],
        on: Receiver<'_>,
    ) -> Result<(usize, Progress), Violation> {
        let mut at = 0;
        while at < input.len() && !self.is_ended() {
            let (used, progress) = self.step(rules, &mut input[at..], on).inspect_err(|_| self.end())?;
            at += used;
            match progress {
                Progress::Drained => {}
                Progress::Paused => return Ok((at, progress)),
                Progress::Ended => self.end(),
            }
        }
        if self.is_ended() {
            return Ok((input.len(), Progress::Ended));
        }
        if self.partial.as_ref().is_some_and(|partial| partial.is_idle()) {
            self.partial = None;
        }
        Ok((at, Progress::Drained))
    }

    /// Uses the next part of the input: up to one frame.
    fn step(
        &mut self,
        rules: &Rules,
        input: &mut [u8],
        on: Receiver<'_>,
    ) -> Result<(usize, Progress), Violation> {
        let (header, mut frame) = match self.partial.as_mut().and_then(|partial| partial.frame.take()) {
            Some(frame) => (0, frame),
            None => match self.read_header(input)? {
                Some((used, header)) => (used, self.accept(rules, &header)?),
                None => return Ok((input.len(), Progress::Drained)),
            },
        };
        let rest = &mut input[header..];
        let take = frame.left.min(rest.len());
        let payload = &mut rest[..take];
        mask::unmask(payload, frame.mask);
        frame.mask = mask::advance(frame.mask, take);
        frame.left -= take;
        let progress = if frame.opcode.is_control() {
            self.control(&frame, payload, on)?
        } else {
            self.data(rules, &frame, payload, on)?
        };
        if frame.left > 0 {
            self.partial().frame = Some(frame);
        }
        Ok((header + take, progress))
    }

    /// The header and how many bytes of the input belong to it; `None` when it goes on behind the input.
    #[inline]
    fn read_header(&mut self, input: &[u8]) -> Result<Option<(usize, Header)>, Violation> {
        let stashed = self.partial.as_ref().map_or(0, |partial| partial.header_len);
        if stashed == 0
            && let Some(header) = Header::parse(input)?
        {
            return Ok(Some((header.size, header)));
        }
        let partial = self.partial();
        let more = input.len().min(HEADER_BYTES - stashed);
        partial.header[stashed..stashed + more].copy_from_slice(&input[..more]);
        match Header::parse(&partial.header[..stashed + more])? {
            Some(header) => {
                partial.header_len = 0;
                Ok(Some((header.size - stashed, header)))
            }
            None => {
                partial.header_len = stashed + more;
                Ok(None)
            }
        }
    }

    /// Judges a header by the message that it belongs to, before any of its payload is kept.
    fn accept(&self, rules: &Rules, header: &Header) -> Result<Frame, Violation> {
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        if header.rsv1 && !rules.deflate {
            return Err(Violation::ReservedBits);
        }
        let room = match (header.opcode, message) {
            (OpCode::Close | OpCode::Ping | OpCode::Pong, _) => CONTROL_BYTES,
            (OpCode::Continuation, None) => return Err(Violation::Orphan),
            (OpCode::Continuation, Some(message)) => message.room(rules),
            (OpCode::Text | OpCode::Binary, Some(_)) => return Err(Violation::Interleaved),
            (OpCode::Text | OpCode::Binary, None) => kind(header.opcode, header.rsv1).wire_bytes(rules),
        };
        let left = usize::try_from(header.payload).ok().filter(|payload| *payload <= room);
        let left = left.ok_or(Violation::TooBig { limit: rules.message_bytes })?;
        Ok(Frame { opcode: header.opcode, fin: header.fin, rsv1: header.rsv1, mask: header.mask, left })
    }

    fn control(&mut self, frame: &Frame, piece: &[u8], on: Receiver<'_>) -> Result<Progress, Violation> {
        let mut kept =
            self.partial.as_mut().map(|partial| mem::take(&mut partial.control)).unwrap_or_default();
        if frame.left > 0 {
            kept.extend_from_slice(piece);
            self.partial().control = kept;
            return Ok(Progress::Drained);
        }
        let payload = if kept.is_empty() {
            piece
        } else {
            kept.extend_from_slice(piece);
            &kept
        };
        let flow = match frame.opcode {
            OpCode::Ping => on(Incoming::Ping(payload)),
            OpCode::Close => {
                on(Incoming::Close(close::parse_payload(payload)?));
                return Ok(Progress::Ended);
            }
            _ => on(Incoming::Pong(payload)),
        };
        Ok(flow.into())
    }

    fn data(
        &mut self,
        rules: &Rules,
        frame: &Frame,
        piece: &[u8],
        on: Receiver<'_>,
    ) -> Result<Progress, Violation> {
        let whole = frame.fin && frame.left == 0;
        let message = self.partial.as_mut().and_then(|partial| partial.message.take());
        if whole && message.is_none() {
            return kind(frame.opcode, frame.rsv1).show(rules, piece, on).map(Progress::from);
        }
        let mut message = message.unwrap_or_else(|| Message::new(kind(frame.opcode, frame.rsv1)));
        message.append(piece, rules)?;
        if whole {
            return message.kind.show(rules, &message.bytes, on).map(Progress::from);
        }
        self.partial().message = Some(message);
        Ok(Progress::Drained)
    }

    fn partial(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    fn pause(&mut self, waiting: Vec<u8>, from: usize) {
        let partial = self.partial();
        partial.paused = true;
        partial.waiting = waiting;
        partial.waiting_from = from;
    }

    fn end(&mut self) {
        self.partial = Some(Box::new(Partial { ended: true, ..Partial::default() }));
    }

    fn is_ended(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.ended)
    }
}

impl Partial {
    fn is_idle(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }
}

impl From<Flow> for Progress {
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::Continue => Self::Drained,
            Flow::Pause => Self::Paused,
        }
    }
}

fn kind(opcode: OpCode, rsv1: bool) -> Kind {
    Kind { text: opcode == OpCode::Text, compressed: rsv1 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_idle_decoder_is_one_word() {
        assert!(size_of::<Decoder>() <= size_of::<usize>());
    }

    #[test]
    fn memory_follows_what_arrived_not_what_was_declared() {
        let limit = 1 << 20;
        let rules = Rules { deflate: true, message_bytes: limit };
        for first in [0x82, 0xC2] {
            let mut decoder = Decoder::default();
            let mut wire = vec![first, 0xFF];
            wire.extend_from_slice(&(limit as u64).to_be_bytes());
            wire.extend_from_slice(&[0; 4]);
            let mut arrived = 0;
            while arrived < limit {
                let progress = decoder.decode(&rules, &mut wire, &mut |_| Flow::Continue);
                assert_eq!(progress.unwrap(), Progress::Drained);
                let most = (2 * arrived).min(limit + limit / 8 + 64) + size_of::<Partial>();
                assert!(decoder.kept_bytes() <= most, "{} kept of {arrived}", decoder.kept_bytes());
                wire = vec![0; 1_000];
                arrived += wire.len();
            }
        }
    }

    #[test]
    fn what_waits_behind_a_pause_can_be_read_by_another_decoder() {
        let rules = Rules { deflate: false, message_bytes: 10 };
        let mut wire = b"\x81\x81\x01\x02\x03\x04`\x89\x80\x01\x02\x03\x04\x81\x82\0\0\0\0h".to_vec();
        let mut decoder = Decoder::default();
        let progress = decoder.decode(&rules, &mut wire, &mut |_| Flow::Pause);
        assert_eq!(progress, Ok(Progress::Paused));
        let waiting = decoder.into_waiting();
        assert_eq!(waiting, b"\x89\x80\x01\x02\x03\x04\x81\x82\0\0\0\0h");
        let mut next = Decoder::default();
        let mut shown = Vec::new();
        for mut bytes in [waiting, b"i".to_vec()] {
            next.decode(&rules, &mut bytes, &mut |incoming| {
                shown.push(format!("{incoming:?}"));
                Flow::Continue
            })
            .unwrap();
        }
        assert_eq!(shown, ["Ping([])", "Text(\"hi\")"]);
        assert!(next.into_waiting().is_empty());
    }

    #[test]
    fn after_the_end_nothing_is_decoded_or_kept() {
        let rules = Rules { deflate: false, message_bytes: 10 };
        let mut decoder = Decoder::default();
        let mut on = |_: Incoming<'_>| Flow::Continue;
        let violation = decoder.decode(&rules, &mut [0x81, 0x00], &mut on);
        assert_eq!(violation, Err(Violation::Unmasked));
        assert_eq!(decoder.decode(&rules, &mut [0x81, 0x80, 0, 0, 0, 0], &mut on), Ok(Progress::Ended));
        assert_eq!(decoder.resume(&rules, &mut on), Ok(Progress::Ended));
        assert_eq!(decoder.kept_bytes(), 0);
    }
}
