//! Understands one message of a client: what it asks, or why that could not be understood.

use std::borrow::Cow;

use bytes::Bytes;
use rtgw_model::{
    CHANNEL_BYTES, CommandId, CommandNames, ConnectionKey, Denied, ErrorCode, FilterLists, Intent, MEMBERS,
    MOST_MEMBERS, Position, Recover, Rejection, Request, Token,
};
use serde_json::value::RawValue;

use super::members::{Member, deeper_than, pick, string, without};
use super::refusal::{bad_request, shown};
use super::{HISTORY_LIMIT, ID_BYTES, MOST_HISTORY, NESTING, lists};

/// Members that belong to the message and never to its data.
const OUTER: [&str; 4] = ["type", "event", "id", "timestamp"];

/// Reads one message; `declared` are the commands that the manifest defines.
///
/// - The name of the command is the member `type`; where there is none, `event`.
/// - Its arguments are the member `data`; where there is none, all members but `type`, `event`, `id` and `timestamp`.
/// - A `publish` by `type` with both `channel` and `event` at the top is read flat: then `data` is what is published.
/// - Unknown members are ignored; of a repeated member the last counts.
///
/// # Errors
/// The refusal to answer with; the connection lives on.
pub fn decode(text: &str, declared: &CommandNames) -> Result<Request, Rejection> {
    if text.trim_ascii() == "ping" {
        return Ok(Request { id: None, intent: Intent::Ping });
    }
    let anonymous = |denied| Rejection { id: None, denied };
    let [kind, event, id, data, channel] = pick(text, &["type", "event", "id", "data", "channel"])
        .map_err(|error| anonymous(not_an_object(&error)))?;
    let id = command_id(id).map_err(anonymous)?;
    let command = Command { text, kind, event, data, channel };
    match command.intent(declared) {
        Ok(intent) => Ok(Request { id, intent }),
        Err(denied) => Err(Rejection { id, denied }),
    }
}

/// The members of a message that decide what it is.
struct Command<'a> {
    text: &'a str,
    kind: Member<'a>,
    event: Member<'a>,
    data: Member<'a>,
    channel: Member<'a>,
}

impl<'a> Command<'a> {
    fn intent(&self, declared: &CommandNames) -> Result<Intent, Denied> {
        let name = self
            .kind
            .or(self.event)
            .ok_or_else(|| bad_request("`type`, the name of the command, is missing"))?;
        let name = string(name).ok_or_else(|| bad_request("`type` must be a string"))?;
        match &*name {
            "ping" => Ok(Intent::Ping),
            "subscribe" => self.subscribe(),
            "unsubscribe" => self.unsubscribe(),
            "publish" => self.publish(),
            "presence" => self.presence(),
            "history" => self.history(),
            "refresh" => self.refresh(),
            other => match declared.find(other) {
                Some(name) => Ok(Intent::Command { name, data: self.whole_data()? }),
                None => Err(Denied::new(
                    ErrorCode::UnknownType,
                    format!("there is no command `{}`", shown(other)),
                )),
            },
        }
    }

    /// The member `data`, whatever it is, or else the message without what is not data; as it was written.
    fn whole_data(&self) -> Result<Bytes, Denied> {
        let data = match self.data {
            Some(data) => Bytes::copy_from_slice(data.get().as_bytes()),
            None => without(self.text, &OUTER).map_err(|error| not_an_object(&error))?.into(),
        };
        match std::str::from_utf8(&data) {
            Ok(text) if !deeper_than(NESTING, text) => Ok(data),
            _ => Err(too_deep()),
        }
    }

