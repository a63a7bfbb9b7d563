//! Answers what sessions ask: may this connection subscribe, may it publish, and if so, publish.
//!
//! A question leaves a shard as an effect and comes back as an input with the connection's generation. Rules are evaluated on the
//! runtime's threads, never on a shard. Each connection has at most one question open, and every question gets exactly one answer:
//! a session without it would wait for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rtgw_hub::access::{self, Action, Asker};
use rtgw_hub::{Answer, Ask, Grant, Input, Question};
use rtgw_model::{ChannelName, ConnectionId, Denied, ErrorCode, PublicationId};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::intake::{Origin, Room};
use crate::publishing::{Draft, Problem, Publisher};
use crate::rules::CompiledRules;
use crate::transport::{Clock, Inbox, ShardInput};

/// Most publications of clients that wait for the broker at once; each may hold a message of the largest size.
const PUBLISHING: usize = 1024;
/// How long the broker may take before the client is told that nothing is known.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers questions on a runtime.
pub struct Questions {
    runtime: Handle,
    parts: Arc<Parts>,
}

struct Parts {
    rules: Arc<CompiledRules>,
    publisher: Publisher,
    room: Arc<Room>,
    inboxes: Vec<Arc<dyn Inbox>>,
    clock: Clock,
    publishing: Semaphore,
}

impl Questions {
    /// Answers on `runtime`, whose threads have the 8 MiB of stack that expressions need. `inboxes` are all shards by their index.
    pub fn new(
        runtime: Handle,
        rules: Arc<CompiledRules>,
        publisher: Publisher,
        room: Arc<Room>,
        inboxes: Vec<Arc<dyn Inbox>>,
        clock: Clock,
    ) -> Self {
        let publishing = Semaphore::new(PUBLISHING);
        Self { runtime, parts: Arc::new(Parts { rules, publisher, room, inboxes, clock, publishing }) }
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

type Published = Result<(ChannelName, Option<PublicationId>), Denied>;

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
        let Ok(_place) = self.publishing.try_acquire() else {
            return Err(Denied::new(
                ErrorCode::NotAvailable,
                "too many publications wait for the broker; try again later",
            ));
        };
        let draft = Draft {
            channels: vec![wanted.channel.into()],
            event: wanted.event.into(),
            data: wanted.data,
            ..Draft::default()
        };
        let checked = self.publisher.check(draft, self.clock.now().wall).map_err(|invalid| {
            let code = match invalid.problem {
                Problem::DataTooLarge(_) => ErrorCode::TooLarge,
                _ => ErrorCode::BadRequest,
            };
            Denied::new(code, invalid.to_string())
        })?;
        let checked = if wanted.ephemeral { checked.except(sender) } else { checked };
        let published = self.publisher.publish(Origin::Client, checked);
        match tokio::time::timeout(PUBLISH_TIMEOUT, published).await {
            Ok(Ok(id)) => Ok((grant.channel().clone(), Some(id))),
            Ok(Err(error)) => Err(Denied::new(ErrorCode::NotAvailable, error.to_string())),
            Err(_) => Err(Denied::new(
                ErrorCode::Timeout,
                "the broker did not answer in time; the publication may or may not have gone out",
            )),
        }
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
