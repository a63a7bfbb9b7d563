//! Publications to several channels of a connection that waits for the past of one.

use rtgw_hub::Replay;
use rtgw_model::{ConnectionId, Recover};

use crate::rig::{Rig, at, ends_at};

/// A client that hears `b` and waits for the past of `a`, which stands at 1.
fn waiting(recover: bool) -> (Rig, ConnectionId) {
    let mut rig = Rig::new();
    let (client, other, third) = (rig.connect(), rig.connect(), rig.connect());
    rig.join(other, "a");
    rig.join(third, "b");
    rig.publish(&["a"], true);
    rig.join(client, "b");
    rig.join(client, "slow");
    if !recover {
        // Where it stands is then known by asking alone.
        rig.gap("a", rtgw_model::GapReason::BrokerReconnected);
    }
    rig.carry();
    assert_eq!(rig.hears(client), "subscribed 1 b 0@1 -, subscribed 1 slow 0@1 -");
    let since = Recover { since: Some(at(0)) };
    rig.subscribe(client, "a", recover.then_some(since));
    assert_eq!(rig.hears(client), "");
    (rig, client)
}

#[test]
fn what_waits_for_a_past_goes_by_another_channel() {
    for channels in [["a", "b"], ["b", "a"]] {
        let (mut rig, client) = waiting(true);
        rig.publish(&channels, true);
        rig.carry();
        // Whatever becomes of `a`.
        assert_eq!(rig.hears(client), "pub B");
        rig.take_away("a");
        rig.publish(&channels, true);
        rig.carry();
        let taken = "error 1 forbidden";
        assert_eq!(rig.hears(client), format!("{taken}, pub C"));
        assert!(rig.shard.holds_nothing_back(), "who has heard what is forgotten");
    }
}

#[test]
fn nobody_hears_twice_what_another_channel_has_brought() {
    for channels in [["a", "b"], ["b", "a"]] {
        let (mut rig, client) = waiting(false);
        rig.publish(&channels, true);
        rig.publish(&["a"], true);
        rig.carry();
        assert_eq!(rig.hears(client), "pub B");
        rig.answer(client, Some(ends_at(at(1))));
        rig.publish(&channels, true);
        rig.carry();
        assert_eq!(rig.hears(client), "subscribed 1 a 2@1 -, pub C, pub D");
        assert!(rig.shard.holds_nothing_back());
    }
}

#[test]
fn what_is_told_between_two_of_its_channels_is_told_once() {
    let (mut rig, client) = waiting(false);
    rig.publish(&["a", "b"], true);
    // It has come to the members of `a`, and of `b` to the first.
    assert!(rig.step(2));
    rig.answer(client, Some(ends_at(at(1))));
    assert_eq!(rig.hears(client), "subscribed 1 a 1@1 -, pub B");
    rig.carry();
    rig.publish(&["a", "b"], true);
    rig.carry();
    assert_eq!(rig.hears(client), "pub C");
    assert!(rig.shard.holds_nothing_back());
}

#[test]
fn what_a_throttled_channel_brings_later_is_told_once_too() {
    for first in ["a", "slow"] {
        let (mut rig, client) = waiting(false);
        rig.publish(&["slow"], true);
        rig.publish(&["a", "slow"], true);
        rig.carry();
        assert_eq!(rig.hears(client), "pub B");
        if first == "a" {
            rig.answer(client, Some(ends_at(at(1))));
            assert_eq!(rig.hears(client), "subscribed 1 a 1@1 -, pub C");
        }
        rig.wait(2_000);
        rig.carry();
        if first == "slow" {
            assert_eq!(rig.hears(client), "pub C");
            rig.answer(client, Some(ends_at(at(1))));
            assert_eq!(rig.hears(client), "subscribed 1 a 2@1 -");
        }
        rig.wait(5_000);
        rig.carry();
        assert_eq!(rig.hears(client), "");
        assert!(rig.shard.holds_nothing_back());
    }
}

#[test]
fn what_a_place_passes_over_goes_by_another_channel() {
    let (mut rig, client) = waiting(false);
    // The past is ahead of the stream, and not told: only where it ends.
    rig.answer(client, Some(ends_at(at(2))));
    assert_eq!(rig.hears(client), "subscribed 1 a 2@1 -");
    rig.publish(&["a", "b"], true);
    rig.publish(&["a"], true);
    rig.carry();
    assert_eq!(rig.hears(client), "pub B, pub C");
}

#[test]
fn a_past_that_cannot_be_told_leaves_out_what_has_been_heard() {
    let (mut rig, client) = waiting(true);
    rig.publish(&["a", "b"], true);
    rig.publish(&["a"], true);
    rig.carry();
    assert_eq!(rig.hears(client), "pub B");
    rig.answer(client, Some(Replay { reaches: false, ..ends_at(at(1)) }));
    assert_eq!(rig.hears(client), "subscribed 1 a 2@1 false, pub C");
}
