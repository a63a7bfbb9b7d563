//! What every broker must keep of what it keeps.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rtgw_model::{ConnectionId, Position, Publication};

use super::super::{Broker, BrokerSink, HistoryError, Kept, Page, Retention};
use super::{Stage, channel, publication, text};

pub(super) async fn run<F, S>(start: &F)
where
    F: Fn(Arc<dyn BrokerSink>, Retention) -> S,
    S: Future<Output = Arc<dyn Broker>>,
{
    keeps_the_last_ones(&Stage::new(start).await).await;
    pages_both_ways(&Stage::new(start).await).await;
    keeps_each_channel_by_itself(&Stage::new(start).await).await;
    keeps_the_newest_of_each_key(&Stage::new(start).await).await;
    keeps_nothing_that_is_ephemeral(&Stage::new(start).await).await;
    knows_where_a_channel_stands(&Stage::new(start).await).await;
    publishes_once_at_one_place(&Stage::new(start).await).await;
    begins_another_epoch_for_those_concerned(&Stage::new(start).await).await;
    forgets_what_had_its_time(&Stage::new(start).await).await;
}

const ALL: Page = Page { since: None, limit: 100, reverse: false };

async fn read(stage: &Stage, name: &str, page: Page) -> Kept {
    stage.broker.history(&channel(name), page).await.unwrap()
}

fn data(kept: &Kept) -> Vec<String> {
    kept.publications.iter().map(text).collect()
}

fn offsets(kept: &Kept) -> Vec<u64> {
    kept.publications.iter().map(|kept| kept.position(0).unwrap().offset).collect()
}

async fn keeps_the_last_ones(stage: &Stage) {
    let fresh = read(stage, "stream:a", ALL).await;
    assert_eq!((fresh.publications.len(), fresh.top.offset, fresh.oldest), (0, 0, 1));
    assert!(fresh.reaches(fresh.top));
    stage.carry("stream:a", 1).await;
    let mut given = Vec::new();
    for number in 1..=8 {
        given.push(stage.broker.publish(publication(&["stream:a"], number)).await.unwrap());
    }
    let places: Vec<_> = given.iter().map(|given| given.positions[0].unwrap()).collect();
    let epoch = fresh.top.epoch;
    assert_eq!(places, (1..=8).map(|offset| Position { offset, epoch }).collect::<Vec<_>>());
    let kept = read(stage, "stream:a", ALL).await;
    assert_eq!(data(&kept), ["4", "5", "6", "7", "8"]);
    assert_eq!((kept.top, kept.oldest), (Position { offset: 8, epoch }, 4));
    stage.heard.until(|log| log.publications.len() == 8).await;
    let heard: Vec<Publication> = stage.heard.log.lock().publications.split_off(3);
    assert_eq!(kept.publications, heard, "what is kept is what was delivered, id and all");
    assert!(kept.reaches(Position { offset: 3, epoch }), "everything behind it is kept");
    for beyond in
        [Position { offset: 2, epoch }, Position { offset: 9, epoch }, Position { offset: 5, epoch: !epoch }]
    {
        assert!(!kept.reaches(beyond), "{beyond:?}");
    }
    let unknown = stage.broker.history(&channel("a"), ALL).await;
    assert_eq!(unknown, Err(HistoryError::NotKept));
}

async fn pages_both_ways(stage: &Stage) {
    for number in 1..=5 {
        stage.broker.publish(publication(&["stream:a"], number)).await.unwrap();
    }
    let page =
        async |since, limit, reverse| data(&read(stage, "stream:a", Page { since, limit, reverse }).await);
    assert_eq!(page(None, 2, false).await, ["1", "2"]);
    assert_eq!(page(Some(2), 2, false).await, ["3", "4"]);
    assert_eq!(page(Some(4), 2, false).await, ["5"]);
    assert!(page(Some(5), 2, false).await.is_empty() && page(Some(99), 2, false).await.is_empty());
    assert_eq!(page(None, 2, true).await, ["5", "4"]);
    assert_eq!(page(Some(4), 2, true).await, ["3", "2"]);
    assert!(page(Some(1), 2, true).await.is_empty() && page(None, 0, false).await.is_empty());
}

/// One message, kept by each of its channels that keeps anything, under one id.
async fn keeps_each_channel_by_itself(stage: &Stage) {
    stage.carry("plain", 1).await;
    stage.broker.publish(publication(&["stream:b"], 1)).await.unwrap();
    let channels = ["plain", "stream:a", "stream:b"];
    let given = stage.broker.publish(publication(&channels, 2)).await.unwrap();
    assert_eq!(
        given.positions.iter().map(|at| at.map(|at| at.offset)).collect::<Vec<_>>(),
        [None, Some(1), Some(2)]
    );
    stage.heard.until(|log| log.publications.len() == 1).await;
    assert_eq!(stage.heard.log.lock().publications[0].positions, given.positions);
    for (at, name) in [(1, "stream:a"), (2, "stream:b")] {
        let kept = read(stage, name, ALL).await;
        let last = kept.publications.last().unwrap();
        assert_eq!((last.id, last.position(0)), (Some(given.id), given.positions[at]));
        assert_eq!(last.channels[..], [channel(name)]);
    }
}

