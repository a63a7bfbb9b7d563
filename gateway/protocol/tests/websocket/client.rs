//! A client's frames, made without the code under test.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use crate::observe::Seen;

/// One frame, as wrong as a test wants it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    /// The bits of RSV1 to RSV3.
    pub(crate) rsv: u8,
    pub(crate) opcode: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode);
        let masked = u8::from(self.mask.is_some()) << 7;
        match self.payload.len() {
            len @ 0..126 => out.push(masked | len as u8),
            len @ 126..0x1_0000 => {
                out.push(masked | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(masked | 127);
                out.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let mask = self.mask.unwrap_or_default();
        out.extend_from_slice(if self.mask.is_some() { &mask } else { &[] });
        out.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}

/// What a client means to say, and how it cuts it.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) seen: Seen,
    compressed: bool,
    /// Where the wire payload is cut, and the control frame that passes there.
    cuts: Vec<(prop::sample::Index, Option<Vec<u8>>)>,
    mask: [u8; 4],
}

impl Said {
    /// The frames, and what a server should see, control frames between the fragments first.
    pub(crate) fn frames(&self, deflate: bool) -> (Vec<Frame>, Vec<Seen>) {
        let (opcode, plain) = match &self.seen {
            Seen::Text(text) => (1, text.clone().into_bytes()),
            Seen::Binary(bytes) => (2, bytes.clone()),
            Seen::Ping(bytes) => return (vec![self.control(9, bytes)], vec![self.seen.clone()]),
            Seen::Pong(bytes) => return (vec![self.control(10, bytes)], vec![self.seen.clone()]),
            Seen::Close(_) | Seen::Fail(_) => unreachable!("not generated"),
        };
        let compressed = self.compressed && deflate;
        let payload = if compressed { compress(&plain) } else { plain };
        let mut cuts: Vec<_> =
            self.cuts.iter().map(|(at, ping)| (at.index(payload.len() + 1), ping)).collect();
        cuts.sort_by_key(|(at, _)| *at);
        let (mut frames, mut seen, mut from) = (Vec::new(), Vec::new(), 0);
        let piece = |from: usize, to: usize| Frame {
            fin: to == usize::MAX,
            rsv: if compressed && from == 0 { 4 } else { 0 },
            opcode: 0,
            mask: Some(self.mask.map(|byte| byte.wrapping_add(from as u8))),
            payload: payload[from..to.min(payload.len())].to_vec(),
        };
        for (at, ping) in cuts {
            frames.push(piece(from, at));
            from = at;
            if let Some(ping) = ping {
                frames.push(self.control(9, ping));
                seen.push(Seen::Ping(ping.clone()));
            }
        }
        frames.push(piece(from, usize::MAX));
        for (index, frame) in frames.iter_mut().filter(|frame| frame.opcode == 0).enumerate() {
            frame.rsv = if compressed && index == 0 { 4 } else { 0 };
            frame.opcode = if index == 0 { opcode } else { 0 };
        }
        seen.push(self.seen.clone());
        (frames, seen)
    }

    fn control(&self, opcode: u8, payload: &[u8]) -> Frame {
        Frame { fin: true, rsv: 0, opcode, mask: Some(self.mask), payload: payload.to_vec() }
    }
}

fn compress(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() * 2 + 100);
    Compress::new(Compression::default(), false)
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .unwrap();
    out.truncate(out.len() - 4);
    out
}

/// Anything valid but a close.
pub(crate) fn said() -> impl Strategy<Value = Said> {
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    let seen = prop_oneof![
        3 => any::<String>().prop_map(Seen::Text),
        1 => ("[a-zäß💡]{1,4}", 0..2_000usize).prop_map(|(word, times)| Seen::Text(word.repeat(times))),
        2 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Seen::Binary),
        1 => (0..70_000usize).prop_map(|len| Seen::Binary(vec![7; len])),
        1 => control().prop_map(Seen::Ping),
        1 => control().prop_map(Seen::Pong),
    ];
    let cuts = prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(control())), 0..5);
    (seen, any::<bool>(), cuts, any::<[u8; 4]>()).prop_map(|(seen, compressed, cuts, mask)| Said {
        seen,
        compressed,
        cuts,
        mask,
    })
}
