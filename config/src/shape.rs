//! Compares a value with its schema, names everything that does not fit, and mends it: what does not fit is replaced by a
//! stand-in that does, so that the rest of the manifest can be checked in the same run.

use serde_json::{Map, Value};

use crate::problem::{Problem, Problems};
use crate::raw::delivery::RATE_PATTERN;
use crate::raw::units::DURATION_PATTERN;
use crate::suggest;
use crate::unbuilt;

/// Where the walk stands.
#[derive(Clone, Default)]
struct Place {
    /// As problems show it: `spec.endpoints[0].path`.
    shown: String,
    /// Inside `spec`, without positions, as [`unbuilt`] knows it: `endpoints[].path`.
    general: Option<String>,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        let shown = if self.shown.is_empty() { name.to_owned() } else { format!("{}.{name}", self.shown) };
        let general = match &self.general {
            Some(general) if general.is_empty() => Some(name.to_owned()),
            Some(general) => Some(format!("{general}.{name}")),
            None => (shown == "spec").then(String::new),
        };
        Self { shown, general }
    }

    /// A member of a map whose names are the author's.
    fn entry(&self, name: &str) -> Self {
        Self { general: self.general.as_ref().map(|general| format!("{general}.*")), ..self.field(name) }
    }

    fn item(&self, at: usize) -> Self {
        Self {
            shown: format!("{}[{at}]", self.shown),
            general: self.general.as_ref().map(|general| format!("{general}[]")),
        }
    }

    fn is_unbuilt(&self) -> bool {
        self.general.as_deref().is_some_and(unbuilt::is_field)
    }
}

/// Names every place where `value` does not fit `schema`, and makes it fit.
pub fn mend(value: &mut Value, schema: &Value, problems: &mut Problems) {
    walk(value, schema, &Place::default(), problems);
}

/// Recursion is bounded by the schema, which is ours; what the schema leaves open is not entered.
fn walk(value: &mut Value, schema: &Value, place: &Place, problems: &mut Problems) {
    let fits = match kind(schema) {
        Kind::Open => return,
        Kind::Object => value.is_object(),
        Kind::List => value.is_array(),
        Kind::Text => value.is_string(),
        Kind::Integer => value.is_i64() || value.is_u64(),
        Kind::Boolean => value.is_boolean(),
        Kind::Amount => value.is_u64() || value.is_string(),
    };
    if !fits {
        problems.also(wrong_kind(value, schema, place));
        problems.replaced(&place.shown);
        *value = stand_in(schema);
        return;
    }
    let found = match value {
        Value::Object(object) => return walk_object(object, schema, place, problems),
        Value::Array(list) => return walk_list(list, schema, place, problems),
        Value::String(text) => check_text(text, schema, place),
        Value::Number(number) => check_number(number, schema, place),
        Value::Null | Value::Bool(_) => None,
    };
    if let Some(problem) = found {
        problems.also(problem);
        problems.replaced(&place.shown);
        *value = stand_in(schema);
    }
}

fn walk_object(object: &mut Map<String, Value>, schema: &Value, place: &Place, problems: &mut Problems) {
    // Kubernetes drops nulls too: a field set to nothing is an absent field.
    object.retain(|_, value| !value.is_null());
    let properties = schema.get("properties").and_then(Value::as_object);
    let others = schema.get("additionalProperties");
    let open = properties.is_none() && !others.is_some_and(Value::is_boolean);
    let names: Vec<String> = object.keys().cloned().collect();
    for name in names {
        let inner = place.field(&name);
        if let Some(known) = properties.and_then(|properties| properties.get(&name)) {
            if let Some(value) = object.get_mut(&name) {
                walk(value, known, &inner, problems);
            }
        } else if let (Some(others), Some(value)) =
            (others.filter(|others| others.is_object()), object.get_mut(&name))
        {
            walk(value, others, &place.entry(&name), problems);
        } else if !open && others != Some(&Value::Bool(true)) {
            problems.also(unknown_field(&name, properties, &inner));
            object.remove(&name);
        }
    }
    for name in
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !object.contains_key(name) {
            let missing = properties.and_then(|properties| properties.get(name));
            let path = place.field(name).shown;
            problems.replaced(&path);
            problems.also(Problem::error(path, "is required"));
            object.insert(name.to_owned(), missing.map_or(Value::Null, stand_in));
        }
    }
    if let Some(most) = bound(schema, "maxProperties").filter(|most| object.len() as u64 > *most) {
        problems.also(Problem::error(&place.shown, format!("has {} entries: at most {most}", object.len())));
    }
}

