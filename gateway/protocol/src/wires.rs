//! Complete frames for every variant of a configuration: the [`Encoder`] that the hub is given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use rtgw_model::{Close, Encoder, Event, Message, Publication, Variant};

use crate::json::{self, Envelope};
use crate::websocket::close::encode_payload;
use crate::websocket::deflate::{Window, compress};
use crate::websocket::frame::{OpCode, encode, encode_header, header_len};
use crate::{batch, msgpack};

/// Most variants of one configuration.
pub const VARIANTS: usize = 255;

/// The key of a spliced number in MessagePack.
const SEQ: &[u8] = b"\xA3seq";

/// A wire as far as encoding goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// One JSON object per text frame.
    Json,
    /// The same object as MessagePack, one per binary frame.
    MessagePack,
    /// Every message comes back.
    Echo,
}

/// permessage-deflate as one connection negotiated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Compression {
    /// What the client can inflate.
    pub window: Window,
    /// Smaller payloads go plain.
    pub min_bytes: usize,
}

/// All that the bytes of a publication depend on besides the publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VariantSpec {
    /// The wire.
    pub protocol: Protocol,
    /// How a publication is dressed.
    pub envelope: Envelope,
    /// Adds channel and id to publications; nothing to add to in `Raw`.
    pub metadata: bool,
    /// Numbers publications per connection; only where they are plain objects of ours, so neither with `Raw` nor with
    /// compression, which the configuration refuses together.
    pub seq: bool,
    /// Absent where the connection did not negotiate it.
    pub compression: Option<Compression>,
}

impl VariantSpec {
    /// The same without what cannot show in its bytes, so that equal bytes are encoded once.
    fn normal(mut self) -> Self {
        if self.envelope == Envelope::Raw {
            self.metadata = false;
        }
        self.seq &= self.envelope != Envelope::Raw && self.compression.is_none();
        self
    }
}

/// The configuration asks for more variants than there are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the endpoints need more than {VARIANTS} ways to encode a publication")]
pub struct TooManyVariants;

/// The variants of all configurations of a process. Only grows: who was admitted under an earlier configuration keeps its variant.
#[derive(Debug)]
pub struct Wires {
    table: Box<[OnceLock<Entry>]>,
    /// How many of the table are taken; locked while one is added.
    taken: Mutex<usize>,
    compressions: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    spec: VariantSpec,
    /// The variant without compression.
    plain: Variant,
}

impl Entry {
    const UNKNOWN: Self = Self {
        spec: VariantSpec {
            protocol: Protocol::Json,
            envelope: Envelope::Typed,
            metadata: false,
            seq: false,
            compression: None,
        },
        plain: Variant(0),
    };
}

impl Default for Wires {
    fn default() -> Self {
        Self {
            table: (0..VARIANTS).map(|_| OnceLock::new()).collect(),
            taken: Mutex::new(0),
            compressions: AtomicU64::new(0),
        }
    }
}

impl Wires {
    /// No variants yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of `spec`; the same for specs that give the same bytes, now and ever.
    ///
    /// # Errors
    /// [`TooManyVariants`] above [`VARIANTS`].
    pub fn intern(&self, spec: VariantSpec) -> Result<Variant, TooManyVariants> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.intern_at(&mut taken, spec.normal())
    }

    fn intern_at(&self, taken: &mut usize, spec: VariantSpec) -> Result<Variant, TooManyVariants> {
        if let Some(known) = self.find(spec) {
            return Ok(known);
        }
        // What may not be compressed must have a way out too.
        let plain = match spec.compression {
            Some(_) => Some(self.intern_at(taken, VariantSpec { compression: None, ..spec }.normal())?),
            None => None,
        };
        let cell = self.table.get(*taken).ok_or(TooManyVariants)?;
        let number = u8::try_from(*taken).map(Variant).map_err(|_| TooManyVariants)?;
        // Free, because only the holder of the lock fills the table, in order.
        let _filled = cell.set(Entry { spec, plain: plain.unwrap_or(number) });
        *taken += 1;
        Ok(number)
    }

    /// The number of `spec`, if it was interned.
    pub fn find(&self, spec: VariantSpec) -> Option<Variant> {
        let spec = spec.normal();
        let mut entries = self.table.iter().map_while(OnceLock::get);
        let at = entries.position(|known| known.spec == spec)?;
        u8::try_from(at).ok().map(Variant)
    }

    /// How often something was compressed since the start.
    pub fn compressions(&self) -> u64 {
        self.compressions.load(Ordering::Relaxed)
    }

    /// A data frame, compressed where that was negotiated, is worth it and makes it shorter.
    fn data_frame(&self, opcode: OpCode, compression: Option<Compression>, payload: &[u8]) -> Bytes {
        if let Some(Compression { window, min_bytes }) = compression
            && payload.len() >= min_bytes
        {
            self.compressions.fetch_add(1, Ordering::Relaxed);
            let body = compress(window, payload);
            if body.len() < payload.len() {
                return whole(opcode, true, &body);
            }
        }
        whole(opcode, false, payload)
    }

    fn spec(&self, variant: Variant) -> &VariantSpec {
        &self.entry(variant).spec
    }

    fn entry(&self, variant: Variant) -> &Entry {
        // Nobody has a number that was not given here.
        self.table.get(usize::from(variant.0)).and_then(OnceLock::get).unwrap_or(&Entry::UNKNOWN)
    }
}

