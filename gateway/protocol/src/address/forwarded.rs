//! `X-Forwarded-For`, and `Forwarded` (RFC 7239): each proxy adds whom it heard, so the last entries are by those who are trusted and
//! the first ones by anybody.

use std::net::IpAddr;

/// Why the fields do not say who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardedError {
    /// What a trusted proxy wrote there is no address.
    #[error("X-Forwarded-For holds something that is no address")]
    NoAddress,
    /// Against the grammar of RFC 7239 section 4.
    #[error("Forwarded is malformed")]
    Malformed,
    /// Both fields are there, and one was sent by the client.
    #[error("X-Forwarded-For and Forwarded name different clients")]
    Ambiguous,
}

/// The client of a request that came from `peer`: `peer` itself, unless it is `trusted`; then the first address that is not, read from the
/// last entry back. With nothing but trusted entries it is the first of them; an entry that hides its address ends the reading, and the
/// client is the proxy that wrote it.
///
/// Entries in front of the client's are never believed. Where both fields are there, they must agree: which of the two the proxies write
/// is known to them alone, and the other one is the client's invention.
///
/// # Errors
/// See [`ForwardedError`].
pub fn client<'a>(
    peer: IpAddr,
    x_forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    forwarded: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: impl Fn(IpAddr) -> bool,
) -> Result<IpAddr, ForwardedError> {
    if !trusted(peer) {
        return Ok(peer);
    }
    let entries = x_forwarded_for.rev().flat_map(entries_from_the_last);
    let by_entries = nearest(peer, entries, &trusted)?;
    let mut hops = Vec::new();
    for value in forwarded {
        elements(value, &mut hops)?;
    }
    match (by_entries, nearest(peer, hops.into_iter().rev().map(Ok), &trusted)?) {
        (Some(one), Some(other)) if one != other => Err(ForwardedError::Ambiguous),
        (one, other) => Ok(one.or(other).unwrap_or(peer)),
    }
}

/// What one proxy says of whom it heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    Address(IpAddr),
    /// It does not say (RFC 7239 sections 6.2 and 6.3).
    Hidden,
}

/// `None` without hops.
fn nearest(
    peer: IpAddr,
    hops: impl Iterator<Item = Result<Hop, ForwardedError>>,
    trusted: &impl Fn(IpAddr) -> bool,
) -> Result<Option<IpAddr>, ForwardedError> {
    let mut known = None;
    for hop in hops {
        match hop? {
            Hop::Hidden => return Ok(known.or(Some(peer))),
            Hop::Address(address) => {
                known = Some(address);
                if !trusted(address) {
                    break;
                }
            }
        }
    }
    Ok(known)
}

/// The entries of one `X-Forwarded-For`, the last first.
fn entries_from_the_last(value: &[u8]) -> impl Iterator<Item = Result<Hop, ForwardedError>> {
    let entries = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    entries.filter(|entry| !entry.is_empty()).map(|entry| {
        let entry = std::str::from_utf8(entry).map_err(|_| ForwardedError::NoAddress)?;
        // Nobody agreed on brackets here.
        let bare = entry.parse::<IpAddr>().ok().map(|address| Hop::Address(address.to_canonical()));
        bare.or_else(|| node(entry)).ok_or(ForwardedError::NoAddress)
    })
}

/// A node (RFC 7239 section 6): an address with or without a port, IPv6 in brackets, or a word that stands for one.
fn node(text: &str) -> Option<Hop> {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, "")) => (text, None),
        Some((address, port)) => (&text[..address.len() + 2], Some(port.strip_prefix(':')?)),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    if !port.is_none_or(is_port) {
        return None;
    }
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Some(Hop::Hidden);
    }
    let address = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => IpAddr::V6(address.parse().ok()?),
        None => IpAddr::V4(name.parse().ok()?),
    };
    Some(Hop::Address(address.to_canonical()))
}

fn is_port(text: &str) -> bool {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    digits || is_obfuscated(text)
}

fn is_obfuscated(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() > 1 && text.starts_with('_') && text.bytes().all(inner)
}

/// Appends what the elements of one `Forwarded` say, the first first.
fn elements(value: &[u8], hops: &mut Vec<Hop>) -> Result<(), ForwardedError> {
    let mut scanner = Scanner { rest: value };
    loop {
        if let Some(hop) = scanner.element().ok_or(ForwardedError::Malformed)? {
            hops.push(hop);
        }
        match scanner.next() {
            None => return Ok(()),
            Some(b',') => {}
            Some(_) => return Err(ForwardedError::Malformed),
        }
    }
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    /// The pairs up to a comma or the end. The outer `None` is against the grammar, the inner one an empty element.
    #[expect(clippy::option_option, reason = "absent and wrong are different things here")]
    fn element(&mut self) -> Option<Option<Hop>> {
        let (mut hop, mut pairs) = (None, 0);
        loop {
            self.spaces();
            if !matches!(self.peek(), None | Some(b',' | b';')) {
                let name = self.token(is_token)?;
                if self.next() != Some(b'=') {
                    return None;
                }
                let value = self.value()?;
                pairs += 1;
                if name.eq_ignore_ascii_case("for") && hop.replace(node(&value)?).is_some() {
                    return None;
                }
                self.spaces();
            }
            if self.peek() != Some(b';') {
                // A proxy that says other things, and not whom it heard, hides it.
                return Some(hop.or((pairs > 0).then_some(Hop::Hidden)));
            }
            self.next();
        }
    }

    /// A quoted text, or a word; addresses with a port should be quoted and often are not.
    fn value(&mut self) -> Option<String> {
        if self.peek() != Some(b'"') {
            return self.token(|byte| is_token(byte) || matches!(byte, b':' | b'[' | b']'));
        }
        self.next();
        let mut text = String::new();
        loop {
            match self.next()? {
                b'"' => return Some(text),
                b'\\' => text.push(quotable(self.next()?)?),
                byte => text.push(quotable(byte)?),
            }
        }
    }

    fn token(&mut self, is_part: impl Fn(u8) -> bool) -> Option<String> {
        let length = self.rest.iter().take_while(|byte| is_part(**byte)).count();
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        (length > 0).then(|| token.iter().copied().map(char::from).collect())
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 section 5.6.4; bytes above ASCII stand for themselves and make no address.
fn quotable(byte: u8) -> Option<char> {
    (byte == b'\t' || byte >= b' ' && byte != 0x7F).then_some(char::from(byte))
}
