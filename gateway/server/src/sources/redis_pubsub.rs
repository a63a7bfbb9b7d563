//! Redis Pub/Sub as a source: one connection that subscribes, notices when it is lost or frozen, and comes back.
//!
//! The library's push callback puts messages into a bounded queue; a loop maps them in order. Both live in one task, which
//! ends when [`RedisPubSub::run`] is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use rtgw_model::GapReason;
use tokio::time::{Instant, sleep, timeout};

use super::queue::{Item, Message, Queue};
use super::status::SourceStatus;
use super::subscriptions::Subscriptions;
use super::through::Through;
use super::{Concerned, Mapping, SourceSink};
use crate::clock;
use crate::expressions::{DropReason, Mapped, Origin, SourceMessage};
use crate::redis_link::{Address, Backoff, Connection, Quiet, Session, Trouble, dial};

/// Largest message.
const MESSAGE_BYTES: usize = 1024 * 1024;
/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the connection is asked whether it lives.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// A connection that held so long was good: the next loss starts with the shortest delay.
const SETTLED: Duration = Duration::from_secs(5);
/// Messages taken from the queue at once.
const BATCH: usize = 64;
/// Mapping gives other tasks their turn after so long: the connection's reader may wait on the same thread.
const TURN: Duration = Duration::from_millis(1);

/// A Redis Pub/Sub source in one pod.
#[derive(Clone)]
pub struct RedisPubSub {
    /// Its place in the configuration.
    pub index: u16,
    /// Its name, for logs.
    pub name: String,
    /// What is heard.
    pub subscriptions: Subscriptions,
    /// The Redis.
    pub address: Address,
    /// Message to publication.
    pub mapping: Mapping,
    /// Whom a gap concerns ([`super::concerned`]).
    pub concerned: Concerned,
    /// Why publications were missed before it began, by clients that are there already; `None` where they were not.
    pub missed: Option<GapReason>,
    /// Where publications go, and gaps are told.
    pub sink: Arc<dyn SourceSink>,
    /// Where publications go instead (`ingest: OnePod`).
    pub through: Option<Through>,
    /// How it is doing; shared with readiness and metrics.
    pub status: Arc<SourceStatus>,
}

impl RedisPubSub {
    /// Hears, maps and delivers until dropped; never gives up.
    pub async fn run(self) {
        let queue = Arc::new(Queue::default());
        tokio::join!(self.hear(&queue), self.deliver(&queue));
    }

    /// Keeps a subscribed connection.
    async fn hear(&self, queue: &Arc<Queue>) {
        let mut backoff = Backoff::default();
        let mut log = Quiet::default();
        // Whether there was a time in which nobody listened: also before the first connection, if that took more than one try.
        let mut missed = self.missed;
        loop {
            let trouble = match self.connect(queue, missed).await {
                Err(trouble) => trouble,
                Ok(connected) => {
                    self.status.set_up(true);
                    log.end();
                    tracing::info!(source = self.name, redis = %self.address, "the source is subscribed");
                    let since = Instant::now();
                    let trouble = self.watch(connected).await;
                    self.status.set_up(false);
                    if since.elapsed() >= SETTLED {
                        backoff.reset();
                    }
                    trouble
                }
            };
            missed = Some(GapReason::SourceReconnected);
            self.status.count_error(trouble.reason());
            if log.speaks(trouble.reason()) {
                tracing::warn!(source = self.name, redis = %self.address, error = %trouble, reason = trouble.reason(),
                    "the source hears nothing: {}", trouble.advice());
            }
            sleep(backoff.delay()).await;
        }
    }

    /// Connects and subscribes to everything. With `missed`, the gap is told as soon as all subscriptions hold.
    async fn connect(&self, queue: &Arc<Queue>, missed: Option<GapReason>) -> Result<Connection, Trouble> {
        let session = queue.open_session();
        let (to, status, name) = (Arc::clone(queue), Arc::clone(&self.status), self.name.clone());
        let connection = dial(&self.address, move |push| receive(&name, &to, &status, session, push)).await?;
        let mut commands = connection.commands();
        if let Some(reason) = missed {
            queue.hold(Item::Gap(reason));
        }
        if !self.subscriptions.channels().is_empty() {
            commands.subscribe(self.subscriptions.channels()).await?;
        }
        let globs = self.subscriptions.globs();
        if !globs.is_empty() {
            commands.psubscribe(globs).await?;
        }
        queue.release();
        Ok(connection)
    }

