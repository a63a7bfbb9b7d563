//! Which Secrets a configuration refers to: what the operator mounts into pods, and what pods look for there.

use serde::Deserialize;
use serde_json::Value;

use crate::raw::{SecretRef, Spec};

/// A field that refers to a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretPlace {
    /// The field, as users know it: `spec.auth.issuers[0].secretRef`.
    pub path: String,
    /// Name of the Secret.
    pub name: String,
    /// Key within it.
    pub key: String,
}

/// Every reference of `spec`, in the order of its fields.
pub fn secrets(spec: &Spec) -> Vec<SecretPlace> {
    // Never fails: every key is text.
    written(&serde_json::to_value(spec).unwrap_or_default())
}

/// The same of a `spec` as it was written, which may be wrong elsewhere.
pub fn written(spec: &Value) -> Vec<SecretPlace> {
    let mut places = Vec::new();
    walk("spec", spec, &mut places);
    places
}

/// Descends no deeper than YAML may nest ([`crate::yaml`]). What is a reference is told by the field's name; claims of API keys, the
/// one place for objects of the user's own, hold none.
fn walk(path: &str, value: &Value, places: &mut Vec<SecretPlace>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let inner = format!("{path}.{name}");
                if name == "claims" {
                    continue;
                }
                match reference(name, member) {
                    Some(SecretRef { name, key }) => places.push(SecretPlace { path: inner, name, key }),
                    None => walk(&inner, member, places),
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                walk(&format!("{path}[{at}]"), item, places);
            }
        }
        _ => {}
    }
}

fn reference(field: &str, value: &Value) -> Option<SecretRef> {
    let names_one =
        field == "secretRef" || field.ends_with("SecretRef") || field == "passwordRef" || field == "caRef";
    names_one.then(|| SecretRef::deserialize(value).ok())?
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schema;

    /// Paths of every field in `schema` that takes a name and a key.
    fn fields(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
        let properties = schema.get("properties").and_then(Value::as_object);
        if let Some(properties) = properties {
            let of_secret =
                ["name", "key"].iter().all(|name| properties.contains_key(*name)) && properties.len() == 2;
            if of_secret {
                found.insert(path.to_owned());
                return;
            }
            properties.iter().for_each(|(name, field)| fields(&format!("{path}.{name}"), field, found));
        }
        if let Some(items) = schema.get("items") {
            fields(&format!("{path}[0]"), items, found);
        }
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            fields(&format!("{path}.any"), values, found);
        }
    }

    /// A document in which the field at `path` refers to a Secret.
    fn document(path: &str) -> Value {
        let mut value = serde_json::json!({"name": "auth", "key": "jwt"});
        for part in path.trim_start_matches("spec.").rsplit('.') {
            let (name, listed) = part.strip_suffix("[0]").map_or((part, false), |name| (name, true));
            let inner = if listed { Value::Array(vec![value]) } else { value };
            value = Value::Object([(name.to_owned(), inner)].into_iter().collect());
        }
        value
    }

    #[test]
    fn every_field_that_refers_to_a_secret_is_found() {
        let mut known = BTreeSet::new();
        fields("spec", &schema::of::<Spec>(), &mut known);
        assert!(known.len() >= 8 && known.contains("spec.redis.external.passwordRef"), "{known:?}");
        for path in known {
            let places = written(&document(&path));
            let expected = SecretPlace { path: path.clone(), name: "auth".into(), key: "jwt".into() };
            assert_eq!(places, [expected], "name it in `reference`: {path}");
        }
    }

    #[test]
    fn what_is_no_reference_is_none() {
        let spec = serde_json::json!({
            "auth": {"apiKeys": [{"name": "a", "claims": {"secretRef": {"name": "x", "key": "y"}}}], "issuers": [{"secretRef": "x"}]},
            "redis": {"external": {"passwordRef": {"name": "x"}}},
        });
        assert_eq!(written(&spec), []);
    }
}
