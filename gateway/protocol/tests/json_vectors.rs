//! Checks the JSON wire against `vectors/json`, the files that client libraries read too.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use rtgw_model::{
    ChannelName, CloseCode, CommandName, CommandNames, ConnectionKey, Denied, Encoder, ErrorCode, Event,
    FilterLists, GapReason, Intent, Member, Members, Message, Position, Publication, PublicationId, Recover,
    Retry, Timestamp, Token, UnsubscribeReason,
};
use rtgw_protocol::json::{self, Envelope};
use rtgw_protocol::wires::{Protocol, VariantSpec, Wires};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

fn vectors<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = format!("{}/tests/vectors/json/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A string is the text itself, an object stands for its compact JSON.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn lists(map: Map<String, Value>) -> FilterLists {
    let values = |value| serde_json::from_value(value).unwrap();
    FilterLists(map.into_iter().map(|(name, list)| (name.into(), values(list))).collect())
}

fn id([epoch, sequence]: [u64; 2]) -> PublicationId {
    PublicationId { epoch, sequence }
}

#[derive(Clone, Copy, Default, Deserialize)]
enum Dress {
    #[default]
    Typed,
    Event,
    Raw,
}

impl From<Dress> for Envelope {
    fn from(dress: Dress) -> Self {
        match dress {
            Dress::Typed => Envelope::Typed,
            Dress::Event => Envelope::Event,
            Dress::Raw => Envelope::Raw,
        }
    }
}

