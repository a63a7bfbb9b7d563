//! Clients that take their time: before the upgrade their connection ends after about five seconds, whatever they drip, and
//! behind it when they do not answer pings, or say nothing of their own for as long as the endpoint allows.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::client::{Client, Failed, masked, read_head, show};

/// When the end is due; the rest is for a busy machine.
const DUE: std::ops::Range<Duration> = Duration::from_millis(4_500)..Duration::from_secs(8);
/// How often a byte is dripped.
const DRIP: Duration = Duration::from_millis(250);

/// Nothing is sent.
pub fn silent(server: SocketAddr) -> Result<(), Failed> {
    let stream = Client::dial(server)?;
    ends(stream, Instant::now(), &mut std::iter::empty())
}

/// Half a request, then nothing.
pub fn half(server: SocketAddr) -> Result<(), Failed> {
    let mut stream = Client::dial(server)?;
    let begun = Instant::now();
    drop(stream.write_all(b"GET /json HTTP/1.1\r\nHost: x\r\nUpgr"));
    ends(stream, begun, &mut std::iter::empty())
}

/// A request that never ends, byte by byte.
pub fn dripping(server: SocketAddr) -> Result<(), Failed> {
    let stream = Client::dial(server)?;
    let request = b"GET /json HTTP/1.1\r\nHost: x\r\n".iter().copied();
    ends(stream, Instant::now(), &mut request.chain(std::iter::repeat(b'x')))
}

/// A whole request that was answered, then nothing.
pub fn kept_alive(server: SocketAddr) -> Result<(), Failed> {
    let mut stream = Client::dial(server)?;
    drop(stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"));
    let head = read_head(&mut stream)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head);
    }
    ends(stream, Instant::now(), &mut std::iter::empty())
}

/// Pings that are not answered. `/brisk` waits for three seconds.
pub fn pings_unanswered(server: SocketAddr) -> Result<(), Failed> {
    let mut client = Client::open(server, "/brisk", None, b"")?;
    let begun = Instant::now();
    let mut pings = 0;
    loop {
        let frame = client.next()?;
        match frame.first {
            0x89 => pings += 1,
            0x88 => break judged(&frame.payload, begun, 2..5, pings),
            _ => return Err(show(&frame)),
        }
    }
}

/// Pings that are answered, for longer than the endpoint waits for a sign of life.
pub fn pings_answered(server: SocketAddr) -> Result<(), Failed> {
    let mut client = Client::open(server, "/brisk", None, b"")?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(7) {
        let ping = client.next()?;
        if ping.first != 0x89 {
            return Err(show(&ping));
        }
        client.send(&masked(0x8A, &ping.payload));
    }
    client.fence()
}

/// Pings that are answered, and nothing else. `/idle` waits for five seconds.
pub fn idle(server: SocketAddr) -> Result<(), Failed> {
    let mut client = Client::open(server, "/idle", None, b"")?;
    let begun = Instant::now();
    let mut pings = 0;
    loop {
        let frame = client.next()?;
        match frame.first {
            0x89 => {
                pings += 1;
                client.send(&masked(0x8A, &frame.payload));
            }
            0x88 => break judged(&frame.payload, begun, 4..8, pings),
            _ => return Err(show(&frame)),
        }
    }
}

/// Whether the close says 4408, came in these seconds, and was announced by pings.
fn judged(payload: &[u8], begun: Instant, seconds: std::ops::Range<u64>, pings: u32) -> Result<(), Failed> {
    let took = begun.elapsed();
    if payload.starts_with(&4408u16.to_be_bytes()) && seconds.contains(&took.as_secs()) && pings > 0 {
        return Ok(());
    }
    Err(format!("{} after {took:?} and {pings} pings", String::from_utf8_lossy(payload)))
}

/// Drips until the server ends the connection, and judges when that was.
fn ends(mut stream: TcpStream, begun: Instant, drip: &mut dyn Iterator<Item = u8>) -> Result<(), Failed> {
    stream.set_read_timeout(Some(DRIP)).map_err(|error| error.to_string())?;
    let mut scratch = [0; 4096];
    loop {
        match stream.read(&mut scratch) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            // Bytes dripped behind the server's end come back as a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error.to_string()),
        }
        if begun.elapsed() > DUE.end {
            return Err(format!("still open after {:?}", begun.elapsed()));
        }
        if let Some(byte) = drip.next() {
            drop(stream.write_all(&[byte]));
        }
    }
    let took = begun.elapsed();
    if DUE.contains(&took) { Ok(()) } else { Err(format!("ended after {took:?}")) }
}
