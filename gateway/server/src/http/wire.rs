//! What a connection is going to speak: the answer to a handshake, and what follows from it for its shard.

use http::{HeaderMap, HeaderValue};
use rtgw_protocol::websocket::deflate::Window;
use rtgw_protocol::websocket::handshake::{self, Accepted, Headers};
use rtgw_protocol::websocket::subprotocol;
use smallvec::SmallVec;

use super::endpoint::Door;
use crate::transport::SocketProtocol;

/// What was agreed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire {
    pub(super) protocol: SocketProtocol,
    /// The window of the compression.
    pub(super) window: Option<Window>,
    /// Whether several messages may come in one frame.
    pub(super) batch: bool,
}

/// The parts of a request that count.
pub(super) struct Offer<'a> {
    pub(super) method: &'a str,
    /// The version of HTTP, major and minor.
    pub(super) version: (u8, u8),
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
}

impl Offer<'_> {
    /// Answers the handshake.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn accept(&self, door: &Door) -> Result<(Accepted, Wire), handshake::Refusal> {
        let headers = Fields(self.headers);
        let mut supported = door.supported;
        let offered = headers.values("sec-websocket-protocol");
        let chosen = subprotocol::choose(offered, supported.subprotocols);
        let batch = chosen == Some(subprotocol::JSON) && self.asks_for_batches();
        // Shared compressed bytes cannot be joined, and whoever asks for batches gets them.
        supported.deflate &= !batch;
        let accepted = handshake::accept(self.method, self.version, &headers, supported)?;
        let window = accepted.deflate.map(|deflate| deflate.window);
        let protocol = match chosen {
            Some(subprotocol::MSGPACK) => SocketProtocol::MessagePack,
            _ => door.protocol,
        };
        Ok((accepted, Wire { protocol, window, batch }))
    }

    fn asks_for_batches(&self) -> bool {
        self.query.is_some_and(|query| query.split('&').any(|pair| pair == "batch=1"))
    }
}

/// The header fields of a request, as the handshake reads them.
struct Fields<'a>(&'a HeaderMap);

impl Headers for Fields<'_> {
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + Clone {
        let values: SmallVec<[&[u8]; 4]> = self.0.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        values.into_iter()
    }
}