/// The payload of a frame as the server writes it.
fn payload(frame: &[u8]) -> &str {
    assert_eq!(frame[0], 0x81, "one final text frame");
    let (header, length) = match frame[1] {
        126 => (4, usize::from(u16::from_be_bytes([frame[2], frame[3]]))),
        127 => panic!("vectors are small"),
        short => (2, usize::from(short)),
    };
    assert_eq!(frame.len(), header + length);
    std::str::from_utf8(&frame[header..]).unwrap()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandVector {
    name: String,
    send: Value,
    id: Option<String>,
    means: Option<Means>,
    refused: Option<Refused>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Means {
    Ping,
    Subscribe {
        channel: Box<str>,
        #[serde(default)]
        filters: Map<String, Value>,
        /// `[]`, or offset and epoch.
        recover: Option<Vec<u64>>,
        #[serde(default)]
        presence: bool,
    },
    Presence {
        channel: Box<str>,
        limit: u32,
        after: Option<String>,
    },
    History {
        channel: Box<str>,
        limit: u32,
        since: Option<u64>,
        #[serde(default)]
        reverse: bool,
    },
    Unsubscribe {
        channel: Box<str>,
    },
    Narrow(Map<String, Value>),
    Widen(Map<String, Value>),
    Refresh(Box<str>),
    Publish {
        channel: Box<str>,
        event: Box<str>,
        data: String,
        #[serde(default)]
        ephemeral: bool,
        #[serde(default)]
        idempotency_key: Option<Box<str>>,
    },
    Command {
        name: String,
        data: String,
    },
}

impl From<Means> for Intent {
    fn from(means: Means) -> Self {
        match means {
            Means::Ping => Intent::Ping,
            Means::Subscribe { channel, filters, recover, presence } => {
                let since = |place: &[u64]| match *place {
                    [offset, epoch] => Some(Position { offset, epoch }),
                    _ => None,
                };
                let recover = recover.map(|place| Recover { since: since(&place) });
                Intent::Subscribe { channel, filters: lists(filters), recover, presence }
            }
            Means::Presence { channel, limit, after } => {
                let after = after.map(|key| ConnectionKey(u128::from_str_radix(&key, 16).unwrap()));
                Intent::Presence { channel, limit, after }
            }
            Means::History { channel, limit, since, reverse } => {
                Intent::History { channel, limit, since, reverse }
            }
            Means::Unsubscribe { channel } => Intent::Unsubscribe { channel },
            Means::Narrow(map) => Intent::Narrow(lists(map)),
            Means::Widen(map) => Intent::Widen(lists(map)),
            Means::Refresh(token) => Intent::Refresh(Token(token)),
            Means::Publish { channel, event, data, ephemeral, idempotency_key } => {
                Intent::Publish { channel, event, data: data.into(), ephemeral, idempotency_key }
            }
            Means::Command { name, data } => {
                Intent::Command { name: CommandName::declare(&name), data: data.into() }
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    code: String,
    message: String,
}

#[test]
fn commands() {
    fn check(vector: CommandVector) {
        let CommandVector { name, send, id, means, refused } = vector;
        let decoded = json::decode(&text(send), &CommandNames::new(["request_metrics", "room:join"]));
        let read = decoded.as_ref().map_or_else(|rejection| &rejection.id, |request| &request.id);
        assert_eq!(read.as_deref(), id.as_deref(), "{name}: id");
        match (decoded, means, refused) {
            (Ok(request), Some(means), None) => assert_eq!(request.intent, means.into(), "{name}"),
            (Err(rejection), None, Some(refused)) => {
                let Denied { code, message } = rejection.denied;
                assert_eq!((code.as_str(), &*message), (&*refused.code, &*refused.message), "{name}");
            }
            (decoded, ..) => panic!("{name}: {decoded:?}"),
        }
    }
    vectors("commands.json").into_iter().for_each(check);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicationVector {
    name: String,
    envelope: Dress,
    #[serde(default)]
    metadata: bool,
    #[serde(default)]
    shown: usize,
    seq: Option<u64>,
    publication: Published,
    text: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    channels: Vec<String>,
    event: Box<str>,
    timestamp: i64,
    data: String,
    id: Option<[u64; 2]>,
    priority: Option<Box<str>>,
    /// Offset and epoch in each channel, in their order.
    #[serde(default)]
    positions: Vec<Option<[u64; 2]>>,
}

fn position([offset, epoch]: [u64; 2]) -> Position {
    Position { offset, epoch }
}

impl From<Published> for Publication {
    fn from(published: Published) -> Self {
        Publication {
            channels: published.channels.iter().map(|name| ChannelName::parse(name).unwrap()).collect(),
            event: published.event,
            data: published.data.into(),
            timestamp: Timestamp(published.timestamp),
            tags: Default::default(),
            id: published.id.map(id),
            priority: published.priority,
            positions: published.positions.into_iter().map(|place| place.map(position)).collect(),
            except: None,
        }
    }
}

#[test]
fn publications() {
    fn check(vector: PublicationVector) {
        let wires = Wires::new();
        let variant = wires
            .intern(VariantSpec {
                protocol: Protocol::Json,
                envelope: vector.envelope.into(),
                metadata: vector.metadata,
                seq: vector.seq.is_some(),
                compression: None,
            })
            .unwrap();
        let mut frame = wires.publication(variant, &vector.publication.into(), vector.shown).to_vec();
        assert_eq!(wires.numbers(variant), vector.seq.is_some(), "{}", vector.name);
        if let Some(seq) = vector.seq {
            let shared = std::mem::take(&mut frame);
            wires.splice(variant, &shared, seq, &mut frame);
        }
        assert_eq!(payload(&frame), text(vector.text), "{}", vector.name);
    }
    vectors("publications.json").into_iter().for_each(check);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageVector {
    name: String,
    #[serde(default)]
    envelope: Dress,
    id: Option<Box<str>>,
    #[serde(default)]
    at: i64,
    message: Said,
    text: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    Subscribed { channel: String, position: Option<[u64; 2]>, recovered: Option<bool> },
    Narrowed(Map<String, Value>),
    Widened(Map<String, Value>),
    Unsubscribed { channel: String, reason: Option<String> },
    Pong,
    Published { channel: String, id: Option<[u64; 2]>, offset: Option<u64> },
    History { channel: String, publications: Vec<Published>, position: [u64; 2], next: Option<u64> },
    Reply { event: Box<str>, data: String, at: Option<i64>, priority: Option<Box<str>> },
    Acknowledged(String),
    Error { code: String, message: String },
    Gap { channel: String, reason: String },
    Presence { channel: String, members: Vec<Who>, clients: u64, users: u64, more: bool },
    Join { channel: String, member: Who },
    Leave { channel: String, member: Who },
    Refreshed { expires_at: Option<i64> },
    TokenExpiring { in_ms: u64 },
    Reconnect { after_ms: u64 },
    Greeting(String),
    DefaultGreeting { key: String, ping_interval_ms: u32, user: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    key: u128,
    user: Box<str>,
    info: String,
}

impl From<Who> for Member {
    fn from(Who { key, user, info }: Who) -> Self {
        Self { connection: ConnectionKey(key), user, info: info.into() }
    }
}

/// `None` where the greeting is none.
fn event(said: Said, envelope: Envelope, at: Timestamp) -> Option<Event> {
    let channel = |name: String| ChannelName::parse(&name).unwrap();
    Some(match said {
        Said::Subscribed { channel: name, position: place, recovered } => {
            Event::Subscribed { channel: channel(name), position: place.map(position), recovered }
        }
        Said::Narrowed(map) => Event::Narrowed(lists(map)),
        Said::Widened(map) => Event::Widened(lists(map)),
        Said::Unsubscribed { channel: name, reason } => Event::Unsubscribed {
            channel: channel(name),
            reason: reason.map(|word| {
                let known = [UnsubscribeReason::PermissionChanged, UnsubscribeReason::Removed];
                known.into_iter().find(|reason| reason.as_str() == word).unwrap()
            }),
        },
        Said::Pong => Event::Pong,
        Said::Published { channel: name, id: published, offset } => {
            Event::Published { channel: channel(name), id: published.map(id), offset }
        }
        Said::History { channel: name, publications, position: place, next } => Event::History {
            channel: channel(name),
            publications: publications.into_iter().map(Into::into).collect(),
            position: position(place),
            next,
        },
        Said::Reply { event, data, at, priority } => {
            Event::Reply { event, data: data.into(), at: at.map(Timestamp), priority }
        }
        Said::Acknowledged(data) => Event::Acknowledged(data.into()),
        Said::Error { code: word, message } => {
            let code = ErrorCode::ALL.into_iter().find(|code| code.as_str() == word).unwrap();
            Event::Error(Denied::new(code, message))
        }
        Said::Gap { channel: name, reason: word } => Event::Gap {
            channel: channel(name),
            reason: GapReason::ALL.into_iter().find(|reason| reason.as_str() == word).unwrap(),
        },
        Said::Presence { channel: name, members, clients, users, more } => {
            let members = members.into_iter().map(Member::from).collect();
            Event::Presence { channel: channel(name), page: Members { members, clients, users, more } }
        }
        Said::Join { channel: name, member } => {
            Event::Joined { channel: channel(name), member: member.into() }
        }
        Said::Leave { channel: name, member } => {
            Event::Left { channel: channel(name), member: member.into() }
        }
        Said::Refreshed { expires_at } => Event::Refreshed { expires_at: expires_at.map(Timestamp) },
        Said::TokenExpiring { in_ms } => Event::TokenExpiring { in_ms },
        Said::Reconnect { after_ms } => Event::Reconnect { after_ms, reason: "drain" },
        Said::Greeting(payload) => Event::Greeting(payload.into()),
        Said::DefaultGreeting { key, ping_interval_ms, user } => {
            let key = ConnectionKey(u128::from_str_radix(&key, 16).unwrap());
            Event::Greeting(json::greeting(envelope, key, ping_interval_ms, &user, at)?)
        }
    })
}

#[test]
fn messages() {
    fn check(vector: MessageVector) {
        let (envelope, timestamp) = (vector.envelope.into(), Timestamp(vector.at));
        let wires = Wires::new();
        let spec = VariantSpec {
            protocol: Protocol::Json,
            envelope,
            metadata: false,
            seq: false,
            compression: None,
        };
        let variant = wires.intern(spec).unwrap();
        let said = event(vector.message, envelope, timestamp).map(|event| {
            let frame = wires.message(variant, &Message { reply_to: vector.id, timestamp, event });
            payload(&frame).to_owned()
        });
        assert_eq!(said, vector.text.map(text), "{}", vector.name);
    }
    vectors("messages.json").into_iter().for_each(check);
}

#[test]
fn every_word_of_the_contract_has_a_vector() {
    let messages: Vec<Value> = vectors("messages.json");
    let said = |kind: &str, member: &str, word: &str| {
        messages.iter().any(|vector| vector["message"][kind][member].as_str() == Some(word))
    };
    for code in ErrorCode::ALL {
        assert!(said("error", "code", code.as_str()), "{code:?}");
    }
    for reason in GapReason::ALL {
        assert!(said("gap", "reason", reason.as_str()), "{reason:?}");
    }
    for reason in [UnsubscribeReason::PermissionChanged, UnsubscribeReason::Removed] {
        assert!(said("unsubscribed", "reason", reason.as_str()), "{reason:?}");
    }
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseVector {
    code: u16,
    name: String,
    then: String,
}

#[test]
fn close_codes() {
    let table: Vec<CloseVector> = CloseCode::ALL
        .iter()
        .map(|code| CloseVector {
            code: code.code(),
            name: code.name().to_owned(),
            then: match code.retry() {
                Retry::Stop => "stop",
                Retry::Reconnect => "reconnect",
                Retry::BackOff => "back off",
                Retry::RefreshToken => "refresh the token",
            }
            .to_owned(),
        })
        .collect();
    assert_eq!(vectors::<CloseVector>("close_codes.json"), table);
}
