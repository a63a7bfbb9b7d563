//! Picks named members out of a JSON object and reads scalars, without building a tree of the rest.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2_iter;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A member's text, borrowed from the message; `None` where the object has no such member.
pub(super) type Member<'a> = Option<&'a RawValue>;

/// The members called `names`, in that order. Of a repeated name the last counts, as in `JSON.parse`.
///
/// # Errors
/// `text` is not JSON, or not an object; [`serde_json::Error::is_data`] tells which.
pub(super) fn pick<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> serde_json::Result<[Member<'a>; N]> {
    let mut source = serde_json::Deserializer::from_str(text);
    let picked = source.deserialize_map(Pick(names))?;
    source.end()?;
    Ok(picked)
}

struct Pick<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Member<'de>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut picked = [None; N];
        while let Some(which) = map.next_key_seed(Which(self.0))? {
            match which {
                Some(at) => picked[at] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(picked)
    }
}

/// Reads a key as the index of the name it equals.
struct Which<'n>(&'n [&'n str]);

impl<'de> DeserializeSeed<'de> for Which<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_str(self)
    }
}

impl Visitor<'_> for Which<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

/// The object `text` without the members called `names`; the values of the others as they were written.
///
/// # Errors
/// As [`pick`].
pub(super) fn without(text: &str, names: &[&str]) -> serde_json::Result<Vec<u8>> {
    let mut source = serde_json::Deserializer::from_str(text);
    let kept = source.deserialize_map(Without { names, out: Vec::with_capacity(text.len()) })?;
    source.end()?;
    Ok(kept)
}

struct Without<'n> {
    names: &'n [&'n str],
    out: Vec<u8>,
}

impl<'de> Visitor<'de> for Without<'_> {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        self.out.push(b'{');
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if self.names.contains(&&*name) {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if self.out.len() > 1 {
                self.out.push(b',');
            }
            // Fails only where the writer fails, which a Vec does not.
            let _ = serde_json::to_writer(&mut self.out, &*name);
            self.out.push(b':');
            self.out.extend_from_slice(map.next_value::<&RawValue>()?.get().as_bytes());
        }
        self.out.push(b'}');
        Ok(self.out)
    }
}

/// The text of a JSON string; `None` for any other value, and for a string with half a surrogate pair in it.
pub(super) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(raw.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Whether arrays and objects in `json`, which must be JSON, are nested deeper than `limit`.
pub(super) fn deeper_than(limit: usize, json: &str) -> bool {
    // Nothing nests deeper than it has opening brackets, and those are counted many bytes at a time.
    memchr2_iter(b'[', b'{', json.as_bytes()).nth(limit).is_some() && depth(json) > limit
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut quoted) = (0_usize, 0, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn picks_by_the_unescaped_name_and_the_last_of_repeats() {
        let [a, b, c] =
            pick(r#" {"a":1,"x":[{}],"\u0061": [ 2 ] ,"b":"\"","y":1e999} "#, &["a", "b", "c"]).unwrap();
        assert_eq!(a.unwrap().get(), "[ 2 ]");
        assert_eq!(b.unwrap().get(), r#""\"""#);
        assert!(c.is_none());
    }

    #[test]
    fn what_is_left_is_as_it_was_written() {
        let kept = without(
            r#" {"type":"x","b": 1.50 ,"i\u0064":7,"a":[ 1 ],"\u00e9\"":{"id":1}} "#,
            &["type", "id"],
        );
        assert_eq!(String::from_utf8(kept.unwrap()).unwrap(), r#"{"b":1.50,"a":[ 1 ],"é\"":{"id":1}}"#);
        assert_eq!(without(r#"{"id":1}"#, &["id"]).unwrap(), b"{}");
        assert!(without("[]", &[]).is_err());
    }

    #[test]
    fn tells_broken_text_from_a_value_that_is_no_object() {
        for broken in ["", "{", "{\"a\":}", "{} {}", "{\"a\":1,}", "[1"] {
            let error = pick(broken, &["a"]).unwrap_err();
            assert!(!error.is_data() || broken == "[1", "{broken}");
        }
        for other in ["1", "null", "\"a\"", "[]", "true"] {
            assert!(pick(other, &["a"]).unwrap_err().is_data(), "{other}");
        }
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let nested = "[".repeat(200_000) + &"]".repeat(200_000);
        let text = format!(r#"{{"x":{nested},"a":{nested}}}"#);
        let [a] = pick(&text, &["a"]).unwrap();
        assert!(deeper_than(128, a.unwrap().get()));
        assert!(pick(&text[..300_000], &["a"]).is_err());
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        for (json, expected) in [("1", 0), ("[]", 1), (r#"{"[{":"]\"[["}"#, 1), (r#"[[],{"a":[{}]}]"#, 4)] {
            assert_eq!(depth(json), expected, "{json}");
            assert!(
                !deeper_than(expected, json) && (expected == 0 || deeper_than(expected - 1, json)),
                "{json}"
            );
        }
    }

    #[test]
    fn strings_are_unescaped() {
        let read = |json: &str| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            string(raw).map(Cow::into_owned)
        };
        assert_eq!(read(r#""plain""#).as_deref(), Some("plain"));
        assert_eq!(read(r#""a\"\u00e9""#).as_deref(), Some("a\"é"));
        assert_eq!(read(r#""\ud800""#), None);
        assert_eq!(read("1"), None);
    }
}
