//! Clients whose credential is their first message, over raw sockets: what counts as it, what does not, and what it costs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use http_support::{Client, Rig, masked, text, token, token_of};
use serde_json::json;

const SPEC: &str = "
auth:
  issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]
  tokenFrom: [Header, Query, FirstMessage]
endpoints:
- {name: ws, path: /ws, compression: {mode: Shared}, admit: claims.sub != 'banned'}
- {name: early, path: /early, auth: {tokenFrom: [Header]}}
channels: [{pattern: 'room:{room}'}]
limits: {pod: {connections: 2}}
";

/// The bound on the message's arrival, and room for a busy machine.
const WITHIN: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(12);

fn upgraded(rig: &Rig, lines: &[&str]) -> Client {
    let mut client = rig.client();
    assert_eq!(client.shake("/ws", lines).answer().status, 101);
    client
}

fn auth(token: &str) -> String {
    json!({"type": "auth", "data": {"token": token}}).to_string()
}

#[track_caller]
fn assert_closed(client: &mut Client, code: u16, reason: &str) {
    assert_eq!(client.close(), (code, reason.to_owned()));
    assert!(client.rest().is_empty());
}

#[test]
fn the_first_message_brings_the_token_and_the_shard_gets_what_is_behind_it() {
    let rig = Rig::new(SPEC);
    let mut client = upgraded(&rig, &[]);
    assert!(rig.adopted_nothing());
    assert_eq!(rig.connections.held(), 0, "who is not known yet holds no place");
    let behind = text(r#"{"type":"ping"}"#);
    client.send(&[text(&auth(&token("a"))), behind.clone(), behind[..3].to_vec()].concat());
    let handoff = rig.next_handoff();
    assert_eq!(&*handoff.opening.admission.principal.user, "a");
    assert_eq!(&handoff.read_ahead[..], [&behind[..], &behind[..3]].concat(), "masked as it came, once");
    assert_eq!(rig.connections.held(), 1);

    // All in one packet with the request, by a client that waits for nothing.
    let mut eager = rig.client();
    let request = http_support::handshake("/ws?token_=1", &[]).into_bytes();
    eager.send(&[request, text(&auth(&token("b"))), behind.clone()].concat());
    assert_eq!(eager.answer().status, 101);
    let second = rig.next_handoff();
    assert_eq!((&*second.opening.admission.principal.user, &second.read_ahead[..]), ("b", &behind[..]));
    assert_eq!(&*second.opening.admission.principal.query, "token_=1");
    let metrics = rig.ask("GET /metrics", &[], "").text();
    assert!(metrics.contains(r#"rtgw_handshakes_total{endpoint="ws",result="accepted"} 2"#), "{metrics}");
}

#[test]
fn a_request_with_a_credential_needs_no_message() {
    let rig = Rig::new(SPEC);
    upgraded(&rig, &[&format!("Authorization: Bearer {}", token("a"))]);
    assert_eq!(&*rig.next_handoff().opening.admission.principal.user, "a");
    assert_eq!(rig.client().shake("/ws?token=x", &[]).answer().status, 401, "given but wrong is not awaited");
    assert_eq!(
        rig.client().shake("/ws", &["Origin: https://evil.test"]).answer().status,
        403,
        "origin first"
    );
    assert_eq!(rig.client().shake("/early", &[]).answer().status, 401, "off where it is not named");
}

#[test]
fn it_may_come_in_pieces_and_with_pings_between_them() {
    let rig = Rig::new(SPEC);
    let mut client = upgraded(&rig, &[]);
    let message = auth(&token("a"));
    let (head, tail) = message.split_at(20);
    client.send(&masked(0x8A, b"unasked"));
    client.send(&masked(0x89, b"one"));
    assert_eq!(client.frame(), (10, b"one".to_vec()));
    client.send(&masked(0x01, head.as_bytes()));
    client.send(&masked(0x89, b"two"));
    assert_eq!(client.frame(), (10, b"two".to_vec()));
    // The rest byte by byte, as a slow link brings it.
    for byte in masked(0x80, tail.as_bytes()) {
        client.send(&[byte]);
    }
    let handoff = rig.next_handoff();
    assert_eq!((&*handoff.opening.admission.principal.user, handoff.read_ahead.len()), ("a", 0));
}

#[test]
fn it_may_be_compressed_as_negotiated() {
    let rig = Rig::new(SPEC);
    // RFC 7692 section 7.2.1: flushed to a byte, without the last four bytes.
    let deflate = |text: &str| {
        let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
        let mut bytes = Vec::with_capacity(64 * 1024);
        compress.compress_vec(text.as_bytes(), &mut bytes, flate2::FlushCompress::Sync).unwrap();
        assert!(bytes.ends_with(&[0, 0, 255, 255]));
        bytes.truncate(bytes.len() - 4);
        bytes
    };
    let extension = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover";
    let mut client = upgraded(&rig, &[extension]);
    client.send(&masked(0xC1, &deflate(&auth(&token("a")))));
    let handoff = rig.next_handoff();
    assert!(handoff.deflate && &*handoff.opening.admission.principal.user == "a");
    // A bomb: small on the wire, past the bound once it is inflated.
    let mut client = upgraded(&rig, &[extension]);
    client.send(&masked(0xC1, &deflate(&auth(&"x".repeat(1 << 20)))));
    assert_eq!(client.close().0, 1009);
    let mut client = upgraded(&rig, &[]);
    client.send(&masked(0xC1, &deflate(&auth(&token("a")))));
    assert_eq!(client.close().0, 1002, "not negotiated");
}

#[test]
fn it_is_packed_where_messages_are() {
    let rig = Rig::new(SPEC);
    let offer = "Sec-WebSocket-Protocol: rtgw.msgpack.v1";
    // {"type":"auth","data":{"token":T}} by hand, as the specification writes maps and texts.
    let packed = |token: &str| {
        let length = u16::try_from(token.len()).unwrap().to_be_bytes();
        [b"\x82\xa4type\xa4auth\xa4data\x81\xa5token\xda", &length[..], token.as_bytes()].concat()
    };
    let mut client = upgraded(&rig, &[offer]);
    client.send(&masked(0x82, &packed(&token("a"))));
    let handoff = rig.next_handoff();
    assert_eq!(&*handoff.opening.admission.principal.user, "a");
    let mut client = upgraded(&rig, &[offer]);
    client.send(&masked(0x82, &packed("x")));
    assert_closed(&mut client, 4401, "token_invalid");
    let mut client = upgraded(&rig, &[offer]);
    client.send(&masked(0x82, b"\xc1"));
    assert_closed(&mut client, 4401, "auth_expected");
    let mut client = upgraded(&rig, &[offer]);
    client.send(&text(&auth(&token("a"))));
    assert_eq!(client.close().0, 1003, "text where messages are binary");
    drop(handoff);
    assert_eq!(rig.client().shake("/early", &[offer]).answer().status, 101);
    let mut refused = rig.client();
    refused.shake("/early", &[offer]);
    assert_eq!(refused.answer().header("sec-websocket-protocol"), Some("rtgw.msgpack.v1"));
    assert_closed(&mut refused, 4401, "token_missing");
}

#[test]
fn anything_else_is_closed_with_its_code() {
    let rig = Rig::new(SPEC);
    let long = auth(&"x".repeat(16 * 1024));
    let pings = masked(0x89, &[7; 125]).repeat(600);
    let fragments = [masked(0x01, b"{"), masked(0x00, b" ").repeat(12_000)].concat();
    let cases: [(&str, Vec<u8>, u16); 12] = [
        ("a command", text(r#"{"type":"subscribe","data":{"channel":"room:a"}}"#), 4401),
        ("a command, with auth behind it", [text("ping"), text(&auth(&token("a")))].concat(), 4401),
        ("no JSON", text("token"), 4401),
        ("a token that is no text", text(r#"{"type":"auth","data":{"token":[]}}"#), 4401),
        ("a wrong token", text(&auth("x")), 4401),
        ("an expired token", text(&auth(&token_of(json!({"sub": "a", "exp": 1})))), 4401),
        ("somebody who is not admitted", text(&auth(&token("banned"))), 4403),
        ("too long", masked(0x81, long.as_bytes()), 1009),
        ("binary", masked(0x82, b"\x81\xa4type\xa4auth"), 1003),
        ("not masked", b"\x81\x02hi".to_vec(), 1002),
        ("pings without an end", pings, 1009),
        ("fragments without an end", fragments, 1009),
    ];
    for (name, bytes, code) in cases {
        let mut client = upgraded(&rig, &[]);
        // The server may close before all of it is written.
        let _ = client.stream.write_all(&bytes);
        assert_eq!(client.close().0, code, "{name}");
        assert!(client.rest().is_empty(), "{name}");
    }
    assert!(rig.adopted_nothing() && rig.connections.held() == 0);
    let mut client = upgraded(&rig, &[]);
    client.send(&text(r#"{"type":"ping"}"#));
    assert_closed(&mut client, 4401, "auth_expected");
    let mut client = upgraded(&rig, &[]);
    client.send(&masked(0x88, b"\x03\xe9bye"));
    assert_closed(&mut client, 1001, "");
    let mut client = upgraded(&rig, &[]);
    client.send(&masked(0x88, b""));
    assert_eq!(client.frame(), (8, Vec::new()));
    let mut client = upgraded(&rig, &[]);
    client.finish();
    assert!(client.rest().is_empty());
}

#[test]
fn who_says_nothing_is_let_go_in_time() {
    let rig = Rig::new(SPEC);
    std::thread::scope(|scope| {
        for half in [false, true] {
            let rig = &rig;
            scope.spawn(move || {
                let mut client = upgraded(rig, &[]);
                let start = Instant::now();
                if half {
                    // Pings are no progress.
                    client.send(&text(&auth(&token("a")))[..30]);
                }
                assert_closed(&mut client, 4401, "auth_timeout");
                let took = start.elapsed();
                assert!(took > WITHIN - Duration::from_secs(1) && took < LATE, "{half}: {took:?}");
            });
        }
    });
}

#[test]
fn a_full_pod_and_one_that_ends_say_so() {
    let rig = Rig::new(SPEC);
    let mut waiting = upgraded(&rig, &[]);
    let held: Vec<_> = (0..2)
        .map(|_| {
            upgraded(&rig, &[&format!("Authorization: Bearer {}", token("a"))]);
            rig.next_handoff()
        })
        .collect();
    assert_eq!(rig.client().shake("/ws", &[]).answer().status, 503, "a full pod lets nobody wait");
    waiting.send(&text(&auth(&token("b"))));
    let (code, reason) = waiting.close();
    assert!(code == 1013 && reason.starts_with("after="), "{code} {reason}");
    drop(held);
    let mut waiting = upgraded(&rig, &[]);
    rig.stop.cancel();
    assert_eq!(waiting.close().0, 1013);
}

#[test]
fn floods_lock_nobody_out() {
    // As many places for handshakes as the flood is large.
    let rig = Rig::with(SPEC, 200, Ipv4Addr::LOCALHOST);
    let silent: Vec<Client> = (0..200).map(|_| rig.client()).collect();
    let admitted_in = || {
        let start = Instant::now();
        let mut client = upgraded(&rig, &[]);
        client.send(&text(&auth(&token("a"))));
        assert_eq!(&*rig.next_handoff().opening.admission.principal.user, "a");
        start.elapsed()
    };
    // The oldest of those that say nothing go after a second, long before their time is over.
    let took = admitted_in();
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(silent);
    let waiting: Vec<Client> = (0..200).map(|_| upgraded(&rig, &[])).collect();
    let took = admitted_in();
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(waiting);
    for _ in 0..200 {
        assert_eq!(rig.client().shake("/ws?token=x", &["Connection: close"]).answer().status, 401);
    }
    let took = admitted_in();
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(rig.connections.held(), 0);
}
