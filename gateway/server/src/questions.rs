//! Answers what sessions ask: may this connection subscribe, may it publish, and if so, publish.
//!
//! A question leaves a shard as an effect and comes back as an input with the connection's generation. Rules are evaluated on the
//! runtime's threads, never on a shard. Each connection has at most one question open, and every question gets exactly one answer:
//! a session without it would wait for ever.

use std::sync::Arc;

use bytes::Bytes;
use rtgw_hub::access::{self, Action, Asker};
use rtgw_hub::{Answer, Ask, Grant, Input, Question};
use rtgw_model::{ConnectionId, Denied, ErrorCode};
use tokio::runtime::Handle;

use crate::client_publishing::{ClientPublisher, Published};
use crate::commands::{Commands, Sent};
use crate::intake::Room;
use crate::publishing::Draft;
use crate::rules::CompiledRules;
use crate::transport::{Inbox, ShardInput};

/// Answers questions on a runtime.
pub struct Questions {
    runtime: Handle,
    parts: Arc<Parts>,
}

struct Parts {
    rules: Arc<CompiledRules>,
    publisher: Arc<ClientPublisher>,
    commands: Arc<Commands>,
    room: Arc<Room>,
    inboxes: Vec<Arc<dyn Inbox>>,
}

impl Questions {
    /// Answers on `runtime`, whose threads have the 8 MiB of stack that expressions need. `inboxes` are all shards by their index.
    pub fn new(
        runtime: Handle,
        rules: Arc<CompiledRules>,
        publisher: Arc<ClientPublisher>,
        commands: Arc<Commands>,
        room: Arc<Room>,
        inboxes: Vec<Arc<dyn Inbox>>,
    ) -> Self {
        Self { runtime, parts: Arc::new(Parts { rules, publisher, commands, room, inboxes }) }
    }

    /// Takes a question; never waits.
    pub fn ask(&self, ask: Ask) {
        let parts = Arc::clone(&self.parts);
        self.runtime.spawn(async move { parts.answer(ask).await });
    }
}

/// What a client wants published.
struct Wanted {
    channel: Box<str>,
    event: Box<str>,
    data: Bytes,
    ephemeral: bool,
}

impl Parts {
    async fn answer(&self, asked: Ask) {
        let Ask { connection, key, endpoint, principal, question } = asked;
        let asker = Asker { key, endpoint, principal: &principal };
        let inbox = self.inboxes.get(usize::from(connection.shard));
        match question {
            Question::Subscribe(channel) => {
                let mut reply = Reply::new(inbox, connection, Answer::Subscribe(Err(fault())));
                reply.answer = Some(Answer::Subscribe(self.subscribe(&channel, &asker)));
            }
            Question::Publish { channel, event, data, ephemeral } => {
                let mut reply = Reply::new(inbox, connection, Answer::Published(Err(fault())));
                let wanted = Wanted { channel, event, data, ephemeral };
                reply.answer = Some(Answer::Published(self.publish(connection, wanted, &asker).await));
            }
            Question::Command { id, name, data } => {
                let mut reply = Reply::new(inbox, connection, Answer::Command(Err(fault())));
                let sent = Sent { connection, id, name, data };
                reply.answer = Some(Answer::Command(self.commands.run(sent, &asker).await));
            }
        }
    }

    fn subscribe(&self, channel: &str, asker: &Asker<'_>) -> Result<Grant, Denied> {
        let grant = access::ask(&*self.rules, Action::Subscribe, channel, asker)?;
        if self.room.has_place_for([grant.channel()]) {
            return Ok(grant);
        }
        let message = "this pod carries as many channels as it may; try later";
        Err(Denied::new(ErrorCode::NotAvailable, message))
    }

    async fn publish(&self, sender: ConnectionId, wanted: Wanted, asker: &Asker<'_>) -> Published {
        let grant = access::ask(&*self.rules, Action::Publish, &wanted.channel, asker)?;
        let draft = Draft { event: wanted.event.into(), data: wanted.data, ..Draft::default() };
        self.publisher.publish(&grant, draft, wanted.ephemeral.then_some(sender)).await
    }
}

/// Posts its answer when it goes out of scope, also when that is a panic or the end of the runtime.
struct Reply<'a> {
    inbox: Option<&'a Arc<dyn Inbox>>,
    connection: ConnectionId,
    answer: Option<Answer>,
}

impl<'a> Reply<'a> {
    /// `unless` is what is answered unless another answer is given.
    fn new(inbox: Option<&'a Arc<dyn Inbox>>, connection: ConnectionId, unless: Answer) -> Self {
        Self { inbox, connection, answer: Some(unless) }
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if let (Some(inbox), Some(answer)) = (self.inbox, self.answer.take()) {
            // Never refused: only publications are.
            let _posted = inbox.post(ShardInput::Hub(Input::Answered(self.connection, answer)));
        }
    }
}

fn fault() -> Denied {
    Denied::new(ErrorCode::Internal, "a fault of the server")
}

#[cfg(test)]
#[path = "questions_tests.rs"]
mod tests;
