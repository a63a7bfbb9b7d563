//! Channel names from templates and lists.

use rtgw_config::expression::Expression;
use rtgw_config::template::{Part, Template};
use rtgw_model::{ChannelName, ChannelNameError, escape_segment};

use cel::common::ast::IdedExpr;
use cel::common::types::{CelList, CelString};

use super::meter::metered;
use super::scalar::ScalarExpression;
use super::scope::{EvaluateError, Scope, with_value};
use super::slow::timed;

/// Why a template gives no channel name.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NameError {
    /// A part of it gives nothing printable.
    #[error("{0}")]
    Part(#[from] EvaluateError),
    /// What came together is no channel name.
    #[error("the channel name {0}")]
    Name(#[from] ChannelNameError),
}

/// A template, ready to be filled.
#[derive(Clone, Debug)]
pub struct ChannelTemplate {
    parts: Parts,
}

#[derive(Clone, Debug)]
enum Parts {
    Constant(ChannelName),
    Some(Vec<NamePart>),
}

#[derive(Clone, Debug)]
enum NamePart {
    Text(Box<str>),
    Value(ScalarExpression),
}

impl ChannelTemplate {
    /// Prepares `template`.
    pub fn new(template: &Template) -> Self {
        let parts: Vec<NamePart> = template
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => NamePart::Text(text.as_str().into()),
                Part::Expression(expression) => NamePart::Value(ScalarExpression::new(expression)),
            })
            .collect();
        let constant = match parts.as_slice() {
            [NamePart::Text(text)] => ChannelName::parse(text).ok(),
            _ => None,
        };
        Self { parts: constant.map_or(Parts::Some(parts), Parts::Constant) }
    }

    /// The name. Values are percent-encoded where they do not fit a segment, so that no claim reaches into another channel.
    ///
    /// # Errors
    /// A part that is no string, int or bool, or a whole that is no channel name (an empty claim, one that is too long).
    pub fn name(&self, scope: &dyn Scope) -> Result<ChannelName, NameError> {
        let parts = match &self.parts {
            Parts::Constant(name) => return Ok(name.clone()),
            Parts::Some(parts) => parts,
        };
        let mut name = String::with_capacity(64);
        for part in parts {
            match part {
                NamePart::Text(text) => name.push_str(text),
                NamePart::Value(expression) => {
                    name.push_str(&escape_segment(&expression.evaluate(scope)?.into_printed()?));
                }
            }
        }
        Ok(ChannelName::parse(&name)?)
    }
}

/// One expression that gives a list of whole channel names (`channelsFrom`).
#[derive(Clone, Debug)]
pub struct ChannelList {
    source: Box<str>,
    expression: IdedExpr,
}

impl ChannelList {
    /// Prepares `expression`.
    pub fn new(expression: &Expression) -> Self {
        Self { source: expression.source().into(), expression: metered(expression.program().expression()) }
    }

    /// The names as they stand in the list: whole names, so nothing is percent-encoded. Each may be no name at all.
    ///
    /// # Errors
    /// It fails or gives no list.
    pub fn names(&self, scope: &dyn Scope) -> Result<Vec<Result<ChannelName, NameError>>, EvaluateError> {
        timed(&self.source, || {
            with_value(&self.expression, scope, |value| {
                let Some(list) = value.downcast_ref::<CelList<'_>>() else {
                    return Err(EvaluateError::kind("a list", value));
                };
                Ok(list
                    .inner()
                    .iter()
                    .map(|item| match item.downcast_ref::<CelString<'_>>() {
                        Some(text) => Ok(ChannelName::parse(text.inner())?),
                        None => Err(EvaluateError::kind("a string", item.as_ref()).into()),
                    })
                    .collect())
            })
        })
    }
}
