//! Questions of sessions and their answers.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_hub::GapScope;
use rtgw_hub::access::Revision;
use rtgw_model::{
    ChannelName, ConnectionKey, EndpointIx, GapReason, Position, Principal, Publication, RuleIx,
};
use tokio::sync::mpsc;

use super::*;
use crate::broker::{
    AppendFuture, Broker, BrokerSink, Concerned, Generation, HistoryFuture, IdempotencyKey, Memory,
    OutdateFuture, Page, ProbeFuture, PublishError, nothing_kept,
};
use crate::client_publishing::PUBLISHING;
use crate::fixture::checked;
use crate::intake::{Counts, Intake};
use crate::outbound::Outbound;
use crate::publishing::Publisher;
use crate::transport::{Clock, InboxFull};

const SPEC: &str = "\
endpoints: [{name: ws, path: /ws}]
auth: {anonymous: Allow}
channels:
- {pattern: 'room:{room}', subscribe: 'true', publish: user != ''}
- {pattern: quiet, subscribe: 'false'}
";

const CONNECTION: ConnectionId = ConnectionId { shard: 1, slot: 7, generation: 3 };

struct Collects(mpsc::UnboundedSender<(ConnectionId, Answer)>);

impl Inbox for Collects {
    fn post(&self, input: ShardInput) -> Result<(), InboxFull> {
        let ShardInput::Hub(Input::Answered(connection, answer)) = input else { panic!("no answer") };
        self.0.send((connection, answer)).unwrap();
        Ok(())
    }
}

#[derive(Default)]
struct Heard(Mutex<Vec<Publication>>);

impl BrokerSink for Heard {
    fn publication(&self, publication: Publication) {
        self.0.lock().push(publication);
    }
    fn ready(&self, _: ChannelName, _: Generation, _: Option<Position>) {}
    fn gap(&self, _: GapScope, _: GapReason) {}
}

/// Takes publications as its function says.
struct Behaves<F>(F);

impl<F: Fn() -> AppendFuture<'static> + Send + Sync> Broker for Behaves<F> {
    fn publish(&self, _: Publication) -> AppendFuture<'_> {
        (self.0)()
    }
    fn publish_once(&self, _: IdempotencyKey, _: Publication) -> AppendFuture<'_> {
        (self.0)()
    }
    fn want(&self, _: ChannelName, _: Generation) {}
    fn unwant(&self, _: &ChannelName) {}
    fn history(&self, _: &ChannelName, _: Page) -> HistoryFuture<'_> {
        Box::pin(std::future::pending())
    }
    fn position(&self, _: &ChannelName) -> Option<Position> {
        None
    }
    fn outdate(&self, _: Concerned) -> OutdateFuture<'_> {
        Box::pin(async { Ok(()) })
    }

    fn probe(&self) -> ProbeFuture<'_> {
        Box::pin(std::future::pending())
    }
}

struct Asked {
    questions: Questions,
    answers: mpsc::UnboundedReceiver<(ConnectionId, Answer)>,
}

impl Asked {
    fn of(broker: Arc<dyn Broker>) -> Self {
        let config = checked(SPEC);
        let rules = Rulebook::new(&config);
        let admitter = Arc::new(ArcSwap::from_pointee(Admitter::new(&config, rules.load())));
        let find = Arc::clone(&rules);
        let intake = Arc::new(Intake::new(Vec::new(), 1, Clock::start(), Arc::new(Counts::new(0))).unwrap());
        let dresser = Arc::clone(&intake);
        let dress = Box::new(move |publication| dresser.dress(publication));
        let tails = Arc::clone(intake.tails());
        let recoveries = Recoveries::new(Arc::clone(&broker), tails, dress, Box::new(|_| false));
        let recoveries = Arc::new(recoveries);
        let pages = Arc::new(Pages::new(Arc::clone(&broker)));
        let publisher =
            Publisher::new(broker, Arc::new(move |name| find.rule_of(name)), Arc::new(Counts::new(0)));
        let (send, answers) = mpsc::unbounded_channel();
        let (elsewhere, _) = mpsc::unbounded_channel();
        let inboxes: Vec<Arc<dyn Inbox>> = vec![Arc::new(Collects(elsewhere)), Arc::new(Collects(send))];
        let clock = Clock::start();
        let publisher = Arc::new(ClientPublisher::new(publisher, clock));
        let (by, past) = (Arc::clone(&publisher), Arc::clone(&recoveries));
        let commands = Commands::new(&config, Arc::clone(&rules), by, None, past, Outbound::new(), clock);
        let room = Room::new(intake, 1_000);
        let to_broker = ToBroker { publisher, recoveries, pages };
        let questions = {
            let commands = Arc::new(ArcSwap::from_pointee(commands));
            Questions::new(Handle::current(), rules, admitter, commands, to_broker, room, inboxes)
        };
        Self { questions, answers }
    }

