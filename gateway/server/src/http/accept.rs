//! The accept loop: bounded connections, each a task of its own with the loop as its owner.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::telemetry::Repeated;

/// How long the loop waits after an error that the next attempt would meet again (no file descriptors, no memory).
const PAUSE: Duration = Duration::from_millis(100);
/// How often that is logged at most.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// How many connections the kernel keeps that were not accepted yet (it may cap that: `net.core.somaxconn`). The standard library's 128
/// is gone within milliseconds when thousands of clients come back at once; the rest would wait for a retransmission.
const BACKLOG: i32 = 4096;

/// Listens on `address`, for [`accept`].
///
/// # Errors
/// An address that is taken or may not be used.
pub fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    match bound(address) {
        // A machine without IPv6: all addresses are those of IPv4.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
            bound((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

fn is_without_ipv6(error: &std::io::Error) -> bool {
    /// EAFNOSUPPORT of Linux: the family is switched off.
    const FAMILY: i32 = 97;
    error.raw_os_error() == Some(FAMILY) || error.kind() == std::io::ErrorKind::AddrNotAvailable
}

fn bound(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Places for connections that are served.
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: usize,
    /// Where connections give up their places to later ones: after how long at the earliest.
    patience: Option<Duration>,
    /// Who may hold a place, the oldest first.
    held: VecDeque<(Instant, AbortHandle)>,
    warnings: Repeated,
}

impl Places {
    /// `most` places; who has one keeps it.
    pub(super) fn kept(most: usize) -> Self {
        let (free, warnings) = (Arc::new(Semaphore::new(most)), Repeated::new(WARN_EVERY));
        Self { free, most, patience: None, held: VecDeque::new(), warnings }
    }

    /// `most` places. Where all are taken and another connection comes, the oldest one ends that has had `patience`.
    pub(super) fn yielding(most: usize, patience: Duration) -> Self {
        Self { patience: Some(patience), ..Self::kept(most) }
    }

    /// Waits for a place.
    async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        /// Enough for an ended connection to give its place back.
        const PAUSE: Duration = Duration::from_millis(20);
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        let mut least = Duration::ZERO;
        loop {
            let free = Arc::clone(&self.free).acquire_owned();
            let Some(patience) = self.patience else { return free.await.ok() };
            self.forget_ended();
            let oldest = self.held.front().map_or(Duration::ZERO, |(since, _)| since.elapsed());
            let wait = patience.saturating_sub(oldest).max(least);
            match tokio::time::timeout(wait, free).await {
                Ok(place) => return place.ok(),
                Err(_) => {
                    if let Some((_, oldest)) = self.held.pop_front() {
                        oldest.abort();
                        if let Some(held_back) = self.warnings.pass() {
                            warn!(
                                held_back,
                                places = self.most,
                                "handshakes take every place; the oldest is ended"
                            );
                        }
                    }
                    least = PAUSE;
                }
            }
        }
    }

    fn hold(&mut self, connection: AbortHandle) {
        if self.patience.is_some() {
            self.forget_ended();
            self.held.push_back((Instant::now(), connection));
        }
    }

    /// An ended connection is remembered no longer than those before it, and there are never more of them than places.
    fn forget_ended(&mut self) {
        while self.held.front().is_some_and(|(_, connection)| connection.is_finished()) {
            self.held.pop_front();
        }
        if self.held.len() >= 2 * self.most.max(1) {
            self.held.retain(|(_, connection)| !connection.is_finished());
        }
    }
}

/// Accepts from `listener` until `stop`, then waits until every connection has ended. No more than there are `places` are served at
/// once; more wait in the kernel's backlog. Dropping the future ends all of them.
pub(super) async fn accept<S, F>(listener: TcpListener, mut places: Places, stop: CancellationToken, serve: S)
where
    S: Fn(TcpStream, SocketAddr) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    let warnings = Repeated::new(WARN_EVERY);
    loop {
        // A connection is accepted before it has a place: only then does it make sense to end another.
        let Some((stream, peer)) = next(&listener, &stop, &mut connections, &warnings).await else { break };
        let place = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            place = places.take() => place,
        };
        let Some(place) = place else { break };
        let connection = spawn(&mut connections, place, serve(stream, peer));
        places.hold(connection);
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

fn spawn<F>(connections: &mut JoinSet<()>, place: OwnedSemaphorePermit, serving: F) -> AbortHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    connections.spawn(async move {
        serving.await;
        drop(place);
    })
}

/// The next connection; `None` once stopped. Ended connections are reaped meanwhile.
async fn next(
    listener: &TcpListener,
    stop: &CancellationToken,
    connections: &mut JoinSet<()>,
    warnings: &Repeated,
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok(connection) => return Some(connection),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if let Some(held_back) = warnings.pass() {
                        warn!(%error, held_back, "cannot accept connections; trying again");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// Whether the error is about the connection that was to be accepted, so that the next one may well succeed (accept(2)).
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "serving a connection panicked");
    }
}
