//! Carries out the commands that the manifest defines: what a client's message of that name answers, publishes or asks.
//!
//! Expressions are evaluated on the caller's thread, which has 8 MiB of stack and is never a shard's; what waits (the broker, the
//! application) waits in the future of one question, so only that connection's later commands wait with it.

mod compiled;
mod webhook;

use std::sync::Arc;

use bytes::Bytes;
use rtgw_config::checked::Checked;
use rtgw_hub::Grant;
use rtgw_hub::access::{self, Action as Asked, Asker};
use rtgw_model::{ChannelName, CommandId, CommandName, CommandNames, ConnectionId, Denied, ErrorCode, Event};
use rtgw_protocol::json;

use crate::client_publishing::ClientPublisher;
use crate::expressions::{CallerScope, CommandScope, Connection, EvaluateError, NameError, Scope};
use crate::latest::{Latest, Remembered, fits};
use crate::outbound::Outbound;
use crate::pace::Pace;
use crate::publishing::Draft;
use crate::recovery::Recoveries;
use crate::rulebook::Rulebook;
use crate::transport::Clock;
use compiled::{Action, Compiled, PublishTo, ReplyLatest};
use webhook::Webhook;

static FAILURES: Pace = Pace::every_ms(10_000);

/// A command as a client sent it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Who sent it.
    pub connection: ConnectionId,
    /// The client's own id, raw JSON.
    pub id: Option<CommandId>,
    /// Which command.
    pub name: CommandName,
    /// Its arguments, raw JSON.
    pub data: Bytes,
}

/// The commands of one configuration.
pub struct Commands {
    commands: Vec<Compiled>,
    rules: Arc<Rulebook>,
    publisher: Arc<ClientPublisher>,
    latest: Option<Arc<Latest>>,
    recoveries: Arc<Recoveries>,
    outbound: Outbound,
    clock: Clock,
}

/// Which publication is wanted.
struct Look<'c> {
    channel: ChannelName,
    event: Box<str>,
    /// Those with these tags first, then the others.
    tags: Vec<Vec<(&'c str, Box<str>)>>,
}

