//! Drafts at and beyond every bound.

#![allow(clippy::unwrap_used, clippy::panic)]

use parking_lot::Mutex;
use rtgw_model::Position;

use super::*;
use crate::broker::{AppendFuture, Concerned, Generation, HistoryFuture, OutdateFuture, Page, ProbeFuture};

/// A broker that keeps what it is given, or refuses it.
#[derive(Default)]
struct Kept {
    publications: Mutex<Vec<Publication>>,
    away: bool,
}

impl Broker for Kept {
    fn publish(&self, publication: Publication) -> AppendFuture<'_> {
        Box::pin(async move {
            if self.away {
                return Err(PublishError::Unavailable("gone".to_owned()));
            }
            let mut publications = self.publications.lock();
            publications.push(publication);
            let id = PublicationId { epoch: 7, sequence: publications.len() as u64 };
            Ok(Appended { id, positions: Default::default(), repeated: false })
        })
    }

    fn publish_once(&self, _: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        self.publish(publication)
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
        Box::pin(async { Ok(std::time::Duration::ZERO) })
    }
}

/// `room:…` is declared by rule 1, `user:…` by rule 2.
fn publisher(broker: Kept) -> (Publisher, Arc<Kept>) {
    let broker = Arc::new(broker);
    let find: FindRule = Arc::new(|channel| match channel.as_str().split_once(':') {
        Some(("room", _)) => Some(RuleIx(1)),
        Some(("user", _)) => Some(RuleIx(2)),
        _ => None,
    });
    (Publisher::new(Arc::clone(&broker) as Arc<dyn Broker>, find, Arc::new(Counts::new(0))), broker)
}

fn draft() -> Draft {
    Draft {
        channels: vec!["room:1".to_owned()],
        event: "e".to_owned(),
        data: Bytes::from_static(b"{}"),
        ..Draft::default()
    }
}

fn refused(change: impl FnOnce(&mut Draft)) -> (String, Problem) {
    let mut draft = draft();
    change(&mut draft);
    let invalid = publisher(Kept::default()).0.check(draft, Timestamp(0)).unwrap_err();
    (invalid.path, invalid.problem)
}

