//! Where the stream breaks under who subscribes.

use rtgw_model::GapReason;

use crate::rig::{Rig, at, ends_at};

#[test]
fn what_waits_of_an_emptied_channel_is_not_for_who_comes_next() {
    let mut rig = Rig::new();
    let (first, next) = (rig.connect(), rig.connect());
    rig.join(first, "a");
    rig.publish(&["a"], true);
    rig.unsubscribe(first, "a");
    assert_eq!(rig.hears(first), "subscribed 1 a 0@1 -, unsubscribed 1 a -");
    // Nobody wants it for a moment.
    rig.publish(&["a"], false);
    rig.subscribe(next, "a", None);
    rig.carry();
    assert_eq!(rig.hears(next), "");
    rig.ready("a");
    rig.publish(&["a"], true);
    rig.carry();
    assert_eq!(rig.hears(next), "subscribed 1 a 2@1 -, pub C");
    assert_eq!(rig.hears(first), "");
}

#[test]
fn an_epoch_that_ends_behind_another_gap_is_noticed() {
    let mut rig = Rig::new();
    let client = rig.connect();
    rig.join(client, "a");
    rig.publish(&["a"], true);
    rig.carry();
    assert_eq!(rig.hears(client), "subscribed 1 a 0@1 -, pub A");
    rig.subscribe(client, "a", Some(rtgw_model::Recover { since: Some(at(7)) }));
    rig.gap("a", GapReason::BrokerReconnected);
    rig.reset("a");
    rig.carry();
    rig.answer(client, Some(ends_at(at(1))));
    rig.publish(&["a"], true);
    rig.carry();
    assert_eq!(rig.hears(client), "subscribed 1 a 1@1 false, gap a broker_reset, pub B");
}
