//! Negotiation of permessage-deflate (RFC 7692 section 7.1): which offer of a client is accepted, and how.

use super::deflate::Window;

/// An accepted offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateAnswer {
    /// How messages to this client are compressed.
    pub window: Window,
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub header: &'static str,
}

/// The client did not limit the window: a smaller one needs no announcement.
const UNLIMITED: DeflateAnswer = DeflateAnswer {
    window: Window::Bits12,
    header: "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
};
const LIMITED_TO_12: DeflateAnswer = DeflateAnswer {
    window: Window::Bits12,
    header: "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
};
const LIMITED_TO_9: DeflateAnswer = DeflateAnswer {
    window: Window::Bits9,
    header: "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
};

/// Accepts the first offer that this server can serve, in the client's order of preference. `values` are those of
/// `Sec-WebSocket-Extensions`, in order. Offers of other extensions, and those with unknown, repeated or malformed parameters
/// are declined (RFC 7692 section 7). Neither side keeps its context between messages, so that frames can be shared and
/// connections cost no memory; a server may demand both unasked (sections 7.1.1.1 and 7.1.1.2).
pub fn negotiate<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<DeflateAnswer> {
    let mut offers =
        values.filter_map(|value| std::str::from_utf8(value).ok()).flat_map(|value| Parts::of(value, ','));
    offers.find_map(answer)
}

fn answer(offer: &str) -> Option<DeflateAnswer> {
    let mut parts = Parts::of(offer, ';');
    if parts.next()? != "permessage-deflate" {
        return None;
    }
    let mut seen = Parameters::default();
    for part in parts {
        seen.take(part)?;
    }
    match seen.server_max_window_bits {
        None => Some(UNLIMITED),
        Some(12..) => Some(LIMITED_TO_12),
        Some(9..12) => Some(LIMITED_TO_9),
        // DEFLATE implementations have a bug with windows of 256 bytes and use 512, which the client could not read.
        Some(_) => None,
    }
}

#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    client_max_window_bits: bool,
    server_max_window_bits: Option<u8>,
}

impl Parameters {
    /// Notes one parameter; `None` declines the offer.
    fn take(&mut self, part: &str) -> Option<()> {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_ascii_end(), Some(value.trim_ascii_start())),
            None => (part, None),
        };
        let repeated = match (name, value) {
            ("server_no_context_takeover", None) => {
                std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            ("client_no_context_takeover", None) => {
                std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            // The client can take a limit for itself, or asks for one; we inflate with 32 KiB per thread, so none is set.
            ("client_max_window_bits", value) => {
                if let Some(value) = value {
                    window_bits(value)?;
                }
                std::mem::replace(&mut self.client_max_window_bits, true)
            }
            ("server_max_window_bits", Some(value)) => {
                self.server_max_window_bits.replace(window_bits(value)?).is_some()
            }
            _ => return None,
        };
        (!repeated).then_some(())
    }
}

/// 8 to 15 without leading zeroes, bare or quoted (RFC 6455 section 9.1).
fn window_bits(value: &str) -> Option<u8> {
    let bare = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    match bare.as_bytes() {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// The parts of a header value between separators that stand outside of quotes, trimmed.
struct Parts<'a> {
    rest: Option<&'a str>,
    separator: char,
}

impl<'a> Parts<'a> {
    fn of(value: &'a str, separator: char) -> Self {
        Self { rest: Some(value), separator }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let value = self.rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = value.find(|character| {
            let separates = character == self.separator && !quoted;
            quoted ^= character == '"' && !escaped;
            escaped = quoted && character == '\\' && !escaped;
            separates
        });
        self.rest = end.map(|end| &value[end + 1..]);
        Some(value[..end.unwrap_or(value.len())].trim_ascii())
    }
}
