//! What a connection may do before it is upgraded: time, bytes, and other protocols.
#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use http_support::{OPEN, Rig, handshake};

/// The bound on a request's head, and room for a busy machine.
const HEAD: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_secs(12);

#[test]
fn who_does_not_finish_a_request_is_let_go() {
    let rig = Rig::new(OPEN);
    let whole = handshake("/ws/stats", &[]);
    let cases: [(&str, &[u8]); 4] = [
        ("silence", b""),
        ("half a request line", b"GET /w"),
        ("a head without an end", b"GET /ws HTTP/1.1\r\nHost: a\r\n"),
        ("silence after an answer", whole.as_bytes()),
    ];
    std::thread::scope(|scope| {
        for (name, bytes) in cases {
            let rig = &rig;
            scope.spawn(move || {
                let mut client = rig.client();
                let start = Instant::now();
                client.send(bytes).rest();
                let took = start.elapsed();
                assert!(took > HEAD - Duration::from_secs(1) && took < LATE, "{name}: {took:?}");
            });
        }
        scope.spawn(|| {
            // One header line a second: each is progress, the sum is not.
            let mut client = rig.client();
            let start = Instant::now();
            client.send(b"GET /ws HTTP/1.1\r\nHost: a\r\n");
            while client.silent_for(Duration::from_secs(1)) {
                assert!(start.elapsed() < LATE, "a drip keeps its connection");
                // The connection may end between the wait and this.
                let _ = client.stream.write_all(b"X-Drip: 1\r\n");
            }
            assert!(start.elapsed() > HEAD - Duration::from_secs(1));
        });
    });
}

#[test]
fn connections_that_say_nothing_do_not_lock_others_out() {
    let rig = Rig::with(OPEN, 4, Ipv4Addr::LOCALHOST);
    let _silent: Vec<_> = (0..4).map(|_| rig.client()).collect();
    let start = Instant::now();
    assert_eq!(rig.client().shake("/ws", &[]).answer().status, 101);
    assert!(start.elapsed() < LATE, "{:?}", start.elapsed());
}

#[test]
fn heads_are_bounded() {
    let rig = Rig::new(OPEN);
    let long = format!("X-Long: {}", "x".repeat(17 * 1024));
    assert_eq!(rig.client().shake("/ws", &[&long]).answer().status, 431);
    let many: Vec<String> = (0..200).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(rig.client().shake("/ws", &many).answer().status, 431);
    let path = format!("/{}", "p".repeat(17 * 1024));
    let status = rig.client().shake(&path, &[]).answer().status;
    assert!(status == 414 || status == 431, "{status}");
    // Within the bounds: cookies and tokens are long.
    let cookie = format!("Cookie: c={}", "x".repeat(12 * 1024));
    assert_eq!(rig.client().shake("/ws", &[&cookie]).answer().status, 101);
}

#[test]
fn other_protocols_are_told_or_let_go() {
    let rig = Rig::new(OPEN);
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    let cases: [(&str, Vec<u8>); 5] = [
        ("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("a TLS hello", hello),
        ("zeros", vec![0; 512]),
        ("text", b"hello there\r\n\r\n".to_vec()),
        ("a bare line feed request", b"GET\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in cases {
        let mut client = rig.client();
        let start = Instant::now();
        let rest = client.send(&bytes).rest();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{name}: {rest:?}");
        assert!(start.elapsed() < LATE, "{name}");
    }
    assert_eq!(rig.client().shake("/ws", &[]).answer().status, 101);
}

#[test]
fn requests_may_follow_each_other_on_a_connection() {
    let rig = Rig::new(OPEN);
    let mut client = rig.client();
    let stats = "GET /ws/stats HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(format!("{stats}{stats}").as_bytes());
    assert_eq!((client.answer().status, client.answer().status), (200, 200));
    // A refused upgrade leaves the connection usable, a good one takes it.
    assert_eq!(client.shake("/ws", &["Sec-WebSocket-Key: again"]).answer().status, 400);
    assert_eq!(client.shake("/ws", &[]).answer().status, 101);
    assert!(rig.next_handoff().read_ahead.is_empty());
}
