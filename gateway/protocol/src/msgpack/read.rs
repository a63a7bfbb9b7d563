//! MessagePack to JSON, under bounds: every length is compared with what is there before memory is taken for it.

use std::hash::{BuildHasher, RandomState};

use super::NESTING;

/// So few keys are compared with each other.
const FEW: usize = 16;

/// Why bytes are not MessagePack that could be JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A value, or what its length claims, is not all there.
    #[error("is not MessagePack: it ends early")]
    Short,
    /// More than one value.
    #[error("is not MessagePack: something follows the value")]
    Long,
    /// The byte that the specification never uses.
    #[error("is not MessagePack: 0xc1 begins no value")]
    Reserved,
    /// A string that is not UTF-8.
    #[error("has text that is not UTF-8")]
    Utf8,
    /// A key that is not a string.
    #[error("has a key that is not text")]
    Key,
    /// A key for the second time in one map.
    #[error("has a key twice in one map")]
    Repeated,
    /// The family `bin`; JSON has no bytes.
    #[error("has binary data; send text")]
    Binary,
    /// The family `ext`, timestamps included.
    #[error("has an extension type; send plain values")]
    Extension,
    /// NaN or an infinity; JSON has neither.
    #[error("has a number that is not finite")]
    NotFinite,
    /// Deeper than [`NESTING`].
    #[error("is nested deeper than {NESTING} levels")]
    Deep,
    /// Longer as JSON than it may be.
    #[error("is too large as JSON")]
    TooLarge,
}

/// The one value in `bytes` as JSON of at most `limit` bytes, without spaces, members in their order, integers as integers.
///
/// # Errors
/// [`Unreadable`].
pub fn to_json(bytes: &[u8], limit: usize) -> Result<String, Unreadable> {
    let mut source = Source(bytes);
    let mut json = Json { out: Vec::with_capacity(bytes.len().saturating_mul(2).min(limit)), limit };
    let mut open: Vec<Open> = Vec::new();
    let mut keys: Vec<&[u8]> = Vec::new();
    loop {
        if let Some(inner) = open.last_mut() {
            if inner.left == 0 {
                inner.end(&mut keys, &mut json)?;
                open.pop();
            } else {
                inner.next(&mut source, &mut keys, &mut json)?;
                begin(source.value()?, &source, &keys, &mut open, &mut json)?;
            }
        } else {
            begin(source.value()?, &source, &keys, &mut open, &mut json)?;
        }
        if open.is_empty() {
            break;
        }
    }
    if !source.0.is_empty() {
        return Err(Unreadable::Long);
    }
    // Only text that was checked, digits and punctuation were written.
    String::from_utf8(json.out).map_err(|_| Unreadable::Utf8)
}

/// An array or a map whose end has not come.
struct Open {
    left: u32,
    map: bool,
    empty: bool,
    /// Where its keys begin in the list of all open maps' keys.
    keys: usize,
}

impl Open {
    /// Goes to the next item: a comma where one is due, and the key of a map.
    fn next<'a>(
        &mut self,
        source: &mut Source<'a>,
        keys: &mut Vec<&'a [u8]>,
        json: &mut Json,
    ) -> Result<(), Unreadable> {
        self.left -= 1;
        if !std::mem::take(&mut self.empty) {
            json.out.push(b',');
        }
        if self.map {
            let Value::Text(key) = source.value()? else { return Err(Unreadable::Key) };
            json.text(key)?;
            json.out.push(b':');
            keys.push(key);
        }
        Ok(())
    }

    fn end(&self, keys: &mut Vec<&[u8]>, json: &mut Json) -> Result<(), Unreadable> {
        if self.map {
            if repeats(&keys[self.keys..]) {
                return Err(Unreadable::Repeated);
            }
            keys.truncate(self.keys);
        }
        json.put(if self.map { b"}" } else { b"]" })
    }
}

/// Whether a key stands twice among `keys`.
fn repeats(keys: &[&[u8]]) -> bool {
    // Most maps are small.
    if keys.len() <= FEW {
        return keys.iter().enumerate().any(|(at, key)| keys[..at].contains(key));
    }
    // A message of 1 MiB may be a map of 190,000 keys: they sort in 85 ms, which a shard does not have, and their hashes in 12.
    // Seeded hashes meet by chance only.
    let seed = RandomState::new();
    let mut hashes: Vec<u64> = keys.iter().map(|key| seed.hash_one(key)).collect();
    hashes.sort_unstable();
    hashes.windows(2).any(|pair| pair[0] == pair[1])
}

/// Writes a scalar, or opens an array or map.
fn begin(
    value: Value<'_>,
    source: &Source<'_>,
    keys: &[&[u8]],
    open: &mut Vec<Open>,
    json: &mut Json,
) -> Result<(), Unreadable> {
    let (left, map) = match value {
        Value::Array(items) => (items, false),
        Value::Map(members) => (members, true),
        scalar => return json.scalar(scalar),
    };
    // An item takes at least a byte, a member two.
    if left as usize > source.0.len() / (1 + usize::from(map)) {
        return Err(Unreadable::Short);
    }
    if open.len() == NESTING {
        return Err(Unreadable::Deep);
    }
    open.push(Open { left, map, empty: true, keys: keys.len() });
    json.put(if map { b"{" } else { b"[" })
}

