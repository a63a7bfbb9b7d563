//! What gives where a queue is full.

use crate::rig::{NUMBERED, PLAIN, Rig, SHOWN, messages};

const PONG: &str = "pong 1";

#[test]
fn the_oldest_are_dropped_and_a_gap_stands_where_they_were() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["drop:a"], NUMBERED, messages(3));
    for number in 1..=7 {
        rig.publish(&["drop:a"], "", &number.to_string());
    }
    rig.ask(slow);
    assert_eq!((rig.dropped("drop", "slow_consumer"), rig.gaps("drop")), (5, 1));
    // The answer found no room either, and took that of the fifth. Numbers count what is delivered.
    let heard = [PONG, "gap drop:a slow_consumer", "pub 6 seq 1", "pub 7 seq 2", PONG];
    assert_eq!(rig.read(slow), heard);
    rig.publish(&["drop:a"], "", "8");
    assert_eq!(rig.read(slow), ["pub 8 seq 3"]);
    assert_eq!(rig.account.used(), 0);
}

#[test]
fn each_hole_is_told_once() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["drop:a"], PLAIN, messages(1));
    for number in 1..=3 {
        rig.publish(&["drop:a"], "", &number.to_string());
    }
    // Room for all that waits, but not for what comes behind it.
    rig.take_bytes(slow, "ng 1\ngap drop:a slow_consumer\npub 3\n".len() + 2);
    for number in 4..=6 {
        rig.publish(&["drop:a"], "", &number.to_string());
    }
    let gap = "gap drop:a slow_consumer";
    // The fourth was begun in the socket before it blocked, and is never dropped.
    assert_eq!(rig.read(slow), [PONG, gap, "pub 3", "pub 4", gap, "pub 6"]);
    assert_eq!((rig.gaps("drop"), rig.dropped("drop", "slow_consumer")), (2, 3));
}

#[test]
fn two_channels_are_told_each_at_its_place() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["drop:a", "drop:b"], PLAIN, messages(2));
    for (channel, text) in [("drop:a", "a1"), ("drop:b", "b1"), ("drop:a", "a2"), ("drop:b", "b2")] {
        rig.publish(&[channel], "", text);
    }
    let gaps = ["gap drop:a slow_consumer", "gap drop:b slow_consumer"];
    assert_eq!(rig.read(slow), [PONG, gaps[0], gaps[1], "pub a2", "pub b2"]);
}

#[test]
fn the_newest_of_a_key_takes_the_place_of_the_one_that_waits() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["latest:a"], NUMBERED, messages(3));
    for (key, text) in [("x", "x1"), ("y", "y1"), ("x", "x2"), ("x", "x3"), ("y", "y2"), ("z", "z1")] {
        rig.publish(&["latest:a"], key, text);
    }
    assert_eq!((rig.superseded(), rig.gaps("latest")), (3, 0));
    rig.publish(&["latest:a"], "w", "w1");
    assert_eq!((rig.superseded(), rig.gaps("latest")), (3, 1));
    assert_eq!(rig.dropped("latest", "slow_consumer"), 1);
    let heard = [PONG, "gap latest:a slow_consumer", "pub y2 seq 1", "pub z1 seq 2", "pub w1 seq 3"];
    assert_eq!(rig.read(slow), heard);
}

#[test]
fn what_may_not_be_dropped_takes_the_room_of_what_may_and_only_then_ends_the_connection() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["keep:a", "drop:a"], PLAIN, messages(2));
    rig.publish(&["drop:a"], "", "d1");
    rig.publish(&["drop:a"], "", "d2");
    rig.publish(&["keep:a"], "", "k1");
    rig.publish(&["keep:a"], "", "k2");
    assert_eq!(rig.closed(4430), 0);
    // Nothing is left to give but what comes itself.
    rig.publish(&["drop:a"], "", "d3");
    assert_eq!((rig.closed(4430), rig.dropped("drop", "slow_consumer"), rig.gaps("drop")), (0, 3, 1));
    let mut other = Rig::new();
    let kept = other.stuck(&["keep:a", "drop:a"], PLAIN, messages(2));
    for text in ["k1", "k2", "k3"] {
        other.publish(&["keep:a"], "", text);
    }
    assert_eq!(other.closed(4430), 1);
    assert_eq!(other.read(kept), [PONG, "close 4430"]);
    assert_eq!(rig.read(slow), [PONG, "gap drop:a slow_consumer", "pub k1", "pub k2"]);
}

