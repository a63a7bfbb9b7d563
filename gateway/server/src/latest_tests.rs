//! What is remembered, what is not, and for how long.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use rtgw_model::{ConnectionId, Tags};
use smallvec::smallvec;

use super::*;
use crate::fixture::checked;
use crate::rules::CompiledRules;

const SPEC: &str = "\
endpoints: [{name: ws, path: /ws}]
auth: {anonymous: Allow}
channels:
- {pattern: 'metrics:{tenant_id}'}
- {pattern: 'room:{room}'}
commands:
  request_metrics:
    replyLatest: {channel: 'metrics:{tenant}', event: \"'metrics_update'\", tags: {metric_type: data.metric_type}}
";

fn latest(spec: &str) -> Option<Latest> {
    let config = checked(spec);
    let rules = Arc::new(CompiledRules::new(&config));
    Latest::new(&config, Arc::new(move |name| rules.rule_of(name)))
}

fn publication(channel: &str, event: &str, kind: Option<&str>, data: impl Into<Bytes>) -> Publication {
    let tags: Tags = kind.iter().map(|kind| ("metric_type".into(), (*kind).into())).collect();
    Publication {
        channels: smallvec![ChannelName::parse(channel).unwrap()],
        event: event.into(),
        data: data.into(),
        timestamp: Timestamp(7),
        tags,
        id: None,
        priority: None,
        positions: Default::default(),
        except: None,
    }
}

fn metrics(tenant: &str, kind: Option<&str>, data: &str) -> Publication {
    publication(&format!("metrics:{tenant}"), "metrics_update", kind, data.to_owned())
}

fn found(latest: &Latest, channel: &str, kind: Option<&str>, now: u64) -> Option<String> {
    let tags: Vec<(&str, Box<str>)> = kind.iter().map(|kind| ("metric_type", (*kind).into())).collect();
    let remembered =
        latest.find(&ChannelName::parse(channel).unwrap(), "metrics_update", &tags, Millis(now))?;
    Some(String::from_utf8(remembered.data.to_vec()).unwrap())
}

#[test]
fn the_latest_of_a_channel_event_and_tags_is_found() {
    let latest = latest(SPEC).unwrap();
    latest.note(&metrics("a", Some("cpu"), "1"), Millis(0));
    latest.note(&metrics("a", Some("executions"), "2"), Millis(0));
    latest.note(&metrics("a", Some("cpu"), "3"), Millis(0));
    latest.note(&metrics("b", Some("cpu"), "4"), Millis(0));
    latest.note(&metrics("a", None, "5"), Millis(0));
    assert_eq!(found(&latest, "metrics:a", Some("cpu"), 0).as_deref(), Some("3"));
    assert_eq!(found(&latest, "metrics:a", Some("executions"), 0).as_deref(), Some("2"));
    assert_eq!(found(&latest, "metrics:a", Some("memory"), 0), None);
    assert_eq!(found(&latest, "metrics:a", None, 0).as_deref(), Some("5"), "whatever its tags");
    assert_eq!(found(&latest, "metrics:b", None, 0).as_deref(), Some("4"));
    assert_eq!(found(&latest, "metrics:c", None, 0), None);
}

#[test]
fn nothing_else_is_kept() {
    let (without, _) = SPEC.split_once("commands:").unwrap();
    assert!(
        latest(without).is_none() && latest(&format!("{without}commands: {{echo: {{ack: data}}}}")).is_none()
    );
    let latest = latest(SPEC).unwrap();
    latest.note(&publication("room:1", "metrics_update", None, "1"), Millis(0));
    latest.note(&publication("metrics:a", "other", None, "1"), Millis(0));
    let sender = Some(ConnectionId { shard: 0, slot: 0, generation: 0 });
    latest.note(&Publication { except: sender, ..metrics("a", None, "1") }, Millis(0));
    let state = latest.state.lock();
    assert_eq!((state.channels.len(), state.order.len(), state.bytes), (0, 0, 0));
}

#[test]
fn memory_is_bounded_and_what_was_updated_longest_ago_goes() {
    let latest = latest(SPEC).unwrap();
    for tenant in 0..=CHANNELS {
        latest.note(&metrics(&tenant.to_string(), None, "1"), Millis(0));
        latest.note(&metrics("busy", None, "1"), Millis(0));
    }
    assert_eq!(latest.state.lock().channels.len(), CHANNELS);
    assert_eq!(found(&latest, "metrics:0", None, 0), None);
    assert!(
        found(&latest, "metrics:busy", None, 0).is_some() && found(&latest, "metrics:2", None, 0).is_some()
    );

    for kind in 0..=ENTRIES {
        latest.note(&metrics("kinds", Some(&kind.to_string()), "1"), Millis(0));
    }
    assert_eq!(found(&latest, "metrics:kinds", Some("0"), 0), None);
    assert!(found(&latest, "metrics:kinds", Some("1"), 0).is_some());

    let large = vec![b'1'; 1 << 20];
    for tenant in 0..80 {
        latest.note(
            &publication(&format!("metrics:large{tenant}"), "metrics_update", None, large.clone()),
            Millis(0),
        );
        let state = latest.state.lock();
        let counted: usize =
            state.channels.values().flat_map(|kept| &kept.entries).map(|entry| entry.bytes).sum();
        assert!(state.bytes <= BYTES && state.bytes == counted && state.order.len() == state.channels.len());
    }
    assert_eq!(found(&latest, "metrics:large0", None, 0), None);
    assert!(found(&latest, "metrics:large79", None, 0).is_some());
}

#[test]
fn a_silent_channel_is_forgotten() {
    let latest = latest(SPEC).unwrap();
    latest.note(&metrics("a", None, "1"), Millis(0));
    latest.note(&metrics("b", None, "2"), Millis(IDLE_MS));
    assert!(found(&latest, "metrics:a", None, IDLE_MS).is_some());
    assert_eq!(found(&latest, "metrics:a", None, IDLE_MS + 1), None);
    assert!(found(&latest, "metrics:b", None, IDLE_MS + 1).is_some());
    assert_eq!(latest.state.lock().channels.len(), 1, "its memory is free");
    // The same channel begins anew.
    latest.note(&metrics("a", Some("cpu"), "3"), Millis(IDLE_MS + 2));
    assert_eq!(found(&latest, "metrics:a", None, IDLE_MS + 2).as_deref(), Some("3"));
}

#[test]
fn what_was_heard_outlives_a_change_of_the_tags_that_are_asked_for() {
    let before = latest(SPEC).unwrap();
    for (kind, data) in [(Some("cpu"), "1"), (Some("memory"), "2"), (None, "3"), (Some("cpu"), "4")] {
        before.note(&metrics("a", kind, data), Millis(0));
    }
    let renewed = |before: &Latest, tags: &str| {
        let config = checked(&SPEC.replace("metric_type: data.metric_type", tags));
        let rules = Arc::new(CompiledRules::new(&config));
        Latest::renewed(&config, Arc::new(move |name| rules.rule_of(name)), &Some, Some(before)).unwrap()
    };
    let counted = |latest: &Latest| {
        let state = latest.state.lock();
        let entries = || state.channels.values().flat_map(|kept| &kept.entries);
        assert_eq!(state.bytes, entries().map(|entry| entry.bytes).sum::<usize>());
        entries().count()
    };
    let more = renewed(&before, "a_first: data.x, metric_type: data.metric_type, z_last: data.z");
    assert_eq!(counted(&more), 3);
    for (kind, data) in [(Some("cpu"), "4"), (Some("memory"), "2"), (None, "4")] {
        assert_eq!(found(&more, "metrics:a", kind, 0).as_deref(), Some(data));
    }
    let asked = [("a_first", "".into()), ("metric_type", "cpu".into())];
    let channel = ChannelName::parse("metrics:a").unwrap();
    assert_eq!(more.find(&channel, "metrics_update", &asked, Millis(0)), None, "nobody knows of that tag");
    // Who still notes by the configuration of before, for a moment, notes into the same memory.
    before.note(&metrics("a", Some("cpu"), "5"), Millis(0));
    assert_eq!(found(&more, "metrics:a", Some("cpu"), 0).as_deref(), Some("5"));
    let none = renewed(&more, "");
    assert_eq!((counted(&none), found(&none, "metrics:a", None, 0).as_deref()), (1, Some("5")));
    none.note(&metrics("a", Some("disk"), "6"), Millis(0));
    assert_eq!((counted(&none), found(&none, "metrics:a", None, 0).as_deref()), (1, Some("6")));
}
