//! Expressions that give one text or number: events, tags, timestamps, users, parts of channel names.

use std::borrow::Cow;
use std::sync::Arc;

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBool, CelDouble, CelInt, CelString, CelUInt};
use cel::common::value::Val;
use rtgw_config::expression::Expression;

use super::meter::metered;
use super::scope::{EvaluateError, Path, Scope, with_value};
use super::slow::timed;

/// A value that is not made of others.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(Box<str>),
    /// An int.
    Int(i64),
    /// A uint.
    Uint(u64),
    /// A double.
    Double(f64),
    /// A bool.
    Bool(bool),
}

impl Scalar {
    /// The text, if it is one.
    ///
    /// # Errors
    /// [`EvaluateError::Kind`] for anything but a string.
    pub fn into_text(self) -> Result<Box<str>, EvaluateError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(EvaluateError::Kind { wanted: "a string", found: other.kind().to_owned() }),
        }
    }

    /// As channel names and tags print it: strings as they are, ints and bools in digits and words.
    ///
    /// # Errors
    /// [`EvaluateError::Kind`] for a double, which has no single way to be written.
    pub fn into_printed(self) -> Result<Box<str>, EvaluateError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Int(number) => Ok(number.to_string().into()),
            Self::Uint(number) => Ok(number.to_string().into()),
            Self::Bool(truth) => Ok(truth.to_string().into()),
            Self::Double(_) => Err(EvaluateError::Kind {
                wanted: "a string, an int or a bool",
                found: self.kind().to_owned(),
            }),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Bool(_) => "bool",
        }
    }
}

/// An expression that gives a [`Scalar`], ready to be asked.
#[derive(Clone, Debug)]
pub struct ScalarExpression {
    source: Box<str>,
    expression: Arc<IdedExpr>,
    known: Known,
}

#[derive(Clone, Debug)]
enum Known {
    Constant(Box<str>),
    Path(Path),
    Nothing,
}

impl ScalarExpression {
    /// Prepares `expression`.
    pub fn new(expression: &Expression) -> Self {
        let tree = expression.program().expression();
        let known = match (&tree.expr, Path::of(tree)) {
            (Expr::Literal(LiteralValue::String(text)), _) => Known::Constant(text.inner().into()),
            (_, Some(path)) => Known::Path(path),
            _ => Known::Nothing,
        };
        Self { source: expression.source().into(), expression: Arc::new(metered(tree)), known }
    }

    /// The text of the expression.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text that it gives whatever it is asked about, if it is a literal.
    pub fn constant(&self) -> Option<&str> {
        match &self.known {
            Known::Constant(text) => Some(text),
            _ => None,
        }
    }

    /// The value.
    ///
    /// # Errors
    /// It fails, or gives a list, a map, null or another thing without parts of its own.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Scalar, EvaluateError> {
        if let Known::Constant(text) = &self.known {
            return Ok(Scalar::Text(text.clone()));
        }
        timed(self.source(), || {
            if let Known::Path(path) = &self.known
                && let Some(raw) = path.cut(scope)?
            {
                return from_json(raw);
            }
            scalar(&self.expression, scope)
        })
    }
}

fn scalar(expression: &IdedExpr, scope: &dyn Scope) -> Result<Scalar, EvaluateError> {
    with_value(expression, scope, from_value)
}

/// The scalar that `value` is.
pub(super) fn from_value(value: &dyn Val) -> Result<Scalar, EvaluateError> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        Ok(Scalar::Text(text.inner().into()))
    } else if let Some(number) = value.downcast_ref::<CelInt>() {
        Ok(Scalar::Int(*number.inner()))
    } else if let Some(truth) = value.downcast_ref::<CelBool>() {
        Ok(Scalar::Bool(*truth.inner()))
    } else if let Some(number) = value.downcast_ref::<CelUInt>() {
        Ok(Scalar::Uint(*number.inner()))
    } else if let Some(number) = value.downcast_ref::<CelDouble>() {
        Ok(Scalar::Double(*number.inner()))
    } else {
        Err(EvaluateError::kind("a string, a number or a bool", value))
    }
}

/// The scalar that the JSON text `raw` is; `raw` is known to be JSON.
fn from_json(raw: &str) -> Result<Scalar, EvaluateError> {
    let other =
        |found: &str| EvaluateError::Kind { wanted: "a string, a number or a bool", found: found.to_owned() };
    match raw.as_bytes().first() {
        Some(b'"') => {
            let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
            if !inner.contains('\\') {
                return Ok(Scalar::Text(inner.into()));
            }
            match serde_json::from_str::<Cow<'_, str>>(raw) {
                Ok(text) => Ok(Scalar::Text(text.into())),
                Err(_) => Err(other("string that is no Unicode")),
            }
        }
        Some(b't') => Ok(Scalar::Bool(true)),
        Some(b'f') => Ok(Scalar::Bool(false)),
        Some(b'{') => Err(other("map")),
        Some(b'[') => Err(other("list")),
        Some(b'n') | None => Err(other("null_type")),
        Some(_) => raw
            .parse()
            .map(Scalar::Int)
            .or_else(|_| raw.parse().map(Scalar::Uint))
            .or_else(|_| raw.parse().map(Scalar::Double))
            .map_err(|_| other("number out of range")),
    }
}
