//! One connection: name, TCP, TLS, greeting. Its driver ends with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisConnectionInfo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::address::Credentials;
use super::renewal::renew;
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
    renewing: AbortHandle,
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
        self.renewing.abort();
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
    // From before the credentials are read, so that no change is missed.
    let renewals = address.renewals();
    let credentials = address.credentials();
    let on_push: OnPush = Arc::new(on_push);
    let (settings, greeted) = match (
        greet(address, &credentials, &credentials.settings, &on_push).await,
        &credentials.before,
    ) {
        (Err(refused), Some(before)) if refused.is_of_credentials() => {
            let greeted = greet(address, &credentials, before, &on_push).await.map_err(|_| refused)?;
            tracing::warn!(redis = %address, "Redis refuses the new credentials; those before still count");
            (before, greeted)
        }
        (greeted, _) => (&credentials.settings, greeted?),
    };
    address.taken(settings);
    let Greeted { commands, closed, driver } = greeted;
    let renewing = renew(address.clone(), renewals, commands.clone(), settings.clone());
    let renewing = tokio::spawn(renewing).abort_handle();
    Ok(Connection { commands, closed, driver, renewing })
}

type OnPush = Arc<dyn Fn(PushInfo) + Send + Sync>;

struct Greeted {
    commands: MultiplexedConnection,
    closed: Arc<Notify>,
    driver: AbortHandle,
}

async fn greet(
    address: &Address,
    credentials: &Credentials,
    settings: &RedisConnectionInfo,
    on_push: &OnPush,
) -> Result<Greeted, Trouble> {
    let stream = open(address, credentials).await?;
    let closed = Arc::new(Notify::new());
    let (ended, on_push) = (Arc::clone(&closed), Arc::clone(on_push));
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
    let (commands, driver) = MultiplexedConnection::new_with_config(settings, stream, config).await?;
    let driver = tokio::spawn(driver).abort_handle();
    Ok(Greeted { commands, closed, driver })
}

async fn open(address: &Address, credentials: &Credentials) -> Result<Box<dyn Stream>, Trouble> {
    let (host, port) = address.place();
    let tls = credentials.tls().await?;
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
