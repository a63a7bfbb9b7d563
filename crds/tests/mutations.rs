//! Manifests changed at random: never a panic, never a half-told refusal.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use rtgw_config::yaml;
use rtgw_crds::{Manifests, Text};
use serde_json::{Value, json};

/// What stands where a manifest has something else.
fn junk() -> impl Strategy<Value = Value> {
    let texts = prop::sample::select(vec![
        "",
        " ",
        "x",
        "*",
        "{",
        "}",
        "{x}",
        "{x*}:y",
        "a::b",
        "/",
        "//",
        "9999999h",
        "1Ei",
        "null",
        "user ==",
        "((((",
        "\u{0}",
        "é",
        "redis://",
        "redis://:@",
        "https://",
        "claims.sub",
        "msg[",
        "'",
        "[1].map(x, x)",
        "-1",
        "~",
        "spec",
        "true",
    ]);
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        texts.prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        (0_usize..3000).prop_map(|length| Value::from("a".repeat(length))),
        Just(json!([])),
        Just(json!({})),
        Just(json!([[[[{}]]]])),
        Just(json!({"name": {}, "": null})),
        (0_usize..300).prop_map(|length| Value::Array(vec![json!({}); length])),
    ]
}

#[derive(Clone, Debug)]
enum Change {
    Replace(Value),
    Remove,
    Repeat,
    Add(String, Value),
}

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let change = prop_oneof![
        4 => junk().prop_map(Change::Replace),
        2 => Just(Change::Remove),
        1 => Just(Change::Repeat),
        2 => ("[a-z.\\[\\]{}]{0,12}", junk()).prop_map(|(name, value)| Change::Add(name, value)),
    ];
    (any::<prop::sample::Index>(), change)
}

/// Pointers to every value below `value`.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                let place = format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
                found.push(place.clone());
                places(inner, &place, found);
            }
        }
        Value::Array(list) => {
            for (at, inner) in list.iter().enumerate() {
                let place = format!("{here}/{at}");
                found.push(place.clone());
                places(inner, &place, found);
            }
        }
        _ => {}
    }
}

fn apply(document: &mut Value, at: &prop::sample::Index, change: Change) {
    let mut found = Vec::new();
    places(document, "", &mut found);
    if found.is_empty() {
        return;
    }
    let place = at.get(&found);
    let (parent, last) = place.rsplit_once('/').unwrap();
    let name = last.replace("~1", "/").replace("~0", "~");
    match change {
        Change::Replace(value) => *document.pointer_mut(place).unwrap() = value,
        Change::Remove => match document.pointer_mut(parent).unwrap() {
            Value::Object(object) => drop(object.remove(&name)),
            Value::Array(list) => drop(list.remove(name.parse().unwrap())),
            _ => {}
        },
        Change::Repeat => {
            if let Value::Array(list) = document.pointer_mut(parent).unwrap() {
                let one = list[name.parse::<usize>().unwrap()].clone();
                list.push(one);
            }
        }
        Change::Add(name, value) => {
            if let Value::Object(object) = document.pointer_mut(place).unwrap() {
                object.insert(name, value);
            }
        }
    }
}

fn documents() -> Vec<Value> {
    let mut documents = Vec::new();
    for text in [include_str!("corpus/good/full.yaml"), include_str!("corpus/good/config-file.yaml")] {
        documents.extend(yaml::documents(text).unwrap());
    }
    documents
}

/// A refusal names at least one error, each with a place and a reason, and says the same every time.
fn judge(content: String) -> Result<(), TestCaseError> {
    let texts = [Text { name: "file.yaml".into(), content }];
    let manifests = Manifests::read(&texts);
    let names = manifests.names();
    for name in names.iter().copied().map(Some).chain([None]) {
        let Err(problems) = manifests.check(name) else { continue };
        prop_assert!(problems.iter().any(|problem| problem.is_error()));
        for problem in &problems {
            prop_assert!(!problem.path.is_empty() && !problem.message.is_empty());
            // A manifest that was mended and still does not fit its types would be a gap between schema and types.
            prop_assert!(!problem.message.starts_with("could not be read"), "{problem}");
        }
        prop_assert_eq!(manifests.check(name).unwrap_err(), problems);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_manifests_are_judged(changes in prop::collection::vec(change(), 1..6), which in 0_usize..3) {
        let mut documents = documents();
        let at = which % documents.len();
        for (place, change) in changes {
            apply(&mut documents[at], &place, change);
        }
        // JSON is YAML.
        let content: Vec<String> = documents.iter().map(Value::to_string).collect();
        judge(content.join("\n---\n"))?;
    }

    #[test]
    fn any_text_is_judged(content in "(?s).{0,200}") {
        judge(content)?;
    }
}