    fn put(&self, user: &str, question: Question) {
        let principal = Principal {
            user: user.into(),
            tenant: "".into(),
            claims: "".into(),
            ip: IpAddr::from([127, 0, 0, 1]),
            query: "".into(),
            expires: None,
        };
        self.questions.ask(Ask {
            connection: CONNECTION,
            key: ConnectionKey(5),
            endpoint: EndpointIx(0),
            principal: Arc::new(principal),
            question,
        });
    }

    async fn answer(&mut self) -> Answer {
        let (connection, answer) = self.answers.recv().await.unwrap();
        assert_eq!(connection, CONNECTION, "an answer goes back to who asked");
        answer
    }

    async fn published(&mut self, user: &str, question: Question) -> Published {
        self.put(user, question);
        match self.answer().await {
            Answer::Published(published) => published,
            _ => panic!("another question was answered"),
        }
    }
}

fn publish(channel: &str, event: &str, data: impl Into<Bytes>, ephemeral: bool) -> Question {
    Question::Publish {
        channel: channel.into(),
        event: event.into(),
        data: data.into(),
        ephemeral,
        idempotency_key: None,
    }
}

fn code(published: Published) -> ErrorCode {
    published.unwrap_err().code
}

#[tokio::test]
async fn subscriptions_are_granted_or_denied_by_their_rule() {
    let mut asked = Asked::of(Arc::new(Memory::new(Arc::new(Heard::default()), nothing_kept())));
    let cases = [
        ("room:1", Ok(RuleIx(0))),
        ("quiet", Err(ErrorCode::Forbidden)),
        ("other", Err(ErrorCode::UnknownChannel)),
        ("a b", Err(ErrorCode::BadRequest)),
    ];
    for (channel, expected) in cases {
        asked.put("", Question::Subscribe(channel.into()));
        let Answer::Subscribe(answer) = asked.answer().await else { panic!("another question was answered") };
        assert_eq!(
            answer.map(|grant| grant.policy().rule).map_err(|denied| denied.code),
            expected,
            "{channel}"
        );
    }
}

#[tokio::test]
async fn a_review_says_of_each_channel_whether_it_may_still_be_heard() {
    let mut asked = Asked::of(Arc::new(Memory::new(Arc::new(Heard::default()), nothing_kept())));
    let channels = ["room:1", "quiet", "undeclared"].map(|name| ChannelName::parse(name).unwrap());
    asked.put("ann", Question::Reauthorize(channels.clone().into()));
    let Answer::Reauthorized(principal, review) = asked.answer().await else { panic!("another answer") };
    assert_eq!((&*principal.user, review.revision()), ("ann", Revision::FIRST));
    let [room, quiet, undeclared] = channels;
    assert_eq!(review.channels(), [(room, true), (quiet, false), (undeclared, false)]);
}

