//! The definition for clusters, as far as it can be looked at without one: bounds everywhere, rules that stand somewhere, and every rule
//! proven by a manifest that it refuses.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rtgw_config::{schema, unbuilt};
use rtgw_crds::{RealtimeGateway, definition};
use serde_json::Value;

fn spec() -> Value {
    definition::definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].take()
}

/// Every place below `schema`: `[]` for items, `*` for entries of a map.
fn places(path: &str, schema: &Value, found: &mut BTreeMap<String, Value>) {
    found.insert(path.to_owned(), schema.clone());
    let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        places(&within(name), field, found);
    }
    if schema["items"].is_object() {
        places(&format!("{path}[]"), &schema["items"], found);
    }
    if schema["additionalProperties"].is_object() {
        places(&within("*"), &schema["additionalProperties"], found);
    }
}

fn all_places(schema: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    places("", schema, &mut found);
    found
}

#[test]
fn every_text_list_and_map_is_bounded() {
    let mut definition = definition::definition();
    let object = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
    let mut unbounded = Vec::new();
    for part in ["spec", "status"] {
        for (path, schema) in all_places(&object["properties"][part]) {
            let open = schema["x-kubernetes-validations"][0]["rule"] == "false"
                || schema.get("x-kubernetes-preserve-unknown-fields").is_some();
            let bound = match schema["type"].as_str() {
                Some("string") if schema["enum"].is_array() => continue,
                Some("string") => "maxLength",
                Some("array") => "maxItems",
                Some("object") if schema["additionalProperties"].is_object() => "maxProperties",
                Some("integer") if part == "spec" => "maximum",
                _ => continue,
            };
            if !open && schema.get(bound).is_none() {
                unbounded.push(format!("{part}.{path}: no {bound}"));
            }
        }
    }
    assert!(unbounded.is_empty(), "a rule about these would cost too much: {unbounded:#?}");
}

#[test]
fn every_field_has_a_description() {
    let without: Vec<String> = all_places(&spec())
        .into_iter()
        .filter(|(path, schema)| {
            !path.ends_with("[]")
                && !path.ends_with('*')
                && schema["description"].as_str().is_none_or(str::is_empty)
        })
        .map(|(path, _)| path)
        .collect();
    assert!(without.is_empty(), "{without:?}");
}

#[test]
fn what_is_not_built_is_there_and_refused() {
    let places = all_places(&spec());
    for (field, _) in unbuilt::fields() {
        let schema = places.get(field).unwrap_or_else(|| panic!("{field} is not in the definition"));
        assert_eq!(schema["x-kubernetes-validations"][0]["rule"], "false", "{field}");
    }
    for (field, values) in unbuilt::values() {
        let known = places[field]["enum"].as_array().unwrap();
        assert!(values.iter().all(|value| known.iter().any(|one| one == value)), "{field}: {known:?}");
    }
    // What is built is not refused by its old entry.
    let built = all_places(&schema::of::<RealtimeGateway>()["properties"]["spec"]);
    let both: Vec<_> = unbuilt::fields().filter(|(field, _)| built.contains_key(*field)).collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn rules_take_the_place_of_every_pattern() {
    let places = all_places(&spec());
    let rules = definition::rules();
    let astray: Vec<_> = rules.iter().filter(|rule| !places.contains_key(rule.at)).collect();
    assert!(astray.is_empty(), "these stand nowhere: {astray:#?}");
    let bare: Vec<String> = all_places(&schema::of::<RealtimeGateway>()["properties"]["spec"])
        .into_iter()
        .filter(|(path, schema)| {
            let spelled =
                schema.get("pattern").is_some() || schema.get("x-kubernetes-int-or-string").is_some();
            spelled && !rules.iter().any(|rule| rule.at == path)
        })
        .map(|(path, _)| path)
        .collect();
    assert!(bare.is_empty(), "nothing says how these are written: {bare:?}");
}

#[test]
fn it_fits_into_the_annotation_of_kubectl_apply() {
    // Kubernetes bounds all annotations of an object together.
    let size = definition::definition().to_string().len();
    assert!(size < 250_000, "{size} bytes: `kubectl apply` without --server-side would be refused");
}

/// Manifests that the API server accepts and the operator refuses. A new one belongs here only if no rule in CEL can say it: because it
/// needs a parser of CEL or of templates, the contents of Secrets, several documents, or costs more than the API server allows.
const OPERATOR_ONLY: &[&str] = &[
    "captures-twice",
    "channel-rules",
    "identity",
    "issuer-keys",
    "listed-twice",
    "no-secret",
    "only-a-secret",
    "pattern-twice",
    "redis-previous-same",
    "same-name-twice",
    "secret-elsewhere",
    "secret-empty",
    "secret-key",
    "secret-misspelled",
    "secret-twice",
    "shadowed",
    "source-history",
    "stats-of-two",
    "two-gateways",
];

fn corpus(ending: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|one| one == ending) {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((name, String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned()));
        }
    }
    found.sort();
    assert!(found.len() > 10, "{ending}");
    found
}

#[test]
fn what_only_the_operator_sees_is_listed() {
    let marked: Vec<String> = corpus("yaml")
        .into_iter()
        .filter(|(_, text)| text.starts_with("# operator only: "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(marked, OPERATOR_ONLY);
}

/// `spec.sources[0].publish[1]` as rules write it. Entries of maps are `[NAME]` too, and are told from positions by not being numbers.
fn general(path: &str) -> String {
    let mut made = String::new();
    let mut rest = path.strip_prefix("spec").unwrap_or_default().trim_start_matches('.');
    while let Some((before, after)) = rest.split_once('[') {
        let (inner, behind) = after.split_once(']').unwrap();
        let item = inner.bytes().all(|byte| byte.is_ascii_digit());
        made.push_str(before);
        made.push_str(if item { "[]" } else { ".*" });
        rest = behind;
    }
    made + rest
}

#[test]
fn every_rule_refuses_a_manifest_of_the_corpus() {
    // What a real API server said, written down by the test that asks it.
    let told: BTreeSet<(String, String)> = corpus("api")
        .iter()
        .flat_map(|(_, text)| text.lines())
        .map(|line| line.split_once(": ").unwrap())
        .map(|(path, message)| (general(path), message.to_owned()))
        .collect();
    let mut unproven = Vec::new();
    // Rules about a change need two manifests: `a_volume_grows_and_does_not_shrink`.
    for rule in definition::rules().into_iter().filter(|rule| !rule.rule.contains("oldSelf")) {
        // An error about a field stands at the field.
        let path = match (rule.at, rule.field.unwrap_or_default()) {
            ("", field) => field.trim_start_matches('.').to_owned(),
            (at, field) => format!("{at}{field}"),
        };
        if !told.contains(&(path.clone(), rule.message.clone())) {
            unproven.push(format!("{path}: {}", rule.message));
        }
    }
    assert!(unproven.is_empty(), "no manifest in the corpus is refused by these:\n{}", unproven.join("\n"));
}
