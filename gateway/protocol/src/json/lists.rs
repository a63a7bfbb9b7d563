//! Reads named lists of values within their bounds: the filters of a subscription and the lists that narrow.

use std::borrow::Cow;
use std::fmt;

use rtgw_model::{Denied, ErrorCode, FILTER_LISTS, FILTER_VALUE_BYTES, FILTER_VALUES, FilterLists};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::members::string;
use super::refusal::{bad_request, shown};

/// Reads every member of the object `text` as a list, except those called one of `skipped`. Of a repeated name the last
/// counts. A single value is a list of one; numbers, `true` and `false` are taken as their text.
///
/// # Errors
/// `bad_request` for something else than lists of values, `too_large` above a bound.
pub(super) fn read(text: &str, skipped: &[&str]) -> Result<FilterLists, Denied> {
    let mut source = serde_json::Deserializer::from_str(text);
    source
        .deserialize_map(Lists(skipped))
        .unwrap_or_else(|_| Err(bad_request("the filters must be an object of lists")))
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A refusal is a value here, not an error of the parser, which could not carry it.
struct Lists<'s>(&'s [&'s str]);

impl<'de> Visitor<'de> for Lists<'_> {
    type Value = Result<FilterLists, Denied>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of lists")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut lists = Ok(FilterLists::default());
        while let Some((Name(name), raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if self.0.contains(&&*name) {
                continue;
            }
            if let Ok(known) = &mut lists
                && let Err(denied) = add(known, &name, raw)
            {
                lists = Err(denied);
            }
        }
        Ok(lists)
    }
}

fn add(lists: &mut FilterLists, name: &str, raw: &RawValue) -> Result<(), Denied> {
    if name.len() > FILTER_VALUE_BYTES {
        return Err(too_large(format!("the name of a filter is longer than {FILTER_VALUE_BYTES} bytes")));
    }
    let values = list(name, raw)?;
    if let Some((_, known)) = lists.0.iter_mut().find(|(known, _)| &**known == name) {
        *known = values;
    } else if lists.0.len() == FILTER_LISTS {
        return Err(too_large(format!("more than {FILTER_LISTS} filters")));
    } else {
        lists.0.push((name.into(), values));
    }
    Ok(())
}

fn list(name: &str, raw: &RawValue) -> Result<Vec<Box<str>>, Denied> {
    if !raw.get().starts_with('[') {
        return Ok(vec![value(name, raw)?]);
    }
    let mut source = serde_json::Deserializer::from_str(raw.get());
    source.deserialize_seq(Values(name)).unwrap_or_else(|_| Err(not_values(name)))
}

struct Values<'n>(&'n str);

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Result<Vec<Box<str>>, Denied>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut values = Ok(Vec::new());
        while let Some(raw) = seq.next_element::<&'de RawValue>()? {
            if let Ok(known) = &mut values {
                match value(self.0, raw) {
                    Err(denied) => values = Err(denied),
                    Ok(_) if known.len() == FILTER_VALUES => {
                        values = Err(too_large(format!(
                            "`{}` has more than {FILTER_VALUES} values",
                            shown(self.0)
                        )));
                    }
                    Ok(value) => known.push(value),
                }
            }
        }
        Ok(values)
    }
}

fn value(name: &str, raw: &RawValue) -> Result<Box<str>, Denied> {
    let text = match raw.get().as_bytes().first() {
        Some(b'"') => string(raw).ok_or_else(|| not_values(name))?,
        Some(b't' | b'f' | b'-' | b'0'..=b'9') => Cow::Borrowed(raw.get()),
        _ => return Err(not_values(name)),
    };
    if text.len() > FILTER_VALUE_BYTES {
        return Err(too_large(format!(
            "a value of `{}` is longer than {FILTER_VALUE_BYTES} bytes",
            shown(name)
        )));
    }
    Ok(text.into())
}

fn not_values(name: &str) -> Denied {
    bad_request(format!("`{}` must be a list of strings", shown(name)))
}

fn too_large(message: String) -> Denied {
    Denied::new(ErrorCode::TooLarge, message)
}
