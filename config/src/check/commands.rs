//! Commands that the manifest defines: one action each, under names that mean nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Check, reach, syntax};
use crate::checked::{Channel, Command, CommandAction, CommandWebhook};
use crate::defaults;
use crate::expression::{Expression, Scope};
use crate::problem::Problem;
use crate::raw;

/// Commands of the protocol; a manifest cannot give them another meaning.
pub(super) const BUILT_IN: &[&str] =
    &["auth", "history", "ping", "presence", "publish", "refresh", "subscribe", "unsubscribe"];

const SCOPE: Scope<'_> = Scope::Command;
const TIMEOUT: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(30)];

/// Tells channels by which tags commands may ask for their publications.
pub(super) fn note_asked_tags(commands: &[Command], channels: &mut [Channel]) {
    for command in commands {
        let CommandAction::ReplyLatest { channel: template, tags, .. } = &command.action else { continue };
        for at in reach::may_reach(template, channels.iter().map(|channel| &channel.pattern)) {
            channels[at].asked_tags.extend(tags.keys().cloned());
        }
    }
}

impl Check<'_> {
    /// The commands that are right, by name.
    pub(super) fn commands(
        &mut self,
        commands: Option<&BTreeMap<String, raw::Command>>,
        channels: &[Channel],
    ) -> Vec<Command> {
        let all = commands.into_iter().flatten();
        all.filter_map(|(name, command)| self.command(name, command, channels)).collect()
    }

    fn command(&mut self, name: &str, command: &raw::Command, channels: &[Channel]) -> Option<Command> {
        let path = format!("spec.commands.{name}");
        if BUILT_IN.contains(&name) {
            let problem = Problem::error(&path, format!("`{name}` is a command of the protocol"));
            self.problems.add(problem.hint("give it another name"));
        } else if !syntax::command(name) {
            let problem = Problem::error(&path, "is not the name of a command");
            self.problems.add(problem.hint("a letter or `_`, then up to 62 of A-Z a-z 0-9 _ . : / -"));
        }
        let when = self.optional(&format!("{path}.when"), command.when.as_ref(), &SCOPE);
        let action = self.action(&path, command, channels);
        if command.ephemeral.is_some() && command.publish_to.is_none() {
            let problem =
                Problem::error(format!("{path}.ephemeral"), "means something only beside publishTo");
            self.problems.add(problem.hint("take it out"));
        }
        Some(Command { name: name.to_owned(), when: when?, action: action? })
    }

    fn action(&mut self, path: &str, command: &raw::Command, channels: &[Channel]) -> Option<CommandAction> {
        let written = [
            ("reply", command.reply.is_some()),
            ("ack", command.ack.is_some()),
            ("replyLatest", command.reply_latest.is_some()),
            ("publishTo", command.publish_to.is_some()),
            ("webhook", command.webhook.is_some()),
        ];
        let actions: Vec<&str> =
            written.into_iter().filter(|(_, written)| *written).map(|(name, _)| name).collect();
        match actions.as_slice() {
            [_] => {}
            [] => {
                let problem = Problem::error(path, "does nothing");
                self.problems.add(problem.hint("add one of reply, ack, replyLatest, publishTo, webhook"));
            }
            several => {
                let message = format!("has {}: only one of them can be meant", several.join(" and "));
                self.error(path, message);
            }
        }
        // All that are written are checked, so that nothing is told only later.
        let reply = command.reply.as_ref().map(|reply| self.reply(&format!("{path}.reply"), reply));
        let ack = command
            .ack
            .as_ref()
            .map(|text| self.expression(&format!("{path}.ack"), text, &SCOPE).map(CommandAction::Ack));
        let latest = command
            .reply_latest
            .as_ref()
            .map(|latest| self.reply_latest(&format!("{path}.replyLatest"), latest, channels));
        let ephemeral = command.ephemeral.unwrap_or_default();
        let publish = command
            .publish_to
            .as_ref()
            .map(|publish| self.publish_to(&format!("{path}.publishTo"), publish, ephemeral, channels));
        let webhook =
            command.webhook.as_ref().map(|webhook| self.command_webhook(&format!("{path}.webhook"), webhook));
        if actions.len() != 1 {
            return None;
        }
        [reply, ack, latest, publish, webhook].into_iter().flatten().next().flatten()
    }

    fn reply(&mut self, path: &str, reply: &raw::Reply) -> Option<CommandAction> {
        let event = self.expression(&format!("{path}.event"), &reply.event, &SCOPE);
        let data = self.expression(&format!("{path}.data"), &reply.data, &SCOPE);
        Some(CommandAction::Reply { event: event?, data: data? })
    }

    fn reply_latest(
        &mut self,
        path: &str,
        latest: &raw::ReplyLatest,
        channels: &[Channel],
    ) -> Option<CommandAction> {
        let channel = self.command_channel(path, &latest.channel, channels);
        let event = self.expression(&format!("{path}.event"), &latest.event, &SCOPE);
        let tags = self.command_tags(path, latest.tags.as_ref());
        Some(CommandAction::ReplyLatest {
            channel: channel?,
            event: event?,
            tags,
            or_else_any: latest.or_else.is_some(),
        })
    }

    fn publish_to(
        &mut self,
        path: &str,
        publish: &raw::PublishTo,
        ephemeral: bool,
        channels: &[Channel],
    ) -> Option<CommandAction> {
        let channel = self.command_channel(path, &publish.channel, channels);
        let event = self.expression(&format!("{path}.event"), &publish.event, &SCOPE);
        let data = self.optional(&format!("{path}.data"), publish.data.as_ref(), &SCOPE);
        let tags = self.command_tags(path, publish.tags.as_ref());
        Some(CommandAction::PublishTo { channel: channel?, event: event?, data: data?, tags, ephemeral })
    }

    fn command_channel(
        &mut self,
        path: &str,
        text: &str,
        channels: &[Channel],
    ) -> Option<crate::template::Template> {
        let place = format!("{path}.channel");
        let template = self.template(&place, text, &SCOPE)?;
        self.reachable(&place, &template, channels);
        Some(template)
    }

    fn command_tags(
        &mut self,
        path: &str,
        tags: Option<&BTreeMap<String, String>>,
    ) -> BTreeMap<String, Expression> {
        let mut checked = BTreeMap::new();
        for (tag, text) in tags.into_iter().flatten() {
            let place = format!("{path}.tags.{tag}");
            if !syntax::word(tag) {
                let problem = Problem::error(&place, "is not the name of a tag");
                self.problems.add(problem.hint("letters, digits and `_`, for example job_id"));
            }
            if let Some(expression) = self.expression(&place, text, &SCOPE) {
                checked.insert(tag.clone(), expression);
            }
        }
        checked
    }

    fn command_webhook(&mut self, path: &str, webhook: &raw::CommandWebhook) -> Option<CommandAction> {
        let place = format!("{path}.timeout");
        let timeout = self.duration(&place, webhook.timeout.as_ref(), defaults::WEBHOOK_TIMEOUT, TIMEOUT);
        let url = self.http_url(&format!("{path}.url"), &webhook.url);
        let key = self.secret(&format!("{path}.secretRef"), &webhook.secret_ref);
        Some(CommandAction::Webhook(CommandWebhook {
            url: url?,
            timeout,
            key: key?,
            max_in_flight: webhook.max_in_flight.unwrap_or(defaults::WEBHOOK_MAX_IN_FLIGHT),
        }))
    }
}
