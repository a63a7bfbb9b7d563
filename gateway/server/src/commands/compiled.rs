//! Commands of the manifest, ready to be carried out.

use std::collections::BTreeMap;

use rtgw_config::checked::{Command, CommandAction};
use rtgw_config::expression::Expression;
use rtgw_config::template::{Part, Template};
use rtgw_model::CommandName;

use super::webhook::Webhook;
use crate::expressions::{ChannelTemplate, Condition, JsonPlan, ScalarExpression};

/// A tag and the expression that gives its value.
pub(super) type Tag = (Box<str>, ScalarExpression);

/// One command.
pub(super) struct Compiled {
    pub(super) name: CommandName,
    pub(super) when: Option<Condition>,
    pub(super) action: Action,
}

/// What it does.
pub(super) enum Action {
    Reply { event: ScalarExpression, data: JsonPlan },
    Ack(JsonPlan),
    ReplyLatest(ReplyLatest),
    PublishTo(PublishTo),
    Webhook(Webhook),
}

pub(super) struct ReplyLatest {
    pub(super) channel: Channel,
    pub(super) event: ScalarExpression,
    pub(super) tags: Vec<Tag>,
    pub(super) or_else_any: bool,
}

pub(super) struct PublishTo {
    pub(super) channel: Channel,
    pub(super) event: ScalarExpression,
    pub(super) data: Option<JsonPlan>,
    pub(super) tags: Vec<Tag>,
    pub(super) ephemeral: bool,
}

/// A template and how to name it in a log.
pub(super) struct Channel {
    pub(super) template: ChannelTemplate,
    pub(super) source: Box<str>,
}

impl Compiled {
    /// Prepares `command`.
    pub(super) fn new(command: &Command) -> Self {
        let action = match &command.action {
            CommandAction::Reply { event, data } => {
                Action::Reply { event: ScalarExpression::new(event), data: JsonPlan::new(data) }
            }
            CommandAction::Ack(data) => Action::Ack(JsonPlan::new(data)),
            CommandAction::ReplyLatest { channel, event, tags: asked, or_else_any } => {
                Action::ReplyLatest(ReplyLatest {
                    channel: Channel::new(channel),
                    event: ScalarExpression::new(event),
                    tags: tags(asked),
                    or_else_any: *or_else_any,
                })
            }
            CommandAction::PublishTo { channel, event, data, tags: given, ephemeral } => {
                Action::PublishTo(PublishTo {
                    channel: Channel::new(channel),
                    event: ScalarExpression::new(event),
                    data: data.as_ref().map(JsonPlan::new),
                    tags: tags(given),
                    ephemeral: *ephemeral,
                })
            }
            CommandAction::Webhook(webhook) => Action::Webhook(Webhook::new(webhook)),
        };
        Self {
            name: CommandName::declare(&command.name),
            when: command.when.as_ref().map(Condition::new),
            action,
        }
    }
}

impl Channel {
    fn new(template: &Template) -> Self {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Expression(expression) => format!("{{{}}}", expression.source()),
        };
        let source: String = template.parts.iter().map(part).collect();
        Self { template: ChannelTemplate::new(template), source: source.into() }
    }
}

fn tags(tags: &BTreeMap<String, Expression>) -> Vec<Tag> {
    tags.iter().map(|(tag, value)| (tag.as_str().into(), ScalarExpression::new(value))).collect()
}
