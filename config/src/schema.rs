//! JSON Schema of the raw types, in the plain form that Kubernetes, editors and [`crate::shape`] understand: no references,
//! no nulls, enumerations as `enum`.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The schema of `T`.
pub fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    plain(&mut schema);
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    schema
}

/// Rewrites a schema and what is in it. Recursion ends with the types, which are ours.
fn plain(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    without_null(object);
    constants_as_enum(object);
    // Widths of integers and names of types are Rust's business; bounds and descriptions say what counts.
    object.remove("format");
    object.remove("title");
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            plain(inner);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(plain);
    }
    if let Some(kinds) = object.get_mut("anyOf").and_then(Value::as_array_mut) {
        kinds.iter_mut().for_each(plain);
    }
}

/// A null in a manifest is an absent field, so no schema needs to speak of it.
fn without_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            object.insert("type".into(), one);
        }
    }
    let Some(Value::Array(kinds)) = object.get_mut("anyOf") else { return };
    kinds.retain(|kind| kind.get("type") != Some(&json!("null")));
    if kinds.len() > 1 {
        return;
    }
    if let Some(Value::Object(only)) = kinds.pop() {
        object.remove("anyOf");
        for (key, value) in only {
            // The field's own words come before its type's.
            object.entry(key).or_insert(value);
        }
    }
}

/// `oneOf: [{const, description}]` as `enum`, with what each value means in the description.
fn constants_as_enum(object: &mut Map<String, Value>) {
    let Some(Value::Array(kinds)) = object.get("oneOf") else { return };
    let mut values = Vec::new();
    let mut meanings = Vec::new();
    for kind in kinds {
        let meaning = kind.get("description").and_then(Value::as_str).unwrap_or_default();
        let mut constants: Vec<&Value> = kind.get("const").into_iter().collect();
        constants.extend(kind.get("enum").and_then(Value::as_array).into_iter().flatten());
        for constant in constants {
            meanings.push(format!("`{}`: {meaning}", constant.as_str().unwrap_or_default()));
            values.push(constant.clone());
        }
    }
    let intro = object.get("description").and_then(Value::as_str).unwrap_or_default();
    let description = format!("{intro}\n\n{}", meanings.join("\n"));
    object.insert("description".into(), description.trim().into());
    object.remove("oneOf");
    object.insert("type".into(), "string".into());
    object.insert("enum".into(), values.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw;

    fn count(schema: &Value, key: &str) -> usize {
        match schema {
            Value::Object(object) => {
                usize::from(object.contains_key(key))
                    + object.values().map(|inner| count(inner, key)).sum::<usize>()
            }
            Value::Array(list) => list.iter().map(|inner| count(inner, key)).sum(),
            _ => 0,
        }
    }

    #[test]
    fn the_schema_is_plain() {
        let schema = of::<raw::Config>();
        for key in ["$ref", "$defs", "oneOf", "allOf", "const", "$schema"] {
            assert_eq!(count(&schema, key), 0, "{key}");
        }
        assert!(!schema.to_string().contains("\"null\"") && !schema.to_string().contains(":null"));
        let protocol =
            &schema["properties"]["spec"]["properties"]["endpoints"]["items"]["properties"]["protocol"];
        assert_eq!(protocol["enum"], json!(["JSON", "Echo"]));
        assert_eq!(protocol["default"], "JSON");
    }
}
