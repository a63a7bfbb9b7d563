//! Answers what sessions ask: may this connection subscribe, may it publish, and if so, publish.
//!
//! A question leaves a shard as an effect and comes back as an input with the connection's generation. Rules are evaluated on the
//! runtime's threads, never on a shard. Each connection has at most one question open, and every question gets exactly one answer:
//! a session without it would wait for ever.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rtgw_hub::access::{self, Action, Asker, Review};
use rtgw_hub::{Answer, Ask, Grant, Input, Question};
use rtgw_model::{ChannelName, ConnectionId, Denied, ErrorCode, Event, Principal, Token};
use tokio::runtime::Handle;

use crate::auth::Admitter;
use crate::client_publishing::{ClientPublisher, Published};
use crate::commands::{Commands, Sent};
use crate::control;
use crate::intake::Room;
use crate::presence::{self, Roster};
use crate::publishing::{Draft, Idempotency};
use crate::recovery::{Asked, Pages, Read, Recoveries, Wanted};
use crate::refusal::Refusal;
use crate::rulebook::Rulebook;
use crate::transport::{Inbox, ShardInput};

/// About so many bytes are in a page of a history, so that it fits the queue of a connection.
const PAGE_BYTES: usize = 96 * 1024;
/// How long a refreshed token may take to be judged where others have to be asked.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers questions on a runtime.
pub struct Questions {
    runtime: Handle,
    parts: Arc<Parts>,
    roster: Option<Arc<Roster>>,
}

struct Parts {
    rules: Arc<Rulebook>,
    admitter: Arc<ArcSwap<Admitter>>,
    commands: Arc<ArcSwap<Commands>>,
    broker: ToBroker,
    room: Arc<Room>,
    inboxes: Vec<Arc<dyn Inbox>>,
}

/// The ways of clients to the broker.
#[derive(Clone)]
pub struct ToBroker {
    /// For what they say.
    pub publisher: Arc<ClientPublisher>,
    /// For what they missed.
    pub recoveries: Arc<Recoveries>,
    /// For what they want to read.
    pub pages: Arc<Pages>,
}

impl Questions {
    /// Answers by the rules, the admission and the commands that hold when a question comes, on `runtime`, whose threads have the
    /// 8 MiB of stack that expressions need. `inboxes` are all shards by their index.
    pub fn new(
        runtime: Handle,
        rules: Arc<Rulebook>,
        admitter: Arc<ArcSwap<Admitter>>,
        commands: Arc<ArcSwap<Commands>>,
        broker: ToBroker,
        room: Arc<Room>,
        inboxes: Vec<Arc<dyn Inbox>>,
    ) -> Self {
        let parts = Parts { rules, admitter, commands, broker, room, inboxes };
        Self { runtime, parts: Arc::new(parts), roster: None }
    }

    /// The same, which knows who answers for presence.
    #[must_use]
    pub fn with_presence(self, roster: Arc<Roster>) -> Self {
        Self { roster: Some(roster), ..self }
    }

    /// Takes a question; never waits.
    pub fn ask(&self, ask: Ask) {
        let (parts, roster) = (Arc::clone(&self.parts), self.roster.clone());
        self.runtime.spawn(async move { parts.answer(ask, roster).await });
    }
}

/// What a client wants published.
struct Wish {
    channel: Box<str>,
    event: Box<str>,
    data: Bytes,
    ephemeral: bool,
    key: Option<Box<str>>,
}

