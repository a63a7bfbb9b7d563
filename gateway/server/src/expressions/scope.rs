//! What an expression sees, and how one is evaluated against it.

use std::sync::Arc;

use cel::common::ast::{Expr, IdedExpr};
use cel::common::value::Val;
use cel::context::VariableResolver;
use cel::{Context, ExecutionError, Value};

use super::meter::ENVIRONMENT;

/// Variables of an evaluation; each is made when an expression first asks for it.
pub trait Scope: VariableResolver {
    /// The raw JSON behind a variable, where it came as JSON: paths into it are cut instead of converted.
    fn raw(&self, variable: &str) -> Option<&str>;
}

/// Why an expression gives nothing. May quote values of the message or claims it was asked about, so it is for debug logs only.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The library's error.
    #[error("{0}")]
    Failed(#[from] ExecutionError),
    /// A path names a member that is not there.
    #[error("there is no {0}")]
    Missing(String),
    /// The JSON grew far beyond what can be published.
    #[error("gives too much JSON")]
    TooLarge,
    /// Another kind of value was needed.
    #[error("gives a {found}, not {wanted}")]
    Kind {
        /// What the place needs.
        wanted: &'static str,
        /// The CEL type that came.
        found: String,
    },
}

impl EvaluateError {
    pub(super) fn kind(wanted: &'static str, found: &dyn Val) -> Self {
        Self::Kind { wanted, found: found.get_type().name().to_owned() }
    }
}

/// Evaluates `expression` and shows the value to `take`; the value borrows from the scope and cannot leave.
pub(super) fn with_value<R>(
    expression: &IdedExpr,
    scope: &dyn Scope,
    take: impl FnOnce(&dyn Val) -> Result<R, EvaluateError>,
) -> Result<R, EvaluateError> {
    let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
    context.set_variable_resolver(scope);
    let value = Value::resolve_val(expression, &context)?;
    take(value.as_ref())
}

/// A variable and the members selected from it: `msg.data.x` is `msg` and `["data", "x"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The variable.
    pub(super) root: Box<str>,
    /// The members, outermost first.
    pub(super) members: Box<[Box<str>]>,
}

impl Path {
    /// The path that `expression` is, if it is nothing else.
    pub(super) fn of(expression: &IdedExpr) -> Option<Self> {
        let mut members = Vec::new();
        let mut at = expression;
        loop {
            match &at.expr {
                Expr::Ident(root) => {
                    members.reverse();
                    return Some(Self { root: root.as_str().into(), members: members.into() });
                }
                Expr::Select(select) if !select.test => {
                    members.push(select.field.as_str().into());
                    at = &select.operand;
                }
                _ => return None,
            }
        }
    }

    /// The raw JSON that the path leads to; `None` where the variable has no raw form in this scope.
    ///
    /// # Errors
    /// [`EvaluateError::Missing`] where a member on the way is not there, as evaluating would fail.
    pub(super) fn cut<'s>(&self, scope: &'s dyn Scope) -> Result<Option<&'s str>, EvaluateError> {
        let Some(raw) = scope.raw(&self.root) else { return Ok(None) };
        match super::cut::cut(raw, &self.members) {
            Some(found) => Ok(Some(found)),
            None => Err(EvaluateError::Missing(self.members.join("."))),
        }
    }
}
