//! The record of a socket, the slab of them, and the options every socket gets.

use std::io;

use mio::net::TcpStream;
use rtgw_model::{ConnectionId, EndpointIx};
use rtgw_protocol::websocket::{Decoder, Rules};

use super::handoff::{Handoff, Permit, SocketProtocol};

/// Bytes that the kernel may hold unsent for a socket before it calls it full. The rest waits in the outbox, where the
/// channel's policy can still act on it, and a stalled client costs the kernel little.
const UNSENT_BYTES: u32 = 16 << 10;
/// Bytes that the kernel may hold for a socket, sent and not acknowledged ones included (the kernel doubles the figure for
/// its own overhead). Automatic sizing would go up to several MiB for a client that vanished in full flight.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// Sets what every socket of a shard needs.
///
/// # Errors
/// What the kernel says; the socket works without them, only slower or with more memory.
pub(super) fn prepare(stream: &std::net::TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let socket = socket2::SockRef::from(stream);
    // Frames are written whole, one write a turn: waiting for more could only delay them.
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    Ok(())
}

/// A socket as its shard sees it. Kept small: what many share is in its [`Profile`], what is rare is boxed by its owner.
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    generation: u32,
    pub(super) decoder: Decoder,
    pub(super) permit: Box<dyn Permit>,
    profile: u16,
    flags: u8,
}

/// A condition of a socket.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Flag {
    /// The kernel has, or may have, bytes to read.
    Readable = 1,
    /// It stands in the list of sockets to read.
    Queued = 2,
    /// The kernel refused bytes; the next writable event counts.
    Blocked = 4,
    /// The peer closed its side: reads go on until they say so.
    PeerClosed = 8,
    /// The client broke the protocol: nothing is read any more.
    Deaf = 16,
    /// The decoder keeps bytes behind a pause.
    Paused = 32,
    /// Its permit is asked about every message.
    Metered = 64,
}

impl Socket {
    pub(super) fn has(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }

    pub(super) fn set(&mut self, flag: Flag, on: bool) {
        if on {
            self.flags |= flag as u8;
        } else {
            self.flags &= !(flag as u8);
        }
    }
}

/// What the sockets of an endpoint have in common, kept once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    pub(super) endpoint: EndpointIx,
    pub(super) protocol: SocketProtocol,
    pub(super) rules: Rules,
}

impl Profile {
    fn of(handoff: &Handoff) -> Self {
        Self {
            endpoint: handoff.opening.admission.endpoint,
            protocol: handoff.protocol,
            rules: Rules { deflate: handoff.deflate, message_bytes: handoff.message_bytes },
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.protocol == other.protocol
            && self.rules.deflate == other.rules.deflate
            && self.rules.message_bytes == other.rules.message_bytes
    }
}

/// The sockets of a shard, by the slots of its `rtgw_hub::Shard`.
#[derive(Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
    count: usize,
    /// With the number of sockets that share each; those without are used again.
    profiles: Vec<(Profile, usize)>,
}

impl Sockets {
    /// Lets `hub` open a session for the socket and keeps the socket in the session's slot. `None` when there are more
    /// profiles than can be told apart: the socket is closed.
    pub(super) fn adopt(
        &mut self,
        handoff: Handoff,
        open: impl FnOnce(rtgw_hub::Opening) -> ConnectionId,
    ) -> Option<ConnectionId> {
        let profile = self.share(Profile::of(&handoff))?;
        let id = open(handoff.opening);
        let slot = id.slot as usize;
        if slot >= self.slots.len() {
            // Doubling would leave up to half of the records empty for good.
            let more = (slot + 1 - self.slots.len()).max(self.slots.len() / 8).max(64);
            if slot >= self.slots.capacity() {
                self.slots.reserve_exact(more);
            }
            self.slots.resize_with(slot + 1, || None);
        }
        self.count += 1;
        self.slots[slot] = Some(Socket {
            stream: TcpStream::from_std(handoff.stream),
            generation: id.generation,
            decoder: Decoder::default(),
            permit: handoff.permit,
            profile,
            flags: 0,
        });
        Some(id)
    }

    fn share(&mut self, wanted: Profile) -> Option<u16> {
        let known = self.profiles.iter().position(|(profile, users)| *users > 0 && profile.is_same(&wanted));
        let at = match known.or_else(|| self.profiles.iter().position(|(_, users)| *users == 0)) {
            Some(at) => at,
            None => {
                self.profiles.push((wanted, 0));
                self.profiles.len() - 1
            }
        };
        let number = u16::try_from(at).ok()?;
        self.profiles[at].0 = wanted;
        self.profiles[at].1 += 1;
        Some(number)
    }

    /// The socket of this connection and no later one in its slot.
    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        let socket = self.slots.get_mut(id.slot as usize)?.as_mut()?;
        (socket.generation == id.generation).then_some(socket)
    }

    /// Whoever is in the slot, as connection `shard`/`slot`/generation.
    pub(super) fn at(&mut self, shard: u16, slot: u32) -> Option<(ConnectionId, &mut Socket)> {
        let socket = self.slots.get_mut(slot as usize)?.as_mut()?;
        Some((ConnectionId { shard, slot, generation: socket.generation }, socket))
    }

    /// The same with what it shares with others.
    pub(super) fn get_with_profile(&mut self, id: ConnectionId) -> Option<(&mut Socket, &Profile)> {
        let socket = self.slots.get_mut(id.slot as usize)?.as_mut()?;
        let profile = &self.profiles[usize::from(socket.profile)].0;
        (socket.generation == id.generation).then_some((socket, profile))
    }

    /// Takes the socket out; its permit is given back, the stream lives as long as the caller holds it.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<TcpStream> {
        self.get(id)?;
        let socket = self.slots[id.slot as usize].take()?;
        self.count -= 1;
        self.profiles[usize::from(socket.profile)].1 -= 1;
        Some(socket.stream)
    }

    /// The ids of all sockets.
    pub(super) fn ids(&self, shard: u16) -> Vec<ConnectionId> {
        let id = |(slot, socket): (usize, &Option<Socket>)| {
            let generation = socket.as_ref()?.generation;
            Some(ConnectionId { shard, slot: u32::try_from(slot).ok()?, generation })
        };
        self.slots.iter().enumerate().filter_map(id).collect()
    }

    /// How many sockets there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

const _: () =
    assert!(size_of::<Option<Socket>>() <= 64, "a socket's record is paid by every idle connection");
