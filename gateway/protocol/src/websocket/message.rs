//! A data message whose end has not arrived.

use super::{Flow, Incoming, Rules, Violation, inflate, utf8};

/// What a data message is, from its first frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) text: bool,
    pub(super) compressed: bool,
}

impl Kind {
    /// The most bytes it may have on the wire. What cannot be compressed becomes longer: at worst every byte is a literal
    /// of nine bits (RFC 1951 section 3.2.6).
    pub(super) fn wire_bytes(self, rules: &Rules) -> usize {
        let limit = rules.message_bytes;
        if self.compressed { limit.saturating_add(limit / 8 + 64) } else { limit }
    }

    /// Shows a whole message.
    pub(super) fn show(
        self,
        rules: &Rules,
        payload: &[u8],
        on: &mut dyn FnMut(Incoming<'_>) -> Flow,
    ) -> Result<Flow, Violation> {
        if self.compressed {
            inflate::inflate(payload, rules.message_bytes, |payload| self.show_plain(payload, on))?
        } else {
            self.show_plain(payload, on)
        }
    }

    fn show_plain(self, payload: &[u8], on: &mut dyn FnMut(Incoming<'_>) -> Flow) -> Result<Flow, Violation> {
        if self.text {
            let text = simdutf8::basic::from_utf8(payload).map_err(|_| Violation::Utf8)?;
            Ok(on(Incoming::Text(text)))
        } else {
            Ok(on(Incoming::Binary(payload)))
        }
    }
}

/// The beginning of a message, unmasked.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
    checked: utf8::Checked,
}

impl Message {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, bytes: Vec::new(), checked: utf8::Checked::default() }
    }

    /// How many bytes may follow on the wire.
    pub(super) fn room(&self, rules: &Rules) -> usize {
        self.kind.wire_bytes(rules).saturating_sub(self.bytes.len())
    }

    /// Appends a piece, and refuses text as soon as it cannot become UTF-8. The sum is within the limit: the header was
    /// refused otherwise.
    pub(super) fn append(&mut self, piece: &[u8], rules: &Rules) -> Result<(), Violation> {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            // Memory follows what arrived, not what was declared, and never passes the limit.
            let room = (2 * needed).min(self.kind.wire_bytes(rules)).max(needed);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        if self.kind.text && !self.kind.compressed {
            self.checked.check(&self.bytes).map_err(|utf8::Broken| Violation::Utf8)?;
        }
        Ok(())
    }
}
