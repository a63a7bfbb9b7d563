//! Reads YAML with the parser that Kubernetes' Rust client uses, under bounds fit for a file that people write.

use serde_json::Value;
use serde_saphyr::{MessageFormatter, UserMessageFormatter};

/// Largest file that is read, as for objects of Kubernetes (etcd's limit is 1.5 MiB).
pub const FILE_BYTES: usize = 1024 * 1024;

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// Where, counted from one, if that is known.
    pub position: Option<(u64, u64)>,
    /// What the parser says, in one line.
    pub message: String,
}

/// The documents of `text` that say something.
///
/// # Errors
/// The text is larger than [`FILE_BYTES`], is not YAML, or is built to grow when it is read (aliases, depth, sheer count).
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    if text.len() > FILE_BYTES {
        let message = format!("is larger than {} KiB", FILE_BYTES / 1024);
        return Err(YamlError { position: None, message });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 200_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 100_000,
            max_recorded_anchor_bytes: 4 * FILE_BYTES,
            max_depth: 64,
            max_documents: 256,
            max_nodes: 100_000,
            max_total_scalar_bytes: 4 * FILE_BYTES,
            max_merge_keys: 1_000,
        },
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| YamlError {
        position: error.location().map(|location| (location.line(), location.column())),
        message: one_line(&UserMessageFormatter.format_message(&error)),
    })
}

/// Values from the file may stand in a parser's message, so it is made harmless and short.
fn one_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().chars().filter(|char| !char.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_read_one_by_one() {
        assert_eq!(
            documents("a: 1\n---\n# nothing\n---\nb: [x, {y: null}]\n").unwrap(),
            [json!({"a": 1}), json!({"b": ["x", {"y": null}]})]
        );
        assert_eq!(documents("").unwrap(), Vec::<Value>::new());
        assert_eq!(documents("# only words\n").unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        let error = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(matches!(error.position, Some((line, _)) if line >= 2), "{error:?}");
        assert!(documents("a: 1\na: 2\n").is_err(), "a repeated key is a mistake");
        assert!(!documents("a: \"x\ty\u{7}").unwrap_err().message.contains('\u{7}'));
    }

    #[test]
    fn bombs_are_refused() {
        let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (name, last) in
            ["b", "c", "d", "e", "f", "g", "h"].iter().zip(["a", "b", "c", "d", "e", "f", "g"])
        {
            let refs = vec![format!("*{last}"); 9].join(",");
            laughs.push_str(&format!("{name}: &{name} [{refs}]\n"));
        }
        for bomb in [
            laughs,
            "[".repeat(10_000),
            format!("{}x", "a: ".repeat(5_000)),
            "- ".repeat(10_000),
            format!("a: {}", "x".repeat(FILE_BYTES)),
            "---\na: 1\n".repeat(1_000),
            "- 1\n".repeat(150_000),
        ] {
            let started = std::time::Instant::now();
            assert!(documents(&bomb).is_err(), "{}", &bomb[..60.min(bomb.len())]);
            assert!(started.elapsed().as_secs() < 5);
        }
    }
}
