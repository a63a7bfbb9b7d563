//! The pod's outbound memory: shared frames counted once, the largest shed first, never more than the budget.

use std::sync::Arc;

use rtgw_hub::{Account, Input};
use rtgw_model::Now;

use crate::rig::{NUMBERED, PLAIN, Rig, WIDE, messages, publication};

/// What a ping's answer leaves in a stuck socket's outbox.
const BEGUN: u64 = "g 1\n".len() as u64;

#[test]
fn a_frame_is_counted_once_however_many_outboxes_of_however_many_shards_hold_it() {
    let account = Arc::new(Account::new(2, None));
    let mut shards = [Rig::sharing(0, &account), Rig::sharing(1, &account)];
    let stuck: Vec<_> =
        shards.iter_mut().map(|rig| [0; 3].map(|_| rig.stuck(&["keep:a"], PLAIN, WIDE))).collect();
    assert_eq!(account.frame_bytes(), 6 * BEGUN);
    for text in ["x".repeat(995), "y".repeat(1_995)] {
        let outgoing = publication(&["keep:a"], "", &text);
        shards.iter_mut().for_each(|rig| rig.take(outgoing.clone()));
    }
    assert_eq!(account.frame_bytes(), 6 * BEGUN + 3_000);
    for (at, rig) in shards.iter_mut().enumerate() {
        for connection in &stuck[at][1..] {
            assert_eq!(rig.read(*connection).len(), 3);
        }
        rig.gone(stuck[at][0]);
        let left = if at == 0 { 3 * BEGUN + 3_000 } else { 0 };
        assert_eq!(account.frame_bytes(), left);
    }
    assert_eq!(account.used(), 0);
    assert!(account.peak() >= 3_000 + 6 * BEGUN);
}

#[test]
fn a_large_frame_that_sockets_have_the_beginning_of_is_counted_once_too() {
    let mut rig = Rig::new();
    let clients = [0; 3].map(|_| rig.open(&["keep:a"], PLAIN, WIDE));
    for (client, room) in clients.iter().zip([1, 1_000, 30_000]) {
        rig.room.insert(client.slot, room);
    }
    rig.publish(&["keep:a"], "", &"x".repeat(39_995));
    assert_eq!(rig.account.frame_bytes(), 40_000);
    // Going on in the middle changes nothing, as long as one holds it.
    rig.take_bytes(clients[0], 10_000);
    assert_eq!(rig.account.frame_bytes(), 40_000);
    assert_eq!(rig.read(clients[1])[0].len(), 39_999);
    rig.gone(clients[2]);
    assert_eq!(rig.account.frame_bytes(), 40_000);
    assert_eq!(rig.read(clients[0])[0].len(), 39_999);
    assert_eq!(rig.account.used(), 0);
}

#[test]
fn what_is_numbered_for_one_connection_is_its_own() {
    let mut rig = Rig::new();
    let clients = [0; 2].map(|_| rig.open(&["keep:a"], NUMBERED, WIDE));
    for client in &clients {
        rig.room.insert(client.slot, 0);
    }
    rig.publish(&["keep:a"], "", &"x".repeat(39_995));
    assert_eq!(rig.account.frame_bytes(), 2 * (40_000 + " seq 1".len() as u64));
    clients.iter().for_each(|client| assert_eq!(rig.read(*client).len(), 1));
    assert_eq!(rig.account.used(), 0);
}

#[test]
fn what_a_policy_dropped_is_held_no_more() {
    let mut rig = Rig::new();
    let stuck = rig.stuck(&["drop:a"], PLAIN, messages(2));
    for _ in 0..10 {
        rig.publish(&["drop:a"], "", &"x".repeat(995));
    }
    let gap = "gap drop:a slow_consumer\n".len() as u64;
    assert_eq!(rig.account.frame_bytes(), BEGUN + gap + 2_000);
    rig.gone(stuck);
    assert_eq!(rig.account.used(), 0);
}

