//! One promise each.

use crate::rig::{BATCH, Heard, INTERVAL, Rig};

fn times(rig: &Rig, client: usize) -> Vec<(u64, usize)> {
    rig.clients[client].1.iter().map(|heard| (heard.at, heard.number)).collect()
}

#[test]
fn the_first_goes_at_once_then_one_per_interval_and_the_last_always() {
    let mut rig = Rig::new(2);
    rig.subscribe(0, "rate", None);
    rig.subscribe(1, "rate", None);
    for number in 0..35 {
        rig.publish(number, &["rate"], "stats", &[], None);
        rig.pass(10);
    }
    rig.pass(1_000);
    let expected = [(0, 0), (100, 9), (200, 19), (300, 29), (400, 34)];
    assert_eq!(times(&rig, 0), expected);
    assert_eq!(times(&rig, 1), expected);
    assert_eq!(rig.superseded(), 30);
    assert!(rig.shard.holds_nothing_back());
    assert_eq!(rig.shard.counters().dropped.len() + rig.gaps.len(), 0);
}

#[test]
fn keys_are_events_and_the_tags_that_filters_and_conflate_name() {
    let mut rig = Rig::new(2);
    rig.subscribe(0, "rate", None);
    rig.subscribe(1, "rate", Some("b"));
    rig.publish(1, &["rate"], "stats", &[("k", "a")], None);
    rig.publish(2, &["rate"], "stats", &[("k", "b"), ("other", "x")], None);
    rig.publish(3, &["rate"], "stats", &[], None);
    rig.publish(4, &["rate"], "metrics", &[("k", "a")], None);
    assert_eq!(rig.numbers(0), [1, 2, 3, 4]);
    // A tag that nothing names makes no key of its own.
    rig.publish(5, &["rate"], "stats", &[("k", "b"), ("other", "y")], None);
    // Not replaced by what the second client does not want.
    rig.publish(6, &["rate"], "stats", &[("k", "a")], None);
    rig.pass(150);
    assert_eq!(rig.numbers(0), [1, 2, 3, 4, 6, 5]);
    assert_eq!(rig.numbers(1), [2, 5]);
}

