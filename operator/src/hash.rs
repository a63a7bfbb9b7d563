//! Short names for contents: the first half of a SHA-256.

use ring::digest;
use serde_json::Value;

/// 16 hexadecimal digits that name `content`.
pub fn short(content: &[u8]) -> String {
    format!("{:016x}", number(content))
}

/// The first 8 bytes of the SHA-256 of `content`.
pub fn number(content: &[u8]) -> u64 {
    let digest = digest::digest(&digest::SHA256, content);
    digest.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A hash that does not depend on the order of members, nor on the order of items: the API server keeps items of lists that are maps in an
/// order of its own.
pub fn unordered(value: &Value) -> u64 {
    match value {
        Value::Object(members) => {
            let mut parts: Vec<u64> = members
                .iter()
                .map(|(name, value)| number(format!("{name}={:x}", unordered(value)).as_bytes()))
                .collect();
            combine(b'{', &mut parts)
        }
        Value::Array(items) => combine(b'[', &mut items.iter().map(unordered).collect::<Vec<_>>()),
        plain => number(plain.to_string().as_bytes()),
    }
}

fn combine(kind: u8, parts: &mut [u64]) -> u64 {
    parts.sort_unstable();
    let mut bytes = vec![kind];
    bytes.extend(parts.iter().flat_map(|part| part.to_be_bytes()));
    number(&bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_does_not_count_and_content_does() {
        let one = json!({"a": 1, "b": [{"n": 1}, {"n": 2}]});
        assert_eq!(unordered(&one), unordered(&json!({"b": [{"n": 2}, {"n": 1}], "a": 1})));
        for other in [
            json!({"a": 1, "b": [{"n": 1}]}),
            json!({"a": 1, "b": {"n": 2}}),
            json!({"a": "1", "b": [{"n": 1}, {"n": 2}]}),
        ] {
            assert_ne!(unordered(&one), unordered(&other), "{other}");
        }
        assert_ne!(unordered(&json!({})), unordered(&json!([])));
    }
}
