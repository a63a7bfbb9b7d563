//! Who a client is: the peer of its socket, unless trusted proxies stand in between and say otherwise.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use rtgw_config::checked::IpLimits;
use rtgw_protocol::address::{forwarded, proxy};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tracing::warn;

use crate::refusal::Refusal;
use crate::telemetry::Repeated;

/// A balancer writes its header with the connection, so one that takes longer is not from a balancer.
const HEADER_TIME: Duration = Duration::from_secs(2);
/// How often refused connections are logged at most.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Whose word is taken about a client's address.
#[derive(Clone)]
pub(super) struct Addresses(Arc<Inner>);

struct Inner {
    limits: IpLimits,
    warnings: Repeated,
}

/// Why a connection is not served.
#[derive(Debug)]
enum Unheard {
    Stranger,
    Late,
    Ended(std::io::Error),
    Header(proxy::ProxyError),
}

impl fmt::Display for Unheard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => f.write_str("it is not in limits.ip.trustedProxies"),
            Self::Late => write!(f, "it sent no PROXY header within {HEADER_TIME:?}"),
            Self::Ended(error) => write!(f, "it ended within the PROXY header: {error}"),
            Self::Header(error) => error.fmt(f),
        }
    }
}

impl Addresses {
    /// As `limits` says.
    pub(super) fn new(limits: &IpLimits) -> Self {
        Self(Arc::new(Inner { limits: limits.clone(), warnings: Repeated::new(WARN_EVERY) }))
    }

    /// The address behind a connection from `peer`. With `proxyProtocol` its header is read off the stream, and `None` says that the
    /// connection is to be closed.
    pub(super) async fn of_connection(&self, stream: &mut TcpStream, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if !self.0.limits.proxy_protocol {
            return Some(peer);
        }
        let unheard = match self.hear(stream, peer).await {
            Ok(client) => return Some(client),
            Err(unheard) => unheard,
        };
        if let Some(held_back) = self.0.warnings.pass() {
            warn!(%peer, held_back, "a connection is closed before it is served: {unheard}");
        }
        None
    }

    async fn hear(&self, stream: &mut TcpStream, peer: IpAddr) -> Result<IpAddr, Unheard> {
        if !self.trusts(peer) {
            return Err(Unheard::Stranger);
        }
        let header = tokio::time::timeout(HEADER_TIME, read_header(stream));
        Ok(header.await.map_err(|_| Unheard::Late)??.unwrap_or(peer))
    }

    /// The client of a request with `headers` that came by a connection from `address`.
    ///
    /// # Errors
    /// 400 where trusted proxies contradict each other, or say nothing that can be read.
    pub(super) fn of_request(&self, address: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Refusal> {
        let values = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let (entries, elements) = (values("x-forwarded-for"), values(header::FORWARDED.as_str()));
        forwarded::client(address, entries, elements, |address| self.trusts(address))
            .map_err(|error| Refusal::new(400, "bad_request", error.to_string()))
    }

    /// Whether clients stand behind `address` rather than being it.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.limits.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

/// Reads a header and nothing behind it; `None` where it says that the client is the peer.
async fn read_header(stream: &mut TcpStream) -> Result<Option<IpAddr>, Unheard> {
    let mut head = [0; proxy::HEAD_BYTES];
    stream.read_exact(&mut head).await.map_err(Unheard::Ended)?;
    let head = proxy::Head::parse(&head).map_err(Unheard::Header)?;
    let mut block = vec![0; head.block_bytes()];
    stream.read_exact(&mut block).await.map_err(Unheard::Ended)?;
    head.client(&block).map_err(Unheard::Header)
}
