//! Rules in CEL for what one object can decide by itself. The gateway's own check says the same in more words; the corpus holds both to
//! one verdict. What needs a parser of CEL, the Secrets, or more than the API server lets a rule cost stays with the operator.

mod auth;
mod channels;
mod cluster;
mod commands;
mod endpoints;
mod limits;
mod redis;
mod sources;
mod spelling;

use serde_json::{Value, json};

/// A rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Path inside `spec`; `[]` stands for any item of a list, `*` for any entry of a map.
    pub at: &'static str,
    /// CEL; `self` is what stands there.
    pub rule: String,
    /// What is wrong and what to do.
    pub message: String,
    /// The field below `at` that is to blame.
    pub field: Option<&'static str>,
}

impl Rule {
    fn new(at: &'static str, rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self { at, rule: rule.into(), message: message.into(), field: None }
    }

    fn about(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    /// As an entry of `x-kubernetes-validations`.
    pub(super) fn to_value(&self) -> Value {
        let mut value = json!({ "rule": self.rule, "message": self.message });
        if let Some(field) = self.field {
            value["fieldPath"] = field.into();
        }
        value
    }
}

/// Rules of the object as a whole.
pub(super) fn of_object() -> Vec<Rule> {
    vec![Rule::new(
        "",
        "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must have at most 40 characters: a lower-case letter first, then letters, digits and -, no - at the end",
    )]
}

/// Rules within `spec`.
pub(super) fn of_spec() -> Vec<Rule> {
    [
        auth::rules(),
        channels::rules(),
        cluster::rules(),
        commands::rules(),
        endpoints::rules(),
        limits::rules(),
        redis::rules(),
        sources::rules(),
    ]
    .concat()
}

/// All of them.
pub(super) fn all() -> Vec<Rule> {
    [of_object(), of_spec()].concat()
}
