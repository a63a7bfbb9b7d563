//! A WebSocket client that writes any bytes it is told to and reads frames by hand: no code in common with the server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything that the server may take for an answer; reaching it fails the case, not the run.
pub const WAIT: Duration = Duration::from_secs(10);

/// RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Why a case failed.
pub type Failed = String;

/// A frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// FIN, RSV and opcode.
    pub first: u8,
    /// As it came.
    pub payload: Vec<u8>,
}

/// An open connection.
pub struct Client {
    stream: TcpStream,
    /// The answer to the handshake.
    pub head: String,
}

impl Client {
    /// A TCP connection and nothing more.
    pub fn dial(address: SocketAddr) -> Result<TcpStream, Failed> {
        let stream = TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(WAIT)))
            .map_err(|e| e.to_string())?;
        stream.set_write_timeout(Some(WAIT)).map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// The request that opens `path`.
    pub fn request(address: SocketAddr, path: &str, offer: Option<&str>) -> String {
        let offer = offer.map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n")).unwrap_or_default();
        Self::request_with(address, path, &offer)
    }

    /// The same with more header fields, each ended by its line's end.
    pub fn request_with(address: SocketAddr, path: &str, more: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
        )
    }

    /// Opens `path`; `behind` is sent in the same write as the request.
    pub fn open(address: SocketAddr, path: &str, offer: Option<&str>, behind: &[u8]) -> Result<Self, Failed> {
        Self::over(address, &[Self::request(address, path, offer).as_bytes(), behind].concat())
    }

    /// Opens a connection with a request of its own, which must have the usual key.
    pub fn over(address: SocketAddr, request: &[u8]) -> Result<Self, Failed> {
        let mut stream = Self::dial(address)?;
        stream.write_all(request).map_err(|error| format!("handshake: {error}"))?;
        let head = read_head(&mut stream)?;
        if !head.starts_with("HTTP/1.1 101 ") {
            return Err(format!("no upgrade: {head}"));
        }
        let is = |name: &str, wanted: &str| {
            header(&head, name).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        if !is("upgrade", "websocket")
            || !is("connection", "Upgrade")
            || header(&head, "sec-websocket-accept") != Some(ACCEPT)
        {
            return Err(format!("a wrong 101: {head}"));
        }
        Ok(Self { stream, head })
    }

    /// The answer's `Sec-WebSocket-Extensions`.
    pub fn extensions(&self) -> Option<&str> {
        header(&self.head, "sec-websocket-extensions")
    }

    /// The answer's `Sec-WebSocket-Protocol`.
    pub fn subprotocol(&self) -> Option<&str> {
        header(&self.head, "sec-websocket-protocol")
    }

    /// Writes bytes as they are. The server may have ended the connection by then: what it said shows in what is read.
    pub fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// Says that nothing more will be sent, and still reads.
    pub fn end_sending(&mut self) -> Result<(), Failed> {
        match self.stream.shutdown(Shutdown::Write) {
            // The server was faster.
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Writes every byte by itself.
    pub fn drip(&mut self, bytes: &[u8]) {
        for byte in bytes {
            drop(self.stream.write_all(&[*byte]));
            std::thread::yield_now();
        }
    }

    /// The next frame; `None` at the end of the stream.
    pub fn frame(&mut self) -> Result<Option<Frame>, Failed> {
        let mut head = [0; 2];
        if self.fill(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.whole(&mut head[1..])?;
        if head[1] & 0x80 != 0 {
            return Err("the server masked a frame".to_owned());
        }
        let (len, least) = match head[1] {
            126 => {
                let mut len = [0; 2];
                self.whole(&mut len)?;
                (u64::from(u16::from_be_bytes(len)), 126)
            }
            127 => {
                let mut len = [0; 8];
                self.whole(&mut len)?;
                (u64::from_be_bytes(len), 0x1_0000)
            }
            short => (u64::from(short), 0),
        };
        if len < least || len > 16 << 20 {
            return Err(format!("the server declared a length of {len} in a form for {least} and more"));
        }
        if head[0] & 0x08 != 0 && (len > 125 || head[0] & 0xF0 != 0x80) {
            return Err(format!("the server's control frame {:02x} has {len} bytes", head[0]));
        }
        let mut payload = vec![0; usize::try_from(len).map_err(|error| error.to_string())?];
        self.whole(&mut payload)?;
        Ok(Some(Frame { first: head[0], payload }))
    }

    /// The next frame, which must be there.
    pub fn next(&mut self) -> Result<Frame, Failed> {
        self.frame()?.ok_or_else(|| "the connection ended without a close frame".to_owned())
    }

    /// Expects a close with `code` (`None`: without a payload), then the end of the stream and no reset.
    pub fn closed(&mut self, code: Option<u16>) -> Result<(), Failed> {
        let frame = self.next()?;
        if frame.first != 0x88 {
            return Err(format!("expected a close, got {}", show(&frame)));
        }
        let (number, reason) = match frame.payload.split_first_chunk::<2>() {
            Some((number, reason)) => (Some(u16::from_be_bytes(*number)), reason),
            None if frame.payload.is_empty() => (None, [].as_slice()),
            None => return Err("the server's close has one byte".to_owned()),
        };
        let reason = std::str::from_utf8(reason).map_err(|_| "the close reason is not UTF-8")?;
        if number != code {
            return Err(format!("expected close {code:?}, got {number:?} {reason:?}"));
        }
        match self.frame()? {
            None => Ok(()),
            Some(frame) => Err(format!("after its close the server sent {}", show(&frame))),
        }
    }

    /// Proves that the connection lives and nothing more was said, then closes it well.
    pub fn fence(&mut self) -> Result<(), Failed> {
        self.send(&masked(0x89, b"fence"));
        let frame = self.next()?;
        if frame != (Frame { first: 0x8A, payload: b"fence".to_vec() }) {
            return Err(format!("expected nothing more, got {}", show(&frame)));
        }
        self.send(&masked(0x88, &1000u16.to_be_bytes()));
        self.closed(Some(1000))
    }

    fn whole(&mut self, bytes: &mut [u8]) -> Result<(), Failed> {
        let wanted = bytes.len();
        match self.fill(bytes)? {
            got if got == wanted => Ok(()),
            got => Err(format!("the stream ended inside a frame, {got} of {wanted} bytes")),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, Failed> {
        let mut got = 0;
        while got < bytes.len() {
            match self.stream.read(&mut bytes[got..]) {
                Ok(0) => break,
                Ok(read) => got += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(format!("the server said nothing for {WAIT:?}"));
                }
                Err(error) => return Err(format!("read: {error}")),
            }
        }
        Ok(got)
    }
}

/// A client's frame, masked.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// A frame for people.
pub fn show(frame: &Frame) -> String {
    let payload = String::from_utf8_lossy(&frame.payload);
    let start: String = payload.chars().take(120).collect();
    format!("{:02x} {start:?} ({} bytes)", frame.first, frame.payload.len())
}

/// Reads to the empty line, byte by byte so that nothing behind it is taken.
pub fn read_head(stream: &mut TcpStream) -> Result<String, Failed> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) => return Err(format!("ended inside the answer: {:?}", String::from_utf8_lossy(&head))),
            Err(error) => return Err(format!("read: {error}, after {:?}", String::from_utf8_lossy(&head))),
        }
    }
    String::from_utf8(head).map_err(|error| error.to_string())
}

/// A header's value.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
