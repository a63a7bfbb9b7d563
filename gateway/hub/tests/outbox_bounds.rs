//! A socket that takes nothing: its outbox is bounded exactly, in bytes and in messages, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "simulation/lines.rs"]
mod lines;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use lines::{Lines, VARIANTS};
use rtgw_hub::access::{Action, Asker, Rules, Verdict, ask};
use rtgw_hub::{Fill, Input, Opening, Shard, ShardSettings, TurnBudget};
use rtgw_model::{
    Admission, ChannelName, ChannelPolicy, ConnectionId, ConnectionKey, EndpointIx, Expiry, Heartbeat,
    Micros, Millis, Now, OutboxLimits, Outgoing, Principal, Publication, RuleIx, Timestamp, Variant,
};

const EXPIRY: Expiry = Expiry { warn_ms: 60_000, grace_ms: 25_000 };

struct Open(Arc<ChannelPolicy>);

impl Rules for Open {
    fn decide(&self, _: Action, _: &ChannelName, _: &Asker<'_>) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        Some((self.0.clone(), Verdict::Allow))
    }
}

fn open(shard: &mut Shard, outbox: OutboxLimits) -> ConnectionId {
    let policy = ChannelPolicy {
        rule: RuleIx(0),
        pattern: "a".into(),
        permission: 0,
        filters: Box::default(),
        delivery: Default::default(),
        history: None,
        presence: Default::default(),
    };
    let principal = Arc::new(Principal {
        user: "".into(),
        tenant: "".into(),
        claims: "".into(),
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        query: "".into(),
        expires: None,
    });
    let asker = Asker { key: ConnectionKey(0), endpoint: EndpointIx(0), principal: &principal };
    let auto = vec![ask(&Open(Arc::new(policy)), Action::Subscribe, "a", &asker).unwrap()];
    let admission = Admission {
        key: ConnectionKey(0),
        endpoint: EndpointIx(0),
        variant: Variant(0),
        batch: false,
        principal,
        greeting: None,
        heartbeat: Heartbeat { interval_ms: 25_000, timeout_ms: 60_000, idle_ms: 0 },
        outbox,
        rate: None,
        subscriptions: 1,
    };
    shard.open(Now::default(), Opening { admission, auto })
}

fn publish(shard: &mut Shard, number: u64) {
    let publication = Publication {
        channels: [ChannelName::parse("a").unwrap()].into_iter().collect(),
        event: "e".into(),
        // With "pub " and the newline every frame is 100 bytes.
        data: format!("{number:095}").into(),
        timestamp: Timestamp(0),
        tags: Default::default(),
        id: None,
        priority: None,
        positions: Default::default(),
        except: None,
    };
    let outgoing = Arc::new(Outgoing::new(publication, usize::from(VARIANTS), Micros(0)));
    shard.handle(Now::default(), Input::Publication(outgoing));
    shard.advance(Now::default(), TurnBudget { connections: 100, deliveries: 100, bytes: 1 << 20 });
}

/// Writes everything; the socket of `stuck` takes nothing. Returns what each connection got.
fn flush(shard: &mut Shard, stuck: ConnectionId) -> Vec<(ConnectionId, String)> {
    let mut got = Vec::new();
    let mut cork = Vec::new();
    while let Some(connection) = shard.next_dirty() {
        loop {
            cork.clear();
            let bytes = match shard.fill(connection, &mut cork) {
                Fill::Empty | Fill::Finished => break,
                Fill::Cork => Bytes::copy_from_slice(&cork),
                Fill::Direct(bytes) => bytes,
            };
            if connection == stuck {
                shard.blocked(Now::default(), connection, bytes);
                break;
            }
            got.push((connection, String::from_utf8(bytes.to_vec()).unwrap()));
        }
    }
    got
}

fn messages_until_closed(outbox: OutboxLimits) -> (u64, u64) {
    let settings = ShardSettings { index: 0, endpoints: 1, rules: 1, expiry: EXPIRY, seed: 1 };
    let mut shard = Shard::new(settings, Arc::new(Lines));
    let stuck = open(&mut shard, outbox);
    let healthy = open(&mut shard, outbox);
    let mut most = 0;
    for number in 1..1_000 {
        publish(&mut shard, number);
        let got = flush(&mut shard, stuck);
        assert_eq!(got, [(healthy, format!("pub {number:095}\n"))]);
        most = most.max(shard.counters().outbound_bytes);
        if let Some(closed) = shard.counters().closes.get(&(0, 4430, "slow_consumer")) {
            assert_eq!(*closed, 1);
            return (number, most);
        }
    }
    panic!("never closed");
}

