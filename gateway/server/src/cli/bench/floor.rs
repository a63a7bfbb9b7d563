//! The floor: a server that does nothing but one `send` per delivery, on one thread, with every frame made in advance.
//!
//! It takes orders on its first connection, one line each: `fan COUNT` sends COUNT frames to every other connection, one `send` each;
//! `each COUNT` sends one frame to each of COUNT connections chosen by a stride. Other connections are answered with a fixed 101.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result, anyhow};

use super::frames::frame;

const ANSWER: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
/// Prime, so that a stride over any number of connections visits all.
const STRIDE: usize = 7919;

/// Serves until its first connection ends.
pub(super) fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let (orders, _) = listener.accept().context("no orders")?;
    let mut answers = orders.try_clone()?;
    let mut clients: Vec<TcpStream> = Vec::new();
    let mut next = 0;
    for line in BufReader::new(orders).lines() {
        let line = line?;
        let (verb, count) = line.split_once(' ').ok_or_else(|| anyhow!("an order is a word and a number"))?;
        let count: usize = count.parse()?;
        match verb {
            "accept" => {
                for _ in 0..count {
                    clients.push(accept(&listener)?);
                }
            }
            "drop" => clients.truncate(clients.len().saturating_sub(count)),
            "fan" => {
                for _ in 0..count {
                    let frame = frame();
                    for client in &mut clients {
                        client.write_all(&frame)?;
                    }
                }
            }
            "each" => {
                for _ in 0..count {
                    next = (next + STRIDE) % clients.len();
                    clients[next].write_all(&frame())?;
                }
            }
            _ => return Err(anyhow!("no such order: {verb}")),
        }
        answers.write_all(b"done\n")?;
    }
    Ok(())
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    let (mut client, _) = listener.accept()?;
    client.set_nodelay(true)?;
    let mut request = [0; 2048];
    let mut length = 0;
    while !request[..length].ends_with(b"\r\n\r\n") {
        let read = client.read(&mut request[length..])?;
        if read == 0 {
            return Err(anyhow!("a client went away inside its request"));
        }
        length += read;
    }
    client.write_all(ANSWER)?;
    Ok(client)
}
