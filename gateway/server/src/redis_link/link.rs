//! One connection for commands that is kept: greeted, watched, and made anew when it is lost, silent or of no use.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::dial::ANSWER;
use super::{Address, Backoff, Call, Connection, Quiet, Script, Trouble, dial};

/// How often the connection is asked whether it lives.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// A connection that held so long was good: the next loss starts with the shortest delay.
const SETTLED: Duration = Duration::from_secs(5);

/// What is done on every new connection before anybody else may use it.
pub type Greeting = Box<
    dyn Fn(MultiplexedConnection) -> Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send>> + Send + Sync,
>;

/// A kept connection; clones share it.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    /// Who uses it, for logs.
    purpose: &'static str,
    address: ArcSwap<Address>,
    greeting: Option<Greeting>,
    /// The connection of now.
    current: watch::Sender<Option<MultiplexedConnection>>,
    /// The connection of now is of no use.
    spoiled: Notify,
}

impl Link {
    /// A link to `address` without a connection yet; `purpose` names it in logs.
    pub fn new(purpose: &'static str, address: Address) -> Self {
        Self::of(purpose, address, None)
    }

    /// The same, which greets every connection before it is used.
    pub fn greeting(purpose: &'static str, address: Address, greeting: Greeting) -> Self {
        Self::of(purpose, address, Some(greeting))
    }

    fn of(purpose: &'static str, address: Address, greeting: Option<Greeting>) -> Self {
        let (current, spoiled) = (watch::Sender::new(None), Notify::new());
        let address = ArcSwap::from_pointee(address);
        Self { shared: Arc::new(Shared { purpose, address, greeting, current, spoiled }) }
    }

    /// Whether both share a connection.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether there is a connection.
    pub fn up(&self) -> bool {
        self.shared.current.borrow().is_some()
    }

    /// Tells of every connection that comes or goes; the last value is that of now.
    pub fn changes(&self) -> watch::Receiver<Option<MultiplexedConnection>> {
        self.shared.current.subscribe()
    }

    /// Uses another address from now on: another password, or another Redis. Commands under way end with an error.
    pub fn replace(&self, address: Address) {
        self.shared.address.store(Arc::new(address));
        self.renew();
    }

    /// Makes the connection anew, because this one is not trusted.
    pub fn renew(&self) {
        // Not remembered where there is none: what is found wrong late, or while it is down, must not end the next one.
        self.shared.spoiled.notify_waiters();
    }

    /// The connection, waiting for it at most `patience`.
    ///
    /// # Errors
    /// [`Trouble::Down`].
    pub async fn ready(&self, patience: Duration) -> Result<MultiplexedConnection, Trouble> {
        if let Ok(connection) = self.now() {
            return Ok(connection);
        }
        let mut changes = self.changes();
        let found = timeout(patience, changes.wait_for(Option::is_some)).await;
        found.ok().and_then(Result::ok).and_then(|current| current.clone()).ok_or(Trouble::Down)
    }

    /// The connection of now.
    ///
    /// # Errors
    /// [`Trouble::Down`].
    pub fn now(&self) -> Result<MultiplexedConnection, Trouble> {
        self.shared.current.borrow().clone().ok_or(Trouble::Down)
    }

    /// Asks.
    ///
    /// # Errors
    /// [`Trouble::Down`] at once, the rest within 1.5 s. What was asked may have been done all the same, unless Redis refused it.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Trouble> {
        let mut connection = self.now()?;
        let answer = command.query_async::<T>(&mut connection).await;
        answer.map_err(|error| self.spoil(error.into()))
    }

    /// Asks several in one round trip; the answers in their order, where one is refused all count as refused.
    ///
    /// # Errors
    /// As [`Link::query`].
    pub async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, Trouble> {
        let mut connection = self.now()?;
        let answer = pipeline.query_async::<Vec<Value>>(&mut connection).await;
        answer.map_err(|error| self.spoil(error.into()))
    }

    /// Runs a script.
    ///
    /// # Errors
    /// As [`Link::query`].
    pub async fn invoke<T: FromRedisValue>(&self, script: &Script, call: &Call) -> Result<T, Trouble> {
        let mut connection = self.now()?;
        let answer = script.run(&mut connection, call).await;
        answer.map_err(|error| self.spoil(error.into()))
    }

    fn spoil(&self, trouble: Trouble) -> Trouble {
        if trouble.is_final() {
            self.renew();
        }
        trouble
    }

    /// Keeps the connection until dropped; never gives up. Once for each link.
    pub async fn keep(&self) {
        let Shared { purpose, address, current, spoiled, .. } = &*self.shared;
        let (mut backoff, mut log) = (Backoff::default(), Quiet::default());
        let _down = Down(current);
        loop {
            let address = address.load_full();
            let trouble = match self.open(&address).await {
                Err(trouble) => trouble,
                Ok(connection) => {
                    // Heard from here on, also while something else is waited for.
                    let mut spoiled = pin!(spoiled.notified());
                    spoiled.as_mut().enable();
                    if !Arc::ptr_eq(&address, &self.shared.address.load()) {
                        continue;
                    }
                    log.end();
                    tracing::info!(purpose, redis = %address, "connected");
                    current.send_replace(Some(connection.commands()));
                    let since = Instant::now();
                    let trouble = tokio::select! {
                        () = spoiled => Trouble::Closed,
                        trouble = self.watch(&connection) => trouble,
                    };
                    current.send_replace(None);
                    if since.elapsed() >= SETTLED {
                        backoff.reset();
                    }
                    trouble
                }
            };
            if log.speaks(trouble.reason()) {
                tracing::warn!(purpose, redis = %address, error = %trouble, reason = trouble.reason(), "no connection: {}",
                    trouble.advice());
            }
            sleep(backoff.delay()).await;
        }
    }

    async fn open(&self, address: &Address) -> Result<Connection, Trouble> {
        let connection = dial(address, |_| {}).await?;
        if let Some(greeting) = &self.shared.greeting {
            timeout(ANSWER, greeting(connection.commands())).await.unwrap_or(Err(Trouble::Silent))?;
        }
        Ok(connection)
    }

    /// Waits for the end of a connection. A frozen Redis keeps its sockets open, so it is asked for a sign of life.
    async fn watch(&self, connection: &Connection) -> Trouble {
        let mut commands = connection.commands();
        loop {
            tokio::select! {
                () = connection.closed() => return Trouble::Closed,
                () = sleep(HEALTH_INTERVAL) => {}
            }
            let ping = redis::cmd("PING");
            tokio::select! {
                () = connection.closed() => return Trouble::Closed,
                answer = ping.query_async::<Value>(&mut commands) => match answer.map_err(Trouble::from) {
                    // An error of the server (LOADING, BUSY) is an answer.
                    Ok(_) => {}
                    Err(trouble) if trouble.is_answer() && !trouble.is_final() => {}
                    Err(trouble) => return trouble,
                },
            }
        }
    }
}

/// Whoever asks after the keeper has gone must not find its connection.
struct Down<'a>(&'a watch::Sender<Option<MultiplexedConnection>>);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}