fn accepted(change: impl FnOnce(&mut Draft)) -> Publication {
    let mut draft = draft();
    change(&mut draft);
    publisher(Kept::default()).0.check(draft, Timestamp(5)).unwrap().publication
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn channels_are_checked_and_repeats_count_once() {
    assert_eq!(refused(|draft| draft.channels.clear()), ("channels".to_owned(), Problem::NoChannels));
    let many = |count: usize| (0..count).map(|number| format!("room:{number}")).collect::<Vec<_>>();
    assert_eq!(accepted(|draft| draft.channels = many(CHANNELS)).channels.len(), CHANNELS);
    let refusal = refused(|draft| draft.channels = many(CHANNELS + 1));
    assert_eq!(refusal, ("channels".to_owned(), Problem::TooManyChannels(65)));
    let refusal = refused(|draft| draft.channels = names(&["room:1", "a b"]));
    assert_eq!(refusal, ("channels[1]".to_owned(), Problem::ChannelName(ChannelNameError::Character(1))));
    let refusal = refused(|draft| draft.channels = names(&["nothing"]));
    assert_eq!(refusal, ("channels[0]".to_owned(), Problem::Undeclared));
    let kept = accepted(|draft| draft.channels = names(&["room:1", "user:1", "room:1"])).channels;
    assert_eq!(kept.iter().map(ChannelName::as_str).collect::<Vec<_>>(), ["room:1", "user:1"]);
}

#[test]
fn events_and_priorities_have_a_length() {
    accepted(|draft| draft.event = "x".repeat(EVENT_BYTES));
    for bad in [String::new(), "x".repeat(EVENT_BYTES + 1)] {
        assert_eq!(refused(|draft| draft.event.clone_from(&bad)).0, "event");
        assert_eq!(refused(|draft| draft.priority = Some(bad)).0, "priority");
    }
}

#[test]
fn data_is_one_bounded_json_value_without_space_around_it() {
    let data = |text: &str| accepted(|draft| draft.data = Bytes::copy_from_slice(text.as_bytes())).data;
    assert_eq!(data(" \n {\"b\": 1.0e3, \"a\":2}\t"), "{\"b\": 1.0e3, \"a\":2}", "order and numbers survive");
    assert_eq!(data("null"), "null");
    for bad in ["", "{", "{} {}", "{'a':1}", "\u{feff}1", "nul", "\"\u{1}\""] {
        let (path, problem) = refused(|draft| draft.data = Bytes::copy_from_slice(bad.as_bytes()));
        assert!(path == "data" && matches!(problem, Problem::NotJson(_)), "{bad}: {problem}");
    }
    assert!(matches!(refused(|draft| draft.data = Bytes::from_static(b"\"\xff\"")).1, Problem::NotJson(_)));
    let sized = |bytes: usize| Bytes::from(format!("\"{}\"", "x".repeat(bytes - 2)));
    accepted(|draft| draft.data = sized(DATA_BYTES));
    let refusal = refused(|draft| draft.data = sized(DATA_BYTES + 1));
    assert_eq!(refusal, ("data".to_owned(), Problem::DataTooLarge(DATA_BYTES + 1)));
    let deep = refused(|draft| draft.data = Bytes::from("[".repeat(100_000)));
    assert!(matches!(deep.1, Problem::NotJson(_)), "depth costs no stack");
}

#[test]
fn tags_are_few_short_and_unique() {
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let many = |count: usize| (0..count).map(|number| tag(&number.to_string(), "v")).collect::<Vec<_>>();
    assert_eq!(accepted(|draft| draft.tags = many(TAGS)).tags.len(), TAGS);
    assert_eq!(refused(|draft| draft.tags = many(TAGS + 1)), ("tags".to_owned(), Problem::TooManyTags(17)));
    let long = "x".repeat(TAG_BYTES + 1);
    assert_eq!(refused(|draft| draft.tags = vec![tag(&long, "v")]), ("tags".to_owned(), Problem::TagTooLong));
    assert_eq!(
        refused(|draft| draft.tags = vec![tag("a", &long)]),
        ("tags.a".to_owned(), Problem::TagTooLong)
    );
    let twice = vec![tag("a", "1"), tag("a", "2")];
    assert_eq!(refused(|draft| draft.tags = twice), ("tags.a".to_owned(), Problem::Repeated));
}

#[test]
fn timestamps_can_be_printed_or_are_now() {
    assert_eq!(accepted(|_| {}).timestamp, Timestamp(5));
    let at = |ms| accepted(|draft| draft.timestamp = Some(Timestamp(ms))).timestamp;
    assert_eq!(at(*TIMESTAMPS.end()), Timestamp(*TIMESTAMPS.end()));
    assert_eq!(at(*TIMESTAMPS.start()), Timestamp(*TIMESTAMPS.start()));
    for bad in [*TIMESTAMPS.start() - 1, *TIMESTAMPS.end() + 1, i64::MIN, i64::MAX] {
        let refusal = refused(|draft| draft.timestamp = Some(Timestamp(bad)));
        assert_eq!(refusal, ("timestamp".to_owned(), Problem::Timestamp));
    }
}

#[tokio::test]
async fn what_the_broker_takes_is_counted_and_what_it_refuses_is_not() {
    let (publisher, kept) = publisher(Kept::default());
    let mut both = draft();
    both.channels = names(&["room:1", "room:2", "user:1"]);
    let id = publisher.accept(both, Timestamp(0)).await.unwrap();
    assert_eq!(id, PublicationId { epoch: 7, sequence: 1 });
    let count = |publisher: &Publisher, rule| publisher.counts.publications(Origin::Api, RuleIx(rule));
    assert_eq!([0, 1, 2].map(|rule| count(&publisher, rule)), [0, 1, 1]);
    assert_eq!(kept.publications.lock().len(), 1);

    let (publisher, _) = self::publisher(Kept { away: true, ..Kept::default() });
    let refusal = publisher.accept(draft(), Timestamp(0)).await.unwrap_err();
    assert_eq!(refusal, NotPublished::Broker(PublishError::Unavailable("gone".to_owned())));
    assert_eq!(count(&publisher, 1), 0);
}