#[tokio::test]
async fn a_token_that_nobody_can_judge_refreshes_nothing() {
    let mut asked = Asked::of(Arc::new(Memory::new(Arc::new(Heard::default()), nothing_kept())));
    let token = Token("a.b.c".into());
    asked.put("ann", Question::Refresh { token, held: Box::default() });
    let Answer::Refreshed(Err(denied)) = asked.answer().await else { panic!("another answer") };
    assert_eq!(denied.code, ErrorCode::Forbidden);
    assert!(!denied.message.contains("a.b.c"), "{denied:?}");
}

#[tokio::test]
async fn publications_go_to_the_broker_where_the_rule_allows() {
    let heard = Arc::new(Heard::default());
    let broker = Arc::new(Memory::new(Arc::clone(&heard) as _, nothing_kept()));
    broker.want(ChannelName::parse("room:1").unwrap(), Generation(1));
    let mut asked = Asked::of(broker);
    let (channel, id, offset) =
        asked.published("ann", publish("room:1", "said", " {\"a\": 1.0} ", false)).await.unwrap();
    assert_eq!((channel.as_str(), offset), ("room:1", None));
    asked.published("ann", publish("room:1", "typing", "null", true)).await.unwrap();
    let heard = std::mem::take(&mut *heard.0.lock());
    let [said, typing] = heard.as_slice() else { panic!("two were published, not {}", heard.len()) };
    assert_eq!(
        (said.id, &*said.event, &said.data[..], said.except),
        (id, "said", &b"{\"a\": 1.0}"[..], None)
    );
    assert_eq!((&*typing.event, typing.except), ("typing", Some(CONNECTION)), "not echoed to its sender");

    let denied = [
        (asked.published("", publish("room:1", "said", "1", false)).await, ErrorCode::Forbidden),
        (asked.published("ann", publish("quiet", "said", "1", false)).await, ErrorCode::Forbidden),
        (asked.published("ann", publish("other", "said", "1", false)).await, ErrorCode::UnknownChannel),
        (asked.published("ann", publish("", "said", "1", false)).await, ErrorCode::BadRequest),
        (asked.published("ann", publish("room:1", "", "1", false)).await, ErrorCode::BadRequest),
        (asked.published("ann", publish("room:1", "said", "{", false)).await, ErrorCode::BadRequest),
        (
            asked.published("ann", publish("room:1", "said", vec![b' '; 1024 * 1024 + 1], false)).await,
            ErrorCode::TooLarge,
        ),
    ];
    for (published, expected) in denied {
        assert_eq!(code(published), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_fails_or_hangs_is_told_to_the_client() {
    let away = || -> AppendFuture<'static> {
        Box::pin(async { Err(PublishError::Unavailable("connection refused".to_owned())) })
    };
    let mut asked = Asked::of(Arc::new(Behaves(away)));
    let denied = asked.published("ann", publish("room:1", "e", "1", false)).await.unwrap_err();
    assert!(
        denied.code == ErrorCode::NotAvailable && denied.message.contains("connection refused"),
        "{denied:?}"
    );

    let mut asked =
        Asked::of(Arc::new(Behaves(|| -> AppendFuture<'static> { Box::pin(std::future::pending()) })));
    for _ in 0..PUBLISHING {
        asked.put("ann", publish("room:1", "e", "1", false));
    }
    assert_eq!(
        code(asked.published("ann", publish("room:1", "e", "1", false)).await),
        ErrorCode::NotAvailable
    );
    for _ in 0..PUBLISHING {
        let Answer::Published(published) = asked.answer().await else {
            panic!("another question was answered")
        };
        assert_eq!(code(published), ErrorCode::Timeout);
    }
    // The places are free again.
    assert_eq!(code(asked.published("ann", publish("room:1", "e", "1", false)).await), ErrorCode::Timeout);
}

#[tokio::test]
async fn a_fault_on_the_way_is_an_answer_too() {
    let broken = || -> AppendFuture<'static> { panic!("a broker's fault") };
    let mut asked = Asked::of(Arc::new(Behaves(broken)));
    assert_eq!(code(asked.published("ann", publish("room:1", "e", "1", false)).await), ErrorCode::Internal);
}
