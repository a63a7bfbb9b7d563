//! Channel names: segments joined by `:`, bounded and restricted to characters that are safe everywhere.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Longest channel name in bytes.
pub const CHANNEL_BYTES: usize = 255;
/// Longest segment of a channel name in bytes.
pub const SEGMENT_BYTES: usize = 128;

/// A checked channel name; cloning shares the text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

/// Why a text is not a channel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelNameError {
    /// The text has no characters.
    #[error("is empty")]
    Empty,
    /// More than [`CHANNEL_BYTES`].
    #[error("is longer than {CHANNEL_BYTES} bytes")]
    TooLong,
    /// Two colons in a row, or one at an end.
    #[error("has an empty segment")]
    EmptySegment,
    /// A segment of more than [`SEGMENT_BYTES`].
    #[error("has a segment longer than {SEGMENT_BYTES} bytes")]
    SegmentTooLong,
    /// A byte outside `A-Z a-z 0-9 _ . ~ @ = + , $ ! % -`.
    #[error("has a character other than A-Z a-z 0-9 _ . ~ @ = + , $ ! % - at byte {0}")]
    Character(usize),
}

impl ChannelName {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// The first rule of channel names that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, ChannelNameError> {
        check(text.as_bytes())?;
        Ok(Self(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(bytes: &[u8]) -> Result<(), ChannelNameError> {
    if bytes.is_empty() {
        return Err(ChannelNameError::Empty);
    }
    if bytes.len() > CHANNEL_BYTES {
        return Err(ChannelNameError::TooLong);
    }
    let mut segment = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b':' {
            if segment == 0 {
                return Err(ChannelNameError::EmptySegment);
            }
            segment = 0;
        } else if is_channel_byte(byte) {
            segment += 1;
            if segment > SEGMENT_BYTES {
                return Err(ChannelNameError::SegmentTooLong);
            }
        } else {
            return Err(ChannelNameError::Character(at));
        }
    }
    if segment == 0 { Err(ChannelNameError::EmptySegment) } else { Ok(()) }
}

/// Whether `byte` may stand in a segment.
pub fn is_channel_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'.' | b'~' | b'@' | b'=' | b'+' | b',' | b'$' | b'!' | b'%' | b'-')
}

/// Percent-encodes what does not fit a segment, so that a claim can always stand in a channel name.
/// `%` itself is encoded too, so that two different claims never meet in one name.
pub fn escape_segment(text: &str) -> Cow<'_, str> {
    let plain = |byte: u8| is_channel_byte(byte) && byte != b'%';
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(out)
}

/// What [`escape_segment`] made a segment from. A segment that it would have written otherwise stands for itself.
pub fn unescape_segment(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let hex = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    match String::from_utf8(bytes) {
        Ok(text) if escape_segment(&text) == segment => Cow::Owned(text),
        _ => Cow::Borrowed(segment),
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        for good in ["a", "room:1", "a:b:c", "user:%C3%A9", "x@y.z~_=+,$!-"] {
            assert!(ChannelName::parse(good).is_ok(), "{good}");
        }
        let cases = [
            ("", ChannelNameError::Empty),
            (":", ChannelNameError::EmptySegment),
            ("a:", ChannelNameError::EmptySegment),
            ("a::b", ChannelNameError::EmptySegment),
            ("a b", ChannelNameError::Character(1)),
            ("a{b}", ChannelNameError::Character(1)),
            ("é", ChannelNameError::Character(0)),
        ];
        for (bad, why) in cases {
            assert_eq!(ChannelName::parse(bad), Err(why), "{bad}");
        }
        assert_eq!(ChannelName::parse(&"a".repeat(256)), Err(ChannelNameError::TooLong));
        assert_eq!(ChannelName::parse(&"a".repeat(129)), Err(ChannelNameError::SegmentTooLong));
    }

    #[test]
    fn only_what_was_escaped_is_unescaped() {
        for text in ["abc", "a:b", "a%3Ab", "auth0|7", "é ü{}/\u{0}", "100%", "%", "%zz", "a b"] {
            assert_eq!(unescape_segment(&escape_segment(text)), text);
        }
        // No spelling but the one of `escape_segment` reaches what it stands for.
        for segment in ["%61nn", "a%3ab", "%", "%4", "a%", "%zz", "%FF", "%C3%28", "%25%36"] {
            assert_eq!(unescape_segment(segment), segment);
        }
        assert_eq!(unescape_segment("%2561nn"), "%61nn");
    }

    #[test]
    fn escaping_is_injective_and_legal() {
        assert_eq!(escape_segment("abc"), "abc");
        assert_eq!(escape_segment("a:b"), "a%3Ab");
        assert_eq!(escape_segment("a%3Ab"), "a%253Ab");
        assert!(ChannelName::parse(&escape_segment("é ü{}/\u{0}")).is_ok());
    }
}
