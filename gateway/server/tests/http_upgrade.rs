//! The upgrade over raw sockets: what is no handshake, what is refused and how, and what a shard is handed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use std::io::{Read, Write};

use http_support::{OPEN, PATIENCE, Rig};
use rtgw::transport::SocketProtocol;
use serde::Deserialize;

const CLOSED: &str = "
auth: {issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}], allowedOrigins: ['https://app.test']}
endpoints: [{name: ws, path: /ws}]
channels: [{pattern: 'room:{room}', subscribe: 'true'}]
";

/// `{"sub":"7"}` under the test's key, without an end.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI3In0.";

#[derive(Deserialize)]
struct BadHandshake {
    name: String,
    replace: std::collections::BTreeMap<String, Option<String>>,
    #[serde(default)]
    body: String,
    status: u16,
}

#[test]
fn what_is_no_handshake_is_answered_as_http() {
    let rig = Rig::new(OPEN);
    let vectors: Vec<BadHandshake> =
        serde_json::from_str(include_str!("vectors/bad_handshakes.json")).unwrap();
    for BadHandshake { name, replace, body, status } in vectors {
        let mut request = http_support::handshake("/ws", &[]);
        for (line, by) in replace {
            assert!(request.contains(&line), "{name}: {line}");
            request =
                request.replacen(&format!("{line}\r\n"), &by.map_or(String::new(), |by| by + "\r\n"), 1);
        }
        let answer = rig.client().send((request + &body).as_bytes()).answer();
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(answer.code(), "bad_handshake", "{name}");
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{name}");
        }
    }
    assert!(rig.adopted_nothing());
}

#[test]
fn a_shard_is_handed_the_socket_and_what_was_read_behind_the_request() {
    let rig = Rig::new(OPEN);
    let mut client = rig.client();
    let request = http_support::handshake("/ws?a=b", &["Sec-WebSocket-Protocol: chat, rtgw.json.v1"]);
    // A client that sends its first frame without waiting for the answer: a masked text frame "hi".
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    client.send(&[request.as_bytes(), &frame].concat());
    let answer = client.answer();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("rtgw.json.v1"));
    assert_eq!(answer.header("sec-websocket-extensions"), None);
    let mut handoff = rig.next_handoff();
    assert_eq!(&handoff.read_ahead[..], frame);
    assert_eq!(handoff.protocol, SocketProtocol::Json);
    assert_eq!(handoff.opening.admission.principal.user.as_ref(), "");
    assert!(!handoff.deflate);
    assert_eq!(rig.connections.held(), 1);
    // The socket is the client's, plain and non-blocking, and nobody else reads it.
    handoff.stream.write_all(b"down").unwrap();
    assert_eq!(client.bytes(4), b"down");
    handoff.stream.set_nonblocking(false).unwrap();
    handoff.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"up");
    let mut up = [0; 2];
    handoff.stream.read_exact(&mut up).unwrap();
    assert_eq!(&up, b"up");
    drop(handoff);
    assert_eq!(rig.connections.held(), 0);
    assert!(client.rest().is_empty());
}

#[test]
fn compression_is_negotiated_only_where_the_endpoint_offers_it() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    let compressed = OPEN.replace("path: /ws,", "path: /ws, compression: {mode: Shared},");
    let rig = Rig::new(&compressed);
    let answer = rig.client().shake("/ws", &[offer]).answer();
    assert!(
        answer.header("sec-websocket-extensions").unwrap().starts_with("permessage-deflate"),
        "{answer:?}"
    );
    let with = rig.next_handoff();
    rig.client().shake("/ws", &[]).answer();
    let without = rig.next_handoff();
    assert!(with.deflate && !without.deflate);
    assert_ne!(with.opening.admission.variant, without.opening.admission.variant);
    let plain = OPEN.replace("path: /ws,", "path: /ws, compression: {mode: None},");
    let rig = Rig::new(&plain);
    assert_eq!(rig.client().shake("/ws", &[offer]).answer().header("sec-websocket-extensions"), None);
}

#[test]
fn refusals_are_http_with_a_json_body() {
    let rig = Rig::new(CLOSED);
    let refused = |lines: &[&str], status, code: &str| {
        let answer = rig.client().shake("/ws", lines).answer();
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(!answer.json()["error"]["message"].as_str().unwrap().is_empty());
        answer
    };
    let answer = refused(&[], 401, "token_missing");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    let forged = format!("Authorization: Bearer {TOKEN}AAAA");
    let answer = refused(&[&forged], 401, "token_invalid");
    assert!(!answer.text().contains(TOKEN), "a refusal repeats the credential");
    // The origin is judged first.
    refused(&["Origin: https://evil.test"], 403, "origin_not_allowed");
    let answer = rig.client().shake("/nowhere", &[]).answer();
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    assert_eq!(rig.connections.held(), 0);
}

