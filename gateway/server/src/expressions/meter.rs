//! A budget for every evaluation. The library has none, and a client chooses what expressions are asked about.
//!
//! An expression of a kilobyte is small, what it does to a message of a megabyte need not be: a loop whose body copies the whole
//! message, texts that double in each of thirty chained loops. So expressions are rewritten once, when they are prepared: sums, what
//! is put into lists and maps, what a loop's body looks at, and each of its steps pay from a budget before they are carried out, and
//! an evaluation that has spent it fails. What neither adds, nor stores, nor loops is left as it was and costs nothing.
//!
//! A unit is about a byte of memory. The budget is per thread: an evaluation never leaves its own.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators};
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelString, CelUInt, DYN_TYPE, INT_TYPE,
    STRING_TYPE,
};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};
use parking_lot::RwLock;
use regex::{Regex, RegexBuilder};

/// What one evaluation may spend. A list of all numbers that fit a message of 1 MiB can still be mapped to another.
const BUDGET: u64 = 64 << 20;
/// A value in memory, besides its text.
const NODE: u64 = 32;
/// What a loop's body looks at without keeping it costs this part of its weight: reading is cheaper than copying.
const READING: u64 = 8;
/// A step of a loop, for each node of its body.
const STEP: u64 = 8;
/// Matching costs more than reading: so much for each byte.
const MATCHING: u64 = 4;
/// Most patterns that are kept compiled. They stand in manifests, so there are few.
const PATTERNS: usize = 1024;
/// Largest compiled pattern; the check of the manifest has the same bound.
const PATTERN_BYTES: usize = 64 * 1024;

/// Names that nobody can write.
const ADD: &str = "@add";
const KEEP: &str = "@keep";
const LOOK: &str = "@look";
const PACE: &str = "@pace";
const MATCHES: &str = "@matches";

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Gives this thread the budget of a new evaluation.
pub(super) fn begin() {
    LEFT.set(BUDGET);
}

/// The functions of standard CEL and those that pay; shared by every evaluation, because making them costs more than most.
pub(super) static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // These names are nobody else's, so declaring them cannot fail; an expression that misses one would.
    let _ = env.add_overload(ADD, "add_paid", vec![DYN_TYPE, DYN_TYPE], add);
    let _ = env.add_overload(KEEP, "keep_paid", vec![DYN_TYPE], keep);
    let _ = env.add_overload(LOOK, "look_paid", vec![DYN_TYPE], look);
    let _ = env.add_overload(PACE, "pace_paid", vec![DYN_TYPE, INT_TYPE], pace);
    let _ = env.add_overload(MATCHES, "matches_paid", vec![STRING_TYPE, STRING_TYPE], matches);
    Arc::new(env)
});

/// `expression` as it is evaluated.
pub(super) fn metered(expression: &IdedExpr) -> IdedExpr {
    rewrite(expression, false)
}

/// Takes `units`; once they do not suffice, nothing does.
fn pay(units: u64) -> Result<(), ExecutionError> {
    let left = LEFT.get();
    LEFT.set(left.saturating_sub(units));
    if units <= left {
        return Ok(());
    }
    LEFT.set(0);
    Err(ExecutionError::function_error("budget", "the evaluation takes too much time or memory"))
}

/// About the bytes that `value` takes; no more than a little above `most` is counted.
fn weight(value: &dyn Val, most: u64) -> u64 {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return NODE + text.inner().len() as u64;
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        return NODE + bytes.inner().len() as u64;
    }
    let mut total = NODE;
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        for item in list.inner() {
            if total > most {
                break;
            }
            total += weight(item.as_ref(), most - total);
        }
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        for (name, item) in map.inner() {
            if total > most {
                break;
            }
            let name = if let CelMapKey::String(name) = name { name.inner().len() as u64 } else { 0 };
            total += NODE + name;
            total += weight(item.as_ref(), most.saturating_sub(total));
        }
    }
    total
}

fn is_number(value: &dyn Val) -> bool {
    value.downcast_ref::<CelInt>().is_some()
        || value.downcast_ref::<CelDouble>().is_some()
        || value.downcast_ref::<CelUInt>().is_some()
}

fn weigh(value: &dyn Val) -> u64 {
    weight(value, LEFT.get())
}

