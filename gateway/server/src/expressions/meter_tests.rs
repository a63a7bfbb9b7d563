//! Expressions that would take time or memory without end, and those that must still work beside them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;
use rtgw_config::expression::{Expression, STACK_BYTES};

use super::condition::Condition;
use super::json::JsonPlan;
use super::message::{MessageScope, Origin};
use super::names::ChannelList;
use super::scalar::ScalarExpression;

/// Messages, each large in its own way, of 1 MiB; their lists are a `part`th of that.
fn messages(part: usize) -> Vec<String> {
    let numbers = vec!["1"; 500_000 / part].join(",");
    let text = "a".repeat(1 << 20);
    let names: Vec<String> = (0..60_000).map(|at| format!("\"n{at}\":[{{}}]")).collect();
    let short = vec!["\"aaaa\""; 120_000 / part].join(",");
    vec![
        format!("{{\"l\":[{numbers}],\"t\":\"b\",\"o\":{{}}}}"),
        format!("{{\"l\":[1,2,3],\"t\":\"{text}\",\"o\":{{\"a\":1}}}}"),
        format!("{{\"l\":[1],\"t\":\"a\",\"o\":{{{}}}}}", names.join(",")),
        format!("{{\"l\":[{short}],\"t\":\"a\",\"o\":{{}}}}"),
    ]
}

fn scope(text: &str) -> MessageScope<'_> {
    MessageScope::new(text, Origin { channel: "c", params: &[("p", "v")], headers: &[] }, 1)
}

/// Runs where expressions run: on so much stack. Gives also how long a core was busy with it, whatever else the machine does.
fn on_its_stack<T: Send>(run: impl FnOnce() -> T + Send) -> (T, Duration) {
    let timed = || {
        let before = busy();
        (run(), busy() - before)
    };
    std::thread::scope(|threads| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(threads, timed);
        thread.unwrap().join().unwrap()
    })
}

/// What this thread has run on a core: the first figure of `schedstat` (proc_pid_schedstat(5)), in nanoseconds.
fn busy() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn json(text: &str, message: &str) -> Result<Vec<u8>, String> {
    let plan = JsonPlan::new(&Expression::compile(text).unwrap());
    plan.evaluate(&scope(message), None).map(|json| json.to_vec()).map_err(|error| error.to_string())
}

#[test]
fn bombs_end_in_a_failure_and_soon() {
    let chain = |body: &str, times: usize| format!("size(msg.l{})", format!(".map(x, {body})").repeat(times));
    // A quarter of the longest list spends the budget in each of these, and most of this test's time is the reading of lists.
    let messages = messages(4);
    let bombs = [
        // Texts and lists that double from step to step, whatever is sent.
        (3, format!("size(['aaaa']{}[0])", ".map(x, x + x)".repeat(26))),
        (3, format!("size([[1, 1, 1]]{}[0])", ".map(x, x + x + x)".repeat(20))),
        // Each step copies, or compares with, all of the message.
        (0, "msg.l.map(x, raw + 'a')".to_owned()),
        (0, "msg.l.map(x, raw)".to_owned()),
        (0, "msg.l.map(x, msg)".to_owned()),
        (0, "msg.l.map(x, {'all': msg.l})".to_owned()),
        (0, "msg.l.all(x, msg == msg)".to_owned()),
        (0, "msg.l.exists(x, raw.contains('zzz'))".to_owned()),
        (0, "msg.l.exists(x, raw.matches('(a|b)*z'))".to_owned()),
        (0, "msg.l.exists(x, 7 in msg.l)".to_owned()),
        (0, "msg.l.filter(x, [msg.l].size() == 2)".to_owned()),
        (0, "msg.l.exists(x, string(bytes(raw)) == 'a')".to_owned()),
        // A large body for each of many items.
        (0, format!("msg.l.map(x, [{}])", vec!["1"; 400].join(","))),
        (0, format!("msg.l.map(x, '{}')", "a".repeat(900))),
        (0, chain("x + 1", 20)),
        // Without a loop: copies side by side.
        (0, format!("size([{}])", vec!["msg.l"; 120].join(","))),
        (1, format!("size({})", vec!["raw"; 20].join(" + "))),
        (2, format!("size([{}])", vec!["msg.o"; 120].join(","))),
    ];
    for (message, bomb) in bombs {
        let (result, took) = on_its_stack(|| json(&bomb, &messages[message]).map(|json| json.len()));
        assert!(result.is_err(), "{bomb}: {result:?}");
        assert!(took < Duration::from_secs(20), "{bomb}: {took:?}");
    }
}

