//! Texts with a unit: durations, amounts of bytes, references to Secrets.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a duration looks like.
pub const DURATION_PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A duration as text: `30s`, `5m`, `1h30m`, `250ms`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

impl DurationText {
    /// The text for `duration`, as short as it can be.
    pub fn of(duration: Duration) -> Self {
        let mut rest = duration.as_millis();
        let mut text = String::new();
        for (unit, millis) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= millis {
                text.push_str(&format!("{}{unit}", rest / millis));
                rest %= millis;
            }
        }
        Self(if text.is_empty() { "0s".into() } else { text })
    }

    /// The duration, if the text follows [`DURATION_PATTERN`].
    pub fn parse(&self) -> Option<Duration> {
        let mut rest = self.0.as_str();
        let mut total = Duration::ZERO;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            // `ms` before `m`, or `5ms` would be five minutes and a stray `s`.
            let (millis, tail) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
                .into_iter()
                .find_map(|(unit, millis)| tail.strip_prefix(unit).map(|tail| (millis, tail)))?;
            parts += 1;
            if !(1..=5).contains(&digits) || parts > 4 {
                return None;
            }
            total += Duration::from_millis(number.parse::<u64>().ok()? * millis);
            rest = tail;
        }
        (parts > 0).then_some(total)
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": DURATION_PATTERN, "maxLength": 32 })
    }
}

/// An amount of bytes: a whole number, or text such as `512Ki`, `1Mi`, `2M`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Quantity {
    /// Bytes.
    Number(u64),
    /// A number with a unit.
    Text(String),
}

impl Quantity {
    /// The text for `bytes`, in the largest binary unit that divides it.
    pub fn of(bytes: u64) -> Self {
        for (unit, size) in [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
            if bytes >= size && bytes.is_multiple_of(size) {
                return Self::Text(format!("{}{unit}", bytes / size));
            }
        }
        Self::Number(bytes)
    }

    /// The number of bytes, if it is a whole one.
    pub fn bytes(&self) -> Option<u64> {
        let text = match self {
            Self::Number(bytes) => return Some(*bytes),
            Self::Text(text) => text,
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let size: u64 = match unit {
            "" => 1,
            "k" => 1000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(size)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+(k|M|G|Ki|Mi|Gi)?$", "maxLength": 20 },
            ],
            "x-kubernetes-int-or-string": true,
        })
    }
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_pattern() {
        let parse = |text: &str| DurationText(text.into()).parse();
        assert_eq!(parse("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("1m250ms"), Some(Duration::from_millis(60_250)));
        assert_eq!(parse("99999h99999h99999h99999h"), Some(Duration::from_secs(4 * 99_999 * 3600)));
        for bad in ["", "30", "s", "1 s", "-1s", "1.5s", "100000s", "1s1s1s1s1s", "1d", "1m s", "٣s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_and_amounts_print_as_they_are_read() {
        for text in ["25s", "1m", "1h30m", "250ms", "1s1ms"] {
            let duration = DurationText(text.into()).parse().unwrap_or_default();
            assert_eq!(DurationText::of(duration).0, text);
        }
        for text in ["1Mi", "64Ki", "3Gi"] {
            let bytes = Quantity::Text(text.into()).bytes().unwrap_or_default();
            assert_eq!(Quantity::of(bytes), Quantity::Text(text.into()));
        }
    }

    #[test]
    fn amounts_have_units() {
        let bytes = |text: &str| Quantity::Text(text.into()).bytes();
        assert_eq!(bytes("1Mi"), Some(1 << 20));
        assert_eq!(bytes("2M"), Some(2_000_000));
        assert_eq!(bytes("17"), Some(17));
        for bad in ["", "Mi", "1.5Mi", "1 Mi", "-1", "1m", "99999999999999999999", "18446744073709551615Ki"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
