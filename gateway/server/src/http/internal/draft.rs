//! Bodies of the publishing API: a JSON object to a draft, with the path of the first bad member.

use std::collections::BTreeMap;

use bytes::Bytes;
use rtgw_model::Timestamp;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::publishing::{Draft, Idempotency};

/// A number below is seconds since the Unix epoch, from it on milliseconds (the year 5138 in seconds, 1973 in milliseconds).
const MILLISECONDS_FROM: f64 = 1e11;

/// What is wrong with a body, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", if .path.is_empty() { String::new() } else { format!("{path} ") })]
pub(super) struct BadBody {
    /// The member; empty for the body itself.
    pub(super) path: String,
    /// What is wrong.
    pub(super) problem: String,
}

fn bad(path: &str, problem: impl Into<String>) -> BadBody {
    BadBody { path: path.to_owned(), problem: problem.into() }
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Which member names the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    /// `channel` or `channels`.
    Either,
    /// `channels`.
    List,
}

/// Reads one publication.
pub(super) fn one(body: &Bytes, channels: Channels) -> Result<Draft, BadBody> {
    let right = serde_json::from_slice::<Right<'_>>(body).ok().and_then(|right| right.draft(body, channels));
    right.map_or_else(|| draft(members("", text(body)?)?, body, channels), Ok)
}

/// Reads `{"publications":[…]}`, at most `most` of them.
pub(super) fn many(body: &Bytes, most: usize) -> Result<Vec<Draft>, BadBody> {
    // A list would be taken for the members in their order.
    if body.trim_ascii_start().first() == Some(&b'{')
        && let Ok(RightBatch { publications }) = serde_json::from_slice(body)
        && publications.len() <= most
        && let Some(drafts) =
            publications.into_iter().map(|right| right.draft(body, Channels::Either)).collect()
    {
        return Ok(drafts);
    }
    let mut outer = members("", text(body)?)?;
    let list = outer.remove("publications").ok_or_else(|| bad("publications", "is missing"))?;
    no_others(&outer)?;
    let list: Vec<&RawValue> =
        serde_json::from_str(list.get()).map_err(|_| bad("publications", "must be a list of objects"))?;
    if list.len() > most {
        return Err(bad("publications", format!("has {} items, at most {most} are allowed", list.len())));
    }
    let drafts = list.into_iter().enumerate().map(|(index, item)| {
        members("", item).and_then(|members| draft(members, body, Channels::Either)).map_err(|error| {
            let dot = if error.path.is_empty() { "" } else { "." };
            BadBody { path: format!("publications[{index}]{dot}{}", error.path), ..error }
        })
    });
    drafts.collect()
}

/// A publication.
// One that is right is read in one pass: most are. What this refuses (also an escape in a name, which is rare and right) is read
// again, member by member, so that the answer can say what is wrong.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Publication")]
pub(super) struct Right<'a> {
    /// The channel's name. Either this or `channels`.
    #[serde(default, borrow, deserialize_with = "given")]
    #[schemars(with = "String")]
    channel: Option<&'a str>,
    /// Names of at most 64 channels; a connection that hears several gets the publication once.
    #[serde(default, borrow, deserialize_with = "given")]
    #[schemars(with = "Vec<String>", length(min = 1, max = 64))]
    channels: Option<Vec<&'a str>>,
    /// The event's name, 1 to 128 bytes.
    #[schemars(length(min = 1, max = 128))]
    event: &'a str,
    /// Any JSON value; kept as it is written.
    #[serde(borrow)]
    #[schemars(with = "serde_json::Value")]
    data: &'a RawValue,
    /// At most 16 tags that filters are compared with, as text.
    #[serde(default, borrow, deserialize_with = "given")]
    #[schemars(with = "BTreeMap<String, TagValue>")]
    tags: Option<BTreeMap<&'a str, &'a RawValue>>,
    /// RFC 3339, or Unix seconds or milliseconds; now unless given.
    #[serde(default, borrow, deserialize_with = "given")]
    #[schemars(with = "super::orders::TimeText")]
    timestamp: Option<&'a RawValue>,
    /// Shown by the `Event` envelope.
    #[serde(default, borrow, deserialize_with = "given")]
    #[schemars(with = "String", length(min = 1, max = 128))]
    priority: Option<&'a str>,
    /// Not to be published again under the same key of the same caller for the same channels within five minutes.
    #[serde(default, borrow, rename = "idempotencyKey", deserialize_with = "given")]
    #[schemars(with = "String", length(min = 1, max = 128))]
    idempotency_key: Option<&'a str>,
}

