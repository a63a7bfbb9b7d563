//! CEL expressions, compiled under bounds that the library does not have.

use std::sync::Arc;

/// A compiled expression.
#[derive(Clone)]
pub struct Expression {
    source: Arc<str>,
    program: Arc<cel::Program>,
    path: Option<Arc<[String]>>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl Expression {
    /// The text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The compiled program; execute it only on a thread with 8 MiB of stack.
    pub fn program(&self) -> &cel::Program {
        &self.program
    }

    /// `msg.data.x` as `["msg", "data", "x"]` when the expression is nothing but a path: cut from the raw bytes, never converted.
    pub fn path(&self) -> Option<&[String]> {
        self.path.as_deref()
    }
}
