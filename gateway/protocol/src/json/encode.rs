//! Writes what the server says: publications, messages and greetings, as one JSON object each.

use bytes::Bytes;
use rtgw_model::{
    ChannelName, ConnectionKey, Denied, Event, FilterLists, Member, Members, Message, Position, Publication,
    PublicationId, Timestamp,
};

use super::{Envelope, PROTOCOL_VERSION, timestamp};

/// Appends a publication as `envelope` dresses it. `channel` is the index of the channel shown under `metadata`.
pub fn publication(
    envelope: Envelope,
    metadata: bool,
    publication: &Publication,
    channel: usize,
    out: &mut Vec<u8>,
) {
    match envelope {
        Envelope::Raw => return out.extend_from_slice(&publication.data),
        Envelope::Typed => {
            out.extend_from_slice(b"{\"type\":");
            string(&publication.event, out);
            stamp(publication.timestamp, out);
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(&publication.data);
        }
        Envelope::Event => {
            out.extend_from_slice(b"{\"event\":");
            string(&publication.event, out);
            out.extend_from_slice(b",\"data\":");
            out.extend_from_slice(&publication.data);
            stamp(publication.timestamp, out);
            if let Some(priority) = &publication.priority {
                out.extend_from_slice(b",\"priority\":");
                string(priority, out);
            }
        }
    }
    if metadata {
        if let Some(channel) = publication.channels.get(channel) {
            out.extend_from_slice(b",\"channel\":");
            string(channel.as_str(), out);
        }
        if let Some(id) = publication.id {
            out.extend_from_slice(b",\"id\":");
            publication_id(id, out);
        }
        if let Some(position) = publication.position(channel) {
            out.extend_from_slice(b",\"offset\":");
            out.extend_from_slice(itoa::Buffer::new().format(position.offset).as_bytes());
            out.extend_from_slice(b",\"epoch\":");
            // Hexadecimal digits need no escapes.
            out.extend_from_slice(format!("\"{}\"", position.epoch_text()).as_bytes());
        }
    }
    out.push(b'}');
}

/// Appends a message to one connection. Greetings and echoes are payloads already and are appended as they are.
pub fn message(envelope: Envelope, message: &Message, out: &mut Vec<u8>) {
    let name = match &message.event {
        Event::Greeting(payload) | Event::Echo { payload, .. } => return out.extend_from_slice(payload),
        Event::Subscribed { .. } | Event::Narrowed(_) => "subscribed",
        Event::Unsubscribed { .. } | Event::Widened(_) => "unsubscribed",
        Event::Pong => "pong",
        Event::Published { .. } => "published",
        Event::Presence { .. } => "presence",
        Event::Joined { .. } => "join",
        Event::Left { .. } => "leave",
        Event::History { .. } => "history",
        Event::Reply { event, data, at, priority } => {
            let at = at.unwrap_or(message.timestamp);
            return reply(envelope, message.reply_to.as_deref(), event, data, (at, priority.as_deref()), out);
        }
        Event::Acknowledged(_) => "ack",
        Event::Error(_) => "error",
        Event::Gap { .. } => "gap",
        Event::Refreshed { .. } => "refreshed",
        Event::TokenExpiring { .. } => "token_expiring",
        Event::Reconnect { .. } => "reconnect",
    };
    let mut object = Object::begin(out);
    object.text(envelope.name_member(), name);
    object.stamp(message.timestamp);
    if let Some(id) = &message.reply_to {
        object.raw("id", id.as_bytes());
    }
    data(envelope, &message.event, &mut object);
    object.end();
}

/// Appends the answer to a command of the manifest: as a publication, with the command's id where the envelope has a place for it.
fn reply(
    envelope: Envelope,
    id: Option<&str>,
    event: &str,
    json: &[u8],
    (at, priority): (Timestamp, Option<&str>),
    out: &mut Vec<u8>,
) {
    if envelope == Envelope::Raw {
        return out.extend_from_slice(json);
    }
    let mut object = Object::begin(out);
    object.text(envelope.name_member(), event);
    if envelope == Envelope::Event {
        object.raw("data", json);
    }
    object.stamp(at);
    if let Some(priority) = priority.filter(|_| envelope == Envelope::Event) {
        object.text("priority", priority);
    }
    if let Some(id) = id {
        object.raw("id", id.as_bytes());
    }
    if envelope == Envelope::Typed {
        object.raw("data", json);
    }
    object.end();
}

