//! Many clients in one thread: they open sockets, read what comes, count it and note how old it was.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mio::{Events, Interest, Poll, Token};
use parking_lot::Mutex;

use super::frames::{FRAME_BYTES, STAMP_AT, STAMP_BYTES, now};

/// Where and as whom a client connects.
pub(super) struct Request<'a> {
    pub(super) address: SocketAddr,
    pub(super) path: &'a str,
    pub(super) token: Option<&'a str>,
}

impl Request<'_> {
    /// Connects, upgrades and waits for the answer; what is behind it stays in the socket.
    pub(super) fn open(&self) -> Result<TcpStream> {
        self.open_with("")
    }

    /// The same with more header lines, each with its end.
    pub(super) fn open_with(&self, headers: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let token = self.token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{token}{headers}\r\n",
            self.path, self.address
        );
        stream.write_all(request.as_bytes())?;
        let head = read_head(&mut stream)?;
        if !head.starts_with(b"HTTP/1.1 101") {
            let mut reason = [0; 512];
            let read = stream.read(&mut reason).unwrap_or_default();
            let said = [head.as_slice(), &reason[..read]].concat();
            bail!("refused: {}", String::from_utf8_lossy(&said));
        }
        Ok(stream)
    }
}

/// Byte by byte, because frames may follow at once; 100 system calls per connection are the client's cost, not the server's.
fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 || head.len() > 4096 {
            bail!("closed inside the answer: {}", String::from_utf8_lossy(&head));
        }
        head.push(byte[0]);
    }
    Ok(head)
}

#[derive(Default)]
struct Shared {
    bytes: AtomicU64,
    stop: AtomicBool,
    /// Microseconds from publishing to reading.
    ages: Mutex<Vec<u32>>,
}

/// Clients that read; they leave with this value.
pub(super) struct Receivers {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Receivers {
    /// Reads from `streams`, which have been upgraded, until dropped.
    pub(super) fn start(streams: Vec<TcpStream>) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || read_all(streams, &own));
        Self { shared, thread: Some(thread) }
    }

    /// Messages read so far.
    pub(super) fn messages(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed) / FRAME_BYTES as u64
    }

    /// Waits until `count` messages have come.
    pub(super) fn wait_for(&self, count: u64) -> Result<()> {
        self.wait_for_bytes(count * FRAME_BYTES as u64)
    }

    /// Waits until so many bytes have come.
    pub(super) fn wait_for_bytes(&self, count: u64) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let read = || self.shared.bytes.load(Ordering::Relaxed);
        while read() < count {
            if Instant::now() > deadline || self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                bail!("{} of {count} bytes arrived", read());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Takes the ages noted since the last call.
    pub(super) fn take_ages(&self) -> Vec<u32> {
        std::mem::take(&mut self.shared.ages.lock())
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What went wrong there was seen as messages that did not arrive.
            let _ended = thread.join();
        }
    }
}

fn read_all(streams: Vec<TcpStream>, shared: &Shared) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut sockets = Vec::with_capacity(streams.len());
    for (at, stream) in streams.into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        let mut socket = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut socket, Token(at), Interest::READABLE)?;
        sockets.push((socket, 0_usize));
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 * 1024];
    let mut ages = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(50)))?;
        for event in &events {
            let (socket, offset) = &mut sockets[event.token().0];
            loop {
                match socket.read(&mut buffer) {
                    Ok(0) => bail!("the server closed"),
                    Ok(read) => {
                        note_ages(&buffer[..read], *offset, &mut ages);
                        *offset = (*offset + read) % FRAME_BYTES;
                        shared.bytes.fetch_add(read as u64, Ordering::Relaxed);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if !ages.is_empty() {
            shared.ages.lock().append(&mut ages);
        }
    }
    Ok(())
}

/// Notes the age of the last whole stamp in what was read at `offset` of a frame: one a read, so that batches cost the client little.
fn note_ages(bytes: &[u8], offset: usize, ages: &mut Vec<u32>) {
    let first = (FRAME_BYTES - offset) % FRAME_BYTES;
    let Some(room) = bytes.len().checked_sub(first + STAMP_AT + STAMP_BYTES) else { return };
    let at = first + room / FRAME_BYTES * FRAME_BYTES + STAMP_AT;
    let stamp =
        std::str::from_utf8(&bytes[at..at + STAMP_BYTES]).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(stamp) = stamp {
        ages.push(u32::try_from(now().saturating_sub(stamp) / 1000).unwrap_or(u32::MAX));
    }
}
