//! Files made from the types: the JSON Schema for editors and the reference of fields. Fails when one is stale; `make generate`
//! (RTGW_GENERATE=1) writes them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use rtgw_config::{classes, schema};
use rtgw_crds::{RealtimeGateway, definition};
use serde_json::Value;

fn compare(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("RTGW_GENERATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, made).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(there == made, "{path} is stale: make generate");
}

#[test]
fn the_schema_for_editors_is_current() {
    let mut made = schema::of::<RealtimeGateway>();
    let object = made.as_object_mut().unwrap();
    object.shift_insert(0, "$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    object.shift_insert(1, "title".into(), "RealtimeGateway".into());
    compare(
        "crds/generated/realtimegateway.schema.json",
        &format!("{}\n", serde_json::to_string_pretty(&made).unwrap()),
    );
}

#[test]
fn the_definition_for_clusters_is_current() {
    let made = serde_saphyr::to_string(&definition::definition()).unwrap();
    compare(
        "crds/generated/realtimegateways.yaml",
        &format!("# Made from the types by `make generate`; do not edit.\n{made}"),
    );
}

#[test]
fn the_reference_of_fields_is_current() {
    let mut page = String::from(
        "# Fields of a RealtimeGateway\n\n\
         Made from the types by `make generate`; do not edit.\n\n\
         An absent field has its default; `—` means that there is none and the field's absence says what its description says. \
         A field that is not listed is refused, with \"is not in this version\" where a later version will have it. \
         Fields that begin with \"In a cluster\" are accepted everywhere and ignored, with one warning, outside a cluster.\n\n\
         Lengths are in characters; a CEL expression has at most 1,024 bytes. \
         Durations are numbers with `h`, `m`, `s` or `ms` (`1h30m`, `250ms`). \
         Amounts of bytes are numbers, or numbers with `k`, `M`, `G`, `Ki`, `Mi`, `Gi`.\n\n\
         The column \"Change\" says what a change takes in a cluster: `hot` fields are taken by running pods (what is about a connection \
         counts for new connections), `deferred` ones by each pod when it is replaced anyway, `restart` ones replace the pods, `children` \
         ones change objects beside them. [Reload](../guide/reload.md) says what that means for a gateway that reads files.\n\n\
         `rtgw check -f FILE` names everything that is wrong with a manifest. An editor that knows JSON Schema checks it while \
         it is written, with [realtimegateway.schema.json](../../crds/generated/realtimegateway.schema.json); for the YAML \
         language server that is a first line of `# yaml-language-server: $schema=PATH`.\n",
    );
    let root = schema::of::<RealtimeGateway>();
    for part in ["metadata", "spec"] {
        let schema = &root["properties"][part];
        for (name, field) in schema["properties"].as_object().unwrap() {
            if part == "metadata" && name != "name" && name != "namespace" {
                continue;
            }
            let path = format!("{part}.{name}");
            let mut rows = String::new();
            table(&mut rows, &path, field, is_required(schema, name));
            write!(page, "\n## `{path}`\n\n| Field | Type | Default | Bounds | Change | Meaning |\n|---|---|---|---|---|---|\n{rows}").unwrap();
        }
    }
    compare("docs/reference/manifest.md", &page);
}

fn table(out: &mut String, path: &str, schema: &Value, required: bool) {
    let default = match &schema["default"] {
        Value::Null if required => "required".to_owned(),
        Value::Null => "—".to_owned(),
        default => format!("`{}`", default.to_string().trim_matches('"')),
    };
    let meaning =
        schema["description"].as_str().unwrap_or_default().replace("\n\n", "<br>").replace('\n', "<br>");
    let meaning = meaning.replace('|', "\\|");
    let (kind, bounds) = (kind(schema), bounds(schema).replace('|', "\\|"));
    let leaf = format!("{path}{}", if schema.get("items").is_some() { "[]" } else { "" });
    let class = leaf.strip_prefix("spec.").and_then(classes::class).map_or("", |class| class.as_str());
    writeln!(out, "| `{path}` | {kind} | {default} | {bounds} | {class} | {meaning} |").unwrap();
    let (inner, path) = match schema.get("items") {
        Some(items) => (items, format!("{path}[]")),
        None => (schema, path.to_owned()),
    };
    for (name, field) in inner["properties"].as_object().into_iter().flatten() {
        table(out, &format!("{path}.{name}"), field, is_required(inner, name));
    }
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|required| required.iter().any(|one| one == name))
}

fn kind(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "bytes".into();
    }
    match schema["type"].as_str().unwrap_or("any") {
        "array" => format!(
            "list of {}",
            kind(&schema["items"])
                .replace("text", "texts")
                .replace("object", "objects")
                .replace("choice", "choices")
        ),
        "string" if schema["enum"].is_array() => "choice".into(),
        "string" if schema["pattern"] == rtgw_config::raw::units::DURATION_PATTERN => "duration".into(),
        "string" => "text".into(),
        "integer" => "number".into(),
        "boolean" => "true or false".into(),
        "object" if schema["additionalProperties"].is_object() => "map of texts".into(),
        other => other.into(),
    }
}

fn bounds(schema: &Value) -> String {
    let number = |key: &str| schema[key].as_u64();
    let mut bounds = Vec::new();
    let values = |schema: &Value| -> Vec<String> {
        let values = schema["enum"].as_array().into_iter().flatten();
        values.filter_map(Value::as_str).map(|value| format!("`{value}`")).collect()
    };
    bounds.extend(Some(values(schema).join(", ")).filter(|values| !values.is_empty()));
    bounds.extend(Some(values(&schema["items"]).join(", ")).filter(|values| !values.is_empty()));
    match (number("minimum"), number("maximum")) {
        (Some(least), Some(most)) => bounds.push(format!("{least} to {most}")),
        (Some(least), None) => bounds.push(format!("at least {least}")),
        _ => {}
    }
    match (number("minItems"), number("maxItems")) {
        (Some(least), Some(most)) => bounds.push(format!("{least} to {most} items")),
        (None, Some(most)) => bounds.push(format!("at most {most} items")),
        _ => {}
    }
    bounds.extend(number("maxProperties").map(|most| format!("at most {most} entries")));
    let plain = schema["pattern"] != rtgw_config::raw::units::DURATION_PATTERN;
    bounds.extend(number("maxLength").filter(|_| plain).map(|most| format!("at most {most} characters")));
    bounds.join("; ")
}

fn leaves(path: &str, schema: &Value, found: &mut Vec<String>) {
    let (schema, path) = match schema.get("items") {
        Some(items) => (items, format!("{path}[]")),
        None => (schema, path.to_owned()),
    };
    match schema["properties"].as_object().filter(|some| !some.is_empty()) {
        Some(fields) => {
            for (name, field) in fields {
                leaves(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, field, found);
            }
        }
        None => found.push(path),
    }
}

#[test]
fn every_field_of_the_object_has_a_class_and_the_table_names_no_other() {
    let mut found = Vec::new();
    leaves("", &schema::of::<RealtimeGateway>()["properties"]["spec"], &mut found);
    let without: Vec<_> = found.iter().filter(|path| classes::class(path).is_none()).collect();
    assert!(without.is_empty(), "say in config/src/classes.rs what a change of these takes: {without:?}");
    let gone: Vec<_> = classes::leaves().filter(|(path, _)| !found.iter().any(|one| one == path)).collect();
    assert!(gone.is_empty(), "these are no fields: {gone:?}");
}