/// A tag's value.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the description of the API only")]
enum TagValue {
    /// Text.
    Text(String),
    /// Compared as it is written.
    Number(f64),
    /// `true` or `false`.
    Boolean(bool),
}

/// A body of /v1/broadcast: a publication that names its channels by a list.
pub(super) fn broadcast_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Right::json_schema(generator);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("channel");
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.push("channels".into());
    }
    schema
}

/// Publications.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Batch")]
pub(super) struct RightBatch<'a> {
    /// At most 1000.
    #[serde(borrow)]
    #[schemars(length(max = 1000))]
    publications: Vec<Right<'a>>,
}

/// A member that stands there, and then may not be null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl Right<'_> {
    fn draft(self, body: &Bytes, kind: Channels) -> Option<Draft> {
        let channels = match (kind, self.channel, self.channels) {
            (Channels::Either, Some(channel), None) => vec![channel.to_owned()],
            (_, None, Some(channels)) => channels.into_iter().map(str::to_owned).collect(),
            _ => return None,
        };
        let tag = |(name, value): (&str, &RawValue)| Some((name.to_owned(), tag_text(value)?.ok()?));
        Some(Draft {
            channels,
            event: self.event.to_owned(),
            data: body.slice_ref(self.data.get().as_bytes()),
            is_json: true,
            tags: self.tags.unwrap_or_default().into_iter().map(tag).collect::<Option<_>>()?,
            timestamp: self.timestamp.map(|value| timestamp("timestamp", value)).transpose().ok()?,
            priority: self.priority.map(str::to_owned),
            idempotency: self.idempotency_key.map(unowned),
        })
    }
}

fn text(body: &Bytes) -> Result<&RawValue, BadBody> {
    serde_json::from_slice(body).map_err(|error| bad("", format!("the body is not JSON: {error}")))
}

fn members<'a>(path: &str, object: &'a RawValue) -> Result<Members<'a>, BadBody> {
    serde_json::from_str(object.get()).map_err(|_| bad(path, "must be a JSON object").named_if_empty())
}

impl BadBody {
    fn named_if_empty(mut self) -> Self {
        if self.path.is_empty() {
            self.problem = format!("the publication {}", self.problem);
        }
        self
    }
}

fn draft(mut members: Members<'_>, body: &Bytes, kind: Channels) -> Result<Draft, BadBody> {
    let channels = match (kind, members.remove("channel"), members.remove("channels")) {
        (Channels::Either, Some(channel), None) => vec![string("channel", channel)?],
        (_, None, Some(channels)) => strings("channels", channels)?,
        (Channels::Either, Some(_), Some(_)) => {
            return Err(bad("channels", "must not stand beside channel: use one of them"));
        }
        (Channels::Either, None, None) => return Err(bad("channel", "is missing")),
        (Channels::List, Some(_), _) => return Err(bad("channel", "is not known here: use channels")),
        (Channels::List, None, None) => return Err(bad("channels", "is missing")),
    };
    let event = members.remove("event").ok_or_else(|| bad("event", "is missing"))?;
    let data = members.remove("data").ok_or_else(|| bad("data", "is missing"))?;
    let draft = Draft {
        channels,
        event: string("event", event)?,
        // A slice of the body: the data is not copied.
        data: body.slice_ref(data.get().as_bytes()),
        is_json: true,
        tags: members.remove("tags").map_or(Ok(Vec::new()), tags)?,
        timestamp: members.remove("timestamp").map(|value| timestamp("timestamp", value)).transpose()?,
        priority: members.remove("priority").map(|priority| string("priority", priority)).transpose()?,
        idempotency: members
            .remove("idempotencyKey")
            .map(|key| string("idempotencyKey", key).map(unowned))
            .transpose()?,
    };
    no_others(&members)?;
    Ok(draft)
}