type Paid<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn add<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Paid<'b, 'v> {
    let [left, right] = <[_; 2]>::try_from(args).map_err(|_| arguments(ADD))?;
    // Two numbers make one number; what else can be added grows.
    let grows = |value: &dyn Val| if is_number(value) { 0 } else { weigh(value) };
    pay(grows(left.as_ref()).saturating_add(grows(right.as_ref())))?;
    let cannot = || ExecutionError::function_error("+", "these cannot be added");
    let adder = left.as_adder().ok_or_else(cannot)?;
    Ok(CowVal::Owned(adder.add(right.as_ref())?.into_owned()))
}

fn keep<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Paid<'b, 'v> {
    let value = args.pop().ok_or_else(|| arguments(KEEP))?;
    pay(weigh(value.as_ref()))?;
    Ok(value)
}

fn look<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Paid<'b, 'v> {
    let value = args.pop().ok_or_else(|| arguments(LOOK))?;
    pay(weigh(value.as_ref()) / READING)?;
    Ok(value)
}

fn pace<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Paid<'b, 'v> {
    let units = args.pop().and_then(|units| Some(*units.downcast_ref::<CelInt>()?.inner()));
    pay(units.and_then(|units| u64::try_from(units).ok()).unwrap_or(BUDGET))?;
    args.pop().ok_or_else(|| arguments(PACE))
}

fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Paid<'b, 'v> {
    let [text, pattern] = <[_; 2]>::try_from(args).map_err(|_| arguments(MATCHES))?;
    let (Some(text), Some(pattern)) =
        (text.downcast_ref::<CelString<'_>>(), pattern.downcast_ref::<CelString<'_>>())
    else {
        return Err(arguments(MATCHES));
    };
    pay(NODE + text.inner().len() as u64 * MATCHING)?;
    Ok(CowVal::owned(CelBool::from(compiled(pattern.inner())?.is_match(text.inner()))))
}

/// The pattern, compiled the first time that it is met.
fn compiled(pattern: &str) -> Result<Arc<Regex>, ExecutionError> {
    static KNOWN: LazyLock<RwLock<HashMap<Box<str>, Arc<Regex>>>> = LazyLock::new(RwLock::default);
    if let Some(known) = KNOWN.read().get(pattern) {
        return Ok(Arc::clone(known));
    }
    let made = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build();
    let made = made.map_err(|_| ExecutionError::function_error("matches", "not a regular expression"))?;
    let made = Arc::new(made);
    let mut known = KNOWN.write();
    if known.len() >= PATTERNS {
        // Many reloads later: those in use come back at once.
        known.clear();
    }
    known.insert(pattern.into(), Arc::clone(&made));
    Ok(made)
}

fn arguments(function: &str) -> ExecutionError {
    ExecutionError::function_error(function, "other arguments")
}

fn call(function: &str, args: Vec<IdedExpr>) -> IdedExpr {
    let call = CallExpr { func_name: function.to_owned(), target: None, args };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}

fn is_literal(expression: &IdedExpr) -> bool {
    matches!(expression.expr, Expr::Literal(_))
}

/// A name, or members selected from one: looked up without a copy.
fn is_path(expression: &IdedExpr) -> bool {
    let mut at = expression;
    loop {
        match &at.expr {
            Expr::Ident(_) => return true,
            Expr::Select(select) if !select.test => at = &select.operand,
            _ => return false,
        }
    }
}

/// What a loop collects into; its name begins with a character that nobody can write.
fn is_accumulator(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Ident(name) if name.starts_with('@'))
}

/// `looped`: in a loop's body. The depth of recursion is that of the tree, which is bounded when the manifest is read.
fn rewrite(expression: &IdedExpr, looped: bool) -> IdedExpr {
    if is_accumulator(expression) || is_literal(expression) {
        return expression.clone();
    }
    if is_path(expression) {
        return if looped { call(LOOK, vec![expression.clone()]) } else { expression.clone() };
    }
    let mut made = expression.clone();
    match &mut made.expr {
        Expr::Select(select) => *select.operand = selected(&select.operand, looped),
        Expr::Call(called) => return IdedExpr { expr: rewrite_call(called, looped), ..made },
        Expr::List(list) => {
            for element in &mut list.elements {
                *element = kept(element, looped);
            }
        }
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| keep_entry(entry, looped)),
        Expr::Comprehension(looping) => {
            let nodes = i64::try_from(count(&looping.loop_step)).unwrap_or(i64::MAX);
            looping.iter_range = rewrite(&looping.iter_range, looped);
            looping.accu_init = rewrite(&looping.accu_init, looped);
            looping.loop_step = step(&looping.loop_step, nodes.saturating_mul(STEP as i64));
        }
        _ => {}
    }
    made
}

