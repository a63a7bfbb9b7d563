//! Any bytes as client frames: reads and pauses change nothing, memory stays within the limit, and tungstenite agrees.
//!
//! Input: flags (1: compression, 2: pause after every message), the limit, the size of reads, then what the client sends.
#![no_main]

use std::io::{Cursor, Read, Write};

use libfuzzer_sys::fuzz_target;
use rtgw_protocol::websocket::{Decoder, Flow, Incoming, Progress, Rules, Violation};
use tungstenite::{
    Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

fuzz_target!(|data: &[u8]| {
    let [flags, limit, step, wire @ ..] = data else { return };
    // A control frame is under tungstenite's limit of frames too.
    let rules = Rules { deflate: flags & 1 != 0, message_bytes: 125 + usize::from(*limit) };
    let whole = decode(rules, wire, wire.len().max(1), false);
    let pieces = decode(rules, wire, 1 + usize::from(*step), flags & 2 != 0);
    assert_eq!(whole, pieces, "reads and pauses change nothing");
    if !rules.deflate {
        compare(&whole, &tungstenite(wire, rules.message_bytes));
    }
});

fn decode(rules: Rules, wire: &[u8], step: usize, pause: bool) -> (Vec<Seen>, Option<Violation>) {
    let (mut seen, mut decoder) = (Vec::new(), Decoder::default());
    let mut on = |incoming: Incoming<'_>| {
        seen.push(match incoming {
            Incoming::Text(text) => Seen::Text(text.to_owned()),
            Incoming::Binary(bytes) => Seen::Binary(bytes.to_vec()),
            Incoming::Ping(bytes) => Seen::Ping(bytes.to_vec()),
            Incoming::Pong(bytes) => Seen::Pong(bytes.to_vec()),
            Incoming::Close(close) => Seen::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        });
        if pause { Flow::Pause } else { Flow::Continue }
    };
    let mut violation = None;
    for read in wire.chunks(step) {
        let mut progress = decoder.decode(&rules, &mut read.to_vec(), &mut on);
        while progress == Ok(Progress::Paused) {
            progress = decoder.resume(&rules, &mut on);
        }
        violation = violation.or(progress.err());
        // A message with the slack of compression, a control frame, the bookkeeping.
        assert!(decoder.kept_bytes() <= rules.message_bytes * 9 / 8 + 64 + 256 + 256, "memory is bounded");
    }
    (seen, violation)
}

/// Both show the same, with three exceptions: tungstenite takes lengths that are not the shortest (of control frames too),
/// shows wrong closes, and does not know 1014.
fn compare((ours, violation): &(Vec<Seen>, Option<Violation>), theirs: &[Seen]) {
    let ours: Vec<Seen> = ours.iter().map(as_tungstenite_shows_it).collect();
    if matches!(violation, Some(Violation::Length | Violation::LongControl | Violation::Close(_))) {
        assert!(theirs.starts_with(&ours), "{ours:?} is no beginning of {theirs:?}");
    } else {
        assert_eq!(ours, theirs, "{violation:?}");
    }
}

/// IANA registered 1014 (bad gateway) after tungstenite's list was written: it shows the answer to a wrong code instead.
fn as_tungstenite_shows_it(seen: &Seen) -> Seen {
    match seen {
        Seen::Close(Some((1014, _))) => Seen::Close(Some((1002, "Protocol violation".to_owned()))),
        other => other.clone(),
    }
}

struct Pipe(Cursor<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn tungstenite(wire: &[u8], limit: usize) -> Vec<Seen> {
    let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
    let mut peer = WebSocket::from_raw_socket(Pipe(Cursor::new(wire.to_vec())), Role::Server, Some(config));
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
