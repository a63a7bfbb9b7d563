//! Bounds of expressions: bombs are refused fast and on small stacks, ordinary rules compile.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, Instant};

use super::scope::FUNCTIONS;
use super::*;

const SOURCE: Scope<'static> = Scope::Source { params: Some(&[]) };

fn error(text: &str, scope: &Scope<'_>) -> String {
    Expression::compile_in(text, scope).unwrap_err().to_string()
}

#[test]
fn the_rules_of_the_design_compile() {
    let captures = ["workspace_id".to_owned(), "id".to_owned()];
    let channel = Scope::Channel { captures: Some(&captures) };
    let cases = [
        ("'member' in claims.roles", Scope::Admission),
        ("{'type': 'connected', 'connection_id': connection.id}", Scope::Admission),
        ("claims.sub", Scope::Identity),
        ("claims.workspace_id == workspace_id", channel),
        ("user != ''", channel),
        ("false", channel),
        ("has(msg.job_id)", SOURCE),
        ("has(msg.event) ? msg.event : 'job_update'", SOURCE),
        (
            "{'type': 'job_update', 'job_id': msg.job_id, 'status': has(msg.status) ? msg.status : msg.data.status, 'data': msg.data}",
            SOURCE,
        ),
        ("msg.ids.filter(id, id != '').map(id, 'x:' + string(id))", SOURCE),
        ("type(msg.job_id) == string && msg.job_id.matches('^[a-z]+$')", SOURCE),
        ("source.params.id", Scope::Source { params: Some(&captures) }),
        ("data.room", Scope::Command),
    ];
    for (text, scope) in cases {
        let compiled = Expression::compile_in(text, &scope);
        assert!(compiled.is_ok(), "{text}: {compiled:?}");
    }
}

#[test]
fn only_a_path_is_a_path() {
    let path = |text: &str| Expression::compile(text).unwrap().path().map(|parts| parts.join("/"));
    assert_eq!(path("msg.data.x"), Some("msg/data/x".into()));
    assert_eq!(path(" msg "), Some("msg".into()));
    for other in ["has(msg.data)", "msg['data']", "msg.data.size()", "'msg'", "(a + b).c"] {
        assert_eq!(path(other), None, "{other}");
    }
}

#[test]
fn unknown_names_are_told_with_a_hint() {
    let missing = Expression::compile_in("claim.sub == user", &Scope::Admission).unwrap_err();
    assert_eq!(missing.to_string(), "unknown name `claim` in an admission rule");
    assert_eq!(missing.hint().unwrap(), "did you mean `claims`?");
    assert_eq!(error("claims.sub", &SOURCE), "unknown name `claims` in a source rule");
    assert_eq!(error("[1].all(x, y > x)", &SOURCE), "unknown name `y` in a source rule");
    let ip = Expression::compile_in("connection.adress == '::1'", &Scope::Admission).unwrap_err();
    assert_eq!(ip.to_string(), "unknown name `connection.adress` in an admission rule");
    assert_eq!(ip.hint().unwrap(), "one of: id, ip, endpoint, query, auth, time");
    assert_eq!(error("source.params.id", &SOURCE), "unknown name `source.params.id` in a source rule");
    assert_eq!(error("sise(msg)", &SOURCE), "unknown function `sise`");
    assert_eq!(Expression::compile("sise(msg)").unwrap_err().hint().unwrap(), "did you mean `size`?");
}

#[test]
fn loops_are_bounded() {
    let channel = Scope::Channel { captures: Some(&[]) };
    assert_eq!(
        error("claims.roles.exists(r, r == 'a')", &channel),
        ExpressionError::Loop("a channel rule").to_string()
    );
    assert_eq!(error("[[1]].all(x, x.all(y, y > 0))", &SOURCE), ExpressionError::NestedLoop.to_string());
    assert!(Expression::compile("claims.roles.exists(r, r == 'a')").is_ok());
}