/// JSON under construction.
struct Json {
    out: Vec<u8>,
    limit: usize,
}

impl Json {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        if bytes.len() > self.limit.saturating_sub(self.out.len()) {
            return Err(Unreadable::TooLarge);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| Unreadable::Utf8)?;
        if text.len() + 2 > self.limit.saturating_sub(self.out.len()) {
            return Err(Unreadable::TooLarge);
        }
        // Fails only where the writer fails, which a Vec does not.
        let _ = serde_json::to_writer(&mut self.out, text);
        // Escapes may have made it up to six times as long; then nothing more is written.
        if self.out.len() > self.limit { Err(Unreadable::TooLarge) } else { Ok(()) }
    }

    fn scalar(&mut self, value: Value<'_>) -> Result<(), Unreadable> {
        match value {
            Value::Nil => self.put(b"null"),
            Value::Flag(true) => self.put(b"true"),
            Value::Flag(false) => self.put(b"false"),
            Value::Unsigned(number) => self.put(itoa::Buffer::new().format(number).as_bytes()),
            Value::Signed(number) => self.put(itoa::Buffer::new().format(number).as_bytes()),
            Value::Float(number) if number.is_finite() => {
                let mut digits = Vec::with_capacity(24);
                let _ = serde_json::to_writer(&mut digits, &number);
                self.put(&digits)
            }
            Value::Float(_) => Err(Unreadable::NotFinite),
            Value::Text(text) => self.text(text),
            Value::Array(_) | Value::Map(_) => Ok(()),
        }
    }
}

/// A scalar, or the head of an array or map with its count.
#[derive(Clone, Copy)]
enum Value<'a> {
    Nil,
    Flag(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// Not yet checked to be UTF-8.
    Text(&'a [u8]),
    Array(u32),
    Map(u32),
}

/// What has not been read.
struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    /// Takes the next value; of an array or a map only its head.
    fn value(&mut self) -> Result<Value<'a>, Unreadable> {
        let [first] = self.bytes()?;
        Ok(match first {
            0x00..=0x7F => Value::Unsigned(first.into()),
            0x80..=0x8F => Value::Map((first & 0x0F).into()),
            0x90..=0x9F => Value::Array((first & 0x0F).into()),
            0xA0..=0xBF => Value::Text(self.take((first & 0x1F).into())?),
            0xC0 => Value::Nil,
            0xC1 => return Err(Unreadable::Reserved),
            0xC2 | 0xC3 => Value::Flag(first == 0xC3),
            0xC4..=0xC6 => return Err(Unreadable::Binary),
            0xC7..=0xC9 | 0xD4..=0xD8 => return Err(Unreadable::Extension),
            0xCA => Value::Float(f32::from_be_bytes(self.bytes()?).into()),
            0xCB => Value::Float(f64::from_be_bytes(self.bytes()?)),
            0xCC => Value::Unsigned(u8::from_be_bytes(self.bytes()?).into()),
            0xCD => Value::Unsigned(u16::from_be_bytes(self.bytes()?).into()),
            0xCE => Value::Unsigned(u32::from_be_bytes(self.bytes()?).into()),
            0xCF => Value::Unsigned(u64::from_be_bytes(self.bytes()?)),
            0xD0 => Value::Signed(i8::from_be_bytes(self.bytes()?).into()),
            0xD1 => Value::Signed(i16::from_be_bytes(self.bytes()?).into()),
            0xD2 => Value::Signed(i32::from_be_bytes(self.bytes()?).into()),
            0xD3 => Value::Signed(i64::from_be_bytes(self.bytes()?)),
            0xD9 => self.text(|bytes: [u8; 1]| bytes[0].into())?,
            0xDA => self.text(|bytes| u16::from_be_bytes(bytes).into())?,
            0xDB => self.text(u32::from_be_bytes)?,
            0xDC => Value::Array(u16::from_be_bytes(self.bytes()?).into()),
            0xDD => Value::Array(u32::from_be_bytes(self.bytes()?)),
            0xDE => Value::Map(u16::from_be_bytes(self.bytes()?).into()),
            0xDF => Value::Map(u32::from_be_bytes(self.bytes()?)),
            0xE0..=0xFF => Value::Signed(i8::from_be_bytes([first]).into()),
        })
    }

    fn text<const N: usize>(&mut self, length: fn([u8; N]) -> u32) -> Result<Value<'a>, Unreadable> {
        let length = length(self.bytes()?);
        self.take(length as usize).map(Value::Text)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Unreadable::Short)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Short)?;
        self.0 = rest;
        Ok(taken)
    }
}