/// What is left to do once everything is evaluated.
enum Step<'c> {
    Say(Event),
    Publish { grant: Grant, draft: Draft, ephemeral: bool },
    Ask { webhook: &'c Webhook, body: Vec<u8> },
    Look(Look<'c>),
}

impl Commands {
    /// The commands of `config`.
    pub fn new(
        config: &Checked,
        rules: Arc<Rulebook>,
        publisher: Arc<ClientPublisher>,
        latest: Option<Arc<Latest>>,
        recoveries: Arc<Recoveries>,
        outbound: Outbound,
        clock: Clock,
    ) -> Self {
        let commands = config.commands.iter().map(Compiled::new).collect();
        Self { commands, rules, publisher, latest, recoveries, outbound, clock }
    }

    /// The names that clients may send.
    pub fn names(config: &Checked) -> CommandNames {
        CommandNames::new(config.commands.iter().map(|command| command.name.as_str()))
    }

    /// Carries out what was sent; gives what is said.
    ///
    /// # Errors
    /// The refusal to answer with: `forbidden` where a rule says no, `bad_request` where an expression fails for this message,
    /// `not_available` and `timeout` where the broker or the application cannot be asked or nothing is there to answer with.
    pub async fn run(&self, sent: Sent, asker: &Asker<'_>) -> Result<Event, Denied> {
        let Some(command) = self.commands.iter().find(|command| command.name == sent.name) else {
            // A reload took it away while it was under way.
            return Err(Denied::new(ErrorCode::UnknownType, "there is no such command any more"));
        };
        match self.evaluate(command, &sent, asker)? {
            Step::Say(event) => Ok(event),
            Step::Publish { grant, draft, ephemeral } => {
                let except = ephemeral.then_some(sent.connection);
                let (channel, id, offset) = self.publisher.publish(&grant, draft, except).await?;
                Ok(Event::Published { channel, id, offset })
            }
            Step::Ask { webhook, body } => webhook.ask(&self.outbound, body).await,
            Step::Look(look) => self.look(&look).await,
        }
    }

    fn evaluate<'c>(
        &self,
        command: &'c Compiled,
        sent: &Sent,
        asker: &Asker<'_>,
    ) -> Result<Step<'c>, Denied> {
        let principal = asker.principal;
        let rules = self.rules.load();
        let connection = Connection {
            key: asker.key,
            ip: principal.ip,
            endpoint: rules.endpoint(asker.endpoint),
            query: &principal.query,
        };
        let caller = CallerScope::new(connection, principal.claims.as_bytes(), crate::clock::unix_seconds())
            .with_identity(&principal.user, &principal.tenant);
        let data = std::str::from_utf8(&sent.data).unwrap_or("null");
        let scope = CommandScope::new(caller, command.name.as_str(), data);
        if let Some(when) = &command.when {
            let allowed = when.holds(&scope).unwrap_or_else(|error| {
                tracing::debug!(expression = when.source(), %error, "a command's `when` failed and denies");
                false
            });
            if !allowed {
                let message = "the command's rule does not let this connection use it";
                return Err(Denied::new(ErrorCode::Forbidden, message));
            }
        }
        let failing = Failing { command: command.name, scope: &scope };
        match &command.action {
            Action::Reply { event, data } => {
                let event = failing.event(event)?;
                let data = failing.json("data", data, &sent.data)?;
                Ok(Step::Say(Event::Reply { event, data, at: None, priority: None }))
            }
            Action::Ack(data) => {
                failing.json("ack", data, &sent.data).map(|data| Step::Say(Event::Acknowledged(data)))
            }
            Action::ReplyLatest(wanted) => self.reply_latest(wanted, &failing, asker).map(Step::Look),
            Action::PublishTo(wanted) => self.publish_to(wanted, &failing, &sent.data, asker),
            Action::Webhook(webhook) => {
                let body = webhook::body(sent, &connection, principal);
                Ok(Step::Ask { webhook, body })
            }
        }
    }

    fn reply_latest<'c>(
        &self,
        wanted: &'c ReplyLatest,
        failing: &Failing<'_>,
        asker: &Asker<'_>,
    ) -> Result<Look<'c>, Denied> {
        let channel = failing.channel(&wanted.channel)?;
        // What a client may not hear it may not ask for either, whatever the template made of its data.
        let grant = access::ask(&*self.rules.load(), Asked::Subscribe, channel.as_str(), asker)?;
        let event = failing.event(&wanted.event)?;
        let any = wanted.or_else_any.then(Vec::new);
        let tags = match failing.tags(&wanted.tags) {
            Ok(tags) => [tags].into_iter().chain(any).collect(),
            Err(denied) => vec![any.ok_or(denied)?],
        };
        Ok(Look { channel: grant.channel().clone(), event, tags })
    }

    /// The latest publication: of what the broker keeps, so that every pod gives the same answer; of a channel that keeps nothing, of what
    /// this pod heard.
    async fn look(&self, look: &Look<'_>) -> Result<Event, Denied> {
        let Look { channel, event, tags } = look;
        let found = match self.rules.history_of(channel) {
            Some(policy) => {
                let newest = self.recoveries.newest(channel, &policy).await.ok_or_else(|| {
                    let message = "the broker cannot be asked what was published last; try again later";
                    Denied::new(ErrorCode::NotAvailable, message)
                })?;
                let newest: Vec<_> = newest.publications().map(|one| one.publication()).collect();
                let find = |tags: &Vec<_>| newest.iter().rev().find(|one| fits(one, event, tags));
                tags.iter().find_map(find).map(|one| Remembered::of(one))
            }
            None => {
                let now = self.clock.millis();
                let find = |tags: &Vec<_>| self.latest.as_ref()?.find(channel, event, tags, now);
                tags.iter().find_map(find)
            }
        };
        let found = found.ok_or_else(|| {
            Denied::new(ErrorCode::NotAvailable, "nothing of that kind was published yet; try again later")
        })?;
        Ok(Event::Reply {
            event: event.clone(),
            data: found.data,
            at: Some(found.timestamp),
            priority: found.priority,
        })
    }

    fn publish_to(
        &self,
        wanted: &PublishTo,
        failing: &Failing<'_>,
        sent: &Bytes,
        asker: &Asker<'_>,
    ) -> Result<Step<'static>, Denied> {
        let channel = failing.channel(&wanted.channel)?;
        let grant = access::ask(&*self.rules.load(), Asked::Publish, channel.as_str(), asker)?;
        let data = match &wanted.data {
            Some(data) => failing.json("data", data, sent)?,
            None => sent.clone(),
        };
        let tag = |(name, value): &(Box<str>, crate::expressions::ScalarExpression)| {
            let printed = value.evaluate(failing.scope).and_then(|value| value.into_printed()).ok()?;
            Some((name.to_string(), printed.into()))
        };
        let draft = Draft {
            event: failing.event(&wanted.event)?.into(),
            data,
            tags: wanted.tags.iter().filter_map(tag).collect(),
            ..Draft::default()
        };
        Ok(Step::Publish { grant, draft, ephemeral: wanted.ephemeral })
    }
}

