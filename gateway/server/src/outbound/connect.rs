//! One connection to a target: name, address, TCP, TLS. What may not be reached is found out here, with the very addresses that are
//! connected to, because a name can point somewhere else with each question.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rtgw_config::url::may_reach;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::trust::{self, TrustError};

/// For each address of a name, and for TLS.
const PATIENCE: Duration = Duration::from_secs(2);
/// Addresses of a name that are tried.
const ADDRESSES: usize = 4;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the address has no host")]
    NoHost,
    #[error("the name is not known: {0}")]
    Resolve(io::Error),
    #[error("the name leads to an address that is never asked")]
    Forbidden,
    #[error("{0}")]
    Connect(io::Error),
    #[error("{0}")]
    Trust(#[from] TrustError),
    #[error("TLS: {0}")]
    Tls(io::Error),
}

type Resolved = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    tls: Arc<OnceCell<TlsConnector>>,
    resolve: fn(String) -> Resolved,
}

impl Default for Connector {
    fn default() -> Self {
        Self { tls: Arc::default(), resolve }
    }
}

#[cfg(test)]
impl Connector {
    /// Asks `resolve` instead of the system, and trusts `roots` alone.
    pub(super) fn of(resolve: fn(String) -> Resolved, roots: rustls::RootCertStore) -> Self {
        let tls = OnceCell::new_with(Some(TlsConnector::from(trust::client(roots).unwrap())));
        Self { tls: Arc::new(tls), resolve }
    }
}

fn resolve(host: String) -> Resolved {
    Box::pin(
        async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) },
    )
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<Stream, ConnectError> {
        let host = uri.host().ok_or(ConnectError::NoHost)?.trim_matches(['[', ']']);
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = self.dial(host, port).await?;
        if !secure {
            return Ok(Stream::new(stream));
        }
        let tls = self.tls.get_or_try_init(async || trust::system().await.map(TlsConnector::from)).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::NoHost)?;
        let stream = in_time(tls.connect(name, stream)).await.map_err(ConnectError::Tls)?;
        Ok(Stream::new(stream))
    }

    /// The first address that answers, of those that may be reached.
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let addresses = match host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => (self.resolve)(host.to_owned()).await.map_err(ConnectError::Resolve)?,
        };
        let mut last = None;
        for ip in addresses.into_iter().filter(|ip| may_reach(host, *ip)).take(ADDRESSES) {
            match in_time(TcpStream::connect(SocketAddr::from((ip, port)))).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(ConnectError::Connect)?;
                    return Ok(stream);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or(ConnectError::Forbidden, ConnectError::Connect))
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection, plain or TLS.
pub(super) struct Stream(TokioIo<Box<dyn Bytes>>);

impl Stream {
    fn new(stream: impl Bytes + 'static) -> Self {
        Self(TokioIo::new(Box::new(stream)))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }
}