#[test]
fn a_client_of_our_protocol_is_refused_by_a_close_that_arrives() {
    let rig = Rig::new(CLOSED);
    let mut client = rig.client();
    client.shake("/ws", &["Sec-WebSocket-Protocol: rtgw.json.v1"]);
    // Sent before the refusal was read: unread, it would reset the connection and take the close frame with it.
    client.send(&[0x81, 0x80, 0, 0, 0, 0].repeat(100));
    assert_eq!(client.answer().status, 101);
    let (code, reason) = client.close();
    assert_eq!((code, reason.as_str()), (4401, "token_missing"));
    assert!(client.rest().is_empty());
    let mut client = rig.client();
    client.shake("/ws", &["Sec-WebSocket-Protocol: rtgw.msgpack.v1"]);
    assert_eq!(client.answer().header("sec-websocket-protocol"), Some("rtgw.msgpack.v1"));
    assert_eq!(client.close().0, 4401);
    let mut client = rig.client();
    client.shake("/ws", &["Sec-WebSocket-Protocol: rtgw.json.v1", "Origin: https://evil.test"]);
    assert_eq!(client.answer().status, 101);
    assert_eq!(client.close().0, 4403);
    assert!(rig.adopted_nothing());
}

#[test]
fn the_subprotocol_and_the_query_decide_how_a_shard_speaks() {
    // The pair of a token is looked at for what it answers only.
    let open = OPEN.replace("{anonymous: Allow}", "{anonymous: Allow, tokenFrom: [Header]}");
    let rig = Rig::new(&open.replace("path: /ws,", "path: /ws, compression: {mode: Shared},"));
    let deflate = "Sec-WebSocket-Extensions: permessage-deflate";
    let shaken = |path: &str, protocol: &str| {
        let answer = rig.client().shake(path, &[deflate, protocol]).answer();
        assert_eq!(answer.status, 101);
        let handoff = rig.next_handoff();
        let chosen = answer.header("sec-websocket-protocol").map(str::to_owned);
        let compressed = answer.header("sec-websocket-extensions").is_some();
        assert_eq!(handoff.deflate, compressed);
        (
            chosen,
            handoff.protocol,
            handoff.opening.admission.batch,
            compressed,
            handoff.opening.admission.variant,
        )
    };
    let json = "Sec-WebSocket-Protocol: rtgw.json.v1, rtgw.msgpack.v1";
    let msgpack = "Sec-WebSocket-Protocol: bearer, t, rtgw.msgpack.v1, rtgw.json.v1";
    let (chosen, protocol, batch, compressed, text) = shaken("/ws", json);
    assert_eq!(chosen.as_deref(), Some("rtgw.json.v1"));
    assert_eq!((protocol, batch, compressed), (SocketProtocol::Json, false, true));
    let (chosen, protocol, batch, compressed, packed) = shaken("/ws?batch=1", msgpack);
    assert_eq!(chosen.as_deref(), Some("rtgw.msgpack.v1"));
    assert_eq!((protocol, batch, compressed), (SocketProtocol::MessagePack, false, true));
    assert_ne!(text, packed);
    let (_, protocol, batch, compressed, plain) = shaken("/ws?a=b&batch=1", json);
    assert_eq!((protocol, batch, compressed), (SocketProtocol::Json, true, false));
    // Whoever takes batches shares the bytes of those who take none.
    assert_eq!(plain, {
        rig.client().shake("/ws", &[]).answer();
        rig.next_handoff().opening.admission.variant
    });
    for path in ["/ws", "/ws?batch=0", "/ws?batch=11", "/ws?xbatch=1", "/ws?batch"] {
        assert!(!shaken(path, json).2, "{path}");
    }
    assert!(!shaken("/ws?batch=1", "Sec-WebSocket-Protocol: bearer, t").2);
}

#[test]
fn a_full_pod_says_when_to_come_back() {
    let rig = Rig::new(&format!("{OPEN}limits: {{pod: {{connections: 1}}}}\n"));
    let mut first = rig.client();
    assert_eq!(first.shake("/ws", &[]).answer().status, 101);
    let held = rig.next_handoff();
    let answer = rig.client().shake("/ws", &[]).answer();
    assert_eq!((answer.status, answer.code().as_str()), (503, "full"));
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds));
    let mut ours = rig.client();
    ours.shake("/ws", &["Sec-WebSocket-Protocol: rtgw.json.v1"]);
    assert_eq!(ours.answer().status, 101);
    let (code, reason) = ours.close();
    assert_eq!(code, 1013);
    let after: u64 = reason.strip_prefix("after=").unwrap().parse().unwrap();
    assert!((1000..=5000).contains(&after));
    drop(held);
    assert_eq!(rig.client().shake("/ws", &[]).answer().status, 101);
}

#[test]
fn a_pod_takes_so_many_handshakes_a_second() {
    let rig = Rig::new(&format!("{OPEN}limits: {{pod: {{handshakesPerSecond: 2}}}}\n"));
    let statuses: Vec<u16> = (0..4).map(|_| rig.client().shake("/ws", &[]).answer().status).collect();
    assert_eq!(&statuses[..2], [101, 101]);
    assert!(statuses[2..].contains(&503), "{statuses:?}");
    let metrics = rig.ask("GET /metrics", &[], "").text();
    assert!(metrics.contains(r#"rtgw_handshakes_total{endpoint="ws",result="accepted"}"#), "{metrics}");
    assert!(metrics.contains(r#"rtgw_handshakes_total{endpoint="ws",result="busy"}"#), "{metrics}");
}