#[test]
fn the_bound_in_bytes_is_exact() {
    // One frame is stuck in the socket's write, nine more fit into 1,000 bytes; the eleventh closes.
    let (number, most) = messages_until_closed(OutboxLimits { bytes: 1_000, messages: 1_000 });
    assert_eq!((number, most), (11, 1_000));
}

#[test]
fn the_bound_in_messages_is_exact() {
    let (number, most) = messages_until_closed(OutboxLimits { bytes: 1_000_000, messages: 5 });
    assert_eq!((number, most), (7, 600));
}

#[test]
fn what_a_slow_reader_lost_is_counted() {
    let settings = ShardSettings { index: 0, endpoints: 1, rules: 1, expiry: EXPIRY, seed: 1 };
    let mut shard = Shard::new(settings, Arc::new(Lines));
    let stuck = open(&mut shard, OutboxLimits { bytes: 1_000_000, messages: 5 });
    for number in 1..=7 {
        publish(&mut shard, number);
        flush(&mut shard, stuck);
    }
    // Five in the queue and the one that did not fit; the first is inside the socket's write and is still sent.
    assert_eq!(shard.counters().dropped.get(&(0, "slow_consumer")), Some(&6));
    shard.writable(stuck);
    let nobody = ConnectionId { shard: 9, slot: 9, generation: 9 };
    let got = flush(&mut shard, nobody);
    assert_eq!(
        got.iter().map(|(_, text)| text.as_str()).collect::<String>(),
        format!("pub {:095}\nclose 4430\n", 1)
    );
}

/// Publishes more than the cork buffer holds, and lets the socket of one of two connections die at its first write; its end is told
/// when `told` says: under the walk over the dirty connections or behind it.
fn dies_inside_a_large_turn(under_the_walk: bool) {
    let settings = ShardSettings { index: 0, endpoints: 1, rules: 1, expiry: EXPIRY, seed: 1 };
    let mut shard = Shard::new(settings, Arc::new(Lines));
    let outbox = OutboxLimits { bytes: 1_000_000, messages: 10_000 };
    let dies = open(&mut shard, outbox);
    let healthy = open(&mut shard, outbox);
    for number in 1..=300 {
        publish(&mut shard, number);
    }
    let mut cork = Vec::new();
    let (mut written, mut lost) = (0, 0);
    while let Some(connection) = shard.next_dirty() {
        loop {
            cork.clear();
            match shard.fill(connection, &mut cork) {
                Fill::Empty | Fill::Finished => break,
                Fill::Cork | Fill::Direct(_) if connection == dies => {
                    lost = cork.len() / 100;
                    if under_the_walk {
                        shard.handle(Now::default(), Input::Gone(dies, None));
                    }
                    break;
                }
                Fill::Cork => written += cork.len(),
                Fill::Direct(bytes) => written += bytes.len(),
            }
        }
    }
    shard.handle(Now::default(), Input::Gone(dies, None));
    assert_eq!(written, 300 * 100);
    assert!((1..300).contains(&lost), "{lost} in the first write");
    // What the failed write held went the way of bytes in a kernel's buffer; the rest waited here and is counted.
    assert_eq!(shard.counters().dropped.get(&(0, "connection_lost")), Some(&(300 - lost as u64)));
    assert_eq!(shard.counters().outbound_bytes, 0);
    publish(&mut shard, 301);
    let got = flush(&mut shard, dies);
    assert_eq!(got, [(healthy, format!("pub {:095}\n", 301))]);
}

#[test]
fn a_socket_that_dies_inside_a_large_turn_takes_nobody_with_it() {
    dies_inside_a_large_turn(false);
    dies_inside_a_large_turn(true);
}

#[test]
fn what_a_closing_connection_never_read_is_counted() {
    let settings = ShardSettings { index: 0, endpoints: 1, rules: 1, expiry: EXPIRY, seed: 1 };
    let mut shard = Shard::new(settings, Arc::new(Lines));
    let stuck = open(&mut shard, OutboxLimits { bytes: 1_000_000, messages: 5 });
    for number in 1..=3 {
        publish(&mut shard, number);
        flush(&mut shard, stuck);
    }
    shard.handle(Now::default(), Input::Evict { count: 1, spread_ms: 0 });
    assert_eq!(shard.counters().closes.get(&(0, 1012, "drain")), Some(&1));
    assert_eq!(shard.counters().dropped.get(&(0, "connection_lost")), None, "it may still read them");
    let later = Now { at: Millis(60_000), ..Now::default() };
    shard.tick(later);
    assert_eq!(flush(&mut shard, stuck), []);
    // The first is inside the socket's write.
    assert_eq!(shard.counters().dropped.get(&(0, "connection_lost")), Some(&2));
    assert_eq!((shard.connections(), shard.counters().outbound_bytes), (0, 0));
}
