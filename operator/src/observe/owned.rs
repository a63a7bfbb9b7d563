//! The part of a live object that one manager owns, as the API server keeps its books: `fieldsV1` of server-side apply (KEP-555).

use serde_json::{Map, Value};

/// What `fields` names in `live`. Lists of which only some items are owned keep those, in the order of `live`.
pub fn extract(live: &Value, fields: &Value) -> Value {
    let Some(members) = fields.as_object().filter(|members| members.keys().any(|name| name != ".")) else {
        // A leaf: all of it is owned.
        return live.clone();
    };
    match live {
        Value::Object(live) => Value::Object(object(live, members)),
        Value::Array(items) => {
            Value::Array(items.iter().filter_map(|item| list_item(item, members)).collect())
        }
        plain => plain.clone(),
    }
}

fn object(live: &Map<String, Value>, fields: &Map<String, Value>) -> Map<String, Value> {
    let owned = fields.iter().filter_map(|(name, inner)| {
        let name = name.strip_prefix("f:")?;
        Some((name.to_owned(), extract(live.get(name)?, inner)))
    });
    owned.collect()
}

/// The owned part of `item`, if one of `fields` means it.
fn list_item(item: &Value, fields: &Map<String, Value>) -> Option<Value> {
    fields.iter().find_map(|(name, inner)| {
        if let Some(value) = name.strip_prefix("v:") {
            return (serde_json::from_str::<Value>(value).ok()? == *item).then(|| item.clone());
        }
        let keys: Map<String, Value> = serde_json::from_str(name.strip_prefix("k:")?).ok()?;
        keys.iter().all(|(key, value)| item.get(key) == Some(value)).then(|| extract(item, inner))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_owned_is_taken() {
        let live = json!({
            "metadata": {"labels": {"ours": "1", "theirs": "2"}, "finalizers": ["a", "b"]},
            "spec": {
                "replicas": 3,
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": 31000}, {"port": 81, "protocol": "TCP"}],
                "args": ["a", "b"],
                "empty": {},
            },
        });
        let fields = json!({
            "f:metadata": {"f:labels": {"f:ours": {}}, "f:finalizers": {"v:\"b\"": {}}},
            "f:spec": {
                "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}, "f:protocol": {}}},
                "f:args": {},
                "f:empty": {},
                "f:gone": {},
            },
        });
        assert_eq!(
            extract(&live, &fields),
            json!({
                "metadata": {"labels": {"ours": "1"}, "finalizers": ["b"]},
                "spec": {"ports": [{"port": 80, "protocol": "TCP"}], "args": ["a", "b"], "empty": {}},
            })
        );
    }
}
