//! Expressions that give JSON: the outer map and list literals are walked, so that what clients read is what the manifest's
//! author wrote.
//!
//! A CEL map has no order and its numbers no spelling. So `{'type': 'job', 'data': msg.data}` is not evaluated as a whole: literal
//! maps and lists keep the order of the source, literals are written once when the plan is made, paths are cut from the raw text
//! (`1.50` stays `1.50`, members stay in place), `a ? b : c` asks `a` and goes on with one side, and only what is left is evaluated.

use bytes::Bytes;
use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators};
use rtgw_config::expression::Expression;

use super::condition::holds;
use super::meter::metered;
use super::scope::{EvaluateError, Path, Scope, with_value};
use super::slow::timed;
use super::value::{write, write_text};

/// Above this no more is written: four times what a publication may have.
const OUTPUT_BYTES: usize = 4 << 20;

/// An expression that gives JSON, ready to be asked.
#[derive(Clone, Debug)]
pub struct JsonPlan {
    source: Box<str>,
    root: Node,
}

#[derive(Clone, Debug)]
enum Node {
    /// The same bytes each time.
    Constant(Box<[u8]>),
    /// Cut from raw JSON; evaluated where the variable has no raw form.
    Path(Path, Box<IdedExpr>),
    /// Members in the order of the source, each name as JSON with its colon.
    Object(Vec<(Box<[u8]>, Node)>),
    /// Items.
    Array(Vec<Node>),
    /// `condition ? yes : no`.
    Choose(Box<IdedExpr>, Box<(Node, Node)>),
    /// Everything else.
    Evaluate(Box<IdedExpr>),
}

impl JsonPlan {
    /// Prepares `expression`.
    pub fn new(expression: &Expression) -> Self {
        Self { source: expression.source().into(), root: plan(expression.program().expression()) }
    }

    /// The text of the expression.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The JSON text. A path gives a slice of `shared`, where the raw text lies in it, instead of a copy.
    ///
    /// # Errors
    /// Some part fails or has no JSON form.
    pub fn evaluate(&self, scope: &dyn Scope, shared: Option<&Bytes>) -> Result<Bytes, EvaluateError> {
        match &self.root {
            Node::Constant(bytes) => return Ok(Bytes::copy_from_slice(bytes)),
            Node::Path(path, _) => {
                if let Some(raw) = path.cut(scope)? {
                    return Ok(slice(raw, shared));
                }
            }
            _ => {}
        }
        timed(&self.source, || {
            let mut out = Vec::with_capacity(shared.map_or(256, |shared| shared.len() + 128));
            self.root.write(scope, &mut out)?;
            Ok(out.into())
        })
    }
}

/// `text` as a slice of `shared` if it lies in it, else a copy.
pub(super) fn slice(text: &str, shared: Option<&Bytes>) -> Bytes {
    if let Some(shared) = shared {
        let (outer, inner) = (shared.as_ptr_range(), text.as_bytes().as_ptr_range());
        if outer.start <= inner.start && inner.end <= outer.end {
            return shared.slice_ref(text.as_bytes());
        }
    }
    Bytes::copy_from_slice(text.as_bytes())
}

impl Node {
    fn write(&self, scope: &dyn Scope, out: &mut Vec<u8>) -> Result<(), EvaluateError> {
        if out.len() > OUTPUT_BYTES {
            return Err(EvaluateError::TooLarge);
        }
        match self {
            Self::Constant(bytes) => out.extend_from_slice(bytes),
            Self::Path(path, expression) => match path.cut(scope)? {
                Some(raw) => out.extend_from_slice(raw.as_bytes()),
                None => with_value(expression, scope, |value| write(value, out))?,
            },
            Self::Object(members) => {
                out.push(b'{');
                for (index, (name, node)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name);
                    node.write(scope, out)?;
                }
                out.push(b'}');
            }
            Self::Array(items) => {
                out.push(b'[');
                for (index, node) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    node.write(scope, out)?;
                }
                out.push(b']');
            }
            Self::Choose(condition, sides) => {
                let side = if holds(condition, scope)? { &sides.0 } else { &sides.1 };
                side.write(scope, out)?;
            }
            Self::Evaluate(expression) => with_value(expression, scope, |value| write(value, out))?,
        }
        Ok(())
    }
}

fn plan(expression: &IdedExpr) -> Node {
    let node = match &expression.expr {
        Expr::Literal(literal) => constant(literal),
        Expr::Map(map) => object(&map.entries),
        Expr::List(list) if list.optional_indices.is_empty() => {
            Some(Node::Array(list.elements.iter().map(plan).collect()))
        }
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => match call.args.as_slice() {
            [condition, yes, no] => {
                Some(Node::Choose(Box::new(metered(condition)), Box::new((plan(yes), plan(no)))))
            }
            _ => None,
        },
        _ => Path::of(expression).map(|path| Node::Path(path, Box::new(expression.clone()))),
    };
    node.unwrap_or_else(|| Node::Evaluate(Box::new(metered(expression))))
}

fn constant(literal: &LiteralValue) -> Option<Node> {
    let mut out = Vec::new();
    write(literal.to_val().as_ref(), &mut out).ok()?;
    Some(Node::Constant(out.into()))
}

/// `None` for what only an evaluation can judge: computed, repeated or optional members.
fn object(entries: &[IdedEntryExpr]) -> Option<Node> {
    let mut members = Vec::with_capacity(entries.len());
    for entry in entries {
        let EntryExpr::MapEntry(member) = &entry.expr else { return None };
        let Expr::Literal(LiteralValue::String(name)) = &member.key.expr else { return None };
        if member.optional {
            return None;
        }
        let mut text = Vec::new();
        write_text(name.inner(), &mut text);
        text.push(b':');
        if members.iter().any(|(known, _): &(Box<[u8]>, Node)| **known == *text) {
            return None;
        }
        members.push((text.into(), plan(&member.value)));
    }
    Some(Node::Object(members))
}
