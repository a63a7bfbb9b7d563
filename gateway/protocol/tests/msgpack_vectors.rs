//! Checks the MessagePack wire against `vectors/msgpack`, and that it says what the JSON wire says (`vectors/json`).
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use rtgw_model::{
    ChannelName, CommandNames, Denied, Encoder, ErrorCode, Event, Intent, Message, Publication,
    PublicationId, Timestamp,
};
use rtgw_protocol::json::{self, Envelope};
use rtgw_protocol::msgpack;
use rtgw_protocol::websocket::deflate::Window;
use rtgw_protocol::wires::{Compression, Protocol, VariantSpec, Wires};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A limit that no vector reaches.
const ROOMY: usize = 1 << 20;

fn vectors<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn packed(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::from_json(json.as_bytes(), &mut out);
    out
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueVector {
    name: String,
    json: String,
    msgpack: String,
    /// Where the way back writes it differently.
    back: Option<String>,
    /// Where there is no way back.
    refused: Option<String>,
}

#[test]
fn values() {
    for ValueVector { name, json, msgpack, back, refused } in vectors("msgpack/values.json") {
        let expected = bytes(&msgpack);
        assert_eq!(packed(&json), expected, "{name}");
        let read = msgpack::to_json(&expected, ROOMY).map_err(|why| why.to_string());
        assert_eq!(read, refused.map_or(Ok(back.unwrap_or(json)), Err), "{name}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandVector {
    name: String,
    send: String,
    id: Option<String>,
    means: Option<String>,
    refused: Option<(String, String)>,
}

#[test]
fn commands() {
    for CommandVector { name, send, id, means, refused } in vectors("msgpack/commands.json") {
        match (msgpack::decode(&bytes(&send), ROOMY, &CommandNames::default()), means.as_deref(), refused) {
            (Ok(request), Some("ping"), None) => {
                assert_eq!((request.intent, request.id.as_deref()), (Intent::Ping, id.as_deref()), "{name}");
            }
            (Err(rejection), None, Some(expected)) => {
                let Denied { code, message } = rejection.denied;
                assert_eq!((code.as_str().to_owned(), message.into_owned()), expected, "{name}");
                assert_eq!(rejection.id.as_deref(), id.as_deref(), "{name}");
            }
            (read, ..) => panic!("{name}: {read:?}"),
        }
    }
}

#[test]
fn every_command_of_the_json_wire_means_the_same() {
    let mut count = 0;
    for vector in vectors::<Value>("json/commands.json") {
        let text = match &vector["send"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let Ok(value @ Value::Object(_)) = serde_json::from_str::<Value>(&text) else { continue };
        let sent = rmp_serde::to_vec(&value).unwrap();
        // Spelled as MessagePack lets it be spelled: no spaces, no escapes, no repeated members.
        let spelled = value.to_string();
        let declared = CommandNames::new(["request_metrics", "room:join"]);
        match (msgpack::decode(&sent, ROOMY, &declared), json::decode(&spelled, &declared)) {
            (Ok(heard), Ok(wanted)) => assert_eq!(heard, wanted, "{spelled}"),
            (Err(heard), Err(wanted)) if heard.denied.message.contains("nested") => {
                assert!(wanted.denied.message.contains("nested"), "{spelled}");
            }
            (heard, wanted) => assert_eq!(heard, wanted, "{spelled}"),
        }
        count += 1;
    }
    assert!(count > 40, "only {count} commands");
}

fn nested(depth: usize) -> Vec<u8> {
    let mut sent = bytes("81 a161");
    sent.extend(std::iter::repeat_n(0x91, depth - 2));
    sent.push(0x90);
    sent
}

#[test]
fn nesting_is_bounded_without_a_stack() {
    assert!(msgpack::to_json(&nested(msgpack::NESTING), ROOMY).is_ok());
    assert_eq!(msgpack::to_json(&nested(msgpack::NESTING + 1), ROOMY), Err(msgpack::Unreadable::Deep));
    assert_eq!(msgpack::to_json(&[0x91; 1 << 20], ROOMY), Err(msgpack::Unreadable::Deep));
    // What may be published in JSON may be published here, and what may not is refused as there.
    for (depth, allowed) in [(json::NESTING, true), (json::NESTING + 1, false)] {
        let mut sent = bytes(
            "82 a474797065 a7 7075626c697368 a464617461 83 a7 6368616e6e656c a163 a5 6576656e74 a165 a464617461",
        );
        sent.extend(std::iter::repeat_n(0x91, depth - 1));
        sent.push(0x90);
        assert_eq!(msgpack::decode(&sent, ROOMY, &CommandNames::default()).is_ok(), allowed, "{depth}");
    }
}

#[test]
fn a_message_is_bounded_as_json_too() {
    let code = |sent: &[u8], limit| {
        msgpack::decode(sent, limit, &CommandNames::default()).err().map(|rejection| rejection.denied.code)
    };
    // {"type":"ping","a":"…"}: 22 bytes and the text.
    let sent = |text: &[u8]| [&bytes("82 a474797065 a470696e67 a161 d9 64")[..], text].concat();
    assert_eq!(code(&sent(&[b'x'; 100]), 122), None);
    assert_eq!(code(&sent(&[b'x'; 100]), 121), Some(ErrorCode::TooLarge));
    assert_eq!(code(&sent(&[b'\n'; 100]), 222), None);
    assert_eq!(code(&sent(&[b'\n'; 100]), 221), Some(ErrorCode::TooLarge));
    assert_eq!(code(&sent(&[0; 100]), 621), Some(ErrorCode::TooLarge));
    // Small values that are long in JSON.
    let mut sent = bytes("82 a474797065 a470696e67 a161 dc ffff");
    sent.extend(std::iter::repeat_n(0xC0, 0xFFFF));
    assert_eq!(code(&sent, sent.len()), Some(ErrorCode::TooLarge));
    assert_eq!(code(&sent, 6 * sent.len()), None);
}

#[test]
fn a_repeated_key_is_found_in_maps_of_any_size() {
    for size in [2_usize, 15, 16, 17, 18, 300, 20_000] {
        let map = |keys: &dyn Fn(usize) -> usize| {
            let mut sent = vec![0xDF];
            sent.extend(u32::try_from(size).unwrap().to_be_bytes());
            for at in 0..size {
                sent.push(0xA8);
                sent.extend(format!("{:08}", keys(at)).bytes());
                sent.push(0xC0);
            }
            msgpack::to_json(&sent, ROOMY)
        };
        assert!(map(&|at| at).is_ok(), "{size}");
        for (first, second) in [(0, size - 1), (0, 1), (size - 2, size - 1)] {
            let repeated = map(&|at| if at == second { first } else { at });
            assert_eq!(repeated, Err(msgpack::Unreadable::Repeated), "{size}: {first} {second}");
        }
    }
}

fn publication(data: &str) -> Publication {
    Publication {
        channels: std::iter::once(ChannelName::parse("room:1").unwrap()).collect(),
        event: "sät".into(),
        data: data.to_owned().into(),
        timestamp: Timestamp(1_705_314_600_123),
        tags: Default::default(),
        id: Some(PublicationId { epoch: 170, sequence: 7 }),
        priority: Some("high".into()),
        positions: Default::default(),
        except: None,
    }
}

/// First byte and value of a frame below 64 KiB.
fn open(frame: &[u8]) -> (u8, Value) {
    let header = if frame[1] == 126 { 4 } else { 2 };
    (frame[0], rmp_serde::from_slice(&frame[header..]).unwrap())
}

#[test]
fn publications_and_messages_are_the_objects_of_the_json_wire() {
    let of = |protocol, envelope, metadata, seq| {
        let wires = Wires::new();
        let variant =
            wires.intern(VariantSpec { protocol, envelope, metadata, seq, compression: None }).unwrap();
        (wires, variant)
    };
    for (envelope, metadata, seq) in [
        (Envelope::Typed, false, false),
        (Envelope::Typed, true, true),
        (Envelope::Event, true, true),
        (Envelope::Raw, false, false),
    ] {
        let (packing, packed) = of(Protocol::MessagePack, envelope, metadata, seq);
        let (plain, text) = of(Protocol::Json, envelope, metadata, seq);
        for data in [r#"{"b":18446744073709551615,"a":[-1.5,"é",null,true]}"#, "[1,2]", "7", "{}"] {
            let publication = publication(data);
            let mut heard = packing.publication(packed, &publication, 0).to_vec();
            let mut wanted = plain.publication(text, &publication, 0).to_vec();
            assert_eq!(packing.numbers(packed), seq);
            for number in if seq { vec![0, 127, 128, 65_536, u64::MAX] } else { vec![] } {
                let (mut numbered, mut wanted_numbered) = (Vec::new(), Vec::new());
                packing.splice(packed, &heard, number, &mut numbered);
                plain.splice(text, &wanted, number, &mut wanted_numbered);
                let (first, value) = open(&numbered);
                assert_eq!((first, value["seq"].as_u64()), (0x82, Some(number)));
                assert_eq!(value, payload(&wanted_numbered));
            }
            heard.shrink_to_fit();
            wanted.shrink_to_fit();
            assert_eq!(open(&heard), (0x82, payload(&wanted)));
        }
        let greeting = Event::Greeting(r#"{"event":"connected","connection_id":"5b"}"#.into());
        for event in [Event::Pong, greeting] {
            let message = Message { reply_to: Some("7".into()), timestamp: Timestamp(0), event };
            let wanted = payload(&plain.message(text, &message));
            assert_eq!(open(&packing.message(packed, &message)), (0x82, wanted));
        }
    }
}

fn payload(frame: &[u8]) -> Value {
    let header = if frame[1] == 126 { 4 } else { 2 };
    serde_json::from_slice(&frame[header..]).unwrap()
}

#[test]
fn compression_is_shared_as_on_the_json_wire() {
    let wires = Wires::new();
    let compression = Some(Compression { window: Window::Bits12, min_bytes: 64 });
    let spec = VariantSpec {
        protocol: Protocol::MessagePack,
        envelope: Envelope::Raw,
        metadata: false,
        seq: false,
        compression,
    };
    let variant = wires.intern(spec).unwrap();
    let frame = wires.publication(variant, &publication(&format!("\"{}\"", "ab".repeat(200))), 0);
    assert_eq!(frame[0], 0xC2, "final, RSV1, binary");
    assert!(frame.len() < 60);
    assert_eq!(open(&wires.publication(variant, &publication("[1]"), 0)), (0x82, serde_json::json!([1])));
}