/// The caller says whose it is.
fn unowned(key: impl Into<String>) -> Idempotency {
    Idempotency { owner: String::new(), key: key.into() }
}

fn no_others(members: &Members<'_>) -> Result<(), BadBody> {
    match members.keys().next() {
        None => Ok(()),
        Some(name) => Err(bad(&shortened(name), "is not known here")),
    }
}

/// A member's name as an answer may repeat it.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn string(path: &str, value: &RawValue) -> Result<String, BadBody> {
    serde_json::from_str(value.get()).map_err(|_| bad(path, "must be a string"))
}

fn strings(path: &str, value: &RawValue) -> Result<Vec<String>, BadBody> {
    serde_json::from_str(value.get()).map_err(|_| bad(path, "must be a list of strings"))
}

/// Tags compare as text, so numbers and booleans are taken as they are written.
fn tags(value: &RawValue) -> Result<Vec<(String, String)>, BadBody> {
    let members: Members<'_> =
        serde_json::from_str(value.get()).map_err(|_| bad("tags", "must be an object"))?;
    let tags = members.into_iter().map(|(name, value)| match tag_text(value) {
        Some(text) => Ok((name, text?)),
        None => Err(bad(&format!("tags.{}", shortened(&name)), "must be a string, a number or a boolean")),
    });
    tags.collect()
}

/// `None` for what has no text: lists, objects, null.
fn tag_text(value: &RawValue) -> Option<Result<String, BadBody>> {
    match value.get().as_bytes().first() {
        Some(b'"') => Some(string("tags", value)),
        Some(b'[' | b'{' | b'n') | None => None,
        Some(_) => Some(Ok(value.get().to_owned())),
    }
}

