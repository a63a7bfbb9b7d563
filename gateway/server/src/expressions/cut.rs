//! Cuts the member at a path out of JSON text, as it was written: number text and the order of members survive.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The raw text at `path` inside `json`; `None` where a member is not there, a step leads into something that is no object, or
/// the text is not JSON. Of repeated members the last counts, as everywhere that parses.
pub(super) fn cut<'j>(json: &'j str, path: &[Box<str>]) -> Option<&'j str> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = Step(path).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    found
}

/// The whole of `text` without the space around it, if it is one JSON value.
pub(super) fn whole(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

struct Step<'p>(&'p [Box<str>]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        match self.0 {
            [] => <&RawValue as serde::Deserialize>::deserialize(reader).map(|raw| Some(raw.get())),
            [member, rest @ ..] => reader.deserialize_any(Members { member, rest }),
        }
    }
}

struct Members<'p> {
    member: &'p str,
    rest: &'p [Box<str>],
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(wanted) = members.next_key_seed(Is(self.member))? {
            if wanted {
                found = members.next_value_seed(Step(self.rest))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a key is the one looked for, without keeping it.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_cut_as_they_were_written() {
        let json = r#" {"a":{"b": 1.50 ,"c":[1, 2],"\u0064":{"z":1,"y":2}},"a2":12345678901234567890123,"a":{"b":2e0}} "#;
        let at = |path: &[&str]| {
            let path: Vec<Box<str>> = path.iter().map(|member| (*member).into()).collect();
            cut(json, &path)
        };
        assert_eq!(at(&["a", "b"]), Some("2e0"), "the last of repeated members");
        assert_eq!(at(&["a", "c"]), None, "nothing is left of the earlier ones");
        assert_eq!(at(&["a2"]), Some("12345678901234567890123"));
        assert_eq!(at(&["a2", "x"]), None);
        assert_eq!(at(&["nothing"]), None);
        assert_eq!(at(&[]), Some(json.trim()));
        let names: [Box<str>; 2] = ["d".into(), "y".into()];
        assert_eq!(cut(r#"{"\u0064":{"z":1,"y": "\u00e9" }}"#, &names), Some(r#""\u00e9""#));
        assert_eq!(cut("{\"d\":{\"y\":1}} x", &names), None, "text behind the value");
        assert_eq!(whole(" [1 ,2]\n"), Some("[1 ,2]"));
        assert_eq!(whole("[1,]"), None);
        assert_eq!(whole(""), None);
    }
}
