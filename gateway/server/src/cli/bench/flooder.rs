//! Clients that misbehave, at a pace that a machine of one attacker reaches easily.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::memory::token;
use super::receivers::Request;

/// A new connection this often; as many a second as a pod takes at most by the manifest of the documentation.
const CONNECT_EVERY: Duration = Duration::from_millis(2);
/// Half handshakes that are kept open.
const HALVES: usize = 500;
/// Commands of one write, and how often such a write is made.
const COMMANDS: usize = 100;
const WRITE_EVERY: Duration = Duration::from_millis(20);

/// Numbers of a message whose expression compares each with all.
const NUMBERS: usize = 20_000;

/// What somebody does without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    BadTokens,
    UnknownKeys,
    HalfHandshakes,
    Subscribes,
    TinyMessages,
    Refreshes,
    Expressions,
}

impl Flood {
    pub(super) const ALL: [Self; 7] = [
        Self::BadTokens,
        Self::UnknownKeys,
        Self::HalfHandshakes,
        Self::Subscribes,
        Self::TinyMessages,
        Self::Refreshes,
        Self::Expressions,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BadTokens => "bad tokens",
            Self::UnknownKeys => "tokens of unknown keys",
            Self::HalfHandshakes => "half handshakes",
            Self::Subscribes => "subscribes",
            Self::TinyMessages => "tiny messages",
            Self::Refreshes => "refreshes",
            Self::Expressions => "expressions that spend their budget",
        }
    }

    /// The command number `at`; `None` where the flood is one of handshakes.
    fn command(self, at: usize, token: &str) -> Option<String> {
        match self {
            Self::Subscribes => {
                Some(format!(r#"{{"type":"subscribe","data":{{"channel":"room:r{}"}}}}"#, at % 1000))
            }
            Self::TinyMessages => Some("ping".to_owned()),
            Self::Refreshes => Some(format!(r#"{{"type":"refresh","data":{{"token":"{token}"}}}}"#)),
            Self::Expressions => {
                Some(format!(r#"{{"type":"costly","data":{{"l":[{}1]}}}}"#, "1,".repeat(NUMBERS)))
            }
            _ => None,
        }
    }

    /// Commands of one write, and how often such a write is made: without a rest, or as often as a connection may by default.
    fn pace(self) -> (usize, Duration) {
        if self == Self::Expressions { (1, Duration::from_millis(50)) } else { (COMMANDS, WRITE_EVERY) }
    }
}

/// A flood that runs until its end is asked for.
pub(super) struct Flooder {
    stop: Arc<AtomicBool>,
    attempts: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flooder {
    pub(super) fn start(flood: Flood, to: SocketAddr) -> Result<Self> {
        let (stop, attempts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&attempts));
        let good = token(1)?;
        let work = move || {
            let mut handshakes = Handshakes { flood, to, good, halves: VecDeque::new(), number: 0 };
            let mut commands = None;
            let mut due = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let (done, pause) = if flood.command(0, "").is_some() {
                    (handshakes.commands(&mut commands), flood.pace().1)
                } else {
                    (handshakes.one(), CONNECT_EVERY)
                };
                // Who is refused a connection tries again.
                counted.fetch_add(done.unwrap_or_default(), Ordering::Relaxed);
                due = (due + pause).max(Instant::now());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        };
        Ok(Self { stop, attempts, thread: Some(std::thread::spawn(work)) })
    }

    /// Ends it; how much was tried.
    pub(super) fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A flood that ended early shows as few attempts.
            let _ended = thread.join();
        }
        self.attempts.load(Ordering::Relaxed)
    }
}

struct Handshakes {
    flood: Flood,
    to: SocketAddr,
    good: String,
    halves: VecDeque<TcpStream>,
    number: usize,
}

impl Handshakes {
    /// One handshake of the flood; the answer is waited for where there is one.
    fn one(&mut self) -> Result<u64> {
        self.number += 1;
        if self.flood == Flood::HalfHandshakes {
            let mut stream = TcpStream::connect(self.to)?;
            stream.write_all(b"GET /flooded HTTP/1.1\r\nHost: a\r\nUpgrade: web")?;
            self.halves.push_back(stream);
            if self.halves.len() > HALVES {
                self.halves.pop_front();
            }
            return Ok(1);
        }
        let token = match self.flood {
            Flood::UnknownKeys => self.of_unknown_key(),
            // The last character of a signature says the least, and is wrong all the same.
            _ => format!("{}{}", &self.good[..self.good.len() - 10], "AAAAAAAAAA"),
        };
        let refused = Request { address: self.to, path: "/flooded", token: Some(&token) }.open();
        Ok(u64::from(refused.is_err()))
    }

    fn of_unknown_key(&self) -> String {
        let header = format!(r#"{{"alg":"RS256","kid":"key-{}"}}"#, self.number);
        let claims = self.good.split('.').nth(1).unwrap_or_default();
        format!("{}.{claims}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode([7; 256]))
    }

    /// Many commands at once, over a connection that is made anew when it was closed.
    fn commands(&mut self, connection: &mut Option<TcpStream>) -> Result<u64> {
        let stream = match &mut *connection {
            Some(stream) => stream,
            none => {
                let request = Request { address: self.to, path: "/flooded", token: Some(&self.good) };
                let stream = request.open()?;
                stream.set_nonblocking(true)?;
                none.insert(stream)
            }
        };
        let mut bytes = Vec::new();
        let count = self.flood.pace().0;
        for _ in 0..count {
            self.number += 1;
            let text = self.flood.command(self.number, &self.good).unwrap_or_default();
            frame(&text, &mut bytes);
        }
        let written = stream.write_all(&bytes);
        let mut answers = [0; 64 * 1024];
        let open = loop {
            match stream.read(&mut answers) {
                Ok(0) => break false,
                Ok(_) => {}
                Err(error) => break error.kind() == std::io::ErrorKind::WouldBlock,
            }
        };
        if written.is_err() || !open {
            *connection = None;
        }
        Ok(if written.is_ok() { count as u64 } else { 0 })
    }
}

/// A masked text frame (RFC 6455, section 5.2); the mask is zero.
fn frame(text: &str, out: &mut Vec<u8>) {
    out.push(0x81);
    match u8::try_from(text.len()) {
        Ok(length) if length < 126 => out.push(0x80 | length),
        _ => {
            out.push(0x80 | 126);
            out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(text.as_bytes());
}
