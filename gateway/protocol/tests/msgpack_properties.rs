//! What holds for any bytes of a client and any JSON; `rmp-serde` is the second opinion.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use rtgw_model::CommandNames;
use rtgw_protocol::msgpack::{self, Unreadable};
use serde_json::Value;

const ROOMY: usize = 1 << 20;

/// JSON with chance in its spelling.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        // So short that serde_json, too, rounds them right.
        "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,5})?([eE][+-]?[0-9])?",
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "[ -~]{0,300}".prop_map(|text| Value::from(text).to_string()),
        Just(r#""\u00e9\/\ud83d\ude00\n""#.to_owned()),
    ];
    leaf.prop_recursive(5, 200, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(|items| format!("[ {}]", items.join(" ,"))),
            prop::collection::btree_map(any::<String>(), inner, 0..20).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(k, v)| format!("{}\n:\t{v}", Value::from(k.as_str()))).collect();
                format!("{{{}}}", members.join(",\r"))
            }),
        ]
    })
}

fn packed(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::from_json(json.as_bytes(), &mut out);
    out
}

/// Bytes that begin as MessagePack does.
fn any_pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => any_json().prop_map(|json| packed(&json)),
        2 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn another_library_reads_what_is_written(json in any_json()) {
        let wanted: Value = serde_json::from_str(&json).unwrap();
        let heard: Value = rmp_serde::from_slice(&packed(&json)).unwrap();
        prop_assert_eq!(&heard, &wanted);
        // Not only equal: in the same order, and numbers of the same kind.
        prop_assert_eq!(heard.to_string(), wanted.to_string());
    }

    #[test]
    fn what_another_library_writes_is_read(json in any_json()) {
        let value: Value = serde_json::from_str(&json).unwrap();
        let sent = rmp_serde::to_vec(&value).unwrap();
        prop_assert_eq!(msgpack::to_json(&sent, ROOMY).unwrap(), value.to_string());
    }

    #[test]
    fn shortest_forms_are_written(json in any_json()) {
        let value: Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(packed(&json).len(), rmp_serde::to_vec(&value).unwrap().len());
    }

    #[test]
    fn half_a_value_is_short(json in any_json(), cut in any::<prop::sample::Index>()) {
        let sent = packed(&json);
        prop_assert_eq!(msgpack::to_json(&sent[..cut.index(sent.len())], ROOMY), Err(Unreadable::Short));
    }

    #[test]
    fn no_bytes_make_reading_panic_or_break_its_bound(sent in any_pieces(), limit in 0_usize..400) {
        if let Ok(json) = msgpack::to_json(&sent, limit) {
            prop_assert!(json.len() <= limit);
            let value: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(value.to_string(), json);
        }
        if let Err(rejection) = msgpack::decode(&sent, ROOMY, &CommandNames::default()) {
            prop_assert!(rejection.denied.message.len() < 600);
        }
    }

    #[test]
    fn no_bytes_make_writing_panic(text in any::<Vec<u8>>()) {
        msgpack::from_json(&text, &mut Vec::new());
    }

    #[test]
    fn broken_json_makes_writing_end(json in any_json(), cut in any::<prop::sample::Index>()) {
        msgpack::from_json(&json.as_bytes()[..cut.index(json.len())], &mut Vec::new());
    }
}