    /// The object that holds the arguments.
    fn arguments(&self) -> &'a str {
        self.data.map_or(self.text, RawValue::get)
    }

    fn subscribe(&self) -> Result<Intent, Denied> {
        let members = pick(self.arguments(), &["channel", "filters", "recover", "presence"]);
        let [channel, filters, recover, presence] = members.map_err(|_| data_is_no_object())?;
        let Some(channel) = channel else {
            return self.narrowing().map(Intent::Narrow);
        };
        let filters =
            filters.map_or_else(|| Ok(FilterLists::default()), |raw| lists::read(raw.get(), &[]))?;
        let recover = recover.filter(|raw| raw.get() != "null").map(position).transpose()?;
        Ok(Intent::Subscribe {
            channel: channel_name(channel)?,
            filters,
            recover,
            presence: flag("presence", presence)?,
        })
    }

    fn presence(&self) -> Result<Intent, Denied> {
        let members = pick(self.arguments(), &["channel", "limit", "cursor"]);
        let [channel, limit, cursor] = members.map_err(|_| data_is_no_object())?;
        let channel = channel.ok_or_else(|| bad_request("`channel` is missing"))?;
        let limit = match limit.map(RawValue::get) {
            None | Some("null") => MEMBERS,
            Some(limit) => limit
                .parse()
                .ok()
                .filter(|limit| *limit <= MOST_MEMBERS)
                .ok_or_else(|| bad_request(format!("`limit` must be 0 to {MOST_MEMBERS}")))?,
        };
        let after = match cursor.filter(|cursor| cursor.get() != "null") {
            None => None,
            Some(cursor) => {
                let key = string(cursor).and_then(|cursor| ConnectionKey::parse(&cursor));
                Some(key.ok_or_else(|| bad_request("`cursor` must be the `next` of an answer"))?)
            }
        };
        Ok(Intent::Presence { channel: channel_name(channel)?, limit, after })
    }

    fn history(&self) -> Result<Intent, Denied> {
        let members = pick(self.arguments(), &["channel", "limit", "since", "reverse"]);
        let [channel, limit, since, reverse] = members.map_err(|_| data_is_no_object())?;
        let channel = channel.ok_or_else(|| bad_request("`channel` is missing"))?;
        let given = |member: Member<'a>| member.filter(|raw| raw.get() != "null");
        let limit = match given(limit) {
            None => HISTORY_LIMIT,
            Some(limit) => number(limit)
                .and_then(|limit| u32::try_from(limit).ok())
                .filter(|limit| *limit <= MOST_HISTORY)
                .ok_or_else(|| bad_request(format!("`limit` must be a number from 0 to {MOST_HISTORY}")))?,
        };
        let since =
            given(since).map(|since| number(since).ok_or_else(|| bad_request("`since` must be an offset")));
        let (since, reverse) = (since.transpose()?, flag("reverse", reverse)?);
        Ok(Intent::History { channel: channel_name(channel)?, limit, since, reverse })
    }

    fn unsubscribe(&self) -> Result<Intent, Denied> {
        let [channel] = pick(self.arguments(), &["channel"]).map_err(|_| data_is_no_object())?;
        match channel {
            Some(channel) => Ok(Intent::Unsubscribe { channel: channel_name(channel)? }),
            None => self.narrowing().map(Intent::Widen),
        }
    }

    fn refresh(&self) -> Result<Intent, Denied> {
        let [token] = pick(self.arguments(), &["token"]).map_err(|_| data_is_no_object())?;
        let token = token.ok_or_else(|| bad_request("`token` is missing"))?;
        let token = string(token).ok_or_else(|| bad_request("`token` must be a string"))?;
        Ok(Intent::Refresh(Token(token.into())))
    }

    /// The lists of a `subscribe` or `unsubscribe` without a channel.
    fn narrowing(&self) -> Result<FilterLists, Denied> {
        match self.data {
            // Otherwise this would be taken for lists of nothing, and the client would wait for the channel forever.
            Some(_) if self.channel.is_some() => Err(bad_request("`channel` belongs inside `data`")),
            Some(data) => lists::read(data.get(), &[]),
            None => lists::read(self.text, &OUTER),
        }
    }

    fn publish(&self) -> Result<Intent, Denied> {
        let flat = self.kind.is_some() && self.event.is_some() && self.channel.is_some();
        let arguments = if flat { self.text } else { self.arguments() };
        let members = pick(arguments, &["channel", "event", "data", "ephemeral", "idempotencyKey"]);
        let [channel, event, data, ephemeral, idempotency_key] = members.map_err(|_| data_is_no_object())?;
        let channel = channel.ok_or_else(|| bad_request("`channel` is missing"))?;
        // Without `type`, an `event` at the top is the name of the command.
        let event = event.filter(|_| flat || self.data.is_some());
        let event = event.ok_or_else(|| bad_request("`event`, the name of what is published, is missing"))?;
        let event = string(event).ok_or_else(|| bad_request("`event` must be a string"))?;
        let data = data.ok_or_else(|| bad_request("`data` is missing"))?.get();
        let idempotency_key = match idempotency_key {
            None => None,
            Some(key) => {
                Some(string(key).ok_or_else(|| bad_request("`idempotencyKey` must be a string"))?.into())
            }
        };
        if deeper_than(NESTING, data) {
            return Err(too_deep());
        }
        Ok(Intent::Publish {
            channel: channel_name(channel)?,
            event: event.into(),
            data: Bytes::copy_from_slice(data.as_bytes()),
            ephemeral: flag("ephemeral", ephemeral)?,
            idempotency_key,
        })
    }
}

