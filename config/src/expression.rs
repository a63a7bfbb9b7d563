//! CEL expressions, compiled under bounds that the library does not have.
//!
//! The library's parser and evaluator recurse with the text, so a kilobyte of nested brackets would end the process. Three
//! walls stand before that: [`outline`] bounds the nesting from the tokens alone before the parser sees the text, the parser
//! runs on a thread with a stack of its own, and [`survey`] measures the tree without recursion before anything evaluates it.

mod outline;
mod scope;
mod survey;

use std::sync::Arc;

pub use scope::Scope;

/// Longest expression in bytes; also `maxLength` in the schema.
pub const EXPRESSION_BYTES: usize = 1024;
/// Highest parse tree; the evaluator recurses once per level.
pub const TREE_HEIGHT: usize = 32;
/// Stack of the parsing thread; threads that evaluate need as much.
pub const STACK_BYTES: usize = 8 * 1024 * 1024;

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<cel::Program>,
    path: Option<Arc<[String]>>,
    names: Arc<[String]>,
}

/// Why a text is not an expression that may run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// No text.
    #[error("is empty: a CEL expression is expected")]
    Empty,
    /// More than [`EXPRESSION_BYTES`].
    #[error("is {0} bytes long: an expression has at most {EXPRESSION_BYTES}")]
    TooLong(usize),
    /// A tree above [`TREE_HEIGHT`], or tokens that would make one.
    #[error("nests too deeply: an expression has at most {TREE_HEIGHT} levels")]
    TooDeep,
    /// Not CEL; the parser's words.
    #[error("is not CEL: {message}")]
    Syntax {
        /// What the parser met and where.
        message: String,
        /// What was probably meant.
        hint: Option<&'static str>,
    },
    /// A macro such as `exists` where the scope has none.
    #[error("loops (all, exists, exists_one, map, filter) cannot be used in {0}")]
    Loop(&'static str),
    /// A loop in a loop.
    #[error("has a loop (all, exists, exists_one, map, filter) inside another one")]
    NestedLoop,
    /// `matches` with a computed pattern.
    #[error("`matches` needs its pattern as a literal text")]
    ComputedPattern,
    /// `matches` with a literal that is no regular expression.
    #[error("`matches` has a pattern that is not a regular expression: {0}")]
    BadPattern(String),
    /// A name that the scope does not have.
    #[error("unknown name `{name}` in {place}")]
    UnknownName {
        /// As written.
        name: String,
        /// Which scope.
        place: &'static str,
        /// What could have been meant, or what there is.
        hint: String,
    },
    /// A function that nobody declares.
    #[error("unknown function `{name}`")]
    UnknownFunction {
        /// As written.
        name: String,
        /// What could have been meant, or what there is.
        hint: String,
    },
    /// The system gave no thread to parse on.
    #[error("could not be parsed: {0}")]
    NoThread(String),
}

impl ExpressionError {
    /// What to do about it, where that is not plain.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Syntax { hint, .. } => hint.map(str::to_owned),
            Self::UnknownName { hint, .. } | Self::UnknownFunction { hint, .. } => Some(hint.clone()),
            Self::TooDeep => Some("split the rule, or group long chains: (a + b) + (c + d)".into()),
            Self::TooLong(_) => Some("split the rule, or move the decision into a claim".into()),
            Self::Loop(_) => Some("to ask whether a list holds a value write: value in list".into()),
            Self::NestedLoop => {
                Some("flatten the list in the publisher or put the answer into a claim".into())
            }
            Self::ComputedPattern => Some("write it out: name.matches('^[a-z]+$')".into()),
            _ => None,
        }
    }
}

impl Expression {
    /// Compiles `text` under every bound; any name may stand in it.
    ///
    /// # Errors
    /// The first bound that `text` breaks, or the parser's complaint.
    pub fn compile(text: &str) -> Result<Self, ExpressionError> {
        Self::compile_in(text, &Scope::Any)
    }

