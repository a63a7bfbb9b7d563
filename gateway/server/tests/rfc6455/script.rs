//! Conversations as data: what a client sends and what the server must answer.
//!
//! A case is a name in brackets and lines:
//! `on PATH` (for this case and those below it) | `offer EXTENSION…` | `speak SUBPROTOCOL` |
//! `> FRAME | FRAME…` one write | `>> FRAME…` every byte a write of its own | `behind FRAME…` in one write with the handshake |
//! `< FRAME` | `< json VALUE` a text whose members include these | `< packed VALUE` the same as MessagePack | `< inflated FRAME` | `< close CODE` | `< close empty` |
//! `~ json VALUE` and `~ packed VALUE` on neighbouring lines: these in any order, and alone or in batches.
//!
//! A FRAME is its first byte (FIN, RSV, opcode) in hexadecimal and its payload; it goes out masked. `raw` in place of the first
//! byte: the bytes as they are. A payload is any number of `"text"` (as in JSON), hexadecimal bytes, `z"text"` (compressed),
//! `m"json"` (as MessagePack), each with `*N` for N times. After the last line the connection must still live and have nothing more to say, unless it
//! was closed.

use std::net::SocketAddr;

use flate2::{Compress, Compression, FlushCompress};
use serde_json::Value;

use super::client::{Client, Failed, Frame, masked, show};
use super::inflate::inflate;

/// A conversation.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    path: String,
    offer: Option<String>,
    speak: Option<String>,
    behind: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Send(Vec<u8>),
    Drip(Vec<u8>),
    Hear(Frame),
    HearInflated(Frame),
    HearJson(Value),
    HearPacked(Value),
    /// Objects or other messages, as MessagePack or not.
    Among(Vec<(bool, Value)>),
    Closed(Option<u16>),
}

/// Reads a file of cases.
pub fn parse(file: &str, text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut path = "/echo".to_owned();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |why: &str| -> ! { panic!("{file}:{}: {why}: {line}", number + 1) };
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let (name, path) = (format!("{file}: {name}"), path.clone());
            cases.push(Case { name, path, offer: None, speak: None, behind: Vec::new(), steps: Vec::new() });
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or_else(|| bad("a word and its value"));
        if word == "on" {
            rest.clone_into(&mut path);
            if let Some(case) = cases.last_mut().filter(|case| case.steps.is_empty()) {
                rest.clone_into(&mut case.path);
            }
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| bad("no case began"));
        match word {
            "offer" => case.offer = Some(rest.to_owned()),
            "speak" => case.speak = Some(rest.to_owned()),
            "behind" => case.behind = frames(rest).unwrap_or_else(|why| bad(&why)),
            ">" => case.steps.push(Step::Send(frames(rest).unwrap_or_else(|why| bad(&why)))),
            ">>" => case.steps.push(Step::Drip(frames(rest).unwrap_or_else(|why| bad(&why)))),
            "<" => case.steps.push(expectation(rest).unwrap_or_else(|why| bad(&why))),
            "~" => case.among(rest).unwrap_or_else(|why| bad(&why)),
            _ => bad("unknown word"),
        }
    }
    assert!(!cases.is_empty(), "{file} has cases");
    cases
}

fn expectation(text: &str) -> Result<Step, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(match word {
        "close" if rest == "empty" => Step::Closed(None),
        "close" => Step::Closed(Some(rest.parse().map_err(|error| format!("{error}"))?)),
        "json" => Step::HearJson(serde_json::from_str(rest).map_err(|error| error.to_string())?),
        "packed" => Step::HearPacked(serde_json::from_str(rest).map_err(|error| error.to_string())?),
        "inflated" => Step::HearInflated(frame(rest)?),
        _ => Step::Hear(frame(text)?),
    })
}

fn frame(text: &str) -> Result<Frame, String> {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let first = u8::from_str_radix(first, 16).map_err(|error| error.to_string())?;
    Ok(Frame { first, payload: payload(rest)? })
}

fn frames(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for part in text.split(" | ") {
        let part = part.trim();
        match part.strip_prefix("raw ") {
            Some(raw) => bytes.extend(payload(raw)?),
            None => {
                let frame = frame(part)?;
                bytes.extend(masked(frame.first, &frame.payload));
            }
        }
    }
    Ok(bytes)
}

fn payload(mut text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while !text.trim_start().is_empty() {
        text = text.trim_start();
        let compressed = text.starts_with("z\"");
        let packed = text.starts_with("m\"");
        let quoted = &text[usize::from(compressed || packed)..];
        let (mut item, rest) = if quoted.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
            let value = values.next().ok_or("a text")?.map_err(|error| error.to_string())?;
            let bytes = if packed { pack(&value)? } else { value.into_bytes() };
            (bytes, &quoted[values.byte_offset()..])
        } else {
            let end = text.find([' ', '*']).unwrap_or(text.len());
            (hex(&text[..end])?, &text[end..])
        };
        let (times, rest) = match rest.strip_prefix('*') {
            Some(rest) => {
                let end = rest.find(' ').unwrap_or(rest.len());
                (rest[..end].parse().map_err(|error| format!("{error}"))?, &rest[end..])
            }
            None => (1, rest),
        };
        item = item.repeat(times);
        bytes.extend(if compressed { deflated(&item) } else { item });
        text = rest;
    }
    Ok(bytes)
}