#[test]
fn other_events_are_untouched() {
    let mut rig = Rig::new(1);
    rig.subscribe(0, "some", None);
    for number in (0..20).step_by(2) {
        rig.publish(number, &["some"], "s", &[], None);
        rig.publish(number + 1, &["some"], "started", &[], None);
        rig.pass(1);
    }
    assert_eq!(rig.numbers(0), [0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    rig.pass(100);
    assert_eq!(rig.numbers(0).last(), Some(&18));
}

#[test]
fn who_joins_in_between_hears_what_is_held() {
    let mut rig = Rig::new(2);
    rig.subscribe(0, "rate", None);
    rig.publish(1, &["rate"], "stats", &[], None);
    rig.publish(2, &["rate"], "stats", &[], None);
    rig.subscribe(1, "rate", None);
    rig.pass(100);
    assert_eq!((rig.numbers(0), rig.numbers(1)), (vec![1, 2], vec![2]));
}

#[test]
fn what_nobody_hears_any_more_is_forgotten() {
    let mut rig = Rig::new(1);
    rig.subscribe(0, "rate", None);
    rig.subscribe(0, "batch", None);
    rig.publish(1, &["rate"], "stats", &[], None);
    rig.publish(2, &["rate"], "stats", &[], None);
    rig.publish(3, &["batch"], "s", &[], None);
    assert!(!rig.shard.holds_nothing_back());
    rig.unsubscribe(0, "rate");
    rig.unsubscribe(0, "batch");
    assert!(rig.shard.holds_nothing_back());
    assert_eq!(rig.shard.waiting_publications(), 0);
    assert_eq!(rig.shard.counters().held_bytes, 0);
    // The slot of the channel has another tenant now, which must not inherit anything.
    rig.subscribe(0, "plain", None);
    rig.pass(1_000);
    assert_eq!(rig.numbers(0), [1]);
}

#[test]
fn several_channels_reach_a_connection_once_whichever_waits() {
    let mut rig = Rig::new(3);
    rig.subscribe(0, "rate", None);
    rig.subscribe(1, "plain", None);
    rig.subscribe(2, "rate", None);
    rig.subscribe(2, "plain", None);
    rig.publish(1, &["rate"], "stats", &[], None);
    rig.publish(2, &["rate", "plain"], "stats", &[], None);
    assert_eq!((rig.numbers(0), rig.numbers(1), rig.numbers(2)), (vec![1], vec![2], vec![1, 2]));
    rig.pass(100);
    assert_eq!((rig.numbers(0), rig.numbers(1), rig.numbers(2)), (vec![1, 2], vec![2], vec![1, 2]));
    // Held by both, let go at different times.
    let mut rig = Rig::new(1);
    rig.subscribe(0, "rate", None);
    rig.subscribe(0, "some", None);
    rig.publish(1, &["rate"], "s", &[], None);
    rig.pass(50);
    rig.publish(2, &["some"], "s", &[], None);
    rig.publish(3, &["some", "rate"], "s", &[], None);
    rig.pass(1_000);
    let by = |by: &str, at, number| Heard { at, number, by: by.into() };
    assert_eq!(rig.clients[0].1, [by("rate", 0, 1), by("some", 50, 2), by("rate", 100, 3)]);
    assert!(rig.shard.holds_nothing_back());
}

#[test]
fn a_connection_in_a_reused_slot_is_not_taken_for_the_one_before() {
    let mut rig = Rig::new(2);
    rig.subscribe(0, "rate", None);
    rig.subscribe(1, "rate", None);
    rig.subscribe(1, "plain", None);
    rig.publish(1, &["rate"], "stats", &[], None);
    rig.publish(2, &["rate", "plain"], "stats", &[], None);
    rig.replace(1);
    rig.subscribe(1, "rate", None);
    rig.pass(100);
    assert_eq!(rig.numbers(1), [2]);
}

#[test]
fn a_sender_does_not_hear_its_own() {
    let mut rig = Rig::new(2);
    rig.subscribe(0, "rate", None);
    rig.subscribe(1, "rate", None);
    rig.publish(1, &["rate"], "stats", &[], Some(0));
    rig.publish(2, &["rate"], "stats", &[], Some(1));
    rig.pass(100);
    assert_eq!((rig.numbers(0), rig.numbers(1)), (vec![2], vec![1]));
}

#[test]
fn what_is_held_stands_before_a_gap() {
    let mut rig = Rig::new(1);
    rig.subscribe(0, "rate", None);
    rig.subscribe(0, "batch", None);
    rig.publish(1, &["rate"], "stats", &[], None);
    rig.publish(2, &["rate"], "stats", &[], None);
    rig.publish(3, &["batch"], "s", &[], None);
    rig.gap();
    assert_eq!(rig.numbers(0), [1, 2, 3]);
    assert!(rig.gaps.iter().filter(|(_, before)| *before == 3).count() >= 1, "{:?}", rig.gaps);
    // The interval began anew.
    rig.publish(4, &["rate"], "stats", &[], None);
    rig.pass(99);
    assert_eq!(rig.numbers(0), [1, 2, 3]);
    rig.pass(1);
    assert_eq!(rig.numbers(0), [1, 2, 3, 4]);
}

#[test]
fn a_batch_waits_keeps_the_order_and_delays_nobody_else() {
    let mut rig = Rig::new(1);
    rig.subscribe(0, "batch", None);
    rig.subscribe(0, "plain", None);
    rig.publish(1, &["batch"], "s", &[], None);
    rig.pass(10);
    rig.publish(2, &["batch"], "s", &[], None);
    rig.publish(3, &["plain"], "s", &[], None);
    assert_eq!(times(&rig, 0), [(10, 3)]);
    rig.pass(10);
    assert_eq!(times(&rig, 0), [(10, 3), (20, 1), (20, 2)]);
    // An event that the policy does not name goes at once, behind what waits.
    rig.publish(4, &["batch"], "s", &[], None);
    rig.publish(5, &["batch"], "other", &[], None);
    assert_eq!(times(&rig, 0)[3..], [(20, 4), (20, 5)]);
    // A full batch does not wait.
    for number in 100..164 {
        rig.publish(number, &["batch"], "s", &[], None);
    }
    assert_eq!(times(&rig, 0).last(), Some(&(20, 163)));
    assert!(rig.shard.holds_nothing_back());
}

#[test]
fn a_rate_holds_on_the_wire_where_batches_wait_too() {
    let mut rig = Rig::new(1);
    rig.subscribe(0, "both", None);
    let mut number = 0;
    for step in [0, 130, 7, 115, 119, 1, 119, 250] {
        rig.pass(step);
        rig.publish(number, &["both"], "s", &[], None);
        // Another key opens a window that the first one joins.
        rig.publish(number + 1, &["both"], "t", &[], None);
        number += 2;
    }
    rig.pass(1_000);
    let of = |odd| move |heard: &&Heard| heard.number % 2 == odd;
    for odd in [0, 1] {
        let times: Vec<u64> = rig.clients[0].1.iter().filter(of(odd)).map(|heard| heard.at).collect();
        assert!(times.len() > 4);
        assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= u64::from(INTERVAL)), "{times:?}");
    }
    assert_eq!(rig.clients[0].1[0].at, u64::from(BATCH));
}

