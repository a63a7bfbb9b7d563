//! What differs between two configurations, by path: for a log line that says what a reload changed. Never holds a value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::secrets::Secrets;

/// Paths under `path` at which the two documents differ. Items of a list that have names are compared by name, whatever their places:
/// `spec.channels[room:{id}].subscribe`. A path that only one of them has is named as a whole.
pub fn changes(path: &str, before: &Value, after: &Value) -> Vec<String> {
    let mut changed = Vec::new();
    compare(path, before, after, &mut changed);
    changed
}

/// Keys of Secrets whose values differ: `Secret/NAME.KEY`.
pub fn changed_secrets(before: &Secrets, after: &Secrets) -> Vec<String> {
    let names = |secrets: &Secrets| secrets.names().map(str::to_owned).collect::<Vec<_>>();
    let mut all: Vec<String> = names(before).into_iter().chain(names(after)).collect();
    all.sort_unstable();
    all.dedup();
    let none = BTreeMap::new();
    let mut changed = Vec::new();
    for name in all {
        let (old, new) = (before.get(&name).unwrap_or(&none), after.get(&name).unwrap_or(&none));
        let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
        changed.extend(differing.map(|key| format!("Secret/{name}.{key}")));
    }
    changed
}

/// Depth ends with the documents', which the reader bounds.
fn compare(path: &str, before: &Value, after: &Value, changed: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => compare_objects(path, before, after, changed),
        (Value::Array(before), Value::Array(after)) => match (by_name(before), by_name(after)) {
            (Some(old), Some(new)) => {
                let known = changed.len();
                for (name, item) in &old {
                    match new.iter().find(|(other, _)| other == name) {
                        Some((_, newer)) => compare(&format!("{path}[{name}]"), item, newer, changed),
                        None => changed.push(format!("{path}[{name}] (removed)")),
                    }
                }
                for (name, _) in &new {
                    if !old.iter().any(|(other, _)| other == name) {
                        changed.push(format!("{path}[{name}] (new)"));
                    }
                }
                if changed.len() == known {
                    changed.push(format!("{path} (order)"));
                }
            }
            _ => changed.push(path.to_owned()),
        },
        _ => changed.push(path.to_owned()),
    }
}

fn compare_objects(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changed: &mut Vec<String>,
) {
    for (name, old) in before {
        compare(&format!("{path}.{name}"), old, after.get(name).unwrap_or(&Value::Null), changed);
    }
    for (name, new) in after {
        if !before.contains_key(name) && !new.is_null() {
            changed.push(format!("{path}.{name}"));
        }
    }
}

/// Items by what names them; `None` where one has no name or two have the same.
fn by_name(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let mut named: Vec<(&str, &Value)> = Vec::with_capacity(items.len());
    for item in items {
        let name = ["name", "pattern"].iter().find_map(|key| item.get(key)?.as_str())?;
        if named.iter().any(|(known, _)| *known == name) {
            return None;
        }
        named.push((name, item));
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::checked::Secret;

    #[test]
    fn paths_name_what_differs_and_never_a_value() {
        let before = json!({
            "endpoints": [{"name": "ws", "path": "/ws"}, {"name": "old", "path": "/old"}],
            "channels": [{"pattern": "a", "subscribe": "true"}, {"pattern": "b"}],
            "limits": {"pod": {"connections": 5}},
            "auth": {"allowedOrigins": ["https://a.test"]},
        });
        let after = json!({
            "endpoints": [{"name": "new", "path": "/new"}, {"name": "ws", "path": "/socket"}],
            "channels": [{"pattern": "b"}, {"pattern": "a", "subscribe": "false", "publish": "true"}],
            "limits": null,
            "auth": {"allowedOrigins": ["https://b.test"]},
            "redis": {},
        });
        assert_eq!(
            changes("spec", &before, &after),
            [
                "spec.endpoints[ws].path",
                "spec.endpoints[old] (removed)",
                "spec.endpoints[new] (new)",
                "spec.channels[a].subscribe",
                "spec.channels[a].publish",
                "spec.limits",
                "spec.auth.allowedOrigins",
                "spec.redis",
            ]
        );
        assert_eq!(changes("spec", &before, &before), [""; 0]);
        let order = json!([{"name": "b"}, {"name": "a"}]);
        assert_eq!(changes("list", &json!([{"name": "a"}, {"name": "b"}]), &order), ["list (order)"]);
    }

    #[test]
    fn secrets_are_named_by_key() {
        let secrets = |values: &[(&str, &str, &str)]| {
            let mut secrets = Secrets::default();
            for (name, key, value) in values {
                let value = Secret(value.as_bytes().to_vec());
                secrets.add(*name, BTreeMap::from([((*key).to_owned(), value)]));
            }
            secrets
        };
        let before = secrets(&[("auth", "jwt", "one"), ("kept", "k", "v"), ("gone", "k", "v")]);
        let after = secrets(&[("auth", "jwt", "two"), ("kept", "k", "v"), ("came", "k", "v")]);
        let changed = changed_secrets(&before, &after);
        assert_eq!(changed, ["Secret/auth.jwt", "Secret/came.k", "Secret/gone.k"]);
    }
}
