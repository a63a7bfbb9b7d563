//! One HTTP connection: hyper's http1 with bounds, and the plain socket back after an upgrade.

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::debug;

use super::linger::linger;
use super::response;
use super::upgrade::Successor;
use crate::refusal::Refusal;

/// How patient a listener is with connections that are not upgraded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// How long a request's head may take, counted from the accept or the last answer: also the end of silent connections.
    head: Duration,
    /// A connection takes no new request after so long, whatever it does.
    age: Option<Duration>,
}

impl Patience {
    /// For anybody: a place is given back soon.
    pub(super) const PUBLIC: Self = Self { head: Duration::from_secs(5), age: Some(Duration::from_secs(60)) };
    /// For scrapers and backends, which keep their connections and would see a request fail that crosses our close.
    pub(super) const INTERNAL: Self = Self { head: Duration::from_secs(90), age: None };
}

/// How long a connection is kept that is refused before it asks.
const UNASKED: Duration = Duration::from_millis(100);
/// Largest request head, bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// A connection that should end is dropped after so long: a client that reads no answers ends here.
const GRACE: Duration = Duration::from_secs(10);

/// The connection that a request came by; found in the request's extensions.
#[derive(Clone)]
pub(super) struct Visitor {
    /// The client's address.
    pub(super) ip: IpAddr,
    /// Cancelled once the listener takes nobody any more.
    pub(super) stop: CancellationToken,
    successor: Arc<Mutex<Option<Successor>>>,
}

impl Visitor {
    /// Says what the socket becomes once the 101 is written.
    pub(super) fn become_after_101(&self, successor: Successor) {
        *self.successor.lock() = Some(successor);
    }
}

/// A listener's settings of HTTP/1.
pub(super) fn http1(patience: Patience) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(HEAD_BYTES);
    http
}

/// Serves `stream` until it ends, or until it has been upgraded and handed on.
pub(super) async fn serve(
    http: &http1::Builder,
    patience: Patience,
    stream: TcpStream,
    ip: IpAddr,
    router: Router,
    stop: CancellationToken,
) {
    // Answers and first messages are small and wanted at once; without it they wait for the client's acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "the connection was gone before it was served");
        return;
    }
    let successor = Arc::new(Mutex::new(None));
    let visitor = Visitor { ip, stop: stop.clone(), successor: Arc::clone(&successor) };
    let mut connection = http.serve_connection(TokioIo::new(stream), Visit { router, visitor });
    match run(&mut connection, &stop, patience.age).await {
        Some(Ok(())) => {}
        Some(Err(error)) => debug!(%error, "an HTTP connection ended early"),
        None => return,
    }
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    let successor = successor.lock().take();
    match successor {
        Some(successor) => successor.take_over(stream, parts.read_buf).await,
        None => linger(stream).await,
    }
}

/// Answers with `refusal` whatever `stream` was about to ask for, and ends it.
pub(super) async fn refuse(mut stream: TcpStream, refusal: &Refusal) {
    let answer = response::unasked(refusal);
    if stream.write_all(&answer).await.is_ok() && stream.shutdown().await.is_ok() {
        // Unread, the request would reset the connection and could destroy the answer; most of it has come by now.
        let _ = tokio::time::timeout(UNASKED, stream.read(&mut [0; 2048])).await;
    }
}

/// Drives the connection; `None` when its time is over.
async fn run(
    connection: &mut http1::Connection<TokioIo<TcpStream>, Visit>,
    stop: &CancellationToken,
    age: Option<Duration>,
) -> Option<hyper::Result<()>> {
    let old = async {
        match age {
            Some(age) => tokio::time::sleep(age).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ended = done(connection) => return Some(ended),
        () = stop.cancelled() => (),
        () = old => (),
    }
    Pin::new(&mut *connection).graceful_shutdown();
    tokio::time::timeout(GRACE, done(connection)).await.ok()
}

async fn done(connection: &mut http1::Connection<TokioIo<TcpStream>, Visit>) -> hyper::Result<()> {
    std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await
}

/// The router, for one connection.
struct Visit {
    router: Router,
    visitor: Visitor,
}

impl hyper::service::Service<Request<Incoming>> for Visit {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.visitor.clone());
        Box::pin(self.router.clone().call(request))
    }
}
