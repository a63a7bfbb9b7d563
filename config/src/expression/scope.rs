//! Which names an expression may use, by the place where it stands.

use super::ExpressionError;
use super::survey::Facts;
use crate::suggest;

/// A place for expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// No check of names: for expressions that come from no manifest.
    Any,
    /// `auth.identity`: what the credential said, before there is a user.
    Identity,
    /// `admit`, `autoSubscribe`, `greeting`: a client at the door.
    Admission,
    /// A channel rule: also the pattern's captures. No loops, because it runs for every subscribe.
    Channel {
        /// Names that the pattern binds.
        captures: &'a [String],
    },
    /// `commands`: a client's message.
    Command,
    /// `sources[].publish`: a message from outside, no client.
    Source,
}

const CLIENT: &[&str] = &["claims", "user", "tenant", "connection", "now"];
const IDENTITY: &[&str] = &["claims", "connection", "now"];
const CHANNEL: &[&str] = &["params", "channel"];
const COMMAND: &[&str] = &["event", "data", "args"];
const SOURCE: &[&str] = &["msg", "raw", "source", "headers", "now"];

/// Fields of the names that always have the same ones.
const MEMBERS: &[(&str, &[&str])] =
    &[("connection", &["id", "ip", "endpoint", "query", "auth"]), ("source", &["channel", "params"])];

/// Type names are values in CEL: `type(x) == int`.
const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What the evaluator declares; a test asks it. Operators are spelled as the parser names them.
pub(super) const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

impl Scope<'_> {
    /// The names of this place, captures last; `None` = any.
    fn names(&self) -> Option<Vec<&str>> {
        let names: Vec<&str> = match self {
            Self::Any => return None,
            Self::Identity => IDENTITY.to_vec(),
            Self::Admission => CLIENT.to_vec(),
            Self::Channel { captures } => {
                [CLIENT, CHANNEL].concat().into_iter().chain(captures.iter().map(String::as_str)).collect()
            }
            Self::Command => [CLIENT, COMMAND].concat(),
            Self::Source => SOURCE.to_vec(),
        };
        Some(names)
    }

    fn place(&self) -> &'static str {
        match self {
            Self::Any => "an expression",
            Self::Identity => "auth.identity",
            Self::Admission => "an admission rule",
            Self::Channel { .. } => "a channel rule",
            Self::Command => "a command",
            Self::Source => "a source rule",
        }
    }

    /// Refuses what this place does not have.
    pub(super) fn admit(&self, facts: &Facts) -> Result<(), ExpressionError> {
        if facts.loops && matches!(self, Self::Channel { .. }) {
            return Err(ExpressionError::Loop("a channel rule"));
        }
        for name in &facts.functions {
            if !is_operator(name) && !FUNCTIONS.contains(&name.as_str()) {
                return Err(ExpressionError::UnknownFunction {
                    name: name.clone(),
                    hint: suggest::one_of(name, FUNCTIONS),
                });
            }
        }
        let Some(names) = self.names() else { return Ok(()) };
        for name in &facts.names {
            if !names.contains(&name.as_str()) && !TYPES.contains(&name.as_str()) {
                return Err(ExpressionError::UnknownName {
                    name: name.clone(),
                    place: self.place(),
                    hint: suggest::one_of(name, &names),
                });
            }
        }
        for (name, field) in &facts.members {
            let known = MEMBERS.iter().find(|(object, _)| object == name);
            if let Some((_, fields)) = known.filter(|(_, fields)| !fields.contains(&field.as_str())) {
                let name = format!("{name}.{field}");
                return Err(ExpressionError::UnknownName {
                    name,
                    place: self.place(),
                    hint: suggest::one_of(field, fields),
                });
            }
        }
        Ok(())
    }
}

/// The parser's own names for operators hold a character that no identifier has.
fn is_operator(name: &str) -> bool {
    name.bytes().any(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'))
}
