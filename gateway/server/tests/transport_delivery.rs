//! Publications over real sockets: order, batching, large messages, slow readers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod transport_support;

use rtgw_model::OutboxLimits;
use transport_support::{Door, Rig, TEXT};

#[test]
fn two_hundred_sockets_hear_everything_in_order() {
    let rig = Rig::new();
    let mut clients: Vec<_> = (0..200).map(|_| rig.client(&Door::hears("jobs"))).collect();
    for number in 0..100 {
        rig.publish("jobs", number.to_string());
    }
    for client in &mut clients {
        for number in 0..100 {
            assert_eq!(client.read().unwrap().into_text().unwrap().as_str(), number.to_string());
        }
    }
}

#[test]
fn what_a_turn_has_for_a_socket_is_one_send() {
    let rig = Rig::new();
    let mut clients: Vec<_> = (0..50).map(|_| rig.raw(&Door::hears("jobs"))).collect();
    let before = rig.report().sends;
    let batch: Vec<_> = (0..16).map(|number| rig.publication("jobs", number.to_string())).collect();
    rig.while_standing_still(|| {
        for publication in batch {
            rig.inbox(0).post(publication).unwrap();
        }
    });
    for client in &mut clients {
        for number in 0..16 {
            assert_eq!(client.text(), number.to_string());
        }
    }
    let sends = rig.report().sends - before;
    assert_eq!(sends, 50, "sends for 50 sockets and 16 publications");
}

#[test]
fn a_mebibyte_goes_as_it_is() {
    let rig = Rig::new();
    let mut client =
        rig.raw(&Door { outbox: OutboxLimits { bytes: 4 << 20, messages: 100 }, ..Door::hears("big") });
    let big = format!("\"{}\"", "x".repeat(1 << 20));
    rig.publish("big", "1");
    rig.publish("big", big.clone());
    rig.publish("big", "2");
    assert_eq!(client.text(), "1");
    assert_eq!(client.frame().unwrap(), (TEXT, big.into_bytes()));
    assert_eq!(client.text(), "2");
}

#[test]
fn what_the_inbox_refuses_is_told_in_its_place() {
    let rig = Rig::with(|settings| settings.inbox_bytes = 1_000);
    let mut client = rig.raw(&Door::hears("jobs"));
    rig.publish("jobs", "1");
    let refused = rig.inbox(0).post(rig.publication("jobs", vec![b'7'; 2_000]));
    assert!(refused.is_err());
    rig.publish("jobs", "2");
    assert!(rig.inbox(0).post(rig.publication("jobs", vec![b'7'; 2_000])).is_err());
    assert_eq!(client.text(), "1");
    let gap = |text: String| assert!(text.contains("\"gap\"") && text.contains("inbox_full"), "{text}");
    gap(client.text());
    assert_eq!(client.text(), "2");
    gap(client.text());
    assert_eq!(rig.report().inbox_refused, 2);
}
