//! Walks a parsed expression with a stack of its own and tells what must be known before it may run.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

use super::{ExpressionError, TREE_HEIGHT};

/// Largest compiled pattern: the evaluator compiles it again every time it runs.
const PATTERN_BYTES: usize = 64 * 1024;

/// What an expression uses.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Free names, each once, in the order met.
    pub(super) names: Vec<String>,
    /// Fields that are read of a free name, `connection.ip` as `("connection", "ip")`, and of a field of one, `source.params.id`
    /// as `("source.params", "id")`.
    pub(super) members: Vec<(String, String)>,
    /// Functions and operators, each once.
    pub(super) functions: Vec<String>,
    /// Whether it has a loop.
    pub(super) loops: bool,
    /// The whole expression as a path.
    pub(super) path: Option<Vec<String>>,
}

/// A node still to visit.
struct Visit<'e> {
    node: &'e IdedExpr,
    height: usize,
    /// Inside a loop's body.
    looped: bool,
    /// The innermost binding, an index into the walk's list.
    bound: Option<usize>,
}

/// Names bound by a loop, and the binding around it.
struct Binding<'e> {
    names: [Option<&'e str>; 3],
    outer: Option<usize>,
}

#[derive(Default)]
struct Walk<'e> {
    facts: Facts,
    stack: Vec<Visit<'e>>,
    bindings: Vec<Binding<'e>>,
}

/// Measures `root` and collects its names.
///
/// # Errors
/// The tree is too high, loops are nested, or `matches` has a pattern that is computed or wrong.
pub(super) fn survey(root: &IdedExpr) -> Result<Facts, ExpressionError> {
    let mut walk =
        Walk { stack: vec![Visit { node: root, height: 1, looped: false, bound: None }], ..Walk::default() };
    while let Some(visit) = walk.stack.pop() {
        if visit.height > TREE_HEIGHT {
            return Err(ExpressionError::TooDeep);
        }
        walk.enter(&visit)?;
    }
    walk.facts.path = path(root);
    Ok(walk.facts)
}

impl<'e> Walk<'e> {
    fn enter(&mut self, visit: &Visit<'e>) -> Result<(), ExpressionError> {
        match &visit.node.expr {
            Expr::Unspecified | Expr::Literal(_) => {}
            Expr::Ident(name) => {
                if self.is_free(name, visit.bound) {
                    add(&mut self.facts.names, name);
                }
            }
            Expr::Select(select) => {
                if let Some(object) = path(&select.operand).filter(|object| object.len() <= 2)
                    && object.first().is_some_and(|name| self.is_free(name, visit.bound))
                {
                    self.facts.members.push((object.join("."), select.field.clone()));
                }
                self.push(&select.operand, visit);
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.push(element, visit)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.entry(&entry.expr, visit)),
            Expr::Struct(object) => {
                // There are no message types here, so `Name{…}` can only fail; say so with the name.
                add(&mut self.facts.functions, &object.type_name);
                object.entries.iter().for_each(|entry| self.entry(&entry.expr, visit));
            }
            Expr::Call(call) => {
                add(&mut self.facts.functions, &call.func_name);
                if call.func_name == "matches" {
                    check_pattern(call.args.last())?;
                }
                if let Some(target) = &call.target {
                    self.push(target, visit);
                }
                call.args.iter().for_each(|argument| self.push(argument, visit));
            }
            Expr::Comprehension(looping) => {
                if visit.looped {
                    return Err(ExpressionError::NestedLoop);
                }
                self.facts.loops = true;
                self.bindings.push(Binding {
                    names: [
                        Some(looping.iter_var.as_str()),
                        looping.iter_var2.as_deref(),
                        Some(looping.accu_var.as_str()),
                    ],
                    outer: visit.bound,
                });
                let inside =
                    Visit { node: visit.node, looped: true, bound: Some(self.bindings.len() - 1), ..*visit };
                // `list.filter(…).map(…)` adds up and is fine; a loop in the body multiplies.
                self.push(&looping.iter_range, visit);
                self.push(&looping.accu_init, visit);
                for part in [&looping.loop_cond, &looping.loop_step, &looping.result] {
                    self.push(part, &inside);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, node: &'e IdedExpr, parent: &Visit<'e>) {
        self.stack.push(Visit {
            node,
            height: parent.height + 1,
            looped: parent.looped,
            bound: parent.bound,
        });
    }

    fn entry(&mut self, entry: &'e EntryExpr, parent: &Visit<'e>) {
        match entry {
            EntryExpr::StructField(field) => self.push(&field.value, parent),
            EntryExpr::MapEntry(entry) => {
                self.push(&entry.key, parent);
                self.push(&entry.value, parent);
            }
        }
    }

    fn is_free(&self, name: &str, mut bound: Option<usize>) -> bool {
        while let Some(binding) = bound.and_then(|at| self.bindings.get(at)) {
            if binding.names.contains(&Some(name)) {
                return false;
            }
            bound = binding.outer;
        }
        true
    }
}

fn add(list: &mut Vec<String>, name: &str) {
    if !list.iter().any(|known| known == name) {
        list.push(name.to_owned());
    }
}

/// A computed pattern would be compiled per message, with a cost that whoever sends the text chooses.
fn check_pattern(pattern: Option<&IdedExpr>) -> Result<(), ExpressionError> {
    let Some(Expr::Literal(LiteralValue::String(text))) = pattern.map(|node| &node.expr) else {
        return Err(ExpressionError::ComputedPattern);
    };
    let built = regex::RegexBuilder::new(text.inner()).size_limit(PATTERN_BYTES).build();
    built.map(drop).map_err(|error| {
        let text = error.to_string();
        ExpressionError::BadPattern(
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        )
    })
}

fn path(root: &IdedExpr) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut node = root;
    loop {
        match &node.expr {
            Expr::Select(select) if !select.test => {
                fields.push(select.field.clone());
                node = &select.operand;
            }
            Expr::Ident(name) => {
                fields.push(name.clone());
                fields.reverse();
                return Some(fields);
            }
            _ => return None,
        }
    }
}