/// What a member or an item is taken of is not looked at as a whole.
fn selected(operand: &IdedExpr, looped: bool) -> IdedExpr {
    if is_path(operand) { operand.clone() } else { rewrite(operand, looped) }
}

fn rewrite_call(called: &CallExpr, looped: bool) -> Expr {
    let args: Vec<IdedExpr> = match (called.func_name.as_str(), called.args.as_slice()) {
        (operators::INDEX, [operand, at]) => vec![selected(operand, looped), rewrite(at, looped)],
        (_, args) => args.iter().map(|argument| rewrite(argument, looped)).collect(),
    };
    let target = called.target.as_ref().map(|target| Box::new(rewrite(target, looped)));
    let collects = called.args.first().is_some_and(is_accumulator);
    match (called.func_name.as_str(), target) {
        (operators::ADD, None) if !collects => call(ADD, args).expr,
        ("matches", target) => call(MATCHES, target.into_iter().map(|text| *text).chain(args).collect()).expr,
        (name, target) => Expr::Call(CallExpr { func_name: name.to_owned(), target, args }),
    }
}

/// What is put into a list or a map is copied there.
fn kept(element: &IdedExpr, looped: bool) -> IdedExpr {
    if is_literal(element) || is_accumulator(element) {
        return element.clone();
    }
    let value = if is_path(element) { element.clone() } else { rewrite(element, looped) };
    call(KEEP, vec![value])
}

fn keep_entry(entry: &mut IdedEntryExpr, looped: bool) {
    match &mut entry.expr {
        EntryExpr::MapEntry(entry) => {
            entry.key = kept(&entry.key, looped);
            entry.value = kept(&entry.value, looped);
        }
        EntryExpr::StructField(field) => field.value = kept(&field.value, looped),
    }
}

/// The step of a loop as the standard macros make it: `collected && body`, `collected || body`, `collected + [body]`, and
/// `body ? … : collected` around those. The library recognizes these shapes, so they stay as they are.
fn step(step: &IdedExpr, units: i64) -> IdedExpr {
    let paced = |body: IdedExpr| {
        let units = IdedExpr { id: 0, expr: Expr::Literal(LiteralValue::Int(CelInt::from(units))) };
        call(PACE, vec![body, units])
    };
    let mut made = step.clone();
    let Expr::Call(called) = &mut made.expr else { return paced(rewrite(step, true)) };
    match (called.func_name.as_str(), called.args.as_mut_slice()) {
        (operators::CONDITIONAL, [condition, yes, no]) => {
            *condition = paced(rewrite(condition, true));
            for side in [yes, no] {
                *side = rewrite(side, true);
            }
        }
        (operators::ADD, [collected, IdedExpr { expr: Expr::List(list), .. }])
            if is_accumulator(collected) =>
        {
            for element in &mut list.elements {
                *element = paced(kept(element, true));
            }
        }
        (_, [collected, body]) if is_accumulator(collected) => *body = paced(rewrite(body, true)),
        _ => return paced(rewrite(step, true)),
    }
    made
}

/// Nodes, and as many more as the bytes of literal texts come to.
fn count(expression: &IdedExpr) -> usize {
    let entries = |entries: &[IdedEntryExpr]| {
        let entry = |entry: &IdedEntryExpr| match &entry.expr {
            EntryExpr::MapEntry(entry) => count(&entry.key) + count(&entry.value),
            EntryExpr::StructField(field) => count(&field.value),
        };
        entries.iter().map(entry).sum::<usize>()
    };
    let inside = match &expression.expr {
        Expr::Call(called) => {
            called.target.as_deref().map_or(0, count) + called.args.iter().map(count).sum::<usize>()
        }
        Expr::List(list) => list.elements.iter().map(count).sum(),
        Expr::Map(map) => entries(&map.entries),
        Expr::Struct(object) => entries(&object.entries),
        Expr::Select(select) => count(&select.operand),
        Expr::Literal(LiteralValue::String(text)) => text.inner().len() / STEP as usize,
        Expr::Literal(LiteralValue::Bytes(bytes)) => bytes.inner().len() / STEP as usize,
        Expr::Comprehension(looping) => count(&looping.iter_range) + count(&looping.loop_step),
        _ => 0,
    };
    inside + 1
}