#[test]
fn what_comes_and_is_dropped_at_once_is_told_behind_what_waits() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["keep:a", "drop:a"], PLAIN, messages(2));
    for (channel, text) in [("keep:a", "k1"), ("keep:a", "k2"), ("drop:a", "d1"), ("drop:a", "d2")] {
        rig.publish(&[channel], "", text);
    }
    assert_eq!(rig.read(slow), [PONG, "pub k1", "pub k2", "gap drop:a slow_consumer"]);
}

#[test]
fn lower_priority_gives_first() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["drop:a", "low:a"], PLAIN, messages(2));
    for (channel, text) in [("drop:a", "d1"), ("low:a", "l1"), ("drop:a", "d2"), ("drop:a", "d3")] {
        rig.publish(&[channel], "", text);
    }
    assert_eq!((rig.dropped("low", "slow_consumer"), rig.dropped("drop", "slow_consumer")), (1, 1));
    let heard = [PONG, "gap drop:a slow_consumer", "pub d2", "pub d3", "gap low:a slow_consumer"];
    assert_eq!(rig.read(slow), heard);
}

#[test]
fn a_publication_for_several_channels_is_told_in_each_that_the_client_hears() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["drop:a", "drop:b"], SHOWN, messages(1));
    let other = rig.stuck(&["drop:c", "drop:b"], PLAIN, messages(1));
    rig.publish(&["drop:a", "drop:b", "drop:c"], "", "1");
    rig.publish(&["drop:a", "drop:b"], "", "2");
    let gaps = ["gap drop:a slow_consumer", "gap drop:b slow_consumer"];
    assert_eq!(rig.read(slow), [PONG, gaps[0], gaps[1], "pub 2 on drop:a"]);
    let heard = ["gap drop:b slow_consumer", "gap drop:c slow_consumer", "pub 2"];
    assert_eq!(rig.read(other)[1..], heard);
}

#[test]
fn a_channel_that_drops_nothing_keeps_what_it_shares_with_one_that_does() {
    let mut rig = Rig::new();
    let both = rig.stuck(&["drop:a", "keep:a"], PLAIN, messages(1));
    let one = rig.stuck(&["drop:a"], PLAIN, messages(1));
    rig.publish(&["drop:a", "keep:a"], "", "1");
    rig.publish(&["drop:a", "keep:a"], "", "2");
    assert_eq!(rig.read(both), [PONG, "close 4430"]);
    assert_eq!(rig.read(one), [PONG, "gap drop:a slow_consumer", "pub 2"]);
}

#[test]
fn who_has_left_the_channel_is_told_of_the_hole_before_the_end() {
    let mut rig = Rig::new();
    let slow = rig.stuck(&["drop:a", "drop:b"], PLAIN, messages(2));
    rig.publish(&["drop:a"], "", "1");
    rig.unsubscribe(slow, "drop:a");
    rig.publish(&["drop:b"], "", "2");
    let heard = [PONG, "gap drop:a slow_consumer", "unsubscribed 1 drop:a -", "pub 2"];
    assert_eq!(rig.read(slow), heard);
}

#[test]
fn a_publication_that_fits_into_no_queue_makes_nobody_give() {
    let mut rig = Rig::new();
    let bytes = rtgw_model::OutboxLimits { bytes: 100, messages: 100 };
    let slow = rig.stuck(&["drop:a"], PLAIN, bytes);
    rig.publish(&["drop:a"], "", "1");
    rig.publish(&["drop:a"], "", &"x".repeat(200));
    rig.publish(&["drop:a"], "", "3");
    assert_eq!(rig.read(slow), [PONG, "pub 1", "gap drop:a slow_consumer", "pub 3"]);
}

#[test]
fn a_client_whose_publications_give_is_still_read() {
    let mut rig = Rig::new();
    let limits = rtgw_model::OutboxLimits { bytes: 100, messages: 100 };
    let gives = rig.stuck(&["drop:a"], PLAIN, limits);
    let keeps = rig.stuck(&["keep:a"], PLAIN, limits);
    for _ in 0..2 {
        rig.publish(&["drop:a"], "", &"x".repeat(30));
        rig.publish(&["keep:a"], "", &"x".repeat(30));
    }
    assert!(rig.shard.may_read(gives), "its pongs are heard");
    assert!(!rig.shard.may_read(keeps));
}
