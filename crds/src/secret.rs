//! Secrets as manifests write them: `data` in base64, `stringData` in plain text, which wins.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rtgw_config::checked::Secret;
use rtgw_config::{Problem, Problems};
use serde_json::{Map, Value};

/// The values of the Secret in `document`. Values never stand in a problem.
pub(crate) fn values(name: &str, document: &Value, problems: &mut Problems) -> BTreeMap<String, Secret> {
    let mut values = BTreeMap::new();
    for (key, value) in entries(name, document, "data", problems) {
        let path = format!("Secret/{name}.data.{key}");
        let Some(text) = value.as_str() else {
            problems.also(Problem::error(path, "must be a text").hint("write it in quotes"));
            continue;
        };
        // base64 as tools print it is broken into lines.
        let joined: String = text.split_ascii_whitespace().collect();
        match STANDARD.decode(joined) {
            Ok(bytes) => {
                values.insert(key.clone(), Secret(bytes));
            }
            Err(_) => {
                let problem = Problem::error(path, "is not base64");
                problems.also(problem.hint("plain text belongs under stringData"));
            }
        }
    }
    for (key, value) in entries(name, document, "stringData", problems) {
        match value.as_str() {
            Some(text) => {
                values.insert(key.clone(), Secret(text.as_bytes().to_vec()));
            }
            None => {
                let problem = Problem::error(format!("Secret/{name}.stringData.{key}"), "must be a text");
                problems.also(problem.hint("write it in quotes"));
            }
        }
    }
    values
}

fn entries<'d>(
    name: &str,
    document: &'d Value,
    field: &str,
    problems: &mut Problems,
) -> impl Iterator<Item = (&'d String, &'d Value)> + use<'d> {
    let found = document.get(field).filter(|value| !value.is_null());
    let entries = found.and_then(Value::as_object);
    if found.is_some() && entries.is_none() {
        problems.also(Problem::error(format!("Secret/{name}.{field}"), "must be an object with fields"));
    }
    entries.into_iter().flat_map(Map::iter)
}
