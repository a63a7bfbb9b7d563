//! Wire vectors: every one is read at once, in every two pieces, and byte by byte, with and without pauses.

use rtgw_protocol::websocket::Rules;

use crate::observe::{Seen, observe};

const FRAMES: &str = include_str!("../vectors/websocket/frames.txt");

#[derive(Debug)]
struct Vector {
    name: String,
    rules: Rules,
    wire: Vec<u8>,
    out: Vec<Seen>,
    failed_after: Option<usize>,
}

/// `6162 "text" 00*3` to bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (literal, behind) = quoted.split_once('"').unwrap();
            out.extend_from_slice(literal.as_bytes());
            rest = behind.trim_start();
        } else {
            let (token, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            let (hex, times) = token.split_once('*').unwrap_or((token, "1"));
            let piece: Vec<u8> = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or_else(|_| panic!("{token}")))
                .collect();
            out.extend(piece.repeat(times.parse().unwrap()));
            rest = behind.trim_start();
        }
    }
    out
}

impl Vector {
    fn new(name: &str) -> Self {
        let rules = Rules { deflate: false, message_bytes: 1_000 };
        Self { name: name.to_owned(), rules, wire: Vec::new(), out: Vec::new(), failed_after: None }
    }

    fn expect(&mut self, line: &str) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let seen = match kind {
            "text" => Seen::Text(String::from_utf8(bytes(rest)).unwrap()),
            "binary" => Seen::Binary(bytes(rest)),
            "ping" => Seen::Ping(bytes(rest)),
            "pong" => Seen::Pong(bytes(rest)),
            "close" => Seen::Close((!rest.is_empty()).then(|| {
                let (code, reason) = rest.split_once(' ').unwrap();
                (code.parse().unwrap(), String::from_utf8(bytes(reason)).unwrap())
            })),
            "fail" => {
                let (code, after) = rest.split_once(" @").unwrap_or((rest, ""));
                self.failed_after = after.parse().ok();
                Seen::Fail(code.parse().unwrap())
            }
            other => panic!("{}: out {other}", self.name),
        };
        self.out.push(seen);
    }
}

fn parse(text: &str) -> Vec<Vector> {
    let mut vectors: Vec<Vector> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            vectors.push(Vector::new(name.trim_end_matches(']')));
            continue;
        }
        let vector = vectors.last_mut().unwrap();
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "in" => vector.wire.extend(bytes(value)),
            "out" => vector.expect(value),
            "deflate" => vector.rules.deflate = true,
            "limit" => vector.rules.message_bytes = value.parse().unwrap(),
            other => panic!("{}: {other}", vector.name),
        }
    }
    vectors
}

fn check(vector: &Vector) {
    let Vector { name, rules, wire, out, failed_after } = vector;
    let at_once = observe(*rules, wire, [wire.len()], &mut || false);
    assert_eq!(&at_once.seen, out, "{name}: at once");
    for split in 0..wire.len().min(300) {
        let seen = observe(*rules, wire, [split, wire.len()], &mut || false).seen;
        assert_eq!(&seen, out, "{name}: split at {split}");
    }
    let bytewise = observe(*rules, wire, wire.iter().map(|_| 1), &mut || false);
    assert_eq!(&bytewise.seen, out, "{name}: byte by byte");
    if failed_after.is_some() {
        assert_eq!(&bytewise.failed_after, failed_after, "{name}: refused when it could be known");
    }
    assert_eq!(bytewise.decoder.kept_bytes(), 0, "{name}: memory after the last frame");
    let paused = observe(*rules, wire, wire.chunks(3).map(<[u8]>::len), &mut || true);
    assert_eq!(&paused.seen, out, "{name}: paused after every message");
    assert_eq!(paused.decoder.kept_bytes(), 0, "{name}: memory after the pauses");
}

#[test]
fn frames() {
    let vectors = parse(FRAMES);
    assert!(vectors.len() > 50, "the file is read");
    vectors.iter().for_each(check);
}