pub(super) fn timestamp(member: &str, value: &RawValue) -> Result<Timestamp, BadBody> {
    let wrong = || bad(member, "must be an RFC 3339 time, or Unix seconds or milliseconds");
    if let Ok(text) = serde_json::from_str::<String>(value.get()) {
        let time: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        return Ok(Timestamp(time.as_millisecond()));
    }
    let number: f64 = serde_json::from_str(value.get()).map_err(|_| wrong())?;
    let ms = if number.abs() < MILLISECONDS_FROM { number * 1000.0 } else { number };
    #[allow(clippy::cast_possible_truncation, reason = "saturates; the publisher checks the range")]
    Ok(Timestamp(ms.round() as i64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn error(body: &str) -> String {
        one(&Bytes::from(body.to_owned()), Channels::Either).unwrap_err().to_string()
    }

    #[test]
    fn reads_every_member_and_keeps_the_data_as_it_is() {
        let body = br#"{"channels":["a","b"],"event":"e","data": {"z":1.0, "a":[ ]} ,"tags":{"n":7,"t":"x","b":true},
            "timestamp":"2025-11-07T14:30:00Z","priority":"high"}"#;
        let draft = one(&Bytes::from_static(body), Channels::List).unwrap();
        assert_eq!(draft.channels, ["a", "b"]);
        assert_eq!(&draft.data[..], br#"{"z":1.0, "a":[ ]}"#);
        let tags: Vec<(&str, &str)> = draft.tags.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(tags, [("b", "true"), ("n", "7"), ("t", "x")]);
        assert_eq!(draft.timestamp, Some(Timestamp(1_762_525_800_000)));
        assert_eq!(draft.priority.as_deref(), Some("high"));
    }

    /// What the pass over right bodies takes, it takes as the careful one does; what that refuses, it refuses.
    #[test]
    fn both_ways_of_reading_agree() {
        let bodies = [
            r#"{"channel":"a","event":"e","data":1}"#,
            r#" {"channels":["a","b"],"event":"e","data": {"z":[1, 2]} ,"tags":{"n":7,"t":"x\"","b":true},"priority":"p"} "#,
            r#"{"channel":"a","event":"e","data":null,"timestamp":"2025-11-07T14:30:00Z"}"#,
            r#"{"channel":"a","event":"e","data":1,"timestamp":1699369800.5}"#,
            r#"{"channel":"\u0061","event":"e","data":1}"#,
            r#"{"channel":"a","event":"e","data":1,"channel":"b"}"#,
            r#"{"channel":null,"channels":["a"],"event":"e","data":1}"#,
            r#"{"channel":"a","event":"e","data":1,"timestamp":null}"#,
            r#"{"channel":"a","event":"e","data":1,"priority":null}"#,
            r#"{"channel":"a","event":"e","data":1,"tags":null}"#,
            r#"{"channel":"a","event":"e","data":1,"idempotencyKey":"k\""}"#,
            r#"{"channel":"a","event":"e","data":1,"idempotencyKey":null}"#,
            r#"{"channel":"a","event":"e","data":1,"tags":{"t":null}}"#,
            r#"{"channel":"a","event":"e","data":1,"tags":{"t":1,"t":2}}"#,
            r#"{"channel":"a","event":"e"}"#,
            r#"{"channel":"a","event":"e","data":1,"other":1}"#,
            r#"{"channel":"a","event":"e","data":1} x"#,
            r#"["a",null,"e",1]"#,
        ];
        for body in bodies {
            let bytes = Bytes::from_static(body.as_bytes());
            let careful = text(&bytes).and_then(|text| draft(members("", text)?, &bytes, Channels::Either));
            assert_eq!(one(&bytes, Channels::Either), careful, "{body}");
            let batch = Bytes::from(format!(r#"{{"publications":[{body},{body}]}}"#));
            match (many(&batch, 2), careful) {
                (Ok(drafts), Ok(draft)) => assert_eq!(drafts, [draft.clone(), draft], "{body}"),
                (read, careful) => assert_eq!(read.is_ok(), careful.is_ok(), "{body}"),
            }
        }
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds() {
        let at = |number: &str| {
            let body = format!(r#"{{"channel":"a","event":"e","data":1,"timestamp":{number}}}"#);
            one(&body.into(), Channels::Either).unwrap().timestamp.unwrap().0
        };
        assert_eq!((at("1699369800"), at("1699369800.5")), (1_699_369_800_000, 1_699_369_800_500));
        assert_eq!(at("1699369800123"), 1_699_369_800_123);
    }

    #[test]
    fn says_which_member_is_wrong() {
        assert!(error("{").starts_with("the body is not JSON"));
        for (body, expected) in [
            ("[]", "the publication must be a JSON object"),
            ("{}", "channel is missing"),
            (r#"{"channel":1}"#, "channel must be a string"),
            (r#"{"channels":["a",1]}"#, "channels must be a list of strings"),
            (
                r#"{"channel":"a","channels":["a"]}"#,
                "channels must not stand beside channel: use one of them",
            ),
            (r#"{"channel":"a"}"#, "event is missing"),
            (r#"{"channel":"a","event":"e"}"#, "data is missing"),
            (r#"{"channel":"a","event":"e","data":1,"chanel":1}"#, "chanel is not known here"),
            (r#"{"channel":"a","event":"e","data":1,"idempotencyKey":7}"#, "idempotencyKey must be a string"),
            (
                r#"{"channel":"a","event":"e","data":1,"tags":{"t":[]}}"#,
                "tags.t must be a string, a number or a boolean",
            ),
            (
                r#"{"channel":"a","event":"e","data":1,"timestamp":"soon"}"#,
                "timestamp must be an RFC 3339 time, or Unix seconds or milliseconds",
            ),
        ] {
            assert_eq!(error(body), expected, "{body}");
        }
    }

    #[test]
    fn a_batch_names_the_item() {
        let error = |body: &str| many(&Bytes::from(body.to_owned()), 2).unwrap_err().to_string();
        let good = r#"{"channel":"a","event":"e","data":1}"#;
        assert_eq!(
            error(&format!(r#"{{"publications":[{good},{{"channel":"a"}}]}}"#)),
            "publications[1].event is missing"
        );
        assert_eq!(
            error(&format!(r#"{{"publications":[{good},{good},{good}]}}"#)),
            "publications has 3 items, at most 2 are allowed"
        );
        assert_eq!(error("[[]]"), "the publication must be a JSON object");
        assert_eq!(error("{}"), "publications is missing");
        assert_eq!(error(r#"{"publications":[1]}"#), "publications[0] the publication must be a JSON object");
    }
}