async fn keeps_the_newest_of_each_key(stage: &Stage) {
    let publish = async |k: &str, number: u32| {
        let tags =
            [("k".into(), k.into()), ("other".into(), number.to_string().into())].into_iter().collect();
        let publication = Publication { tags, ..publication(&["cache:a"], number) };
        stage.broker.publish(publication).await.unwrap()
    };
    publish("x", 1).await;
    publish("y", 2).await;
    publish("x", 3).await;
    let kept = read(stage, "cache:a", ALL).await;
    assert_eq!((data(&kept), offsets(&kept)), (vec!["2".to_owned(), "3".to_owned()], vec![2, 3]));
    publish("z", 4).await;
    publish("w", 5).await;
    let kept = read(stage, "cache:a", ALL).await;
    assert_eq!(data(&kept), ["3", "4", "5"], "the key that waited longest goes");
    assert_eq!(kept.top.offset, 5);
    let newest = read(stage, "cache:a", Page { since: None, limit: 1, reverse: true }).await;
    assert_eq!(data(&newest), ["5"]);
}

async fn keeps_nothing_that_is_ephemeral(stage: &Stage) {
    stage.carry("stream:a", 1).await;
    let sender = ConnectionId { shard: 0, slot: 0, generation: 0 };
    let publication = Publication { except: Some(sender), ..publication(&["stream:a"], 1) };
    let given = stage.broker.publish(publication).await.unwrap();
    assert!(given.positions.iter().all(Option::is_none));
    stage.heard.until(|log| log.publications.len() == 1).await;
    assert_eq!(stage.heard.log.lock().publications[0].except, Some(sender));
    assert_eq!(read(stage, "stream:a", ALL).await.top.offset, 0);
}

async fn knows_where_a_channel_stands(stage: &Stage) {
    let at = |name: &str| stage.broker.position(&channel(name));
    assert_eq!(at("stream:a"), None, "not carried");
    stage.carry("a", 1).await;
    assert_eq!(at("a"), None, "keeps nothing");
    stage.broker.publish(publication(&["stream:a"], 1)).await.unwrap();
    stage.carry("stream:a", 2).await;
    assert_eq!(at("stream:a").unwrap().offset, 1);
    stage.broker.publish(publication(&["stream:a"], 2)).await.unwrap();
    stage.heard.until(|log| log.publications.len() == 1).await;
    assert_eq!(at("stream:a"), Some(read(stage, "stream:a", ALL).await.top));
    stage.broker.unwant(&channel("stream:a"));
}

async fn publishes_once_at_one_place(stage: &Stage) {
    let once = async || {
        let key = super::super::IdempotencyKey(7);
        stage.broker.publish_once(key, publication(&["stream:a"], 1)).await.unwrap()
    };
    let (first, again) = (once().await, once().await);
    assert_eq!((first.repeated, again.repeated), (false, true));
    assert_eq!((first.id, &first.positions), (again.id, &again.positions));
    assert_eq!(read(stage, "stream:a", ALL).await.top.offset, 1);
}

async fn forgets_what_had_its_time(stage: &Stage) {
    stage.broker.publish(publication(&["brief:a"], 1)).await.unwrap();
    let before = read(stage, "brief:a", ALL).await;
    assert_eq!(data(&before), ["1"]);
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    let after = read(stage, "brief:a", ALL).await;
    assert!(after.publications.is_empty());
    assert!(!after.reaches(Position { offset: 0, ..before.top }), "what is gone is not called recovered");
    let given = stage.broker.publish(publication(&["brief:a"], 2)).await.unwrap().positions[0].unwrap();
    assert_ne!(given, before.top, "no place is given twice");
}

async fn begins_another_epoch_for_those_concerned(stage: &Stage) {
    for name in ["stream:a", "stream:b", "cache:a"] {
        stage.broker.publish(publication(&[name], 1)).await.unwrap();
    }
    let mut before = Vec::new();
    for name in ["stream:a", "cache:a", "stream:b"] {
        before.push(read(stage, name, ALL).await);
    }
    stage.broker.outdate(Arc::new(|channel| channel.as_str().ends_with(":a"))).await.unwrap();
    for (name, before) in ["stream:a", "cache:a"].into_iter().zip(&before) {
        let after = read(stage, name, ALL).await;
        assert!(!after.reaches(before.top), "{name}: nobody recovers over what is missing");
        assert_eq!((data(&after), after.top.offset), (data(before), 1), "{name}: what is kept stays");
        assert_eq!(after.publications[0].position(0), Some(after.top), "{name}");
        let given = stage.broker.publish(publication(&[name], 2)).await.unwrap().positions[0].unwrap();
        assert_eq!(given, Position { offset: 2, epoch: after.top.epoch }, "{name}");
        assert!(read(stage, name, ALL).await.reaches(after.top), "{name}: from then on as before");
    }
    assert_eq!(read(stage, "stream:b", ALL).await, before[2], "the others hear nothing of it");
    // A channel that is carried stands in the new epoch, too.
    stage.carry("stream:a", 1).await;
    stage.broker.outdate(Arc::new(|_| true)).await.unwrap();
    let given = stage.broker.publish(publication(&["stream:a"], 3)).await.unwrap().positions[0];
    stage.heard.until(|log| log.publications.iter().any(|heard| heard.position(0) == given)).await;
    assert_eq!(stage.broker.position(&channel("stream:a")), given);
}