#[test]
fn those_who_hold_most_are_shed_first_and_told_when_to_come_back() {
    let account = Arc::new(Account::new(1, Some(40_000)));
    let mut rig = Rig::sharing(0, &account);
    let small = rig.stuck(&["keep:small"], PLAIN, WIDE);
    let large = rig.stuck(&["keep:large"], PLAIN, WIDE);
    let middle = rig.stuck(&["keep:middle"], PLAIN, WIDE);
    rig.publish(&["keep:small"], "", &"s".repeat(4_000));
    rig.publish(&["keep:middle"], "", &"m".repeat(10_000));
    rig.publish(&["keep:large"], "", &"l".repeat(18_000));
    assert_eq!(rig.closed(1013), 0, "{} is within the budget", account.used());
    // Who grows is not who pays.
    rig.publish(&["keep:small"], "", &"s".repeat(6_000));
    assert_eq!((rig.closed(1013), rig.dropped("keep", "shed")), (1, 1));
    assert!(account.peak() <= 40_000 && account.used() < 35_000, "{} {}", account.peak(), account.used());
    assert_eq!(rig.read(large), ["pong 1", "close 1013"]);
    assert_eq!((rig.read(middle).len(), rig.read(small).len()), (2, 3));
    assert_eq!(account.used(), 0);
}

#[test]
fn who_is_closing_is_given_up_where_even_the_beginnings_of_frames_are_too_much() {
    let account = Arc::new(Account::new(1, Some(100_000)));
    let mut rig = Rig::sharing(0, &account);
    let clients: Vec<_> = (0..20).map(|_| rig.open(&["keep:a"], PLAIN, WIDE)).collect();
    for client in &clients {
        rig.room.insert(client.slot, 1);
    }
    // Each socket takes one byte, and leaves a copy of 9,999.
    rig.publish(&["keep:a"], "", &"x".repeat(9_995));
    assert!(account.used() <= 100_000, "{}", account.used());
    assert!(rig.closed(1013) >= 10);
    assert!(!rig.ended.is_empty(), "their sockets end inside a frame");
    clients.iter().for_each(|client| rig.gone(*client));
    assert_eq!(account.used(), 0);
}

#[test]
fn the_shard_with_the_pods_largest_pays_and_the_others_wait_for_it() {
    let account = Arc::new(Account::new(2, Some(64_000)));
    let mut first = Rig::sharing(0, &account);
    let mut second = Rig::sharing(1, &account);
    let large = second.stuck(&["keep:a"], PLAIN, WIDE);
    second.publish(&["keep:a"], "", &"x".repeat(40_000));
    let small = first.stuck(&["keep:b"], PLAIN, WIDE);
    while first.relieved().is_empty() {
        assert!(account.used() < 62_000, "nobody was asked");
        first.publish(&["keep:b"], "", &"y".repeat(500));
    }
    first.publish(&["keep:b"], "", &"y".repeat(500));
    assert_eq!((first.relieved(), first.closed(1013)), (vec![], 0), "asked once");
    second.shard.handle(Now::default(), Input::Relieve);
    second.turn();
    assert_eq!((second.closed(1013), first.closed(1013)), (1, 0));
    assert!(account.used() < 56_000);
    assert_eq!(second.read(large), ["pong 1", "close 1013"]);
    assert!(first.read(small).len() > 30);
}

#[test]
fn above_the_budget_nobody_waits() {
    let account = Arc::new(Account::new(2, Some(64_000)));
    let mut first = Rig::sharing(0, &account);
    let mut second = Rig::sharing(1, &account);
    second.stuck(&["keep:a"], PLAIN, WIDE);
    second.publish(&["keep:a"], "", &"x".repeat(40_000));
    first.stuck(&["keep:b"], PLAIN, WIDE);
    // The other shard does not look.
    for _ in 0..100 {
        first.publish(&["keep:b"], "", &"y".repeat(500));
        assert!(account.used() <= 64_000);
    }
    assert_eq!((first.closed(1013), second.closed(1013)), (1, 0));
}

#[test]
fn a_smaller_budget_holds_from_the_next_growth_on() {
    let mut rig = Rig::new();
    let stuck = rig.stuck(&["keep:a"], PLAIN, WIDE);
    rig.publish(&["keep:a"], "", &"x".repeat(50_000));
    rig.account.set_budget(Some(10_000));
    let other = rig.stuck(&["keep:b"], PLAIN, WIDE);
    assert_eq!((rig.closed(1013), rig.account.budget()), (1, Some(10_000)));
    assert_eq!(rig.read(stuck), ["pong 1", "close 1013"]);
    assert_eq!(rig.read(other), ["pong 1"]);
}
