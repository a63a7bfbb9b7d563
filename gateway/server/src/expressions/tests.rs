//! The library under values that nobody should send, and the shortcuts beside the evaluation that they stand for.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use proptest::prelude::*;
use rtgw_config::expression::Expression;

use super::condition::Condition;
use super::json::JsonPlan;
use super::message::{MessageScope, Origin};
use super::names::ChannelList;
use super::scalar::{Scalar, ScalarExpression, from_value};
use super::scope::{EvaluateError, with_value};
use super::value;

/// Every operator and function of the language, on what a message brings.
const EVERYTHING: &[&str] = &[
    "msg.a + msg.b",
    "msg.a - msg.b",
    "msg.a * msg.b",
    "msg.a / msg.b",
    "msg.a % msg.b",
    "-msg.a",
    "!msg.a",
    "msg.a < msg.b || msg.a >= msg.b",
    "msg.a == msg.b && msg.a != msg.c",
    "msg.a in msg.b",
    "msg.a[msg.b]",
    "msg[msg.a]",
    "msg.a ? msg.b : msg.c",
    "has(msg.a.b) && has(msg.b.a)",
    "size(msg.a) + size(msg.b)",
    "string(msg.a) + string(msg.b)",
    "int(msg.a) * int(msg.b)",
    "uint(msg.a) - uint(msg.b)",
    "double(msg.a) / double(msg.b)",
    "int(double(msg.a))",
    "bytes(msg.a)",
    "bool(msg.a)",
    "dyn(msg.a)",
    "type(msg.a) == type(msg.b)",
    "msg.a.contains(msg.b) || msg.a.startsWith(msg.b) || msg.a.endsWith(msg.b)",
    "msg.a.matches('^(a|b)*$')",
    "msg.a.map(x, x + 1)",
    "msg.a.filter(x, x > msg.b)",
    "msg.a.all(x, x == msg.b) || msg.a.exists(x, x == msg.c) || msg.a.exists_one(x, x == 1)",
    "{msg.a: msg.b}",
    "{'a': msg.a, 'b': [msg.b, -msg.c]}",
    "[msg.a] + msg.b",
    "msg.a.b.c",
    "raw + string(now)",
    "source.params.p + headers['h'] + source.channel",
];

fn compiled(texts: &[&str]) -> Vec<Expression> {
    texts.iter().map(|text| Expression::compile(text).unwrap()).collect()
}

fn hostile() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-1",
            "1",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "99999999999999999999",
            "0.0",
            "-0.0",
            "0.1",
            "1e308",
            "-1e308",
            "5e-324",
            "9.3e18",
            "\"\"",
            "\"a\"",
            "\"\\u0000\"",
            "\"\\ud83d\\ude00\"",
            "\"9223372036854775808\"",
            "\"-1\"",
            "\"1e400\"",
            "\"true\"",
            "\"NaN\"",
            "\"b\"",
            "[]",
            "{}",
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|number| number.to_string()),
        "[a-c]{0,3}".prop_map(|text| format!("{text:?}")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(("[a-c]", inner), 0..3).prop_map(|members| object(&members)),
        ]
    })
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{name:?}: {value}")).collect();
    format!("{{{}}}", members.join(", "))
}

fn scope(text: &str) -> MessageScope<'_> {
    MessageScope::new(text, Origin { channel: "c", params: &[("p", "v")], headers: &[("h", "w")] }, 1)
}

/// What evaluating the whole expression gives, without any shortcut.
fn whole<R>(
    expression: &Expression,
    scope: &MessageScope<'_>,
    take: impl FnOnce(&dyn cel::common::value::Val) -> Result<R, EvaluateError>,
) -> Option<R> {
    with_value(expression.program().expression(), scope, take).ok()
}

fn parsed(json: &[u8]) -> serde_json::Value {
    serde_json::from_slice(json).unwrap()
}