#[test]
fn what_manifests_do_with_large_messages_still_works() {
    let messages = messages(1);
    let good = [
        (0, "size(msg.l)"),
        (0, "size(msg.l.map(x, x + 1))"),
        (0, "size(msg.l.filter(x, x == 1))"),
        (0, "msg.l.all(x, x == 1)"),
        (0, "msg.l.exists_one(x, x == 2)"),
        (0, "msg.l.exists(x, string(x) == msg.t)"),
        (0, "has(msg.l) && msg.t == 'b' ? msg.l[2] : 0"),
        (1, "msg.t.matches('^a+$') && msg.t.startsWith('aa')"),
        (1, "msg.t + msg.t == 'b'"),
        (1, "{'text': msg.t, 'again': msg.t}"),
        (2, "has(msg.o.n7) && size(msg.o) > 9"),
        (3, "size(msg.l.map(x, {'name': x, 'type': 'n'}))"),
        (3, "size(msg.l.map(x, 'team:' + x))"),
    ];
    for (message, text) in good {
        let (result, _) = on_its_stack(|| json(text, &messages[message]));
        assert!(result.is_ok(), "{text}: {result:?}");
    }
}

#[test]
fn what_is_rewritten_means_the_same() {
    let message = r#"{"a":[3,1,2],"b":{"k":"v","w":[1]},"t":"text","n":2}"#;
    let cases = [
        ("1 + 2 + msg.n", "5"),
        ("'a' + msg.t + 'b'", "\"atextb\""),
        ("msg.a + [4] + msg.b.w", "[3,1,2,4,1]"),
        ("1.5 + 2.0", "3.5"),
        ("msg.a.map(x, x + msg.n)", "[5,3,4]"),
        ("msg.a.map(x, x > 1, x * 2)", "[6,4]"),
        ("msg.a.filter(x, x != msg.n)", "[3,1]"),
        ("msg.a.all(x, x > 0) && msg.a.exists(x, x == 2)", "true"),
        ("msg.a.exists_one(x, x == msg.n)", "true"),
        ("msg.a.all(x, x / 0 == 1 || x > 0)", "true"),
        ("msg.b.map(k, k)[0] in ['k', 'w']", "true"),
        ("msg.b.exists(k, k == 'w')", "true"),
        ("msg.a.map(x, msg.a[x - 1])", "[2,3,1]"),
        ("msg.a.map(x, {'x': x, 'all': msg.b.k})[1]", r#"{"all":"v","x":1}"#),
        ("msg.t.matches('^te') && !matches(msg.t, '^x')", "true"),
        ("msg.a.filter(x, string(x).matches('[12]')).map(x, [x, msg.t])", r#"[[1,"text"],[2,"text"]]"#),
        ("[msg.a, [1].map(x, msg.b.w)][1]", "[[1]]"),
        ("msg.a.map(x, has(msg.b.k) ? x : 0)", "[3,1,2]"),
        ("size(msg.a.map(x, x)) + size(msg.t)", "7"),
        ("-msg.n + 1", "-1"),
    ];
    for (text, expected) in cases {
        let given = json(text, message).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(String::from_utf8(given).unwrap(), expected, "{text}");
    }
    for wrong in [
        "1 + 'a'",
        "msg.a + 1",
        "msg.b + msg.b",
        "msg.n.matches('a')",
        "msg.a.map(x, x + 'a')",
        "null + null",
    ] {
        assert!(json(wrong, message).is_err(), "{wrong}");
    }
}

/// Expressions as long as may be, from parts that copy, loop and compare.
fn generated() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "msg",
        "raw",
        "msg.l",
        "msg.t",
        "msg.o",
        "'aaaaaaaa'",
        "1",
        "[1,1,1]",
        "{'a': 'b'}",
        "x",
        "now",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone().prop_map(|(a, b)| format!("({a} + {b})")),
            two.clone().prop_map(|(a, b)| format!("({a} == {b})")),
            two.clone().prop_map(|(a, b)| format!("({a} in {b})")),
            two.clone().prop_map(|(a, b)| format!("{a}.map(x, {b})")),
            two.clone().prop_map(|(a, b)| format!("{a}.filter(x, {b} == x)")),
            two.clone().prop_map(|(a, b)| format!("{a}.exists(x, {b} == x)")),
            two.clone().prop_map(|(a, b)| format!("[{a}, {b}, {a}]")),
            two.clone().prop_map(|(a, b)| format!("{{'a': {a}, 'b': {b}}}")),
            two.prop_map(|(a, b)| format!("({a} == {b} ? {a} : {b})")),
            inner.clone().prop_map(|a| format!("string({a})")),
            inner.clone().prop_map(|a| format!("size({a})")),
            inner.prop_map(|a| format!("{a}.contains('zz')")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the check accepts ends in time, on the stack it is given, and gives a bounded result.
    #[test]
    fn nothing_accepted_runs_away(text in generated(), which in 0..4_usize) {
        static MESSAGES: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| messages(2));
        let Ok(expression) = Expression::compile(&text) else { return Ok(()) };
        let (written, took) = on_its_stack(|| {
            let scope = scope(&MESSAGES[which]);
            let _ = Condition::new(&expression).holds(&scope);
            let _ = ScalarExpression::new(&expression).evaluate(&scope);
            let _ = ChannelList::new(&expression).names(&scope);
            JsonPlan::new(&expression).evaluate(&scope, None).map_or(0, |json| json.len())
        });
        prop_assert!(took < Duration::from_secs(60), "{text} took {took:?}");
        prop_assert!(written < 512 << 20, "{} wrote {} bytes", text, written);
    }
}