impl Parts {
    async fn answer(&self, asked: Ask, roster: Option<Arc<Roster>>) {
        let Ask { connection, key, endpoint, principal, question } = asked;
        let asker = Asker { key, endpoint, principal: &principal };
        let inbox = self.inboxes.get(usize::from(connection.shard));
        match question {
            Question::Subscribe(channel) => {
                let mut reply = Reply::new(inbox, connection, Answer::Subscribe(Err(fault())));
                reply.answer = Some(Answer::Subscribe(self.subscribe(&channel, &asker)));
            }
            Question::Recover { channel, recover, walked, ticket } => {
                let mut reply = Reply::new(inbox, connection, Answer::Recovered(ticket, None));
                if let Some(policy) = self.rules.history_of(&channel) {
                    let asked = Asked { recover, walked };
                    let replay = self.broker.recoveries.recover(&channel, &policy, asked).await;
                    reply.answer = Some(Answer::Recovered(ticket, replay));
                }
            }
            Question::History { channel, limit, since, reverse } => {
                let mut reply = Reply::new(inbox, connection, Answer::History(Err(fault())));
                let wanted = Wanted { limit, since, reverse, bytes: PAGE_BYTES };
                reply.answer = Some(Answer::History(self.history(&channel, wanted, &asker).await));
            }
            Question::Reauthorize(channels) => {
                // A rule that fails denies, and so does one that cannot be asked.
                let refused = Answer::Reauthorized(Arc::clone(&principal), Review::refused(&channels));
                let mut reply = Reply::new(inbox, connection, refused);
                let review = access::review(&*self.rules.load(), &channels, &asker);
                reply.answer = Some(Answer::Reauthorized(Arc::clone(&principal), review));
            }
            Question::Refresh { token, held } => {
                let mut reply = Reply::new(inbox, connection, Answer::Refreshed(Err(fault())));
                let refreshed = self.refresh(&asker, &token, &held).await;
                let new = refreshed.as_ref().ok().map(|(principal, _)| Arc::clone(principal));
                reply.answer = Some(Answer::Refreshed(refreshed));
                drop(reply);
                if let (Some(new), Some(inbox)) = (new, inbox) {
                    let admitter = self.admitter.load();
                    control::recheck(&**inbox, admitter.revocations(), key, &new);
                }
            }
            Question::Publish { channel, event, data, ephemeral, idempotency_key: key } => {
                let mut reply = Reply::new(inbox, connection, Answer::Published(Err(fault())));
                let wanted = Wish { channel, event, data, ephemeral, key };
                reply.answer = Some(Answer::Published(self.publish(connection, wanted, &asker).await));
            }
            Question::Presence { channel, limit, after, by_api } => {
                let mut reply = Reply::new(inbox, connection, Answer::Presence(Err(fault())));
                if let Some(roster) = roster {
                    let asked = presence::Asked { channel, limit, after, by_api };
                    reply.answer = Some(Answer::Presence(roster.ask(asked, &asker).await));
                }
            }
            Question::Command { id, name, data } => {
                let mut reply = Reply::new(inbox, connection, Answer::Command(Err(fault())));
                let sent = Sent { connection, id, name, data };
                reply.answer = Some(Answer::Command(self.commands.load_full().run(sent, &asker).await));
            }
        }
    }

    fn subscribe(&self, channel: &str, asker: &Asker<'_>) -> Result<Grant, Denied> {
        let grant = access::ask(&*self.rules.load(), Action::Subscribe, channel, asker)?;
        if self.room.has_place_for([grant.channel()]) {
            return Ok(grant);
        }
        let message = "this pod carries as many channels as it may; try later";
        Err(Denied::new(ErrorCode::NotAvailable, message))
    }

    /// A page of what was published; for who may hear it.
    async fn history(&self, channel: &str, wanted: Wanted, asker: &Asker<'_>) -> Result<Event, Denied> {
        let grant = access::ask(&*self.rules.load(), Action::Subscribe, channel, asker)?;
        let channel = grant.channel().clone();
        let Read { publications, top: position, next } = self.broker.pages.read(&channel, wanted).await?;
        Ok(Event::History { channel, publications, position, next })
    }

    /// Judges a token by the endpoint's own rules, and what its bearer may hear by the channels'.
    async fn refresh(
        &self,
        asker: &Asker<'_>,
        token: &Token,
        held: &[ChannelName],
    ) -> Result<(Arc<Principal>, Review), Denied> {
        let admitter = self.admitter.load_full();
        let judged = admitter.refresh(asker.endpoint, asker.key, asker.principal, &token.0);
        let late = || Denied::new(ErrorCode::Timeout, "the token could not be judged in time; try later");
        let judged = tokio::time::timeout(REFRESH_TIMEOUT, judged).await.map_err(|_| late())?;
        let principal = Arc::new(judged.map_err(|refusal| denied(&refusal))?);
        let asker = Asker { principal: &principal, ..*asker };
        let review = access::review(&*self.rules.load(), held, &asker);
        Ok((principal, review))
    }

    async fn publish(&self, sender: ConnectionId, wanted: Wish, asker: &Asker<'_>) -> Published {
        let grant = access::ask(&*self.rules.load(), Action::Publish, &wanted.channel, asker)?;
        let idempotency = wanted.key.map(|key| Idempotency { owner: owner(asker), key: key.into() });
        let (event, data) = (wanted.event.into(), wanted.data);
        let draft = Draft { event, data, idempotency, ..Draft::default() };
        self.broker.publisher.publish(&grant, draft, wanted.ephemeral.then_some(sender)).await
    }
}

/// Whose idempotency keys `asker` uses: its user's, on whichever connection; who is nobody has those of its connection alone.
fn owner(asker: &Asker<'_>) -> String {
    let Principal { user, tenant, .. } = asker.principal;
    if user.is_empty() {
        format!("connection:{}", asker.key)
    } else {
        format!("user:{}:{tenant}:{user}", tenant.len())
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

/// A refusal of admission as an answer to a command.
fn denied(refusal: &Refusal) -> Denied {
    let code = match refusal.status {
        401 | 403 => ErrorCode::Forbidden,
        429 | 503 => ErrorCode::NotAvailable,
        400 | 404 | 413 => ErrorCode::BadRequest,
        _ => ErrorCode::Internal,
    };
    Denied::new(code, refusal.message.clone())
}

fn fault() -> Denied {
    Denied::new(ErrorCode::Internal, "a fault of the server")
}

#[cfg(test)]
#[path = "questions_tests.rs"]
mod tests;
