//! Templates: literal text with `{CEL}` in it, giving a channel name.

use crate::expression::Expression;

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    /// Text and expressions in order.
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// A value that becomes (part of) a segment, percent-encoded where needed.
    Expression(Expression),
}
