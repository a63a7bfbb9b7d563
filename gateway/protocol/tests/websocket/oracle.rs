//! tungstenite, written by others, reads what we write, and reads what we read.

use std::io::{Read, Write};

use proptest::prelude::*;
use rtgw_protocol::websocket::{
    Rules, close,
    frame::{OpCode, encode},
};
use tokio_tungstenite::tungstenite::{
    Message, WebSocket,
    protocol::{CloseFrame, Role, WebSocketConfig},
};

use crate::{
    client::Frame,
    observe::{Seen, observe},
};

/// A socket whose input is known and whose output is kept.
#[derive(Default)]
struct Pipe {
    input: std::io::Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.input.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn peer(role: Role, input: Vec<u8>, limit: usize) -> WebSocket<Pipe> {
    let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
    let pipe = Pipe { input: std::io::Cursor::new(input), output: Vec::new() };
    WebSocket::from_raw_socket(pipe, role, Some(config))
}

/// What tungstenite makes of the bytes, until the end or its first error.
fn read(role: Role, wire: Vec<u8>, limit: usize) -> Vec<Seen> {
    let mut peer = peer(role, wire, limit);
    let mut seen = Vec::new();
    while let Ok(message) = peer.read() {
        seen.push(match message {
            Message::Text(text) => Seen::Text(text.to_string()),
            Message::Binary(bytes) => Seen::Binary(bytes.to_vec()),
            Message::Ping(bytes) => Seen::Ping(bytes.to_vec()),
            Message::Pong(bytes) => Seen::Pong(bytes.to_vec()),
            Message::Close(close) => {
                seen.push(Seen::Close(close.map(|close| (close.code.into(), close.reason.to_string()))));
                break;
            }
            Message::Frame(_) => unreachable!("only written"),
        });
    }
    seen
}

fn message() -> impl Strategy<Value = Seen> {
    prop_oneof![
        any::<String>().prop_map(Seen::Text),
        prop::collection::vec(any::<u8>(), 0..500).prop_map(Seen::Binary),
        (60_000..70_000usize).prop_map(|len| Seen::Binary(vec![1; len])),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(Seen::Ping),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(Seen::Pong),
    ]
}

fn ending() -> impl Strategy<Value = Seen> {
    prop::option::of((prop_oneof![1000..=1003u16, 3000..5000u16], "[a-zä]{0,61}")).prop_map(Seen::Close)
}

proptest! {
    #[test]
    fn tungstenite_reads_our_frames(messages in prop::collection::vec(message(), 0..8), end in ending()) {
        let mut wire = Vec::new();
        for seen in messages.iter().chain([&end]) {
            match seen {
                Seen::Text(text) => encode(OpCode::Text, false, text.as_bytes(), &mut wire),
                Seen::Binary(bytes) => encode(OpCode::Binary, false, bytes, &mut wire),
                Seen::Ping(bytes) => encode(OpCode::Ping, false, bytes, &mut wire),
                Seen::Pong(bytes) => encode(OpCode::Pong, false, bytes, &mut wire),
                Seen::Close(None) => encode(OpCode::Close, false, &[], &mut wire),
                Seen::Close(Some((code, reason))) => {
                    encode(OpCode::Close, false, &close::encode_payload(*code, reason), &mut wire);
                }
                Seen::Fail(_) => unreachable!("not generated"),
            }
        }
        let expected: Vec<Seen> = messages.into_iter().chain([end]).collect();
        prop_assert_eq!(read(Role::Client, wire, 70_000), expected);
    }

    #[test]
    fn we_read_the_frames_of_tungstenite(
        messages in prop::collection::vec(message(), 0..8),
        end in ending(),
        step in 1..5_000usize,
    ) {
        let mut client = peer(Role::Client, Vec::new(), 70_000);
        for seen in messages.iter().chain([&end]) {
            client.send(match seen {
                Seen::Text(text) => Message::text(text.as_str()),
                Seen::Binary(bytes) => Message::binary(bytes.clone()),
                Seen::Ping(bytes) => Message::Ping(bytes.clone().into()),
                Seen::Pong(bytes) => Message::Pong(bytes.clone().into()),
                Seen::Close(close) => Message::Close(close.as_ref().map(|(code, reason)| CloseFrame {
                    code: (*code).into(),
                    reason: reason.as_str().into(),
                })),
                Seen::Fail(_) => unreachable!("not generated"),
            }).unwrap();
        }
        let wire = &client.get_ref().output;
        let rules = Rules { deflate: false, message_bytes: 70_000 };
        let observed = observe(rules, wire, wire.chunks(step).map(<[u8]>::len), &mut || false);
        let expected: Vec<Seen> = messages.into_iter().chain([end]).collect();
        prop_assert_eq!(observed.seen, expected);
    }

    #[test]
    fn we_refuse_what_tungstenite_refuses(frames in prop::collection::vec(frame(), 1..8)) {
        let mut wire = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut wire));
        let mut ours = observe(Rules { deflate: false, message_bytes: 130 }, &wire, [wire.len()], &mut || false).seen;
        ours.retain(|seen| !matches!(seen, Seen::Fail(_)));
        prop_assert_eq!(ours, read(Role::Server, wire, 130));
    }
}

/// Right or wrong in every way that both sides judge alike. Not among them: close payloads, where tungstenite answers wrong codes
/// itself and still shows them.
fn frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..6),
        6 => "[aé💡]{0,20}".prop_map(String::into_bytes),
        1 => (0..160usize).prop_map(|len| vec![b'x'; len]),
    ];
    let opcode = prop_oneof![20 => prop::sample::select(vec![0u8, 1, 2, 9, 10]), 1 => 3..8u8, 1 => 11..16u8];
    let rsv = prop_oneof![20 => Just(0u8), 1 => 1..8u8];
    (any::<bool>(), rsv, opcode, prop::option::weighted(0.95, any::<[u8; 4]>()), payload)
        .prop_map(|(fin, rsv, opcode, mask, payload)| Frame { fin, rsv, opcode, mask, payload })
}
