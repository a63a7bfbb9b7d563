//! A shard against clients that keep and break RFC 6455: every answer and close code arrives.
#![allow(clippy::unwrap_used, clippy::panic)]

mod transport_support;

use std::io::Read;
use std::net::Shutdown;

use rtgw_hub::Input;
use rtgw_model::{CloseCode, OutboxLimits};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode as Code};
use tokio_tungstenite::tungstenite::{Error, Message};
use transport_support::{BINARY, CLOSE, Door, PING, PONG, Rig, TEXT, frame};

#[test]
fn frames_may_come_byte_by_byte() {
    let rig = Rig::new();
    let mut client = rig.raw(&Door::echo());
    let messages = [(TEXT, "å".repeat(10)), (BINARY, "x".repeat(300)), (TEXT, String::new())];
    for (opcode, payload) in &messages {
        for byte in frame(0x80 | opcode, payload.as_bytes()) {
            client.send(&[byte]);
        }
    }
    for (opcode, payload) in messages {
        assert_eq!(client.frame().unwrap(), (opcode, payload.into_bytes()));
    }
}

#[test]
fn frames_behind_the_handshake_come_first() {
    let rig = Rig::new();
    let read_ahead = [frame(0x80 | TEXT, b"one"), frame(0x80 | TEXT, b"two")].concat();
    let cut = read_ahead.len() - 3;
    let mut client = rig.raw(&Door { read_ahead: read_ahead[..cut].to_vec(), ..Door::echo() });
    client.send(&read_ahead[cut..]);
    client.send_frame(TEXT, b"three");
    assert_eq!([client.text(), client.text(), client.text()], ["one", "two", "three"]);
}

#[test]
fn a_ping_between_fragments_is_answered_at_once() {
    let rig = Rig::new();
    let mut client = rig.raw(&Door::echo());
    client.send(&frame(TEXT, b"first "));
    client.send_frame(PING, b"there?");
    assert_eq!(client.frame().unwrap(), (PONG, b"there?".to_vec()));
    client.send(&frame(0x80, b"last"));
    assert_eq!(client.text(), "first last");
    client.send_frame(PONG, b"unasked");
    client.send_frame(TEXT, b"alive");
    assert_eq!(client.text(), "alive");
}

#[test]
fn a_violation_is_told_by_its_code() {
    let rig = Rig::new();
    let unmasked = [0x81, 1, b'x'].to_vec();
    let big = frame(0x80 | TEXT, &vec![b'x'; (64 << 10) + 1]);
    let cases = [
        (Door::default(), unmasked, CloseCode::ProtocolError),
        (Door::default(), big, CloseCode::TooBig),
        (Door::default(), frame(0x80 | BINARY, b"{}"), CloseCode::UnsupportedData),
        (Door::echo(), frame(0x80 | TEXT, b"\xff"), CloseCode::InvalidText),
        (Door::echo(), frame(0x80 | CLOSE, b"\x03"), CloseCode::ProtocolError),
    ];
    for (door, mut bytes, code) in cases {
        let mut client = rig.raw(&door);
        // Bytes that the server never looks at must not turn its close into a reset.
        bytes.extend(std::iter::repeat_n(frame(0x80 | TEXT, b"too late"), 1_000).flatten());
        client.send(&bytes);
        assert_eq!(client.close_code(), code.code());
    }
}

#[test]
fn answers_precede_the_close_that_a_client_asked_for() {
    let rig = Rig::new();
    let mut client = rig.raw(&Door::default());
    client.send(&[frame(0x80 | TEXT, b"{\"type\":\"ping\"}"), frame(0x80 | CLOSE, b"\x0f\xa7bye")].concat());
    assert!(client.text().contains("\"pong\""));
    assert_eq!(client.frame().unwrap(), (CLOSE, b"\x0f\xa7".to_vec()));
    assert_eq!(client.frame(), None);
    let report = rig.wait("the end", |report| report.sockets == 0);
    assert_eq!(report.counters.connections, [0, 0]);
}

#[test]
fn an_empty_close_is_answered_with_one() {
    let rig = Rig::new();
    let mut client = rig.raw(&Door::echo());
    client.send_frame(CLOSE, b"");
    assert_eq!(client.frame().unwrap(), (CLOSE, Vec::new()));
    assert_eq!(client.frame(), None);
}

#[test]
fn an_independent_client_sees_a_clean_close_from_either_side() {
    let rig = Rig::new();
    let mut client = rig.client(&Door::echo());
    client.send(Message::text("hello")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("hello"));
    client.close(Some(CloseFrame { code: Code::Normal, reason: "done".into() })).unwrap();
    assert!(matches!(client.read().unwrap(), Message::Close(Some(close)) if close.code == Code::Normal));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));

    let mut client = rig.client(&Door::echo());
    rig.wait("the connection", |report| report.sockets == 1);
    let evict = Input::Evict { count: 10, spread_ms: 1_000 };
    rig.inbox(0).post(rtgw::transport::ShardInput::Hub(evict)).unwrap();
    let close = client.read().unwrap();
    assert!(
        matches!(&close, Message::Close(Some(close)) if close.code == Code::Restart && close.reason.contains("after="))
    );
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
}

#[test]
fn a_close_waits_for_the_frame_that_is_under_way() {
    let rig = Rig::new();
    let limits = OutboxLimits { bytes: 8 << 20, messages: 1_000 };
    let mut client = rig.raw(&Door { outbox: limits, client_buffer: Some(4_096), ..Door::hears("big") });
    rig.wait("the connection", |report| report.sockets == 1);
    rig.publish("big", vec![b'7'; 4 << 20]);
    rig.wait("a full socket", |report| report.counters.outbound_bytes > 0);
    client.send_frame(CLOSE, b"\x03\xe8");
    rig.wait("the end of the session", |report| report.sockets == 0);
    assert_eq!(client.frame().unwrap(), (TEXT, vec![b'7'; 4 << 20]));
    assert_eq!(client.frame().unwrap(), (CLOSE, b"\x03\xe8".to_vec()));
    assert_eq!(client.frame(), None);
}

#[test]
fn a_client_that_only_stops_sending_is_gone() {
    let rig = Rig::new();
    let mut client = rig.raw(&Door::echo());
    client.send_frame(TEXT, b"last words");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.text(), "last words");
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    rig.wait("the end", |report| report.sockets == 0 && report.counters.connections == [0, 0]);
}

#[test]
fn the_process_stops_with_a_word() {
    let mut rig = Rig::new();
    let mut client = rig.raw(&Door::default());
    rig.wait("the connection", |report| report.sockets == 1);
    rig.stop();
    assert_eq!(client.close_code(), CloseCode::GoingAway.code());
}
