//! An entry of a stream, and the message that rules see of it.

use bytes::Bytes;
use redis::Value;
use serde_json::value::RawValue;

/// Fields that hold a whole message where they stand alone, and JSON where they do not.
const MESSAGES: [&[u8]; 2] = [b"data", b"payload"];
/// Most bytes of all fields together.
const ENTRY_BYTES: usize = 1024 * 1024;

/// An entry as Redis sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// `MS-SEQ`.
    pub(super) id: String,
    /// In the order of the entry; a name may stand twice.
    pub(super) fields: Vec<(Bytes, Bytes)>,
    /// How often it has been given to a consumer, this time included.
    pub(super) deliveries: i64,
}

impl Entry {
    /// Entries of a reply: `[id, [name, value…]]`, with how often each was given where the reply says so.
    pub(super) fn list(reply: Value) -> Option<Vec<Self>> {
        let Value::Array(entries) = reply else { return None };
        entries.into_iter().map(Self::read).collect()
    }

    /// Those of the one stream in the reply of `XREADGROUP`.
    pub(super) fn list_of_streams(reply: Value) -> Option<Vec<Self>> {
        match reply {
            Value::Nil => Some(Vec::new()),
            Value::Map(streams) => Self::list(streams.into_iter().next()?.1),
            Value::Array(streams) => match streams.into_iter().next()? {
                Value::Array(stream) => Self::list(stream.into_iter().nth(1)?),
                _ => None,
            },
            _ => None,
        }
    }

    fn read(reply: Value) -> Option<Self> {
        let Value::Array(parts) = reply else { return None };
        let mut parts = parts.into_iter();
        let id = String::from_utf8(bytes(parts.next()?)?.to_vec()).ok()?;
        let fields = match parts.next()? {
            Value::Array(flat) => {
                let mut flat = flat.into_iter();
                let mut fields = Vec::with_capacity(flat.len() / 2);
                while let Some(name) = flat.next() {
                    fields.push((bytes(name)?, bytes(flat.next()?)?));
                }
                fields
            }
            // Deleted since it was given.
            _ => Vec::new(),
        };
        let deliveries = if let Some(Value::Int(count)) = parts.next() { count } else { 1 };
        Some(Self { id, fields, deliveries })
    }

    /// What rules see as `msg` and `raw`.
    ///
    /// One field called `data` or `payload` alone is the message itself. Otherwise the message is an object of the fields, whose values
    /// are texts, but for a `data` or `payload` that holds a JSON object or array, which is put in as it is.
    ///
    /// # Errors
    /// The word of metrics for an entry that cannot be a message.
    pub(super) fn message(&self) -> Result<Bytes, &'static str> {
        if self.fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > ENTRY_BYTES {
            return Err("too_large");
        }
        if let [(name, value)] = &self.fields[..]
            && MESSAGES.contains(&&name[..])
        {
            return Ok(value.clone());
        }
        let mut object = vec![b'{'];
        for (name, value) in &self.fields {
            if object.len() > 1 {
                object.push(b',');
            }
            write_text(&mut object, text(name)?);
            object.push(b':');
            let value = text(value)?;
            match structure(value).filter(|_| MESSAGES.contains(&&name[..])) {
                Some(json) => object.extend_from_slice(json.as_bytes()),
                None => write_text(&mut object, value),
            }
        }
        object.push(b'}');
        Ok(object.into())
    }
}

fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) => Some(text.into()),
        _ => None,
    }
}

fn text(bytes: &Bytes) -> Result<&str, &'static str> {
    std::str::from_utf8(bytes).map_err(|_| "not_text")
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing a text to memory cannot fail.
    let _written = serde_json::to_writer(out, text);
}

/// A JSON object or array without the space around it.
fn structure(text: &str) -> Option<&str> {
    let text = text.trim_ascii();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn message(fields: &[(&str, &str)]) -> String {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        let entry = Entry { id: "1-1".into(), fields, deliveries: 1 };
        String::from_utf8(entry.message().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn one_field_for_everything_is_the_message() {
        assert_eq!(message(&[("data", r#"{"id": 7}"#)]), r#"{"id": 7}"#);
        assert_eq!(message(&[("payload", "no json")]), "no json");
        assert_eq!(message(&[("status", "done")]), r#"{"status":"done"}"#);
    }

    #[test]
    fn several_fields_are_an_object_of_texts_and_structures() {
        assert_eq!(
            message(&[("id", "007"), ("total", "1.50"), ("note", "a \"b\"\n")]),
            r#"{"id":"007","total":"1.50","note":"a \"b\"\n"}"#
        );
        assert_eq!(
            message(&[("type", "order"), ("payload", " {\"b\":1, \"a\":[2]} ")]),
            r#"{"type":"order","payload":{"b":1, "a":[2]}}"#
        );
        assert_eq!(message(&[("data", "7"), ("tags", "[1]")]), r#"{"data":"7","tags":"[1]"}"#);
        assert_eq!(message(&[("a", "1"), ("data", "{broken")]), r#"{"a":"1","data":"{broken"}"#);
    }

    #[test]
    fn what_cannot_be_a_message_is_named() {
        let entry = |name: &'static [u8], value: Vec<u8>| Entry {
            id: "1-1".into(),
            fields: vec![(Bytes::from_static(name), value.into())],
            deliveries: 1,
        };
        assert_eq!(entry(b"a", vec![0xff]).message(), Err("not_text"));
        assert_eq!(entry(b"\xff", vec![b'a']).message(), Err("not_text"));
        assert_eq!(entry(b"data", vec![b'x'; ENTRY_BYTES]).message(), Err("too_large"));
        assert!(entry(b"data", vec![b'x'; ENTRY_BYTES - 4]).message().is_ok());
    }

    #[test]
    fn replies_of_both_shapes_are_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry = || Value::Array(vec![text("5-1"), Value::Array(vec![text("a"), text("1")])]);
        let expected = [Entry {
            id: "5-1".into(),
            fields: vec![(Bytes::from_static(b"a"), Bytes::from_static(b"1"))],
            deliveries: 1,
        }];
        let of_map = Value::Map(vec![(text("s"), Value::Array(vec![entry()]))]);
        let of_list = Value::Array(vec![Value::Array(vec![text("s"), Value::Array(vec![entry()])])]);
        assert_eq!(Entry::list_of_streams(of_map).unwrap(), expected);
        assert_eq!(Entry::list_of_streams(of_list).unwrap(), expected);
        assert_eq!(Entry::list_of_streams(Value::Nil).unwrap(), []);
        assert_eq!(Entry::list_of_streams(Value::Int(1)), None);
        let given = Value::Array(vec![text("5-1"), Value::Array(Vec::new()), Value::Int(3)]);
        assert_eq!(Entry::list(Value::Array(vec![given])).unwrap()[0].deliveries, 3);
    }
}
