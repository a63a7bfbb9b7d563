//! The inbox by itself: order of gaps, room, wake-ups.
#![allow(clippy::unwrap_used, clippy::panic)]
use mio::{Poll, Token};
use rtgw_model::{Outgoing, Timestamp};

use super::*;

fn inbox(publications: usize, bytes: usize) -> (Poll, ShardInbox) {
    let poll = Poll::new().unwrap();
    let waker = Waker::new(poll.registry(), Token(0)).unwrap();
    (poll, ShardInbox::new(waker, Load { publications, bytes }))
}

fn publication(channel: &str, data: &'static str) -> ShardInput {
    let publication = Publication {
        channels: [ChannelName::parse(channel).unwrap()].into_iter().collect(),
        event: "".into(),
        data: data.into(),
        timestamp: Timestamp(0),
        tags: Default::default(),
        id: None,
        priority: None,
        positions: Default::default(),
        except: None,
    };
    ShardInput::Hub(Input::Publication(std::sync::Arc::new(Outgoing::new(
        publication,
        1,
        Default::default(),
    ))))
}

/// Data of publications, `gap:CHANNELS` of gaps.
fn taken(inbox: &ShardInbox) -> Vec<String> {
    let mut items = Vec::new();
    inbox.take(&mut items);
    let name = |item: &ShardInput| match item {
        ShardInput::Hub(Input::Publication(outgoing)) => {
            String::from_utf8(outgoing.publication().data.to_vec()).unwrap()
        }
        ShardInput::Hub(Input::Gap(GapScope::All, GapReason::InboxFull)) => "gap:all".to_owned(),
        ShardInput::Hub(Input::Gap(GapScope::Channels(channels), GapReason::InboxFull)) => {
            let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
            format!("gap:{}", names.join(","))
        }
        _ => panic!("something else"),
    };
    items.iter().map(name).collect()
}

#[test]
fn a_gap_stands_where_the_refused_ones_would() {
    let (_poll, inbox) = inbox(10, 4);
    assert!(inbox.post(publication("a", "1")).is_ok());
    assert!(inbox.post(publication("b", "23456")).is_err());
    assert!(inbox.post(publication("c", "78901")).is_err());
    assert!(inbox.post(publication("b", "45678")).is_err());
    assert!(inbox.post(publication("a", "2")).is_ok());
    assert!(inbox.post(publication("a", "34567")).is_err());
    assert_eq!(taken(&inbox), ["1", "gap:b,c", "2", "gap:a"]);
    assert_eq!(taken(&inbox), [""; 0]);
    assert_eq!(inbox.gauge(), (2, 4));
}

#[test]
fn many_refused_channels_are_told_as_all() {
    let (_poll, inbox) = inbox(0, 100);
    for number in 0..=MISSED_CHANNELS {
        assert!(inbox.post(publication(&format!("c{number}"), "1")).is_err());
    }
    assert!(inbox.post(publication("one-more", "1")).is_err());
    assert_eq!(taken(&inbox), ["gap:all"]);
}

#[test]
fn room_comes_back_only_with_the_end_of_the_fan_out() {
    let (_poll, inbox) = inbox(2, 100);
    assert!(inbox.post(publication("a", "1")).is_ok());
    assert!(inbox.post(publication("a", "2")).is_ok());
    assert_eq!(taken(&inbox), ["1", "2"]);
    assert!(inbox.post(publication("a", "3")).is_err());
    assert!(!inbox.settle(Load { publications: 1, bytes: 1 }, false));
    assert!(inbox.post(publication("a", "4")).is_ok());
    assert_eq!(taken(&inbox), ["gap:a", "4"]);
}

#[test]
fn only_a_sleeper_is_woken_and_only_once() {
    let (mut poll, inbox) = inbox(10, 100);
    let mut events = mio::Events::with_capacity(4);
    let mut woken = || {
        poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        events.iter().count()
    };
    inbox.post(publication("a", "1")).unwrap();
    assert_eq!(woken(), 0, "nobody sleeps");
    assert!(!inbox.settle(Load::default(), true), "something waits");
    assert_eq!(taken(&inbox), ["1"]);
    assert!(inbox.settle(Load::default(), true));
    inbox.post(publication("a", "2")).unwrap();
    assert_eq!(woken(), 1);
    inbox.post(publication("a", "3")).unwrap();
    assert_eq!(woken(), 0, "woken already");
}

#[test]
fn a_closed_inbox_keeps_nothing() {
    let (_poll, inbox) = inbox(10, 100);
    inbox.close();
    assert!(inbox.post(publication("a", "1")).is_ok());
    assert_eq!(taken(&inbox), [""; 0]);
}
