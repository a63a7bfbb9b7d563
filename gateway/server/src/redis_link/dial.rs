//! One connection: name, TCP, TLS, greeting. Its driver ends with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{Address, Trouble};

/// From the name to the end of the greeting. With the longest delay between attempts it stays below the 2 s in which work has to resume.
const CONNECT: Duration = Duration::from_secs(1);
/// For one address of a name, so that a dead one leaves time for the next.
const EACH: Duration = Duration::from_millis(600);
/// Addresses of a name that are tried.
const ADDRESSES: usize = 4;
/// How long each answer may take.
pub(super) const ANSWER: Duration = Duration::from_millis(1500);
/// Commands that wait for the driver; who comes later waits for a place.
const WAITING: usize = 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A greeted connection. Commands through [`Connection::commands`] end with an error once it is dropped.
#[derive(Debug)]
pub struct Connection {
    commands: MultiplexedConnection,
    closed: Arc<Notify>,
    driver: AbortHandle,
}

impl Connection {
    /// The way to ask; clones share the connection.
    pub fn commands(&self) -> MultiplexedConnection {
        self.commands.clone()
    }

    /// Resolves once the connection has ended; for one caller at a time.
    pub async fn closed(&self) {
        self.closed.notified().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects to `address`. `on_push` is called with everything that Redis sends unasked, confirmations of subscriptions included, in its
/// order and by the task that reads: it must not wait.
///
/// # Errors
/// Within about a second: why there is no connection.
pub async fn dial(
    address: &Address,
    on_push: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Connection, Trouble> {
    timeout(CONNECT, connect(address, on_push)).await.unwrap_or(Err(Trouble::Silent))
}

async fn connect(
    address: &Address,
    on_push: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Connection, Trouble> {
    let stream = open(address).await?;
    let closed = Arc::new(Notify::new());
    let ended = Arc::clone(&closed);
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(ANSWER))
        .set_pipeline_buffer_size(WAITING)
        .set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                ended.notify_one();
            } else {
                on_push(push);
            }
            Ok::<_, redis::aio::SendError>(())
        });
    let (commands, driver) =
        MultiplexedConnection::new_with_config(address.settings(), stream, config).await?;
    let driver = tokio::spawn(driver).abort_handle();
    Ok(Connection { commands, closed, driver })
}

async fn open(address: &Address) -> Result<Box<dyn Stream>, Trouble> {
    let (host, port) = address.place();
    let tls = address.tls().await?;
    let tcp = reach(host, port).await.map_err(|error| Trouble::Connect(error.to_string()))?;
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Trouble::Tls(error.to_string()))?;
    match tls.connect(name, tcp).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(Trouble::Tls(error.to_string())),
    }
}

/// The first address that answers.
async fn reach(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.take(ADDRESSES).collect();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match timeout(EACH, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}