/// Adds the member `data` of a message, where it has one.
fn data(envelope: Envelope, event: &Event, object: &mut Object<'_>) {
    match event {
        Event::Greeting(_) | Event::Echo { .. } | Event::Pong | Event::Reply { .. } => {}
        Event::Acknowledged(json) => object.raw("data", json),
        Event::Subscribed { channel, position, recovered } => object.object("data", |data| {
            data.text("channel", channel.as_str());
            position.iter().for_each(|position| data.position(*position));
            if let Some(recovered) = recovered {
                data.flag("recovered", *recovered);
            }
        }),
        Event::Narrowed(filters) | Event::Widened(filters) => {
            object.object("data", |data| lists(filters, data));
        }
        Event::Unsubscribed { channel, reason } => object.object("data", |data| {
            data.text("channel", channel.as_str());
            if let Some(reason) = reason {
                data.text("reason", reason.as_str());
            }
        }),
        Event::Published { channel, id, offset } => object.object("data", |data| {
            data.text("channel", channel.as_str());
            if let Some(id) = *id {
                data.name("id");
                publication_id(id, data.out);
            }
            offset.iter().for_each(|offset| data.number("offset", *offset));
        }),
        Event::History { channel, publications, position, next } => object.object("data", |data| {
            data.text("channel", channel.as_str());
            data.publications(envelope, publications);
            data.position(*position);
            next.iter().for_each(|next| data.number("next", *next));
        }),
        Event::Presence { channel, page } => object.object("data", |data| presence(channel, page, data)),
        Event::Joined { channel, member: who } | Event::Left { channel, member: who } => {
            object.object("data", |data| {
                data.text("channel", channel.as_str());
                data.object("member", |data| member(who, data));
            });
        }
        Event::Error(Denied { code, message }) => object.object("data", |data| {
            data.text("code", code.as_str());
            data.text("message", message);
            data.flag("temporary", code.temporary());
        }),
        Event::Gap { channel, reason } => object.object("data", |data| {
            data.text("channel", channel.as_str());
            data.text("reason", reason.as_str());
        }),
        Event::Refreshed { expires_at } => object.object("data", |data| match *expires_at {
            Some(at) => data.instant("expires_at", at),
            None => data.raw("expires_at", b"null"),
        }),
        Event::TokenExpiring { in_ms } => object.object("data", |data| data.number("in_ms", *in_ms)),
        Event::Reconnect { after_ms, reason } => object.object("data", |data| {
            data.number("after_ms", *after_ms);
            data.text("reason", reason);
        }),
    }
}

fn presence(channel: &ChannelName, page: &Members, data: &mut Object<'_>) {
    data.text("channel", channel.as_str());
    data.name("members");
    data.out.push(b'[');
    for (at, who) in page.members.iter().enumerate() {
        if at > 0 {
            data.out.push(b',');
        }
        let mut object = Object::begin(data.out);
        member(who, &mut object);
        object.end();
    }
    data.out.push(b']');
    data.number("clients", page.clients);
    data.number("users", page.users);
    if let Some(next) = page.next() {
        data.text("next", &next.to_string());
    }
}

fn member(member: &Member, data: &mut Object<'_>) {
    data.text("connection_id", &member.connection.to_string());
    match &*member.user {
        "" => data.raw("user", b"null"),
        user => data.text("user", user),
    }
    data.raw("info", &member.info);
}

fn lists(filters: &FilterLists, data: &mut Object<'_>) {
    for (name, values) in &filters.0 {
        data.name(name);
        data.out.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                data.out.push(b',');
            }
            string(value, data.out);
        }
        data.out.push(b']');
    }
}

/// The first message where the manifest says nothing else; `Raw` has none. `user` is empty for anonymous.
pub fn greeting(
    envelope: Envelope,
    key: ConnectionKey,
    ping_interval_ms: u32,
    user: &str,
    at: Timestamp,
) -> Option<Bytes> {
    let facts = |data: &mut Object<'_>| {
        data.text("connection_id", &key.to_string());
        data.number("protocol_version", PROTOCOL_VERSION.into());
        data.number("ping_interval_ms", ping_interval_ms.into());
        if user.is_empty() { data.raw("user", b"null") } else { data.text("user", user) }
    };
    let mut out = Vec::with_capacity(192 + user.len());
    let mut object = Object::begin(&mut out);
    object.text(envelope.name_member(), "connected");
    match envelope {
        Envelope::Raw => return None,
        Envelope::Typed => {
            object.stamp(at);
            object.object("data", facts);
        }
        Envelope::Event => {
            facts(&mut object);
            object.stamp(at);
        }
    }
    object.end();
    Some(out.into())
}

/// An object under construction; commas are its business.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    fn end(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        string(name, self.out);
        self.out.push(b':');
    }

    fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(json);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        string(text, self.out);
    }

    fn number(&mut self, name: &str, number: u64) {
        self.raw(name, itoa::Buffer::new().format(number).as_bytes());
    }

    fn flag(&mut self, name: &str, flag: bool) {
        self.raw(name, if flag { b"true" } else { b"false" });
    }

    fn publications(&mut self, envelope: Envelope, publications: &[Publication]) {
        self.name("publications");
        self.out.push(b'[');
        for (at, kept) in publications.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            publication(envelope, true, kept, 0, self.out);
        }
        self.out.push(b']');
    }

    fn position(&mut self, position: Position) {
        self.number("offset", position.offset);
        self.text("epoch", &position.epoch_text());
    }

    fn instant(&mut self, name: &str, at: Timestamp) {
        self.name(name);
        self.out.push(b'"');
        timestamp::write(at, self.out);
        self.out.push(b'"');
    }

    fn stamp(&mut self, at: Timestamp) {
        // Never the first member, so the comma is always due.
        stamp(at, self.out);
    }

    fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut inner = Object::begin(self.out);
        fill(&mut inner);
        inner.end();
    }
}

fn stamp(at: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"timestamp\":\"");
    timestamp::write(at, out);
    out.push(b'"');
}

fn publication_id(id: PublicationId, out: &mut Vec<u8>) {
    // Hexadecimal digits and a hyphen need no escapes.
    out.extend_from_slice(format!("\"{id}\"").as_bytes());
}

fn string(text: &str, out: &mut Vec<u8>) {
    // Fails only where the writer fails, which a Vec does not.
    let _ = serde_json::to_writer(out, text);
}
