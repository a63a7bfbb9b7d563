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
        /// Names that the pattern binds; `None` where the pattern is wrong, so that nobody knows.
        captures: Option<&'a [String]>,
    },
    /// `commands`: a client's message.
    Command,
    /// `sources[].publish`: a message from outside, no client.
    Source {
        /// Names that the source's patterns bind in `source.params`; `None` where one is wrong, so that nobody knows.
        params: Option<&'a [String]>,
    },
}

const CLIENT: &[&str] = &["claims", "user", "tenant", "connection", "now"];
const IDENTITY: &[&str] = &["claims", "connection", "now"];
const CHANNEL: &[&str] = &["params", "channel"];
const COMMAND: &[&str] = &["event", "data", "args"];
const SOURCE: &[&str] = &["msg", "raw", "source", "headers", "now"];

const CONNECTION: &[&str] = &["id", "ip", "endpoint", "query", "auth", "time"];

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
            Self::Any | Self::Channel { captures: None } => return None,
            Self::Identity => IDENTITY.to_vec(),
            Self::Admission => CLIENT.to_vec(),
            Self::Channel { captures: Some(captures) } => {
                [CLIENT, CHANNEL].concat().into_iter().chain(captures.iter().map(String::as_str)).collect()
            }
            Self::Command => [CLIENT, COMMAND].concat(),
            Self::Source { .. } => SOURCE.to_vec(),
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
            Self::Source { .. } => "a source rule",
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
        self.admit_names(facts)?;
        self.admit_members(facts)
    }

    fn admit_names(&self, facts: &Facts) -> Result<(), ExpressionError> {
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
        Ok(())
    }

    fn admit_members(&self, facts: &Facts) -> Result<(), ExpressionError> {
        for (object, field) in &facts.members {
            let known: Vec<&str> = match (object.as_str(), self) {
                (_, Self::Any) => continue,
                ("connection", _) => CONNECTION.to_vec(),
                ("source", Self::Source { .. }) => vec!["channel", "params"],
                ("source.params", Self::Source { params: Some(params) }) => {
                    params.iter().map(String::as_str).collect()
                }
                _ => continue,
            };
            if !known.contains(&field.as_str()) {
                return Err(ExpressionError::UnknownName {
                    name: format!("{object}.{field}"),
                    place: self.place(),
                    hint: suggest::one_of(field, &known),
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
