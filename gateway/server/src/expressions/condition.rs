//! Expressions that say yes or no.

use std::sync::Arc;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::CelBool;
use rtgw_config::expression::Expression;

use super::meter::metered;
use super::scope::{EvaluateError, Scope, with_value};
use super::slow::timed;

/// A yes-or-no expression, ready to be asked.
#[derive(Clone, Debug)]
pub struct Condition {
    source: Box<str>,
    expression: Arc<IdedExpr>,
    known: Option<Known>,
}

/// Conditions that most manifests are made of, answered without evaluating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// `true` or `false`.
    Always(bool),
    /// `user != ''`.
    HasUser,
}

impl Condition {
    /// Prepares `expression`.
    pub fn new(expression: &Expression) -> Self {
        let tree = expression.program().expression();
        Self { source: expression.source().into(), expression: Arc::new(metered(tree)), known: known(tree) }
    }

    /// What is known without evaluating.
    pub fn known(&self) -> Option<Known> {
        self.known
    }

    /// The text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// It fails, or gives no bool.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, EvaluateError> {
        if let Some(Known::Always(answer)) = self.known {
            return Ok(answer);
        }
        timed(self.source(), || holds(&self.expression, scope))
    }
}

/// Whether `expression` holds.
pub(super) fn holds(expression: &IdedExpr, scope: &dyn Scope) -> Result<bool, EvaluateError> {
    with_value(expression, scope, |value| match value.downcast_ref::<CelBool>() {
        Some(truth) => Ok(*truth.inner()),
        None => Err(EvaluateError::kind("a bool", value)),
    })
}

fn known(expression: &IdedExpr) -> Option<Known> {
    match &expression.expr {
        Expr::Literal(LiteralValue::Boolean(truth)) => Some(Known::Always(*truth.inner())),
        Expr::Call(call) if call.func_name == operators::NOT_EQUALS => match call.args.as_slice() {
            [
                IdedExpr { expr: Expr::Ident(name), .. },
                IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. },
            ] if name == "user" && text.inner().is_empty() => Some(Known::HasUser),
            _ => None,
        },
        _ => None,
    }
}