#[test]
fn patterns_of_matches_are_literal_and_small() {
    assert_eq!(Expression::compile("'a'.matches(msg)"), Err(ExpressionError::ComputedPattern));
    assert_eq!(Expression::compile("matches('a', 'b' + 'c')"), Err(ExpressionError::ComputedPattern));
    assert!(matches!(Expression::compile("'a'.matches('(')"), Err(ExpressionError::BadPattern(_))));
    assert!(matches!(
        Expression::compile("'a'.matches('(a{1000}){1000}')"),
        Err(ExpressionError::BadPattern(_))
    ));
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(Expression::compile(" "), Err(ExpressionError::Empty));
    assert_eq!(Expression::compile(&"a".repeat(1025)), Err(ExpressionError::TooLong(1025)));
    assert!(Expression::compile(&vec!["user == ''"; 70].join(" || ")).is_ok());
    assert!(Expression::compile(&["1"; 31].join("+")).is_ok());
    assert_eq!(Expression::compile(&["1"; 40].join("+")), Err(ExpressionError::TooDeep));
}

#[test]
fn every_function_that_is_allowed_exists() {
    let calls = [
        "bool('true')",
        "bytes('a') == b'a'",
        "'ab'.contains('a')",
        "double(1) == 1.0",
        "dyn(true)",
        "'ab'.endsWith('b')",
        "int('1') == 1",
        "'ab'.matches('^a')",
        "size('ab') == 2 && 'ab'.size() == 2",
        "'ab'.startsWith('a')",
        "string(1) == '1'",
        "type(1) == int",
        "uint(1) == 1u",
    ];
    for (name, call) in FUNCTIONS.iter().zip(calls) {
        assert!(call.contains(name), "{call} is the example of {name}");
        let outcome = Expression::compile(call).unwrap().program().execute(&cel::Context::default());
        assert_eq!(outcome, Ok(cel::Value::Bool(true)), "{call}");
    }
    assert_eq!(FUNCTIONS.len(), calls.len());
}

/// Towers of everything that nests, as high as a kilobyte allows.
#[allow(clippy::too_many_lines, reason = "a table")]
fn bombs() -> Vec<String> {
    let mut bombs = Vec::new();
    for link in [
        "1+",
        "1-",
        "1*",
        "!",
        "-",
        "- ",
        "a?b:",
        "a?a:",
        "a?b:c&&",
        "a||b?c:",
        "a?b+1:",
        "a.",
        "a<",
        "a==",
        "a in ",
        "a&&",
        "a||",
        "!a&&",
        "a.b(",
        "a[",
        "(",
        "[",
        "{1:",
        "f(",
        "has(",
        "-(",
        "!(",
        "a.b.",
        "'",
        "\"",
        "r'",
        "'''",
        "//",
        "/",
        "`",
        ".",
        "?",
        ":",
        ",",
        "\\",
        "é",
        "a{b:",
        "a.all(x,",
        "[1].map(x,",
        "b'",
        "0x",
        "1e",
        "\u{0}",
    ] {
        let tower = link.repeat(EXPRESSION_BYTES / link.len());
        let closed: String = link
            .chars()
            .rev()
            .filter_map(|open| match open {
                '(' => Some(')'),
                '[' => Some(']'),
                '{' => Some('}'),
                _ => None,
            })
            .collect();
        let times = (EXPRESSION_BYTES - 1) / (link.len() + closed.len());
        bombs.push(format!("{}a{}", link.repeat(times), closed.repeat(times)));
        for times in [20, 31, 48, 64, 90] {
            bombs.push(format!("{}a{}", link.repeat(times), closed.repeat(times)));
        }
        bombs.push(tower);
    }
    bombs.retain(|bomb| bomb.len() <= EXPRESSION_BYTES);
    bombs
}

#[test]
fn bombs_neither_crash_nor_take_long() {
    const LIMIT: Duration = Duration::from_millis(50);
    for bomb in bombs() {
        // The machine may be busy with something else; one quick run shows what the work costs.
        let quick = (0..20).any(|_| {
            let started = Instant::now();
            let _ = Expression::compile(&bomb);
            started.elapsed() < LIMIT
        });
        assert!(quick, "{bomb}");
    }
}
