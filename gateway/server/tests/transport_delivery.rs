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
fn who_takes_batches_hears_a_turn_in_one_frame_and_the_neighbour_hears_the_same_bytes() {
    let rig = Rig::new();
    let mut joined = rig.raw(&Door { batch: true, ..Door::hears("jobs") });
    let mut plain = rig.raw(&Door::hears("jobs"));
    // An array, too: on its own it would be taken for a batch.
    let long = format!("[{}7]", "7,".repeat(20_000));
    for batch in
        [vec!["0", "{}", "[2]"], vec!["3"], vec!["[4]"], vec![long.as_str()], vec![long.as_str(), "6"]]
    {
        let publications: Vec<_> =
            batch.iter().map(|data| rig.publication("jobs", (*data).to_owned())).collect();
        rig.while_standing_still(|| {
            for publication in publications {
                rig.inbox(0).post(publication).unwrap();
            }
        });
        for data in &batch {
            assert_eq!(plain.text(), *data);
        }
        let alone = |data: &str| if data.starts_with('[') { format!("[{data}]") } else { data.to_owned() };
        let wanted = match batch[..] {
            // What is too long to be copied goes by itself.
            [data] => vec![alone(data)],
            [data, behind] => vec![alone(data), alone(behind)],
            _ => vec![format!("[{}]", batch.join(","))],
        };
        for text in wanted {
            assert_eq!(joined.text(), text);
        }
    }
}

#[test]
fn a_slow_reader_of_batches_hears_everything_in_order() {
    let rig = Rig::new();
    let outbox = OutboxLimits { bytes: 8 << 20, messages: 100_000 };
    let mut client = rig.raw(&Door { batch: true, outbox, client_buffer: Some(4096), ..Door::hears("jobs") });
    let publish = |number: usize| rig.publish("jobs", format!("\"{number} {}\"", "x".repeat(number % 300)));
    (0..4_000).for_each(publish);
    rig.wait("a full socket", |report| report.counters.outbound_bytes > 0);
    let mut next = 0;
    let mut batches = 0;
    while next < 4_000 {
        let text = client.text();
        let messages: Vec<String> = match serde_json::from_str(&text).unwrap() {
            serde_json::Value::Array(messages) => {
                batches += 1;
                messages.into_iter().map(|message| message.as_str().unwrap().to_owned()).collect()
            }
            message => vec![message.as_str().unwrap().to_owned()],
        };
        for message in messages {
            assert!(message.starts_with(&format!("{next} ")), "{next}: {message}");
            next += 1;
        }
    }
    assert!((10..1_000).contains(&batches), "{batches} batches");
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