fn walk_list(list: &mut Vec<Value>, schema: &Value, place: &Place, problems: &mut Problems) {
    if let Some(most) = bound(schema, "maxItems").filter(|most| list.len() as u64 > *most) {
        problems.also(Problem::error(&place.shown, format!("has {} items: at most {most}", list.len())));
        // A list far above its bound would only repeat itself.
        list.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    if bound(schema, "minItems").is_some_and(|least| (list.len() as u64) < least) {
        problems.also(Problem::error(&place.shown, "is empty: at least one item is needed"));
    }
    let Some(items) = schema.get("items") else { return };
    for (at, value) in list.iter_mut().enumerate() {
        walk(value, items, &place.item(at), problems);
    }
}

fn check_text(text: &str, schema: &Value, place: &Place) -> Option<Problem> {
    let known = values_of(schema);
    if !known.is_empty() {
        return (!known.contains(&text)).then(|| wrong_value(text, &known, place));
    }
    let length = text.chars().count() as u64;
    if bound(schema, "minLength").is_some_and(|least| length < least) {
        return Some(
            Problem::error(&place.shown, "is empty").hint("leave the field out, or give it a value"),
        );
    }
    let most = bound(schema, "maxLength").filter(|most| length > *most)?;
    Some(Problem::error(&place.shown, format!("is {length} characters long: at most {most}")))
}

fn check_number(number: &serde_json::Number, schema: &Value, place: &Place) -> Option<Problem> {
    let value = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))?;
    let edge = |key: &str| schema.get(key).and_then(Value::as_i64).map(i128::from);
    let (least, most) = (edge("minimum"), edge("maximum"));
    if least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most) {
        return None;
    }
    let message = match (least, most) {
        (Some(least), Some(most)) => format!("is {value}: must be from {least} to {most}"),
        (Some(least), None) => format!("is {value}: must be at least {least}"),
        _ => format!("is {value}: too large"),
    };
    let problem = Problem::error(&place.shown, message);
    Some(if value == 0 { problem.hint("to switch a bound off leave the field out") } else { problem })
}

fn unknown_field(name: &str, properties: Option<&Map<String, Value>>, place: &Place) -> Problem {
    if place.is_unbuilt() {
        return Problem::error(&place.shown, "is not in this version")
            .hint("take it out to use this manifest now");
    }
    let mut known: Vec<&str> = properties.into_iter().flat_map(Map::keys).map(String::as_str).collect();
    known.sort_unstable();
    Problem::error(&place.shown, "unknown field").hint(suggest::one_of(name, &known))
}

fn wrong_value(text: &str, known: &[&str], place: &Place) -> Problem {
    let general = place.general.as_deref().unwrap_or_default();
    let word: String = text.chars().take(40).collect();
    if unbuilt::is_value(general, text) {
        let hint = format!("in this version: {}", known.join(", "));
        return Problem::error(&place.shown, format!("`{word}` is not in this version")).hint(hint);
    }
    Problem::error(&place.shown, format!("`{word}` is not one of its values"))
        .hint(suggest::one_of(text, known))
}

fn wrong_kind(value: &Value, schema: &Value, place: &Place) -> Problem {
    let wanted = kind(schema);
    let problem =
        Problem::error(&place.shown, format!("must be {}, not {}", wanted.words(), words_for(value)));
    match (wanted, value) {
        (Kind::Text, _) if schema.get("enum").is_some() => {
            problem.hint(suggest::one_of("", &values_of(schema)))
        }
        (Kind::Text, Value::Number(number))
            if schema.get("pattern").is_some_and(|one| one == DURATION_PATTERN) =>
        {
            problem.hint(format!("write it with its unit: {number}s"))
        }
        (Kind::Text, Value::Number(number))
            if schema.get("pattern").is_some_and(|one| one == RATE_PATTERN) =>
        {
            problem.hint(format!("write it with its time: {number}/s"))
        }
        (Kind::Text, Value::Bool(_)) => problem.hint(format!("put quotes around it, as in \"{value}\"")),
        // A fraction may have been written as `007` or `1e3`, so its value would not be what stands there.
        (Kind::Text, Value::Number(number)) if number.is_f64() => problem.hint("put quotes around it"),
        (Kind::Text, Value::Number(_)) => problem.hint(format!("put quotes around it, as in \"{value}\"")),
        (Kind::Text, Value::Object(object)) if !object.is_empty() => {
            problem.hint("in YAML a text that begins with { must stand in quotes")
        }
        (Kind::Integer | Kind::Boolean, Value::String(text)) if !text.is_empty() => {
            problem.hint("write it without quotes")
        }
        (Kind::Object, Value::String(text)) => match only_required(schema) {
            Some(field) if text.len() <= 80 => problem.hint(format!("write {{{field}: \"{text}\"}}")),
            _ => problem,
        },
        (Kind::List, Value::String(_) | Value::Object(_)) => problem.hint("begin each item with `- `"),
        _ => problem,
    }
}

