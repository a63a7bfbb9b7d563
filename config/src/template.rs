//! Templates: literal text with `{CEL}` in it, giving a channel name.

use crate::expression::{Expression, ExpressionError, Scope};

/// Longest template in bytes.
pub const TEMPLATE_BYTES: usize = 1024;

/// A compiled template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Text and expressions in order; two texts never follow each other.
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it stands.
    Text(String),
    /// A value that becomes (part of) a segment, percent-encoded where needed.
    Expression(Expression),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No text.
    #[error("is empty: a channel name is expected")]
    Empty,
    /// More than [`TEMPLATE_BYTES`].
    #[error("is {0} bytes long: a template has at most {TEMPLATE_BYTES}")]
    TooLong(usize),
    /// `{` without its `}`.
    #[error("has `{{` at byte {0} without a closing `}}`")]
    Unclosed(usize),
    /// `}` without its `{`.
    #[error("has `}}` at byte {0} without an opening `{{`")]
    Unopened(usize),
    /// The literal text has a byte that no channel name has.
    #[error("has the character `{0}`, which channel names do not have")]
    Character(char),
    /// The text between braces.
    #[error("`{{{text}}}` {error}")]
    Expression {
        /// Between the braces.
        text: String,
        /// What is wrong with it.
        error: ExpressionError,
    },
}

impl TemplateError {
    /// What to do about it, where that is not plain.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Expression { error, .. } => error.hint(),
            Self::Unclosed(_) | Self::Unopened(_) => {
                Some("an expression stands between braces: user:{claims.sub}".into())
            }
            Self::Character(_) => Some(
                "segments of A-Z a-z 0-9 _ . ~ @ = + , $ ! % - joined by `:`, with {CEL} where a value goes"
                    .into(),
            ),
            _ => None,
        }
    }
}

impl Template {
    /// Compiles `text`; any name may stand in its expressions.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_in(text, &Scope::Any)
    }

    /// Compiles `text` and checks its expressions against `scope`.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn parse_in(text: &str, scope: &Scope<'_>) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.len() > TEMPLATE_BYTES {
            return Err(TemplateError::TooLong(text.len()));
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(char) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let rest = &text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                literal.push(char);
                at += 2;
            } else if char == '{' {
                let end = expression_end(text, at + 1).ok_or(TemplateError::Unclosed(at))?;
                let inner = &text[at + 1..end];
                let compiled = Expression::compile_in(inner, scope)
                    .map_err(|error| TemplateError::Expression { text: inner.to_owned(), error })?;
                push_text(&mut parts, &mut literal)?;
                parts.push(Part::Expression(compiled));
                at = end + 1;
            } else if char == '}' {
                return Err(TemplateError::Unopened(at));
            } else {
                literal.push(char);
                at += char.len_utf8();
            }
        }
        push_text(&mut parts, &mut literal)?;
        Ok(Self { parts })
    }

    /// The whole name where there is nothing to compute.
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

fn push_text(parts: &mut Vec<Part>, literal: &mut String) -> Result<(), TemplateError> {
    if literal.is_empty() {
        return Ok(());
    }
    let allowed =
        |char: char| char.is_ascii() && (char == ':' || crate::pattern::is_segment_byte(char as u8));
    if let Some(bad) = literal.chars().find(|char| !allowed(*char)) {
        return Err(TemplateError::Character(bad));
    }
    parts.push(Part::Text(std::mem::take(literal)));
    Ok(())
}

/// The `}` that ends the expression beginning at `from`: braces of map literals nest, and strings may hold any brace.
fn expression_end(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut quote = None;
    let mut at = from;
    while let Some(&byte) = bytes.get(at) {
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth == 0 => return Some(at),
            (None, b'}') => depth -= 1,
            (None, _) => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shape(text: &str) -> Vec<String> {
        let part = |part: Part| match part {
            Part::Text(text) => text,
            Part::Expression(expression) => format!("<{}>", expression.source()),
        };
        Template::parse(text).unwrap().parts.into_iter().map(part).collect()
    }

    #[test]
    fn text_and_expressions_alternate() {
        assert_eq!(shape("jobs"), ["jobs"]);
        assert_eq!(shape("user:{claims.sub}"), ["user:", "<claims.sub>"]);
        assert_eq!(shape("{a}:{b}"), ["<a>", ":", "<b>"]);
        assert_eq!(shape("x:{ {'a': '}'}['a']}"), ["x:", "< {'a': '}'}['a']>"]);
    }

    #[test]
    fn what_is_not_a_template_says_why() {
        assert_eq!(Template::parse(""), Err(TemplateError::Empty));
        assert_eq!(Template::parse("a{b"), Err(TemplateError::Unclosed(1)));
        assert_eq!(Template::parse("a}b"), Err(TemplateError::Unopened(1)));
        assert_eq!(Template::parse("a{{b"), Err(TemplateError::Character('{')));
        assert_eq!(Template::parse("a b"), Err(TemplateError::Character(' ')));
        assert_eq!(Template::parse("room:é"), Err(TemplateError::Character('é')));
        assert!(matches!(Template::parse("a:{}"), Err(TemplateError::Expression { .. })));
        assert!(matches!(Template::parse("a:{b +}"), Err(TemplateError::Expression { .. })));
    }
}
