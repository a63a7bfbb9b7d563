//! Any text as an expression, a template and a pattern: compiled or refused, and evaluated without names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtgw_config::expression::{EXPRESSION_BYTES, Expression, STACK_BYTES};
use rtgw_config::pattern::Pattern;
use rtgw_config::template::Template;

fuzz_target!(|text: &str| {
    if let Ok(expression) = Expression::compile(text) {
        assert!(text.len() <= EXPRESSION_BYTES);
        std::thread::scope(|threads| {
            let evaluation = || drop(expression.program().execute(&cel::Context::default()));
            let worker = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(threads, evaluation);
            worker.expect("a thread starts").join().expect("evaluation ends");
        });
    }
    let _ = Template::parse(text);
    if let Ok(pattern) = Pattern::parse(text) {
        assert!(pattern.covers(&pattern));
        assert_eq!(pattern.source(), text);
    }
});
