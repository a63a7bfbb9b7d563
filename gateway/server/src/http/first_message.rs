//! Clients that are let in to say who they are: the upgrade is done, and one message with the credential must come before anything
//! else. It is heard here, before any shard, so that somebody unknown costs a handshake's place and no more.

use std::time::Duration;

use bytes::Bytes;
use rtgw_model::{Close, CloseCode};
use rtgw_protocol::websocket::{Decoder, Flow, Incoming, Progress, Rules, frame};
use rtgw_protocol::{json, msgpack};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::admission::{self, Candidate};
use super::farewell;
use super::upgrade::ACCEPTED;
use crate::refusal::Refusal;
use crate::transport::SocketProtocol;

/// How long the message may take to come, whole.
const WITHIN: Duration = Duration::from_secs(5);
/// Largest message, bytes: a token of the longest kind and room around it.
const MESSAGE_BYTES: usize = 16 * 1024;
/// What is read at most until the message is whole: fragments have headers, and pings may come between them.
const READ_BYTES: usize = 64 * 1024;
/// One read.
const CHUNK_BYTES: usize = 4 * 1024;

/// How the wait ended.
enum Heard {
    /// By the message: its token, and what was read behind it.
    Token(String, Bytes),
    /// By the client's close, with its code.
    Closed(Option<u16>),
    /// By the end of the stream.
    Gone,
    /// By something that is not the message, with the result to count.
    Wrong(Close, &'static str),
}

/// Waits for the credential of `candidate` and goes on with its admission.
pub(super) async fn hear(mut candidate: Candidate, mut stream: TcpStream, read_ahead: Bytes) {
    let rules = Rules { deflate: candidate.wire.window.is_some(), message_bytes: MESSAGE_BYTES };
    let heard = tokio::select! {
        biased;
        heard = listen(&mut stream, read_ahead, &rules, candidate.wire.protocol) => heard,
        () = candidate.stop.cancelled() => refused(&admission::draining()),
        () = tokio::time::sleep(WITHIN) => refused(&late()),
    };
    match heard {
        Heard::Token(token, behind) => match candidate.enter_with(token).await {
            Ok(adoption) => {
                candidate.count(ACCEPTED);
                adoption.hand_over(stream, behind);
            }
            Err(refusal) => {
                candidate.count(refusal.code);
                let close = farewell::close_of(&refusal);
                farewell::say(stream, close.code.code(), &close.reason).await;
            }
        },
        Heard::Wrong(close, result) => {
            candidate.count(result);
            farewell::say(stream, close.code.code(), &close.reason).await;
        }
        Heard::Closed(code) => {
            candidate.count("left");
            farewell::answer(stream, code).await;
        }
        Heard::Gone => candidate.count("left"),
    }
}

/// Reads until the first message; pings are answered meanwhile.
async fn listen(stream: &mut TcpStream, read_ahead: Bytes, rules: &Rules, protocol: SocketProtocol) -> Heard {
    let mut decoder = Decoder::default();
    let mut chunk = Vec::from(read_ahead);
    let mut left = READ_BYTES;
    loop {
        let Some(rest) = left.checked_sub(chunk.len()) else {
            let close = Close::new(CloseCode::TooBig, "too much before the auth message is whole");
            return Heard::Wrong(close, "bad_frame");
        };
        left = rest;
        let mut ear = Ear { protocol, pongs: Vec::new(), said: None };
        let outcome = decoder.decode(rules, &mut chunk, &mut |incoming| ear.hear(incoming));
        if let Some(Said::Token(token)) = ear.said {
            return Heard::Token(token, decoder.into_waiting().into());
        }
        // Written before an end, because the pings came before it.
        if !ear.pongs.is_empty() && stream.write_all(&ear.pongs).await.is_err() {
            return Heard::Gone;
        }
        match (ear.said, outcome) {
            (Some(Said::Close(code)), Ok(_)) => return Heard::Closed(code),
            (Some(Said::Something), _) => return refused(&unexpected()),
            (Some(Said::OtherKind), _) => {
                let why = "the other kind of message, text or binary, is spoken here";
                return Heard::Wrong(Close::new(CloseCode::UnsupportedData, why), "bad_frame");
            }
            (_, Err(violation)) => {
                return Heard::Wrong(Close::new(violation.code(), violation.to_string()), "bad_frame");
            }
            (_, Ok(Progress::Drained | Progress::Paused | Progress::Ended)) => {}
        }
        chunk.resize(CHUNK_BYTES, 0);
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Heard::Gone,
            Ok(read) => chunk.truncate(read),
        }
    }
}

/// What came first, pings and pongs aside.
enum Said {
    Token(String),
    Close(Option<u16>),
    Something,
    /// Text where messages are binary, or the other way round.
    OtherKind,
}

struct Ear {
    protocol: SocketProtocol,
    pongs: Vec<u8>,
    said: Option<Said>,
}

impl Ear {
    fn hear(&mut self, incoming: Incoming<'_>) -> Flow {
        let said = match incoming {
            Incoming::Pong(_) => return Flow::Continue,
            Incoming::Ping(payload) => {
                frame::encode(frame::OpCode::Pong, false, payload, &mut self.pongs);
                return Flow::Continue;
            }
            Incoming::Close(payload) => Said::Close(payload.map(|(code, _)| code)),
            Incoming::Text(text) if self.protocol != SocketProtocol::MessagePack => token(text),
            Incoming::Binary(bytes) if self.protocol != SocketProtocol::Json => {
                msgpack::to_json(bytes, MESSAGE_BYTES).map_or(Said::Something, |text| token(&text))
            }
            Incoming::Text(_) | Incoming::Binary(_) => Said::OtherKind,
        };
        self.said = Some(said);
        Flow::Pause
    }
}

fn token(text: &str) -> Said {
    json::auth(text).map_or(Said::Something, |token| Said::Token(token.into_owned()))
}

fn refused(refusal: &Refusal) -> Heard {
    Heard::Wrong(farewell::close_of(refusal), refusal.code)
}

fn late() -> Refusal {
    Refusal::new(401, "auth_timeout", "the `auth` message did not come in time")
}

fn unexpected() -> Refusal {
    Refusal::new(401, "auth_expected", "the first message must be `auth`, with the token")
}