impl Encoder for Wires {
    fn variants(&self) -> usize {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publication(&self, variant: Variant, publication: &Publication, channel: usize) -> Bytes {
        let spec = self.spec(variant);
        let mut payload = Vec::with_capacity(publication.data.len() + publication.event.len() + 128);
        json::publication(spec.envelope, spec.metadata, publication, channel, &mut payload);
        match spec.protocol {
            Protocol::MessagePack => self.data_frame(OpCode::Binary, spec.compression, &packed(&payload)),
            Protocol::Json | Protocol::Echo => self.data_frame(OpCode::Text, spec.compression, &payload),
        }
    }

    fn uncompressed(&self, variant: Variant) -> Variant {
        self.entry(variant).plain
    }

    fn shows_channel(&self, variant: Variant) -> bool {
        self.spec(variant).metadata
    }

    fn numbers(&self, variant: Variant) -> bool {
        self.spec(variant).seq
    }

    fn splice(&self, variant: Variant, frame: &[u8], seq: u64, out: &mut Vec<u8>) {
        let payload = match frame.get(1) {
            Some(126) => frame.get(4..),
            Some(127) => frame.get(10..),
            _ => frame.get(2..),
        };
        // Not a frame of a numbered variant: better unnumbered than torn.
        let torn = |out: &mut Vec<u8>| out.extend_from_slice(frame);
        if self.spec(variant).protocol == Protocol::MessagePack {
            let Some((map @ 0x80..=0x8E, members)) = payload.and_then(<[u8]>::split_first) else {
                return torn(out);
            };
            let mut number = Vec::with_capacity(9);
            msgpack::unsigned(seq, &mut number);
            encode_header(OpCode::Binary, false, 1 + members.len() + SEQ.len() + number.len(), out);
            out.push(map + 1);
            out.extend_from_slice(members);
            out.extend_from_slice(SEQ);
            return out.extend_from_slice(&number);
        }
        let Some((b'}', object)) = payload.and_then(<[u8]>::split_last) else { return torn(out) };
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(seq);
        let tail = b",\"seq\":".len() + digits.len() + 1;
        out.reserve(header_len(object.len() + tail) + object.len() + tail);
        encode_header(OpCode::Text, false, object.len() + tail, out);
        out.extend_from_slice(object);
        out.extend_from_slice(b",\"seq\":");
        out.extend_from_slice(digits.as_bytes());
        out.push(b'}');
    }

    fn message(&self, variant: Variant, message: &Message) -> Bytes {
        let spec = self.spec(variant);
        if let Event::Echo { binary, payload } = &message.event {
            let opcode = if *binary { OpCode::Binary } else { OpCode::Text };
            return self.data_frame(opcode, spec.compression, payload);
        }
        let mut payload = Vec::with_capacity(192);
        json::message(spec.envelope, message, &mut payload);
        match spec.protocol {
            Protocol::MessagePack => whole(OpCode::Binary, false, &packed(&payload)),
            Protocol::Json | Protocol::Echo => whole(OpCode::Text, false, &payload),
        }
    }

    fn join(&self, frames: &mut Vec<u8>, from: usize) {
        batch::join(frames, from);
    }

    fn joins_alone(&self, frame: &[u8]) -> bool {
        batch::is_ambiguous(frame)
    }

    fn ping(&self, _variant: Variant) -> Bytes {
        // Header of an unmasked empty ping (RFC 6455 section 5.5.2).
        Bytes::from_static(&[0x80 | OpCode::Ping as u8, 0])
    }

    fn pong(&self, _variant: Variant, payload: &[u8]) -> Bytes {
        whole(OpCode::Pong, false, payload)
    }

    fn close(&self, _variant: Variant, close: &Close) -> Bytes {
        whole(OpCode::Close, false, &encode_payload(close.code.code(), &close.reason))
    }
}

/// A JSON object as MessagePack.
fn packed(object: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(object.len());
    msgpack::from_json(object, &mut packed);
    packed
}

fn whole(opcode: OpCode, rsv1: bool, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(header_len(payload.len()) + payload.len());
    encode(opcode, rsv1, payload, &mut frame);
    frame.into()
}