/// The raw JSON of `id`.
fn command_id(id: Member<'_>) -> Result<Option<CommandId>, Denied> {
    let Some(id) = id.map(RawValue::get) else { return Ok(None) };
    if !id.starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9')) {
        return Err(bad_request("`id` must be a string or a number"));
    }
    if id.len() > ID_BYTES {
        return Err(bad_request(format!("`id` is longer than {ID_BYTES} bytes")));
    }
    Ok(Some(id.into()))
}

/// The channel's name, bounded; whether it is a legal name is asked where it is looked up.
fn channel_name(raw: &RawValue) -> Result<Box<str>, Denied> {
    let name = string(raw).ok_or_else(|| bad_request("`channel` must be a string"))?;
    if name.len() > CHANNEL_BYTES {
        return Err(bad_request(format!("the channel name is longer than {CHANNEL_BYTES} bytes")));
    }
    Ok(name.into())
}

/// Where a client says that it stands: both an offset and an epoch, or neither.
fn position(raw: &RawValue) -> Result<Recover, Denied> {
    let members = pick(raw.get(), &["offset", "epoch"]);
    let since = match members.map_err(|_| bad_request("`recover` must be an object"))? {
        [None, None] => None,
        [Some(offset), Some(epoch)] => {
            let offset = number(offset).ok_or_else(|| bad_request("`recover.offset` must be an offset"))?;
            let epoch = string(epoch).and_then(|text| Position::parse_epoch(&text));
            let epoch =
                epoch.ok_or_else(|| bad_request("`recover.epoch` must be the text that you were told"))?;
            Some(Position { offset, epoch })
        }
        _ => return Err(bad_request("`recover` must have both `offset` and `epoch`, or neither")),
    };
    Ok(Recover { since })
}

/// A whole number that is not negative, written as such.
fn number(raw: &RawValue) -> Option<u64> {
    raw.get().parse().ok().filter(|_| !raw.get().starts_with('+'))
}

fn flag(name: &str, raw: Member<'_>) -> Result<bool, Denied> {
    match raw.map(RawValue::get) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(bad_request(format!("`{name}` must be true or false"))),
    }
}

/// The parser's own sentence may repeat the whole message, so only its place is told.
fn not_an_object(error: &serde_json::Error) -> Denied {
    let message = if error.is_data() {
        Cow::Borrowed("the message must be a JSON object")
    } else {
        Cow::Owned(format!("the message is not JSON (line {}, column {})", error.line(), error.column()))
    };
    Denied::new(ErrorCode::BadJson, message)
}

fn data_is_no_object() -> Denied {
    bad_request("`data` must be an object")
}

fn too_deep() -> Denied {
    Denied::new(ErrorCode::TooLarge, format!("`data` is nested deeper than {NESTING} levels"))
}
