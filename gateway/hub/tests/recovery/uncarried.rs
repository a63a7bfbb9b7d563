//! What comes by another channel before the broker carries the one that is subscribed.

use rtgw_hub::Replay;
use rtgw_model::{ConnectionId, GapReason, Recover};

use crate::rig::{Rig, at, ends_at};

/// One who hears `b`, and one who waits for `a` to be carried.
fn uncarried(recover: bool) -> (Rig, ConnectionId) {
    let mut rig = Rig::new();
    let (other, client) = (rig.connect(), rig.connect());
    rig.join(other, "b");
    rig.subscribe(client, "a", recover.then_some(Recover { since: Some(at(0)) }));
    (rig, client)
}

#[test]
fn a_place_is_of_when_the_channel_was_carried() {
    for walked in [false, true] {
        let (mut rig, client) = uncarried(false);
        rig.publish(&["a", "b"], true);
        if walked {
            rig.carry();
        }
        // Nobody brings this one.
        rig.publish(&["a"], false);
        rig.ready("a");
        rig.publish(&["a"], true);
        rig.carry();
        assert_eq!(rig.hears(client), "pub A, subscribed 1 a 2@1 -, pub C");
    }
}

#[test]
fn what_came_behind_the_place_moves_it() {
    let (mut rig, client) = uncarried(false);
    rig.publish(&["a", "b"], true);
    rig.publish(&["a"], true);
    // It was carried from the beginning, and the broker says so late.
    rig.ready_at("a", Some(at(0)));
    rig.publish(&["a"], true);
    rig.carry();
    assert_eq!(rig.hears(client), "pub A, pub B, subscribed 1 a 2@1 -, pub C");
}

#[test]
fn a_hole_is_not_hidden_from_who_cannot_be_given_the_past() {
    for past in [None, Some(Replay { reaches: false, ..ends_at(at(2)) })] {
        let (mut rig, client) = uncarried(true);
        rig.publish(&["a", "b"], true);
        rig.carry();
        rig.publish(&["a"], false);
        rig.ready("a");
        rig.answer(client, past);
        rig.publish(&["a"], true);
        rig.carry();
        assert_eq!(rig.hears(client), "subscribed 1 a 2@1 false, pub C");
        assert!(rig.shard.holds_nothing_back(), "who has heard what is forgotten");
    }
}

#[test]
fn behind_a_gap_nobody_knows_where_it_began() {
    let (mut rig, client) = uncarried(true);
    rig.gap("a", GapReason::BrokerReconnected);
    rig.publish(&["a", "b"], true);
    rig.carry();
    rig.publish(&["a"], false);
    rig.ready_at("a", Some(at(1)));
    rig.answer(client, Some(ends_at(at(2))));
    rig.publish(&["a"], true);
    rig.carry();
    assert_eq!(rig.hears(client), "subscribed 1 a 2@1 false, gap a broker_reconnected, pub C");
    assert!(rig.shard.holds_nothing_back());
}

#[test]
fn who_comes_back_while_it_waits_is_answered_for_the_new_subscription() {
    let (mut rig, client) = uncarried(false);
    rig.publish(&["a", "b"], true);
    rig.ready("a");
    // Before the one who waits could be answered, it is gone, and the channel is wanted anew.
    rig.take_away("a");
    let next = rig.connect();
    rig.subscribe(next, "a", None);
    rig.carry();
    assert_eq!(rig.hears(client), "error 1 forbidden");
    assert_eq!(rig.hears(next), "");
    rig.ready("a");
    rig.carry();
    assert_eq!(rig.hears(next), "subscribed 1 a 1@1 -");
}
