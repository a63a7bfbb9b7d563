//! Keeps `docs/reference/protocol-json.md` true: its tables are the model's, its examples are what the wire reads and writes.
#![allow(clippy::unwrap_used, missing_docs)]

use rtgw_model::{CloseCode, CommandNames, ErrorCode, GapReason, Retry, UnsubscribeReason};
use rtgw_protocol::json;
use serde_json::Value;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/protocol-json.md");
    std::fs::read_to_string(path).unwrap()
}

/// The cells of the table's rows below `heading`, without marks of code.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.split_once(&format!("\n## {heading}\n")).unwrap().1;
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.skip(1).map(|row| row.split(" | ").map(|cell| cell.replace('`', "")).collect()).collect()
}

/// The lines of all fenced blocks that begin with `fence`.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let mut lines = page.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line == fence {
            found.extend(lines.by_ref().take_while(|line| *line != "```").map(str::to_owned));
        }
    }
    found
}

#[test]
fn error_codes_are_the_models() {
    let table = table(&page(), "Error codes");
    let documented: Vec<_> = table.iter().map(|row| (row[0].as_str(), row[2].as_str())).collect();
    let known: Vec<_> = ErrorCode::ALL
        .into_iter()
        .map(|code| (code.as_str(), if code.temporary() { "yes" } else { "no" }))
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn close_codes_are_the_models() {
    let table = table(&page(), "Close codes");
    let documented: Vec<_> =
        table.iter().map(|row| (row[0].clone(), row[1].as_str(), row[3].as_str())).collect();
    let then = |code: &CloseCode| match code.retry() {
        Retry::Stop => "stop",
        Retry::Reconnect => "reconnect",
        Retry::BackOff => "back off",
        Retry::RefreshToken => "refresh the token",
    };
    let known: Vec<_> =
        CloseCode::ALL.iter().map(|code| (code.code().to_string(), code.name(), then(code))).collect();
    assert_eq!(documented, known);
}

#[test]
fn reasons_are_named() {
    let page = page();
    for reason in GapReason::ALL {
        assert!(page.contains(&format!("`{}`", reason.as_str())), "{reason:?}");
    }
    for reason in [UnsubscribeReason::PermissionChanged, UnsubscribeReason::Removed] {
        assert!(page.contains(&format!("`{}`", reason.as_str())), "{reason:?}");
    }
}

#[test]
fn commands_to_paste_are_understood() {
    let commands = blocks(&page(), "```json send");
    assert!(commands.len() >= 8);
    for command in commands {
        assert!(json::decode(&command, &CommandNames::default()).is_ok(), "{command}");
    }
}

#[test]
fn examples_are_json() {
    let examples = blocks(&page(), "```json");
    assert!(examples.len() >= 14);
    for example in examples {
        assert!(serde_json::from_str::<Value>(&example).is_ok(), "{example}");
    }
}
