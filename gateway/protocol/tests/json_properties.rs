//! What holds for any text of a client and any publication.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use proptest::prelude::*;
use rtgw_model::{
    CHANNEL_BYTES, ChannelName, CommandNames, Encoder, FILTER_LISTS, FILTER_VALUE_BYTES, FILTER_VALUES,
    FilterLists, Intent, Position, Publication, PublicationId, Timestamp,
};
use rtgw_protocol::json::{self, Envelope};
use rtgw_protocol::websocket::frame::{OpCode, encode, header_len};
use rtgw_protocol::wires::{Protocol, VariantSpec, Wires};
use serde_json::Value;
use serde_json::value::RawValue;

/// JSON with the spelling of its parts left to chance, as a client may write it.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        Just(r#""\u00e9\/\n""#.to_owned()),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::vec((name(), inner), 0..5).prop_map(|members| object(&members)),
        ]
    })
}

/// The words of the protocol, and others.
fn name() -> impl Strategy<Value = String> {
    let words = [
        "type",
        "event",
        "id",
        "data",
        "timestamp",
        "channel",
        "filters",
        "recover",
        "offset",
        "epoch",
        "limit",
        "since",
        "reverse",
        "presence",
        "ephemeral",
        "idempotencyKey",
        "job_ids",
        "event_types",
    ];
    prop_oneof![6 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{} : {value}", Value::from(name.as_str()))).collect();
    format!("{{{}}}", members.join(", "))
}

/// Messages that get past the first checks.
fn any_command() -> impl Strategy<Value = String> {
    let command =
        prop::sample::select(vec!["subscribe", "unsubscribe", "publish", "ping", "history", "dance"]);
    let value = prop_oneof![any_json(), Just("\"room:1\"".to_owned())];
    let members = prop::collection::vec((name(), value), 0..6);
    (command, prop::sample::select(vec!["type", "event"]), members).prop_map(|(command, key, mut members)| {
        members.push((key.to_owned(), format!("\"{command}\"")));
        object(&members)
    })
}

fn bounded(lists: &FilterLists) -> bool {
    let names: std::collections::HashSet<_> = lists.0.iter().map(|(name, _)| name).collect();
    names.len() == lists.0.len()
        && lists.0.len() <= FILTER_LISTS
        && lists.0.iter().all(|(name, values)| {
            name.len() <= FILTER_VALUE_BYTES
                && values.len() <= FILTER_VALUES
                && values.iter().all(|value| value.len() <= FILTER_VALUE_BYTES)
        })
}

fn check(text: &str) -> Result<(), TestCaseError> {
    match json::decode(text, &CommandNames::new(["dance"])) {
        Ok(request) => {
            if let Some(id) = &request.id {
                prop_assert!(id.len() <= json::ID_BYTES && text.contains(&**id));
            }
            match request.intent {
                Intent::Subscribe { filters, recover, .. } => {
                    prop_assert!(bounded(&filters));
                    if let Some(position) = recover.and_then(|recover| recover.since) {
                        prop_assert!(text.to_ascii_lowercase().contains(&position.epoch_text()));
                    }
                }
                Intent::History { channel, limit, .. } => {
                    prop_assert!(channel.len() <= CHANNEL_BYTES && limit <= json::MOST_HISTORY);
                }
                Intent::Narrow(lists) | Intent::Widen(lists) => prop_assert!(bounded(&lists)),
                Intent::Publish { data, .. } => {
                    let data = std::str::from_utf8(&data).unwrap();
                    prop_assert!(text.contains(data));
                    prop_assert!(
                        serde_json::from_str::<Value>(data).is_ok()
                            || data.contains('e')
                            || data.contains('E')
                    );
                }
                Intent::Command { name, data } => {
                    prop_assert_eq!(name.as_str(), "dance");
                    let data: Box<RawValue> = serde_json::from_slice(&data).unwrap();
                    prop_assert!(data.get().len() <= text.len() * 6);
                }
                Intent::Presence { limit, .. } => prop_assert!(limit <= rtgw_model::MOST_MEMBERS),
                Intent::Unsubscribe { .. } | Intent::Refresh(_) | Intent::Ping | Intent::Echo { .. } => {}
            }
        }
        Err(rejection) => prop_assert!(rejection.denied.message.len() < 300, "{}", rejection.denied.message),
    }
    Ok(())
}

fn any_publication() -> impl Strategy<Value = Publication> {
    let id = any::<Option<(u64, u64)>>();
    let position = any::<Option<(u64, u64)>>();
    (any::<String>(), any_json(), any::<i64>(), id, any::<Option<String>>(), position).prop_map(
        |(event, data, at, id, priority, position)| Publication {
            channels: [ChannelName::parse("room:1").unwrap(), ChannelName::parse("all").unwrap()]
                .into_iter()
                .collect(),
            event: event.into(),
            data: data.into(),
            timestamp: Timestamp(at),
            tags: Default::default(),
            id: id.map(|(epoch, sequence)| PublicationId { epoch, sequence }),
            priority: priority.map(Into::into),
            positions: position.map(|(offset, epoch)| Some(Position { offset, epoch })).into_iter().collect(),
            except: None,
        },
    )
}

fn any_envelope() -> impl Strategy<Value = Envelope> {
    prop::sample::select(vec![Envelope::Typed, Envelope::Event, Envelope::Raw])
}

proptest! {
    #[test]
    fn no_text_makes_decoding_panic(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn no_json_makes_decoding_panic(text in any_json()) {
        check(&text)?;
    }

    #[test]
    fn no_command_makes_decoding_panic(text in any_command()) {
        check(&text)?;
    }

    #[test]
    fn half_a_command_is_refused(text in any_command(), cut in any::<prop::sample::Index>()) {
        let cut = text.floor_char_boundary(cut.index(text.len()));
        prop_assert!(json::decode(&text[..cut], &CommandNames::default()).is_err());
    }

    #[test]
    fn a_publication_is_json_around_its_own_data(
        publication in any_publication(), envelope in any_envelope(), metadata: bool,
    ) {
        let mut text = Vec::new();
        json::publication(envelope, metadata, &publication, 0, &mut text);
        let text = String::from_utf8(text).unwrap();
        let data = std::str::from_utf8(&publication.data).unwrap();
        if envelope == Envelope::Raw {
            prop_assert_eq!(&text, data);
            return Ok(());
        }
        let raw: std::collections::HashMap<String, &RawValue> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(raw["data"].get(), data);
        let event: String = serde_json::from_str(raw[envelope.name_member()].get()).unwrap();
        prop_assert_eq!(event, &*publication.event);
        let at: jiff::Timestamp = serde_json::from_str::<String>(raw["timestamp"].get()).unwrap().parse().unwrap();
        if (0..=253_402_207_200_000).contains(&publication.timestamp.0) {
            prop_assert_eq!(at.as_millisecond(), publication.timestamp.0);
        }
        prop_assert_eq!(raw.contains_key("channel"), metadata);
        prop_assert_eq!(raw.contains_key("id"), metadata && publication.id.is_some());
        prop_assert_eq!(raw.contains_key("offset"), metadata && publication.position(0).is_some());
        if let Some(position) = publication.position(0).filter(|_| metadata) {
            // A client that says what it was told is understood.
            let told = format!(r#"{{"offset":{},"epoch":{}}}"#, raw["offset"].get(), raw["epoch"].get());
            let recover = format!(r#"{{"type":"subscribe","data":{{"channel":"c","recover":{told}}}}}"#);
            let request = json::decode(&recover, &CommandNames::default()).unwrap();
            let Intent::Subscribe { recover, .. } = request.intent else { panic!("{recover}") };
            prop_assert_eq!(recover.unwrap().since, Some(position));
        }
    }

    #[test]
    fn a_spliced_frame_is_the_frame_of_the_spliced_object(
        publication in any_publication(), event: bool, metadata: bool, seq: u64, padding in 0_usize..70_000,
    ) {
        let mut publication = publication;
        if padding % 3 > 0 {
            // Lengths around the borders of the header's sizes.
            let padding = if padding % 3 == 1 { padding % 200 } else { 65_300 + padding % 300 };
            publication.data = format!("\"{}\"", "x".repeat(padding)).into();
        }
        let envelope = if event { Envelope::Event } else { Envelope::Typed };
        let wires = Wires::new();
        let spec = VariantSpec { protocol: Protocol::Json, envelope, metadata, seq: true, compression: None };
        let variant = wires.intern(spec).unwrap();
        let shared = wires.publication(variant, &publication, 1);
        let mut spliced = b"before".to_vec();
        wires.splice(variant, &shared, seq, &mut spliced);

        let mut text = Vec::new();
        json::publication(envelope, metadata, &publication, 1, &mut text);
        text.pop();
        text.extend_from_slice(format!(",\"seq\":{seq}}}").as_bytes());
        let mut expected = b"before".to_vec();
        encode(OpCode::Text, false, &text, &mut expected);
        prop_assert_eq!(spliced.len(), 6 + header_len(text.len()) + text.len());
        prop_assert!(spliced == expected);
    }
}