#[test]
fn at_the_bound_of_keys_publications_pass() {
    let mut rig = Rig::new(1);
    rig.subscribe(0, "some", None);
    let key = |number: usize| number.to_string();
    for number in 0..5_000 {
        rig.publish(number, &["some"], "s", &[("c", &key(number))], None);
    }
    // All were the first of their keys.
    assert_eq!(rig.numbers(0), (0..5_000).collect::<Vec<_>>());
    // The newest 1,024 keys are known. While they hold something none is forgotten, and other keys pass.
    for number in 4_000..5_000 {
        rig.publish(number + 10_000, &["some"], "s", &[("c", &key(number))], None);
    }
    rig.publish(4_999 + 20_000, &["some"], "s", &[("c", &key(4_999))], None);
    assert_eq!(rig.numbers(0).len(), 5_000);
    for number in 0..100 {
        rig.publish(30_000 + number, &["some"], "s", &[("c", &key(number))], None);
    }
    assert_eq!(rig.numbers(0).len(), 5_100);
    rig.pass(1_000);
    assert_eq!(rig.numbers(0).len(), 6_100);
    assert!(rig.numbers(0).contains(&24_999) && !rig.numbers(0).contains(&14_999));
    assert!(rig.shard.holds_nothing_back());
}

#[test]
fn another_policy_lets_go_what_the_old_one_held() {
    let mut rig = Rig::new(2);
    rig.subscribe(0, "rate", None);
    rig.publish(1, &["rate"], "stats", &[], None);
    rig.publish(2, &["rate"], "stats", &[], None);
    rig.manifest.changed.insert("rate".into(), Default::default());
    rig.subscribe(1, "rate", None);
    rig.publish(3, &["rate"], "stats", &[], None);
    rig.publish(4, &["rate"], "stats", &[], None);
    assert_eq!(rig.numbers(0), [1, 2, 3, 4]);
    assert!(rig.shard.holds_nothing_back());
}

#[test]
fn a_loop_that_stood_still_sends_the_older_before_the_newer() {
    let mut rig = Rig::new(1);
    rig.subscribe(0, "rate", None);
    rig.publish(1, &["rate"], "stats", &[], None);
    rig.publish(2, &["rate"], "stats", &[], None);
    rig.stall(5_000);
    rig.publish(3, &["rate"], "stats", &[], None);
    rig.pass(1_000);
    assert_eq!(times(&rig, 0), [(0, 1), (5_000, 2), (5_100, 3)]);
}
