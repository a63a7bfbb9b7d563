//! Clients that do not want to be served well: they flood, never read, reset and scribble. The process stays small and alive.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::client::{Client, Failed, WAIT, masked, show};
use super::memory::memory;
use crate::support::http;

/// What the server may keep for one client that does not read, in KiB: its outbox, the kernel's buffers are not counted.
const EACH_KIB: u64 = 1024;
/// How long a flood goes on that is never refused.
const FLOOD: Duration = Duration::from_secs(2);

/// Writes `frames` over and over without reading until the server takes no more, ends the connection, or `FLOOD` is over.
fn flood(server: SocketAddr, path: &str, frames: &[u8]) -> Result<(), Failed> {
    let mut stream = Client::dial(server)?;
    drop(stream.write_all(Client::request(server, path, None).as_bytes()));
    stream.set_write_timeout(Some(Duration::from_millis(500))).map_err(|error| error.to_string())?;
    let begun = Instant::now();
    while begun.elapsed() < FLOOD {
        if stream.write_all(frames).is_err() {
            break;
        }
    }
    Ok(())
}

/// Floods from several connections at once and judges what the process grew by.
fn floods(server: SocketAddr, process: u32, path: &str, frames: &[u8]) -> Result<(), Failed> {
    const CLIENTS: u64 = 4;
    let (before, _) = memory(process)?;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| flood(server, path, frames))).collect();
        all.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err("panicked".to_owned())))
    })?;
    let (after, most) = memory(process)?;
    // Allocators keep some; without a bound it would be hundreds of megabytes.
    let most_allowed = before + CLIENTS * EACH_KIB + (16 << 10);
    if after > most_allowed { Err(format!("RssAnon {before} -> {after} KiB, most {most}")) } else { Ok(()) }
}

/// Messages that come back, and nobody takes them.
pub fn echoes_unread(server: SocketAddr, process: u32) -> Result<(), Failed> {
    floods(server, process, "/plain", &masked(0x82, &[7; 30_000]).repeat(4))
}

/// Pings whose pongs nobody takes.
pub fn pings_unread(server: SocketAddr, process: u32) -> Result<(), Failed> {
    floods(server, process, "/json", &masked(0x89, &[7; 125]).repeat(400))
}

/// Commands whose answers nobody takes.
pub fn answers_unread(server: SocketAddr, process: u32) -> Result<(), Failed> {
    floods(
        server,
        process,
        "/json",
        &masked(0x81, br#"{"type":"ping","id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#).repeat(800),
    )
}

/// A subscriber that does not read what is published: ended by 4430 behind whole frames, while the witness hears all of it.
pub fn subscriber_unread(server: SocketAddr, admin: SocketAddr) -> Result<(), Failed> {
    let mut client = Client::open(server, "/json", None, b"")?;
    client.send(&masked(0x81, br#"{"type":"subscribe","channel":"c:loud"}"#));
    client.next()?;
    // 12 MiB: more than the kernel and the outbox (256 KiB) hold together.
    let body = serde_json::json!({"channel": "c:loud", "event": "loud", "data": "x".repeat(200_000)});
    for _ in 0..60 {
        let answer = http::post(admin, "/v1/publish", &body);
        if answer.status != 200 {
            return Err(format!("{answer:?}"));
        }
    }
    let mut heard = 0;
    loop {
        let frame = client.next()?;
        match (frame.first, frame.payload.len()) {
            (0x81, 200_000..) => heard += 1,
            (0x88, _) if frame.payload.starts_with(&4430u16.to_be_bytes()) => break,
            _ => return Err(format!("behind {heard} publications came {}", show(&frame))),
        }
    }
    if heard >= 60 { Err("everything was kept for it".to_owned()) } else { Ok(()) }
}

/// Empty fragments of a message that does not end for long: each is legal, together they are nothing.
pub fn empty_fragments(server: SocketAddr) -> Result<(), Failed> {
    let mut client = Client::open(server, "/plain", None, b"")?;
    client.send(&masked(0x01, b"a"));
    let many = masked(0x00, b"").repeat(10_000);
    for _ in 0..20 {
        client.send(&many);
    }
    client.send(&masked(0x80, b"z"));
    let frame = client.next()?;
    if (frame.first, frame.payload.as_slice()) != (0x81, b"az".as_slice()) {
        return Err(format!("heard {}", show(&frame)));
    }
    client.fence()
}

/// Bytes by chance behind a good handshake: each connection ends with a code, or waits for the rest of a frame.
pub fn noise(server: SocketAddr) -> Result<(), Failed> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..300 {
        let length = 1 + random() % 300;
        let bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
        let offer = (round % 2 == 0).then_some("permessage-deflate");
        let path = ["/json", "/echo"][round % 3 % 2];
        let mut client = Client::open(server, path, offer, &bytes)?;
        client.end_sending()?;
        // Echoes and answers to what was well-formed by chance, then a close or, since we said that we are done, the end.
        while let Some(frame) = client.frame().map_err(|error| format!("round {round}: {error}"))? {
            if frame.first == 0x88 {
                break;
            }
        }
    }
    Ok(())
}

/// Connections that are reset: before the request, inside it, behind it, inside a frame, after a message.
pub fn resets(server: SocketAddr) -> Result<(), Failed> {
    let request = Client::request(server, "/json", Some("permessage-deflate")).into_bytes();
    let command = masked(0x81, br#"{"type":"subscribe","channel":"c:reset"}"#);
    let whole = [request.as_slice(), command.as_slice()].concat();
    for _ in 0..50 {
        for end in [0, 1, request.len() / 2, request.len(), request.len() + 1, request.len() + 8, whole.len()]
        {
            let mut stream = Client::dial(server)?;
            drop(stream.write_all(&whole[..end]));
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).map_err(|error| error.to_string())?;
        }
    }
    Client::open(server, "/json", None, b"")?.fence()
}

/// A crowd that connects at once and waits for nothing.
pub fn crowd(server: SocketAddr) -> Result<(), Failed> {
    let request = Client::request(server, "/json", None);
    let mut crowd = Vec::new();
    for _ in 0..1_000 {
        let mut stream = Client::dial(server)?;
        drop(stream.write_all(request.as_bytes()));
        crowd.push(stream);
    }
    for stream in &mut crowd {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).map_err(|error| format!("not served within {WAIT:?}: {error}"))?;
        if !answer.ends_with(b"101") {
            return Err(String::from_utf8_lossy(&answer).into_owned());
        }
    }
    drop(crowd);
    Client::open(server, "/json", None, b"")?.fence()
}
