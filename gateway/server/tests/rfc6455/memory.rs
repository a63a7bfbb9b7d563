//! Messages that are small on the wire and huge when inflated: refused, and never held.

use std::net::SocketAddr;

use super::client::{Client, Failed, masked};
use super::script::deflated;

/// What a bomb inflates to; a thousand times its size on the wire.
const INFLATED: usize = 64 << 20;
/// Bombs at once: if each were inflated, 2 GiB would be needed.
const BOMBS: usize = 32;
/// What the server may grow by meanwhile, in KiB: the limit of a message for each, and what an allocator keeps.
const GROWTH_KIB: u64 = 24 << 10;

/// The private memory of the server's process now, and the most it ever had resident, in KiB.
pub fn memory(process: u32) -> Result<(u64, u64), Failed> {
    let text =
        std::fs::read_to_string(format!("/proc/{process}/status")).map_err(|error| error.to_string())?;
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Ok((kib("RssAnon").ok_or("no RssAnon")?, kib("VmHWM").ok_or("no VmHWM")?))
}

/// Sends bombs at once, whole and in fragments.
pub fn bombs(server: SocketAddr, process: u32) -> Result<(), Failed> {
    let bomb = deflated(&vec![b'x'; INFLATED]);
    if bomb.len() * 1_000 > INFLATED {
        return Err(format!("a weak bomb: {} bytes", bomb.len()));
    }
    let (before, most_before) = memory(process)?;
    let outcomes: Vec<Result<(), Failed>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..BOMBS)
            .map(|number| (number, &bomb))
            .map(|(number, bomb)| {
                scope.spawn(move || {
                    let mut client = Client::open(server, "/json", Some("permessage-deflate"), b"")?;
                    if number % 2 == 0 {
                        client.send(&masked(0xC1, bomb));
                    } else {
                        let (first, last) = bomb.split_at(bomb.len() / 2);
                        client.send(&masked(0x41, first));
                        client.send(&masked(0x80, last));
                    }
                    client.closed(Some(1009))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".to_owned())))
            .collect()
    });
    outcomes.into_iter().collect::<Result<(), Failed>>()?;
    let (after, most_after) = memory(process)?;
    if after.saturating_sub(before) > GROWTH_KIB || most_after.saturating_sub(most_before) > GROWTH_KIB {
        return Err(format!(
            "RssAnon {before} -> {after} KiB, the most resident {most_before} -> {most_after} KiB"
        ));
    }
    Ok(())
}

/// Declares large messages and sends one byte of each: memory follows what arrived, not what was declared.
pub fn promises(server: SocketAddr, process: u32) -> Result<(), Failed> {
    const CLIENTS: usize = 400;
    let (before, _) = memory(process)?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::open(server, "/plain", None, b"")?;
        // 64 KiB are announced.
        client.send(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, b'x']);
        clients.push(client);
    }
    // A later connection to each shard is answered behind the bytes of those before.
    for _ in 0..4 {
        Client::open(server, "/plain", None, b"")?.fence()?;
    }
    let (after, _) = memory(process)?;
    let each = after.saturating_sub(before) * 1024 / CLIENTS as u64;
    // 25 MiB would be 64 KiB each.
    if each > 8 << 10 { Err(format!("{each} bytes for each announced message")) } else { Ok(()) }
}