/// The values of a choice.
fn values_of(schema: &Value) -> Vec<&str> {
    schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The one field that an object cannot do without: a text in the object's place was meant for it.
fn only_required(schema: &Value) -> Option<&str> {
    match schema.get("required")?.as_array()?.as_slice() {
        [only] => only.as_str(),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Open,
    Object,
    List,
    Text,
    Integer,
    Boolean,
    /// A number or a text, as Kubernetes' quantities.
    Amount,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Open => "anything",
            Self::Object => "an object with fields",
            Self::List => "a list",
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Amount => "a whole number or a text such as 64Ki",
        }
    }
}

fn kind(schema: &Value) -> Kind {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return Kind::Amount;
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => Kind::Object,
        Some("array") => Kind::List,
        Some("string") => Kind::Text,
        Some("integer") => Kind::Integer,
        Some("boolean") => Kind::Boolean,
        _ => Kind::Open,
    }
}

fn words_for(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(number) if number.is_i64() && !number.is_u64() => "a negative number",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object with fields",
    }
}

/// The plainest value that fits.
fn stand_in(schema: &Value) -> Value {
    match kind(schema) {
        Kind::Open => Value::Null,
        Kind::List => Value::Array(Vec::new()),
        Kind::Boolean => Value::Bool(false),
        Kind::Integer => schema.get("minimum").cloned().unwrap_or_else(|| 0.into()),
        Kind::Amount => 0.into(),
        Kind::Text => {
            schema.get("enum").and_then(|values| values.get(0)).cloned().unwrap_or_else(|| "".into())
        }
        Kind::Object => {
            let mut object = Map::new();
            for name in schema
                .get("required")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                let inner = schema.get("properties").and_then(|properties| properties.get(name));
                object.insert(name.to_owned(), inner.map_or(Value::Null, stand_in));
            }
            Value::Object(object)
        }
    }
}

fn bound(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::raw;
    use crate::schema;

    fn problems(mut value: Value) -> Vec<String> {
        let mut problems = Problems::default();
        mend(&mut value, &schema::of::<raw::Config>(), &mut problems);
        let mended: Result<raw::Config, _> = serde_json::from_value(value);
        assert!(mended.is_ok(), "{mended:?}");
        problems.into_vec().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn everything_wrong_is_named_at_once_and_mended() {
        let found = problems(json!({
            "version": "1", "generation": 1, "name": "chat",
            "spec": {
                "endpoints": [{"name": 7, "protocol": "Jason", "autosubscribe": []}, null],
                "auth": {"anonymous": "Alow", "issuers": [{"name": "a", "algorithms": ["ES513"], "secretRef": {"name": "a", "key": "b"}}]},
                "limits": {"pod": {"connections": 0}, "connection": {"messageBytes": -1}},
                "tls": {},
            },
        }));
        let expected = [
            "error: namespace: is required",
            "error: spec.auth.anonymous: `Alow` is not one of its values\n  hint: did you mean `Allow`?",
            "error: spec.auth.issuers[0].algorithms[0]: `ES513` is not one of its values\n  hint: did you mean `ES512`?",
            "error: spec.endpoints[0].autosubscribe: unknown field\n  hint: did you mean `autoSubscribe`?",
            "error: spec.endpoints[0].name: must be a text, not a number\n  hint: put quotes around it, as in \"7\"",
            "error: spec.endpoints[0].path: is required",
            "error: spec.endpoints[0].protocol: `Jason` is not one of its values\n  hint: did you mean `JSON`?",
            "error: spec.endpoints[1]: must be an object with fields, not nothing",
            "error: spec.limits.connection.messageBytes: must be a whole number or a text such as 64Ki, not a negative number",
            "error: spec.limits.pod.connections: is 0: must be from 1 to 10000000\n  hint: to switch a bound off leave the field out",
            "error: spec.tls: is not in this version\n  hint: take it out to use this manifest now",
            "error: version: must be a whole number, not a text\n  hint: write it without quotes",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn whatever_stands_there_is_mended() {
        for junk in [json!(null), json!(1), json!("x"), json!([]), json!({"spec": {"endpoints": {"a": []}}})]
        {
            assert!(!problems(junk).is_empty());
        }
    }
}
