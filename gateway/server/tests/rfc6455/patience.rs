//! Clients that take their time before the upgrade: their connection ends after about five seconds, whatever they drip.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::client::{Client, Failed, read_head};

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