    /// Waits for the end of a connection. A frozen Redis keeps its sockets open, so it is asked for a sign of life; messages that
    /// still come are one too.
    async fn watch(&self, connection: Connection) -> Trouble {
        let mut commands = connection.commands();
        loop {
            tokio::select! {
                () = connection.closed() => return Trouble::Closed,
                () = sleep(HEALTH_INTERVAL) => {}
            }
            let before = self.status.received();
            let ping = redis::cmd("PING");
            let answer = tokio::select! {
                () = connection.closed() => return Trouble::Closed,
                answer = timeout(PATIENCE, ping.query_async::<Value>(&mut commands)) => answer,
            };
            match answer {
                Ok(Ok(_)) => {}
                Ok(Err(error)) if error.is_connection_dropped() => return Trouble::Closed,
                // An error of the server (LOADING, BUSY) is an answer.
                Ok(Err(error)) if !error.is_io_error() && !error.is_unrecoverable_error() => {}
                Ok(Err(error)) if !error.is_timeout() => return Trouble::Redis(error),
                Ok(Err(_)) | Err(_) if self.status.received() != before => {}
                Ok(Err(_)) | Err(_) => return Trouble::Silent,
            }
        }
    }

    /// Maps and delivers what is queued, in order.
    async fn deliver(&self, queue: &Queue) {
        let mut log = Quiet::default();
        loop {
            let items = queue.take(BATCH).await;
            let mut turn = Instant::now();
            for item in items {
                match item {
                    Item::Gap(reason) => {
                        let scope = (self.concerned)();
                        // First, so that whoever comes back is told by the one or by the other.
                        if let Some(through) = &self.through {
                            through.outdate(scope.clone(), &self.name, &self.status, &mut log).await;
                        }
                        self.sink.gap(scope, reason);
                        if let Some(through) = &self.through {
                            through.announce(reason).await;
                        }
                    }
                    Item::Message(message) => self.deliver_one(&message, &mut log).await,
                }
                if turn.elapsed() >= TURN {
                    tokio::task::yield_now().await;
                    turn = Instant::now();
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn deliver_one(&self, message: &Message, log: &mut Quiet) {
        let reason = match self.map(message) {
            None => return,
            Some(Ok(mapped)) => {
                let Some(through) = &self.through else {
                    self.status.count_published(mapped.skipped);
                    return self.sink.publication(self.index, &mapped.rules, mapped.publication);
                };
                return through.publish(self.index, &self.name, mapped, &self.status, log).await;
            }
            Some(Err(reason)) => reason,
        };
        self.status.count_error(reason);
        if log.speaks(reason) {
            let channel = String::from_utf8_lossy(&message.channel);
            tracing::warn!(source = self.name, %channel, reason, "a message was dropped");
        }
    }

    /// `None` for what is not ours: another subscription takes it, or the glob fits more than the pattern.
    fn map(&self, message: &Message) -> Option<Result<Mapped, &'static str>> {
        let glob = message.glob.as_deref().map(std::str::from_utf8).transpose();
        let (Ok(channel), Ok(glob)) = (std::str::from_utf8(&message.channel), glob) else {
            return Some(Err(DropReason::NotText.as_str()));
        };
        let params = self.subscriptions.bind(channel, glob)?;
        let origin = Origin { channel, params: &params, headers: &[] };
        let message = SourceMessage { origin, payload: &message.payload, heard: message.heard };
        // Expressions come from people and run in a library: a fault there costs this message, not the source.
        let mapped = catch_unwind(AssertUnwindSafe(|| (self.mapping)(message)));
        Some(mapped.map_or(Err("internal"), |mapped| mapped.map_err(DropReason::as_str)))
    }
}

/// Queues a message; called by the connection's reader, which must not wait.
fn receive(name: &str, queue: &Queue, status: &SourceStatus, session: Session, push: PushInfo) {
    let Some(message) = message(push) else { return };
    status.count_received();
    let reason = if message.payload.len() > MESSAGE_BYTES {
        "too_large"
    } else if !queue.push(session, Item::Message(message)) {
        "overflow"
    } else {
        return;
    };
    // Powers of two: the first is seen at once, a flood makes few lines.
    let before = status.count_error(reason);
    if (before + 1).is_power_of_two() {
        tracing::warn!(source = name, reason, dropped = before + 1, "a message was dropped");
    }
}

fn message(push: PushInfo) -> Option<Message> {
    let mut data = push.data.into_iter();
    let mut next = || match data.next() {
        Some(Value::BulkString(bytes)) => Some(Bytes::from(bytes)),
        Some(Value::SimpleString(text)) => Some(Bytes::from(text)),
        _ => None,
    };
    let glob = match push.kind {
        PushKind::Message => None,
        PushKind::PMessage => Some(next()?),
        // Confirmations of subscriptions.
        _ => return None,
    };
    Some(Message { glob, channel: next()?, payload: next()?, heard: clock::wall() })
}
