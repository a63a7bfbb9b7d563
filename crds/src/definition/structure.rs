//! From the plain JSON Schema of the types to a structural schema: only the words that Kubernetes allows, lists that say how they are
//! merged, descriptions that say defaults and classes, fields of later versions, and the rules of each place.

use std::collections::BTreeMap;

use rtgw_config::{classes, unbuilt};
use serde_json::{Map, Value, json};

use super::rules::{self, Rule};

/// Words that mean the same in both.
const KEPT: &[&str] = &[
    "type",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "required",
];

/// Lists whose items have a name each and no order: several may write them. All others are replaced whole, because the first match wins
/// or because they are values.
const BY_NAME: &[&str] = &["auth.apiKeys", "endpoints", "sources"];

/// Fields whose default the API server has to know, because rules or `/scale` read them. All other defaults are the gateway's and the
/// operator's own, so that they can be told from what somebody wrote.
const DEFAULTED: &[&str] = &["replicas"];

struct Structure {
    rules: BTreeMap<&'static str, Vec<Rule>>,
    /// Whether fields have defaults and classes that readers want to know.
    explained: bool,
}

/// The structural schema of `spec`.
pub(super) fn spec(schema: &Value) -> Value {
    let mut by_place: BTreeMap<&'static str, Vec<Rule>> = BTreeMap::new();
    for rule in rules::of_spec() {
        by_place.entry(rule.at).or_default().push(rule);
    }
    Structure { rules: by_place, explained: true }.of("", schema)
}

/// The structural schema of `status`.
pub(super) fn status(schema: &Value) -> Value {
    let mut status = Structure { rules: BTreeMap::new(), explained: false }.of("", schema);
    for (list, key) in [("conditions", "type"), ("endpoints", "name")] {
        by_key(&mut status["properties"][list], key);
    }
    by_key(&mut status["properties"]["config"]["properties"]["lagging"], "pod");
    status
}

fn by_key(list: &mut Value, key: &str) {
    list["x-kubernetes-list-type"] = "map".into();
    list["x-kubernetes-list-map-keys"] = json!([key]);
}

impl Structure {
    /// Recursion ends with the types, which are ours.
    fn of(&self, path: &str, schema: &Value) -> Value {
        let mut made = Map::new();
        made.insert("description".into(), self.description(path, schema).into());
        for word in KEPT {
            if let Some(value) = schema.get(*word) {
                made.insert((*word).into(), value.clone());
            }
        }
        if DEFAULTED.contains(&path) && self.explained {
            made.insert("default".into(), schema["default"].clone());
        }
        if schema.get("x-kubernetes-int-or-string").is_some() {
            either_kind(&mut made, schema);
        }
        self.contents(path, schema, &mut made);
        if let Some(list) = schema.get("items") {
            made.insert("items".into(), self.of(&format!("{path}[]"), list));
            if BY_NAME.contains(&path) {
                let mut list = Value::Object(made);
                by_key(&mut list, "name");
                return self.ruled(path, list);
            }
            made.insert("x-kubernetes-list-type".into(), "atomic".into());
        }
        self.ruled(path, Value::Object(made))
    }

    /// Fields of an object, entries of a map, or what nobody knows.
    fn contents(&self, path: &str, schema: &Value, made: &mut Map<String, Value>) {
        let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let others = schema.get("additionalProperties");
        if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
            let mut properties: BTreeMap<String, Value> =
                fields.iter().map(|(name, field)| (name.clone(), self.of(&within(name), field))).collect();
            if self.explained {
                let later = unbuilt::fields().filter_map(|(field, kind)| {
                    let name = field.strip_prefix(path)?;
                    let name = if path.is_empty() { name } else { name.strip_prefix('.')? };
                    (!name.contains('.')).then(|| (name.to_owned(), later(kind)))
                });
                properties.extend(later);
            }
            if properties.len() == 2 && properties.contains_key("name") && properties.contains_key("key") {
                made.insert("x-kubernetes-map-type".into(), "atomic".into());
            }
            made.insert("properties".into(), serde_json::to_value(properties).unwrap_or_default());
        } else if let Some(others) = others.filter(|others| others.is_object()) {
            made.insert("additionalProperties".into(), self.of(&within("*"), others));
        } else if schema["type"] == "object" && others != Some(&Value::Bool(false)) {
            made.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
        }
    }

    fn ruled(&self, path: &str, mut made: Value) -> Value {
        let mut rules: Vec<Value> = self.rules.get(path).into_iter().flatten().map(Rule::to_value).collect();
        if self.explained
            && let Some((_, values)) = unbuilt::values().find(|(field, _)| *field == path)
        {
            if let Some(known) = made["enum"].as_array_mut() {
                known.extend(values.iter().map(|value| Value::from(*value)));
            }
            rules.push(later_values(values));
        }
        if !rules.is_empty() {
            made["x-kubernetes-validations"] = rules.into();
        }
        made
    }

    fn description(&self, path: &str, schema: &Value) -> String {
        let mut text = schema["description"].as_str().unwrap_or_default().to_owned();
        if !self.explained {
            return text;
        }
        if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
            let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            text.push_str(&format!("\n\nDefault: {default}"));
        }
        let leaf = format!("{path}{}", if schema.get("items").is_some() { "[]" } else { "" });
        if let Some(class) = classes::class(&leaf).filter(|_| !path.ends_with("[]")) {
            text.push_str(&format!("\n\nA change: {}", taken(class)));
        }
        text.trim().to_owned()
    }
}

/// What a change takes, for people.
fn taken(class: classes::Class) -> &'static str {
    match class {
        classes::Class::Hot => "hot, running pods take it.",
        classes::Class::Deferred => "deferred, each pod takes it when it is replaced for another reason.",
        classes::Class::Restart => "restart, pods are replaced one after the other.",
        classes::Class::Children => "children, objects beside the pods change.",
    }
}

/// Kubernetes knows one form of "a number or a text"; what bounds it is a rule.
fn either_kind(made: &mut Map<String, Value>, schema: &Value) {
    made.insert("x-kubernetes-int-or-string".into(), true.into());
    made.insert("anyOf".into(), json!([{ "type": "integer" }, { "type": "string" }]));
    for kind in schema["anyOf"].as_array().into_iter().flatten() {
        if let Some(most) = kind.get("maxLength") {
            made.insert("maxLength".into(), most.clone());
        }
    }
}

/// A field of a later version: there, because the API server drops in silence what it does not know, and refused.
fn later(kind: unbuilt::Kind) -> Value {
    let mut field = json!({
        "description": "Not in this version.",
        "type": kind,
        "x-kubernetes-validations": [{
            "rule": "false",
            "message": "is not in this version: take it out to use this manifest now",
        }],
    });
    if kind == "object" {
        field["x-kubernetes-preserve-unknown-fields"] = true.into();
    }
    if kind == "array" {
        field["items"] = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        field["x-kubernetes-list-type"] = "atomic".into();
    }
    field
}

fn later_values(values: &[&str]) -> Value {
    let quoted: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    json!({
        "rule": format!("!(self in [{}])", quoted.join(", ")),
        "message": format!("{} cannot be used: not in this version", values.join(" and ")),
    })
}