/// JSON as MessagePack, by a library that the server does not use.
fn pack(json: &str) -> Result<Vec<u8>, String> {
    let value: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    rmp_serde::to_vec(&value).map_err(|error| error.to_string())
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        _ => Err(format!("{text} is not hexadecimal")),
    }
}

/// The payload of a compressed message (RFC 7692 section 7.2.1).
pub fn deflated(text: &[u8]) -> Vec<u8> {
    let mut state = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(text.len() + 1024);
    state.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
    assert!(state.total_in() == text.len() as u64 && out.ends_with(&[0x00, 0x00, 0xFF, 0xFF]));
    out.truncate(out.len() - 4);
    out
}

impl Case {
    fn among(&mut self, rest: &str) -> Result<(), String> {
        let (word, value) = rest.split_once(' ').ok_or("a word and its value")?;
        let value = serde_json::from_str(value).map_err(|error| error.to_string())?;
        let one = (word == "packed", value);
        match self.steps.last_mut() {
            Some(Step::Among(others)) => others.push(one),
            _ => self.steps.push(Step::Among(vec![one])),
        }
        Ok(())
    }

    /// Has the conversation.
    pub fn run(&self, server: SocketAddr) -> Result<(), Failed> {
        let lines = [
            self.offer.as_ref().map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n")),
            self.speak.as_ref().map(|speak| format!("Sec-WebSocket-Protocol: {speak}\r\n")),
        ];
        let request =
            Client::request_with(server, &self.path, &lines.into_iter().flatten().collect::<String>());
        let mut client = Client::over(server, &[request.as_bytes(), &self.behind].concat())?;
        // Whoever asks for batches is not compressed.
        let compressed = self.offer.is_some() && !self.path.contains("batch=1");
        if client.extensions().is_some() != compressed || client.subprotocol() != self.speak.as_deref() {
            return Err(format!("offered {:?} and {:?}, got {}", self.offer, self.speak, client.head));
        }
        let mut closed = false;
        for (number, step) in self.steps.iter().enumerate() {
            closed = matches!(step, Step::Closed(_));
            step.run(&mut client).map_err(|error| format!("step {}: {error}", number + 1))?;
        }
        if closed { Ok(()) } else { client.fence() }
    }
}

impl Step {
    fn run(&self, client: &mut Client) -> Result<(), Failed> {
        match self {
            Self::Send(bytes) => client.send(bytes),
            Self::Drip(bytes) => client.drip(bytes),
            Self::Closed(code) => client.closed(*code)?,
            Self::Among(wanted) => among(client, wanted.clone())?,
            Self::Hear(wanted) => same(&client.next()?, wanted)?,
            Self::HearInflated(wanted) => {
                let heard = client.next()?;
                if heard.first & 0x40 == 0 {
                    return Err(format!("not compressed: {}", show(&heard)));
                }
                let payload = inflate(&heard.payload, 15)?;
                same(&Frame { first: heard.first & !0x40, payload }, wanted)?;
            }
            Self::HearJson(wanted) => {
                let heard = client.next()?;
                let value = (heard.first == 0x81).then(|| serde_json::from_slice(&heard.payload).ok());
                told(value.flatten(), wanted, &heard)?;
            }
            Self::HearPacked(wanted) => {
                let heard = client.next()?;
                let value = (heard.first == 0x82).then(|| rmp_serde::from_slice(&heard.payload).ok());
                told(value.flatten(), wanted, &heard)?;
            }
        }
        Ok(())
    }
}

fn same(heard: &Frame, wanted: &Frame) -> Result<(), Failed> {
    if heard == wanted { Ok(()) } else { Err(format!("expected {}, got {}", show(wanted), show(heard))) }
}

fn among(client: &mut Client, mut wanted: Vec<(bool, Value)>) -> Result<(), Failed> {
    while !wanted.is_empty() {
        let heard = client.next()?;
        let packed = heard.first == 0x82;
        let value: Option<Value> = match heard.first {
            0x81 => serde_json::from_slice(&heard.payload).ok(),
            0x82 => rmp_serde::from_slice(&heard.payload).ok(),
            _ => None,
        };
        // Of text an array is a batch: an array alone comes in one.
        let values = match value.ok_or_else(|| format!("got {}", show(&heard)))? {
            Value::Array(values) if !packed => values,
            one => vec![one],
        };
        for value in values {
            let found = wanted.iter().position(|(kind, wanted)| *kind == packed && includes(&value, wanted));
            wanted.remove(found.ok_or_else(|| format!("expected {wanted:?}, got {}", show(&heard)))?);
        }
    }
    Ok(())
}

fn told(value: Option<Value>, wanted: &Value, heard: &Frame) -> Result<(), Failed> {
    match value {
        Some(value) if includes(&value, wanted) => Ok(()),
        Some(value) => Err(format!("expected {wanted}, got {value}")),
        None => Err(format!("expected {wanted}, got {}", show(heard))),
    }
}

/// Whether `value` has all members of `wanted`, at any depth.
fn includes(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| value.get(name).is_some_and(|value| includes(value, wanted)))
        }
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len()
                && value.iter().zip(wanted).all(|(value, wanted)| includes(value, wanted))
        }
        _ => value == wanted,
    }
}