proptest! {
    #[test]
    fn no_value_makes_the_library_panic(a in hostile(), b in hostile(), c in hostile()) {
        static ALL: LazyLock<Vec<Expression>> = LazyLock::new(|| compiled(EVERYTHING));
        let message = format!(r#"{{"a":{a},"b":{b},"c":{c}}}"#);
        for expression in ALL.iter() {
            let scope = scope(&message);
            let _ = Condition::new(expression).holds(&scope);
            let _ = ScalarExpression::new(expression).evaluate(&scope);
            let _ = ChannelList::new(expression).names(&scope);
            if let Ok(json) = JsonPlan::new(expression).evaluate(&scope, None) {
                parsed(&json);
            }
        }
    }

    /// Cutting and walking give what evaluating gives, as far as a CEL value can tell: only order and spelling differ.
    #[test]
    fn shortcuts_agree_with_the_evaluation(a in hostile(), b in hostile()) {
        static PLANS: LazyLock<Vec<Expression>> = LazyLock::new(|| compiled(&[
            "msg", "msg.a", "msg.a.b", "msg.a.b.c", "{'x': msg.a, 'y': [msg.b, 1]}", "has(msg.a.b) ? msg.a.b : msg.b",
            "[true ? {'k': msg.a} : {}, 'text', -1, 1.5, null]",
        ]));
        let message = format!(r#"{{"a":{a},"b":{b}}}"#);
        for expression in PLANS.iter() {
            let scope = scope(&message);
            let by_plan = JsonPlan::new(expression).evaluate(&scope, None).ok().map(|json| value_of(&json));
            let by_evaluation = whole(expression, &scope, |value| {
                let mut out = Vec::new();
                value::write(value, &mut out).map(|()| value_of(&out))
            });
            prop_assert_eq!(by_plan, by_evaluation, "{}", expression.source());
            let by_cut = ScalarExpression::new(expression).evaluate(&scope).ok();
            let by_evaluation = whole(expression, &scope, from_value);
            prop_assert!(same(by_cut.as_ref(), by_evaluation.as_ref()), "{:?} {:?}", by_cut, by_evaluation);
        }
    }
}

/// JSON as CEL reads and prints it, so that `1e308` and its digits are equal.
fn value_of(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).unwrap();
    let mut out = Vec::new();
    value::write(value::parse(text).unwrap().as_ref(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn same(a: Option<&Scalar>, b: Option<&Scalar>) -> bool {
    match (a, b) {
        (Some(Scalar::Double(a)), Some(Scalar::Double(b))) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

/// The table of the guide.
#[test]
fn the_guides_examples_hold() {
    let guide = include_str!("../../../../docs/guide/rules.md");
    let (_, section) = guide.split_once("## JSON from expressions").unwrap();
    let message = section.split_once("With `").unwrap().1.split_once("` as `msg`").unwrap().0;
    let mut rows = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split("` | `").collect();
        let [expression, json] = cells.as_slice() else { panic!("{row}") };
        let expression = Expression::compile(expression.trim_matches('`')).unwrap();
        let given = JsonPlan::new(&expression).evaluate(&scope(message), None).unwrap();
        assert_eq!(std::str::from_utf8(&given).unwrap(), json.trim_matches('`'), "{row}");
        rows += 1;
    }
    assert_eq!(rows, 7);
}

#[test]
fn evaluations_of_the_highest_tree_fit_the_stack() {
    let expressions = [
        format!("{}msg.a{}", "(1 + ".repeat(25), ")".repeat(25)),
        format!("{}1{}", "[".repeat(28), "]".repeat(28)),
        format!("{}0", "false ? 1 : ".repeat(25)),
        format!("{}msg.a", "!".repeat(20)),
    ];
    let thread =
        std::thread::Builder::new().stack_size(rtgw_config::expression::STACK_BYTES).spawn(move || {
            for text in expressions {
                let expression = Expression::compile(&text).unwrap();
                let scope = scope(r#"{"a":1}"#);
                let _ = JsonPlan::new(&expression).evaluate(&scope, None);
                let _ = Condition::new(&expression).holds(&scope);
            }
        });
    thread.unwrap().join().unwrap();
}
