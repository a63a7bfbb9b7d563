//! JSON to CEL values, borrowing its strings, and CEL values to JSON.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::scope::EvaluateError;

/// A boxed value that may borrow its text.
pub(super) type Boxed<'v> = Box<dyn Val + 'v>;

/// Reads JSON: integers become `int` (`uint` above its range), other numbers `double`.
///
/// # Errors
/// Text that is not JSON, and JSON nested deeper than 128.
pub(super) fn parse(json: &str) -> Result<Boxed<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let value = AnyValue.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// A map of strings.
pub(super) fn map<'v>(entries: impl IntoIterator<Item = (&'v str, Boxed<'v>)>) -> Boxed<'v> {
    let entries: HashMap<CelMapKey<'v>, Boxed<'v>> =
        entries.into_iter().map(|(name, value)| (CelMapKey::from(name), value)).collect();
    Box::new(CelMap::from(entries))
}

/// A map of texts.
pub(super) fn texts<'v>(entries: &[(&'v str, &'v str)]) -> Boxed<'v> {
    map(entries.iter().map(|(name, value)| (*name, text(value))))
}

/// A map of texts that live here; of repeated names the first counts.
pub(super) fn owned_map<'v, 't>(
    entries: impl IntoIterator<Item = (Cow<'t, str>, Cow<'t, str>)>,
) -> Boxed<'v> {
    let mut map: HashMap<CelMapKey<'v>, Boxed<'v>> = HashMap::new();
    for (name, value) in entries {
        map.entry(CelMapKey::from(name.into_owned())).or_insert_with(|| owned_text(value.into_owned()));
    }
    Box::new(CelMap::from(map))
}

/// A text that lives here.
pub(super) fn owned_text<'v>(text: String) -> Boxed<'v> {
    Box::new(CelString::from(text))
}

/// A text.
pub(super) fn text(text: &str) -> Boxed<'_> {
    Box::new(CelString::from(text))
}

#[derive(Clone, Copy)]
struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Boxed<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Boxed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Box::new(CelBool::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Box::new(CelInt::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(match i64::try_from(value) {
            Ok(value) => Box::new(CelInt::from(value)),
            Err(_) => Box::new(CelUInt::from(value)),
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Box::new(CelDouble::from(value)))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(text(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Box::new(CelString::from(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Box::new(CelNull))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(AnyValue)? {
            list.push(item);
        }
        Ok(Box::new(CelList::from(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut map = HashMap::new();
        while let Some(name) = members.next_key_seed(Name)? {
            map.insert(name, members.next_value_seed(AnyValue)?);
        }
        Ok(Box::new(CelMap::from(map)))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = CelMapKey<'de>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = CelMapKey<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(CelMapKey::from(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(CelMapKey::from(name.to_owned()))
    }
}

/// Appends `value` as JSON. A CEL map has no order, so its members are written sorted by name and equal values give equal bytes;
/// bytes become base64, as CEL's own JSON conversion has it.
///
/// # Errors
/// [`EvaluateError::Kind`] for what JSON cannot say: infinite numbers, types, optionals.
pub(super) fn write(value: &dyn Val, out: &mut Vec<u8>) -> Result<(), EvaluateError> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        write_text(text.inner(), out);
    } else if let Some(number) = value.downcast_ref::<CelInt>() {
        out.extend_from_slice(number.inner().to_string().as_bytes());
    } else if let Some(truth) = value.downcast_ref::<CelBool>() {
        out.extend_from_slice(if *truth.inner() { b"true" } else { b"false" });
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        write_map(map, out)?;
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        out.push(b'[');
        for (index, item) in list.inner().iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(item.as_ref(), out)?;
        }
        out.push(b']');
    } else if value.downcast_ref::<CelNull>().is_some() {
        out.extend_from_slice(b"null");
    } else if let Some(number) = value.downcast_ref::<CelDouble>().filter(|number| number.inner().is_finite())
    {
        out.extend_from_slice(serde_json::json!(number.inner()).to_string().as_bytes());
    } else if let Some(number) = value.downcast_ref::<CelUInt>() {
        out.extend_from_slice(number.inner().to_string().as_bytes());
    } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        write_text(&base64::engine::general_purpose::STANDARD.encode(bytes.inner()), out);
    } else {
        return Err(EvaluateError::kind("JSON", value));
    }
    Ok(())
}

fn write_map(map: &CelMap<'_>, out: &mut Vec<u8>) -> Result<(), EvaluateError> {
    let mut members: Vec<(String, &dyn Val)> =
        map.inner().iter().map(|(name, value)| (member_name(name), value.as_ref() as &dyn Val)).collect();
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    out.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(&name, out);
        out.push(b':');
        write(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn member_name(key: &CelMapKey<'_>) -> String {
    match key {
        CelMapKey::String(name) => name.inner().to_owned(),
        CelMapKey::Int(number) => number.inner().to_string(),
        CelMapKey::UInt(number) => number.inner().to_string(),
        CelMapKey::Bool(truth) => truth.inner().to_string(),
    }
}

/// Appends `text` as a JSON string.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    // Writing a string to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}
