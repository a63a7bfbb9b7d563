//! JSON to MessagePack, in two walks over the text: heads carry counts, so the first walk counts and the second writes. No tree, no
//! recursion.

use memchr::memchr2;

/// Appends the JSON value `json` as MessagePack, members in their order.
///
/// - An integer within 64 bits stays an integer, in its shortest form; every other number becomes a `float 64`, as `JSON.parse`
///   would read it, infinities for what is beyond all floats included.
/// - Half a surrogate pair, which UTF-8 cannot hold, becomes U+FFFD.
///
/// Of what is no JSON nothing is promised but an end.
pub fn from_json(json: &[u8], out: &mut Vec<u8>) {
    let mut counts = counts(json).into_iter();
    let mut unescaped = Vec::new();
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' => head(Family::Map, counts.next().unwrap_or(0), out),
            b'[' => head(Family::Array, counts.next().unwrap_or(0), out),
            b'"' => {
                let end = string_end(json, at);
                string(&json[at..end], &mut unescaped, out);
                at = end + 1;
            }
            b'-' | b'0'..=b'9' => {
                let rest = &json[start..];
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
                number(&rest[..length], out);
                at = start + length;
            }
            b'n' => (at, _) = (start + 4, out.push(0xC0)),
            b't' => (at, _) = (start + 4, out.push(0xC3)),
            b'f' => (at, _) = (start + 5, out.push(0xC2)),
            _ => {}
        }
    }
}

/// How many items every array and members every object has, in the order in which they begin.
fn counts(json: &[u8]) -> Vec<u32> {
    let mut counts: Vec<u32> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    // Nothing stands between the last bracket that opened and here.
    let mut fresh = false;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b']' | b'}' => {
                open.pop();
                fresh = false;
                continue;
            }
            _ => {}
        }
        if let Some(&inner) = open.last()
            && (std::mem::take(&mut fresh) || byte == b',')
        {
            counts[inner] += 1;
        }
        match byte {
            b'"' => at = string_end(json, at) + 1,
            b'{' | b'[' => {
                open.push(counts.len());
                counts.push(0);
                fresh = true;
            }
            _ => {}
        }
    }
    counts
}

/// Where the string whose inside begins at `at` has its closing quote.
fn string_end(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if json[at] == b'"' {
            return at;
        }
        at += 2;
    }
    json.len()
}

/// A family of values with a length.
#[derive(Clone, Copy)]
enum Family {
    Text,
    Array,
    Map,
}

fn head(family: Family, length: u32, out: &mut Vec<u8>) {
    // The specification's formats: fix…, then 8 (of text only), 16 and 32 bits of length.
    let (fix, most, wide) = match family {
        Family::Text => (0xA0, 31, 0xDA),
        Family::Array => (0x90, 15, 0xDC),
        Family::Map => (0x80, 15, 0xDE),
    };
    if let Ok(short) = u8::try_from(length)
        && short <= most
    {
        out.push(fix | short);
    } else if let (Ok(short), Family::Text) = (u8::try_from(length), family) {
        out.extend_from_slice(&[0xD9, short]);
    } else if let Ok(medium) = u16::try_from(length) {
        out.push(wide);
        out.extend_from_slice(&medium.to_be_bytes());
    } else {
        out.push(wide + 1);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

fn text(text: &[u8], out: &mut Vec<u8>) {
    // A message of ours is far below 4 GiB.
    head(Family::Text, u32::try_from(text.len()).unwrap_or(u32::MAX), out);
    out.extend_from_slice(text);
}

/// Writes the string with this inside. `unescaped` is scratch.
fn string(inside: &[u8], unescaped: &mut Vec<u8>, out: &mut Vec<u8>) {
    if memchr::memchr(b'\\', inside).is_none() {
        return text(inside, out);
    }
    unescaped.clear();
    let mut rest = inside;
    while let Some(found) = memchr::memchr(b'\\', rest) {
        unescaped.extend_from_slice(&rest[..found]);
        rest = &rest[found + 1..];
        let Some((&kind, behind)) = rest.split_first() else { break };
        rest = behind;
        match kind {
            b'b' => unescaped.push(0x08),
            b'f' => unescaped.push(0x0C),
            b'n' => unescaped.push(b'\n'),
            b'r' => unescaped.push(b'\r'),
            b't' => unescaped.push(b'\t'),
            b'u' => {
                let (char, behind) = unicode(rest);
                unescaped.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                rest = behind;
            }
            quoted => unescaped.push(quoted),
        }
    }
    unescaped.extend_from_slice(rest);
    text(unescaped, out);
}

/// The character of an escape whose digits `rest` begins with, and what is behind it.
fn unicode(rest: &[u8]) -> (char, &[u8]) {
    let Some((high, behind)) = unit(rest) else { return (char::REPLACEMENT_CHARACTER, rest) };
    let pair = behind.strip_prefix(b"\\u").and_then(unit).filter(|_| (0xD800..0xDC00).contains(&high));
    if let Some((low @ 0xDC00..=0xDFFF, behind)) = pair {
        let char = char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00));
        return (char.unwrap_or(char::REPLACEMENT_CHARACTER), behind);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), behind)
}

/// Four hexadecimal digits.
fn unit(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, behind) = rest.split_at_checked(4)?;
    let mut unit = 0;
    for &digit in digits {
        unit = unit << 4 | char::from(digit).to_digit(16)?;
    }
    Some((unit, behind))
}

fn number(digits: &[u8], out: &mut Vec<u8>) {
    // Only ASCII was taken.
    let digits = std::str::from_utf8(digits).unwrap_or("0");
    if let Ok(number) = digits.parse::<u64>() {
        unsigned(number, out);
    } else if let (Ok(number), true) = (digits.parse::<i64>(), digits != "-0") {
        signed(number, out);
    } else {
        out.push(0xCB);
        out.extend_from_slice(&digits.parse::<f64>().unwrap_or(f64::NAN).to_be_bytes());
    }
}

/// Appends an integer in its shortest form.
pub(crate) fn unsigned(number: u64, out: &mut Vec<u8>) {
    if let Ok(byte) = u8::try_from(number) {
        match byte {
            0..=0x7F => out.push(byte),
            _ => out.extend_from_slice(&[0xCC, byte]),
        }
    } else if let Ok(number) = u16::try_from(number) {
        out.push(0xCD);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        out.push(0xCE);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xCF);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// The same below zero.
fn signed(number: i64, out: &mut Vec<u8>) {
    if let Ok(byte) = i8::try_from(number) {
        match byte {
            -32..=-1 => out.extend_from_slice(&byte.to_be_bytes()),
            _ => out.extend_from_slice(&[0xD0, byte.to_be_bytes()[0]]),
        }
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xD1);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        out.push(0xD2);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xD3);
        out.extend_from_slice(&number.to_be_bytes());
    }
}