    /// Compiles `text` and checks that `scope` has every name in it.
    ///
    /// # Errors
    /// As [`Expression::compile`], and for names and loops that `scope` does not have.
    pub fn compile_in(text: &str, scope: &Scope<'_>) -> Result<Self, ExpressionError> {
        if text.trim().is_empty() {
            return Err(ExpressionError::Empty);
        }
        if text.len() > EXPRESSION_BYTES {
            return Err(ExpressionError::TooLong(text.len()));
        }
        if outline::height_at_most(text) > outline::HEIGHT_LIMIT {
            return Err(ExpressionError::TooDeep);
        }
        let program = parse(text)?;
        let facts = survey::survey(program.expression())?;
        scope.admit(&facts).map_err(|error| quoted(error, facts.path.as_deref()))?;
        let path = facts.path.map(Arc::from);
        Ok(Self { source: Arc::from(text), program: Arc::new(program), path, names: Arc::from(facts.names) })
    }

    /// The text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The compiled program; execute it only on a thread with [`STACK_BYTES`] of stack.
    pub fn program(&self) -> &cel::Program {
        &self.program
    }

    /// Whether the variable `name` stands in it.
    pub fn uses(&self, name: &str) -> bool {
        self.names.iter().any(|used| used == name)
    }

    /// `msg.data.x` as `["msg", "data", "x"]` when the expression is nothing but a path: cut from the raw bytes, never converted.
    pub fn path(&self) -> Option<&[String]> {
        self.path.as_deref()
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

/// Parses on a thread of its own: what remains of the parser's recursion must not depend on the caller's stack.
fn parse(text: &str) -> Result<cel::Program, ExpressionError> {
    std::thread::scope(|threads| {
        let worker = std::thread::Builder::new()
            .name("cel-parser".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(threads, || cel::Program::compile(text).map_err(|errors| complaint(&errors)))
            .map_err(|error| ExpressionError::NoThread(error.to_string()))?;
        let gave_up = |_| Err(ExpressionError::Syntax { message: "the parser gave up".into(), hint: None });
        worker.join().unwrap_or_else(gave_up)
    })
}

/// A single word that is no name was probably meant as a text.
fn quoted(error: ExpressionError, path: Option<&[String]>) -> ExpressionError {
    match (error, path) {
        (ExpressionError::UnknownName { name, place, hint }, Some([_])) if hint.starts_with("one of") => {
            let hint = format!("a text stands in quotes: '{name}'; a name is {hint}");
            ExpressionError::UnknownName { name, place, hint }
        }
        (error, _) => error,
    }
}

/// The first complaint in one line and in plain words, without the parser's list of every token it would have liked.
fn complaint(errors: &cel::ParseErrors) -> ExpressionError {
    let Some(first) = errors.errors.first() else {
        return ExpressionError::Syntax { message: "the parser gave up".into(), hint: None };
    };
    let text = first.msg.strip_prefix("Syntax error: ").unwrap_or(&first.msg);
    let text = text.split(" expecting ").next().unwrap_or(text).replace('\n', " ");
    let met = [
        "mismatched input '",
        "extraneous input '",
        "no viable alternative at input '",
        "token recognition error at: '",
    ];
    let met =
        met.iter().find_map(|words| text.strip_prefix(words)).map(|rest| rest.trim_end_matches('\'').trim());
    let (text, hint) = match met {
        Some("<EOF>") => ("it ends too early".to_owned(), None),
        Some(token) => (format!("unexpected `{token}`"), meant(token)),
        None => (text, None),
    };
    let (line, column) = first.pos;
    let place = if line > 1 { format!("line {line}, column {column}") } else { format!("column {column}") };
    ExpressionError::Syntax { message: format!("{place}: {text}"), hint }
}

/// Operators of other languages.
fn meant(token: &str) -> Option<&'static str> {
    match token {
        "=" => Some("to compare write `==`"),
        "&" | "and" | "AND" => Some("write `&&`"),
        "|" | "or" | "OR" => Some("write `||`"),
        "not" | "NOT" => Some("write `!`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