/// Evaluates the fields of a command. What fails is told to the client without a value of the expression: claims may be in it.
struct Failing<'s> {
    command: CommandName,
    scope: &'s dyn Scope,
}

impl Failing<'_> {
    fn event(&self, event: &crate::expressions::ScalarExpression) -> Result<Box<str>, Denied> {
        let text = event.evaluate(self.scope).and_then(|value| value.into_text());
        let text = text.map_err(|error| self.denied("event", event.source(), &error))?;
        if (1..=rtgw_model::EVENT_BYTES).contains(&text.len()) {
            return Ok(text);
        }
        Err(Denied::new(ErrorCode::BadRequest, "the event's name must have 1 to 128 bytes"))
    }

    fn json(
        &self,
        field: &'static str,
        plan: &crate::expressions::JsonPlan,
        sent: &Bytes,
    ) -> Result<Bytes, Denied> {
        let json = plan.evaluate(self.scope, Some(sent));
        let json = json.map_err(|error| self.denied(field, plan.source(), &error))?;
        // What a client sent is bounded already; what an expression builds around it is bounded here.
        let nested = std::str::from_utf8(&json).is_ok_and(json::too_deep);
        if json.len() <= crate::intake::DATA_BYTES && !nested {
            return Ok(json);
        }
        let message =
            format!("the command's `{field}` is too large, or nested deeper than {} levels", json::NESTING);
        Err(Denied::new(ErrorCode::TooLarge, message))
    }

    fn channel(&self, channel: &compiled::Channel) -> Result<ChannelName, Denied> {
        channel.template.name(self.scope).map_err(|error| match error {
            NameError::Part(error) => self.denied("channel", &channel.source, &error),
            NameError::Name(error) => {
                Denied::new(ErrorCode::BadRequest, format!("the channel's name {error}"))
            }
        })
    }

    fn tags<'t>(&self, tags: &'t [compiled::Tag]) -> Result<Vec<(&'t str, Box<str>)>, Denied> {
        let tag = |(name, value): &'t compiled::Tag| {
            let printed = value.evaluate(self.scope).and_then(|value| value.into_printed());
            let printed = printed.map_err(|error| self.denied("tags", value.source(), &error))?;
            Ok((&**name, printed))
        };
        tags.iter().map(tag).collect()
    }

    fn denied(&self, field: &'static str, expression: &str, error: &EvaluateError) -> Denied {
        let command = self.command.as_str();
        tracing::debug!(command, field, expression, %error, "a command's expression failed");
        if let Some(unsaid) = FAILURES.due() {
            tracing::warn!(
                command,
                field,
                expression,
                unsaid,
                "a command was refused: its expression failed"
            );
        }
        let message = format!("the command's `{field}` cannot be made from this message");
        Denied::new(ErrorCode::BadRequest, message)
    }
}
