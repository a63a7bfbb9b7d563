//! There and back, and what is refused.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::prelude::*;
use rtgw_model::{ChannelName, ConnectionId, Publication, PublicationId, Timestamp};

use super::*;

fn stamped(epoch: u64, sequence: u64, places: &[(u8, Place)], body: &[u8]) -> Bytes {
    let mut out = vec![PUBLICATION];
    out.extend(epoch.to_be_bytes());
    out.extend(sequence.to_be_bytes());
    out.push(places.len() as u8);
    for (channel, place) in places {
        out.push(*channel);
        out.extend(place.salt.to_be_bytes());
        out.extend(place.offset.to_be_bytes());
    }
    out.extend_from_slice(body);
    out.into()
}

fn sample(channels: &[&str]) -> Publication {
    Publication {
        channels: channels.iter().map(|name| ChannelName::parse(name).unwrap()).collect(),
        event: "e".into(),
        data: Bytes::from_static(br#"{"a":1}"#),
        timestamp: Timestamp(-5),
        tags: [("k".into(), "v".into())].into_iter().collect(),
        id: None,
        positions: Default::default(),
        priority: Some("high".into()),
        except: Some(ConnectionId { shard: 1, slot: 2, generation: 3 }),
    }
}

#[test]
fn a_publication_comes_back_with_what_the_broker_gave_it() {
    let sent = sample(&["a", "b:c"]);
    let place = Place { salt: 0xf0, offset: 9 };
    let bytes = stamped(0x0f, 7, &[(1, place)], &body(&sent, 42).unwrap());
    let (heard, stamp) = publication(&bytes, 42).unwrap();
    let id = PublicationId { epoch: 0x0f, sequence: 7 };
    let positions = [None, Some(Position { offset: 9, epoch: 0xff })].into_iter().collect();
    assert_eq!(heard, Publication { id: Some(id), positions, ..sent.clone() });
    assert_eq!(super::stamp(&bytes).unwrap(), stamp);
    let (elsewhere, _) = publication(&bytes, 43).unwrap();
    assert_eq!(elsewhere.except, None, "another pod's connection is nobody here");
    let plain = stamped(1, 1, &[], &body(&sample(&["a"]), 0).unwrap());
    assert!(publication(&plain, 0).unwrap().0.positions.is_empty());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let body = |channels: &[&str]| body(&sample(channels), 0).unwrap();
    let refused = |bytes: Bytes| publication(&bytes, 0).unwrap_err();
    assert_eq!(refused(Bytes::from_static(b"\x03")), Malformed::Unknown);
    assert_eq!(
        refused(stamped(1, 1, &[(1, Place { salt: 0, offset: 1 })], &body(&["a"]))),
        Malformed::Invalid
    );
    assert_eq!(refused(stamped(1, 1, &[], &body(&["a", "a"]))), Malformed::Invalid);
    assert_eq!(refused(stamped(1, 1, &[], &body(&[]))), Malformed::Invalid);
    let whole = stamped(1, 1, &[], &body(&["a"]));
    let data = sample(&["a"]).data.len();
    for length in 0..whole.len() - data {
        assert_eq!(refused(whole.slice(..length)), Malformed::Short, "{length}");
    }
    let long = Publication { event: "e".repeat(256).into(), ..sample(&["a"]) };
    assert_eq!(super::body(&long, 0), Err(TooLarge));
}

#[test]
fn a_standing_is_read_whole_or_not_at_all() {
    let mut bytes = vec![STANDING];
    for number in [1u64, 2, 3, 4] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(1u16.to_be_bytes());
    bytes.extend(5u64.to_be_bytes());
    bytes.extend(6u64.to_be_bytes());
    let read = standing(&bytes).unwrap();
    let places = vec![Place { salt: 5, offset: 6 }];
    assert_eq!(read, Standing { epoch: 1, sequence: 2, since: 3, nonce: 4, places });
    bytes.push(0);
    assert_eq!(standing(&bytes), Err(Malformed::Invalid));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..3) {
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        let _standing = standing(&bytes);
        let _publication = publication(&bytes.into(), 1);
    }
}
