//! Expressions from anywhere: compiled or refused on any stack, and what is compiled can be evaluated.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::thread;

use proptest::prelude::*;
use rtgw_config::expression::{EXPRESSION_BYTES, Expression, STACK_BYTES};
use rtgw_config::pattern::Pattern;
use rtgw_config::template::Template;

/// Runs on a stack of `bytes`: an overflow ends the whole test program, so it cannot be missed.
fn on_stack<T: Send>(bytes: usize, run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|threads| {
        thread::Builder::new().stack_size(bytes).spawn_scoped(threads, run).unwrap().join().unwrap()
    })
}

/// The tallest towers that are accepted, one per way to build one.
fn tallest() -> Vec<Expression> {
    let towers = [
        ("1+", "1", ""),
        ("1-", "1", ""),
        ("2*", "1", ""),
        ("!", "a", ""),
        ("a ? b : ", "c", ""),
        ("a == ", "b", ""),
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1:", "1", "}"),
        ("size(", "1", ")"),
        ("a[", "1", "]"),
        ("-(", "1", ")"),
        ("a.size(", "1", ")"),
        ("", "a", ".b"),
        ("", "a", "[0]"),
        ("", "a", ".size()"),
        ("", "a", ".map(x, x)"),
        ("a && ", "b", ""),
    ];
    let mut found = Vec::new();
    for (before, middle, after) in towers {
        let texts = (1..100).map(|times| format!("{}{middle}{}", before.repeat(times), after.repeat(times)));
        let texts = texts.take_while(|text| text.len() <= EXPRESSION_BYTES);
        found.push(texts.filter_map(|text| Expression::compile(&text).ok()).last().unwrap());
    }
    found
}

#[test]
fn what_is_accepted_can_be_evaluated_on_the_stack_it_asks_for() {
    for expression in tallest() {
        on_stack(STACK_BYTES, || {
            let mut context = cel::Context::default();
            for name in ["a", "b", "c"] {
                context.add_variable_from_value(name, true);
            }
            let _ = expression.program().execute(&context);
        });
    }
}

#[test]
fn compiling_needs_no_stack_of_the_caller() {
    let texts: Vec<String> = tallest().iter().map(|expression| expression.source().to_owned()).collect();
    on_stack(128 * 1024, || {
        for text in &texts {
            let _ = Expression::compile(text);
        }
        for link in ["(", "[", "{", "!", "1+", "a?b:", "a.", "f("] {
            let _ = Expression::compile(&link.repeat(EXPRESSION_BYTES / link.len()));
        }
    });
}

/// Pieces of CEL in any order, which comes nearer to the grammar than random characters do.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "a",
        "claims",
        ".",
        ",",
        ":",
        "?",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "==",
        "<",
        "&&",
        "||",
        " in ",
        "1",
        "1.5",
        "0x",
        "'x'",
        "\"",
        "'",
        "r'\\'",
        "'''",
        "//",
        "\n",
        "\\",
        "`",
        "true",
        "null",
        ".all(x,",
        ".map(x,",
        "has(",
        "size(",
        ".matches('",
        "é",
        "\u{0}",
    ]);
    prop::collection::vec(piece, 0..300).prop_map(|pieces| pieces.concat())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let segments = prop::collection::vec(prop::sample::select(vec!["a", "b", "{x}", "{y}", "{z}"]), 1..4);
    let rest = prop::sample::select(vec!["", ":{r*}"]);
    (segments, rest).prop_filter_map("repeats a capture", |(segments, rest)| {
        Pattern::parse(&format!("{}{rest}", segments.join(":"))).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_compiled_or_refused(text in prop_oneof![pieces(), "(?s).{0,100}"]) {
        if let Err(error) = Expression::compile(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
        if let Err(error) = Template::parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn a_pattern_that_covers_another_matches_all_its_channels(
        wide in pattern(), narrow in pattern(), channel in "[ab]{1}(:[ab]{1}){0,4}",
    ) {
        if wide.covers(&narrow) && narrow.matches(&channel).is_some() {
            prop_assert!(wide.matches(&channel).is_some(), "{wide:?} {narrow:?} {channel}");
        }
    }
}
