//! The connection that hears: subscribes what is wanted, gives up what is not, notices when it is lost, silent or stuck, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use rtgw_model::ChannelName;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::queue::{Item, Queue};
use super::scripts::{Scripts, position_ttl};
use super::{Question, Redis};
use crate::redis_link::{Backoff, Connection, Kind, Quiet, Session, Trouble, dial};

/// Channels of one SUBSCRIBE: Redis does nothing else meanwhile.
const CHUNK: usize = 512;
/// How often it is looked for channels to give up.
const SWEEP: Duration = Duration::from_millis(250);
/// How often the connection is asked whether it lives, and how long it may take.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
const HEALTH: Duration = Duration::from_millis(1_500);
/// A connection that held so long was good: the next loss starts with the shortest delay.
const SETTLED: Duration = Duration::from_secs(5);
/// Between two comparisons of a channel with where it stands.
const CHECK: Duration = Duration::from_secs(10);
/// Channels of one comparison.
pub(super) const CHECKED: usize = 256;
/// Every so many comparisons the positions are kept for longer: those of a channel that is heard and silent must not end.
const RENEW: u64 = 60;
/// How soon something that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// What was asked and never heard is forgotten.
const FORGET: Duration = Duration::from_secs(30);

impl Redis {
    /// Keeps a subscribed connection.
    pub(super) async fn hear(&self) {
        let (mut backoff, mut log) = (Backoff::default(), Quiet::default());
        let mut first = true;
        loop {
            let since = Instant::now();
            let trouble = match self.listen(&mut first, &mut log).await {
                Ok(never) => match never {},
                Err(trouble) => trouble,
            };
            if since.elapsed() >= SETTLED {
                backoff.reset();
            }
            if log.speaks(trouble.reason()) {
                let redis = &self.address;
                tracing::warn!(%redis, error = %trouble, reason = trouble.reason(), "the broker hears nothing: {}", trouble.advice());
            }
            sleep(backoff.delay()).await;
        }
    }

    /// One connection from its beginning to its end.
    async fn listen(&self, first: &mut bool, log: &mut Quiet) -> Result<std::convert::Infallible, Trouble> {
        // What this pod knows is compared before it hears anything that would hide a loss.
        let mut commands = self.link.ready(Duration::from_secs(3600)).await?;
        self.scripts.greet(&mut commands, &self.knowledge, false).await?;
        self.signals.begun.store(false, Ordering::Release);
        let session = self.queue.open_session();
        let received = Arc::new(AtomicU64::new(0));
        let address = &self.address;
        let connection = {
            let (queue, scripts, received) =
                (Arc::clone(&self.queue), Arc::clone(&self.scripts), Arc::clone(&received));
            dial(address, move |push| {
                received.fetch_add(1, Ordering::Relaxed);
                receive(&queue, &scripts, session, push);
            })
            .await?
        };
        let mut heard = connection.commands();
        heard.subscribe(&[&self.scripts.pod_topic, &self.scripts.all_topic][..]).await?;
        self.interests.lock().begin();
        self.signals.begun.store(true, Ordering::Release);
        let resumed = !std::mem::take(first);
        self.signals.wish.notify_one();
        log.end();
        tracing::info!(redis = %address, resumed, "the broker is connected");
        let mut asked = Instant::now();
        loop {
            self.follow(&mut heard).await?;
            tokio::select! {
                () = connection.closed() => return Err(Trouble::Closed),
                () = self.signals.renew.notified() => return Err(Trouble::Silent),
                () = self.signals.wish.notified() => {}
                () = sleep(SWEEP) => {}
            }
            if asked.elapsed() >= HEALTH_INTERVAL {
                asked = Instant::now();
                self.check_health(&connection, &received).await?;
            }
        }
    }

    /// Subscribes and gives up what there is.
    async fn follow(&self, heard: &mut MultiplexedConnection) -> Result<(), Trouble> {
        loop {
            let channels = self.interests.lock().take_pending(CHUNK);
            if channels.is_empty() {
                break;
            }
            heard.subscribe(&self.topics(&channels)).await?;
            let kept = self.interests.lock().kept(channels);
            for channels in kept.chunks(CHECKED) {
                if self.ask(channels.to_vec(), false, None).await.is_err() {
                    self.signals.check.notify_one();
                }
            }
        }
        loop {
            let channels = self.interests.lock().take_left(CHUNK, Instant::now());
            if channels.is_empty() {
                return Ok(());
            }
            heard.unsubscribe(&self.topics(&channels)).await?;
        }
    }

    fn topics(&self, channels: &[ChannelName]) -> Vec<String> {
        channels.iter().map(|channel| self.scripts.names.of(Kind::Topic, channel.as_str())).collect()
    }

    /// A frozen Redis keeps its sockets open, so it is asked for a sign of life; messages that still come are one too.
    async fn check_health(&self, connection: &Connection, received: &AtomicU64) -> Result<(), Trouble> {
        let (before, mut commands) = (received.load(Ordering::Relaxed), connection.commands());
        let ping = redis::cmd("PING");
        let answer = timeout(HEALTH, ping.query_async::<Value>(&mut commands)).await;
        match answer.map_or(Err(Trouble::Silent), |answer| answer.map_err(Trouble::from)) {
            Ok(_) => Ok(()),
            // An error of the server (LOADING, BUSY) is an answer.
            Err(trouble) if trouble.is_answer() && !trouble.is_final() => Ok(()),
            Err(trouble) if trouble.reason() == "timeout" && received.load(Ordering::Relaxed) != before => {
                tracing::debug!(error = %trouble, "no answer, but messages");
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Asks where `channels` stand; the answer comes among what is heard. Gives how many heard it, which is 1 where this pod does.
    pub(super) async fn ask(
        &self,
        channels: Vec<ChannelName>,
        renew: bool,
        heard: Option<oneshot::Sender<()>>,
    ) -> Result<u64, Trouble> {
        let mut connection = self.link.now()?;
        let ttl = |channel: &ChannelName| (self.retention)(channel).map_or(1, |policy| position_ttl(&policy));
        let asked: Vec<(ChannelName, u64)> =
            channels.iter().map(|channel| (channel.clone(), ttl(channel))).collect();
        let nonce = fastrand::u64(1..);
        let now = Instant::now();
        {
            let mut questions = self.questions.lock();
            questions.retain(|_, question| now.duration_since(question.asked) < FORGET);
            questions.insert(nonce, Question { channels, asked: now, heard });
        }
        let answer = self.scripts.stand(&mut connection, nonce, &asked, renew, &self.knowledge).await;
        if answer.is_err() {
            self.questions.lock().remove(&nonce);
        }
        answer.inspect_err(|trouble| {
            if trouble.is_final() {
                self.link.renew();
            }
        })
    }

    /// Compares every channel that keeps history with where it stands: what did not arrive is found within a bounded time.
    pub(super) async fn keep_checking(&self) {
        for round in 1u64.. {
            let period = CHECK.mul_f64(0.8 + fastrand::f64() * 0.4);
            let hurry = tokio::select! {
                () = sleep(period) => false,
                () = self.signals.check.notified() => true,
            };
            let all = self.interests.lock().all();
            // At an even pace, so that Redis has other things to do in between.
            let pause = if hurry { Duration::ZERO } else { CHECK / 2 / (all.len() / CHECKED + 1) as u32 };
            for part in all.chunks(CHECKED) {
                let keeps = |channel: &ChannelName| (channel.clone(), (self.retention)(channel).is_some());
                let kept = self.interests.lock().keep(part.iter().map(keeps).collect());
                if kept.is_empty() {
                    continue;
                }
                if self.ask(kept, round % RENEW == 0, None).await.is_err() {
                    sleep(AGAIN).await;
                    self.signals.check.notify_one();
                    break;
                }
                sleep(pause).await;
            }
        }
    }

    /// Redis gives out again, in `epoch`, what it has given out before.
    pub(super) fn doubt(&self, epoch: u64) {
        *self.signals.doubted.lock() = Some(epoch);
        self.signals.doubt.notify_one();
    }

    fn doubted(&self) -> bool {
        let doubted = *self.signals.doubted.lock();
        let current = self.knowledge.shard().map(|shard| shard.epoch);
        doubted.is_some() && doubted == current
    }

    /// Has a new epoch begin where there is doubt.
    pub(super) async fn keep_doubting(&self) {
        loop {
            self.signals.doubt.notified().await;
            // Whoever doubted an epoch that has ended has been heard already.
            while self.doubted() {
                let greeted = match self.link.ready(Duration::from_secs(3600)).await {
                    Ok(mut connection) => self.scripts.greet(&mut connection, &self.knowledge, true).await,
                    Err(trouble) => Err(trouble),
                };
                match greeted {
                    Ok(_) => {
                        tracing::warn!("Redis has forgotten publications: a new epoch begins");
                        break;
                    }
                    Err(_) => sleep(AGAIN).await,
                }
            }
            self.signals.check.notify_one();
        }
    }
}

/// Queues what Redis sends; called by the connection's reader, which must not wait.
fn receive(queue: &Queue, scripts: &Scripts, session: Session, push: PushInfo) {
    let mut data = push.data.into_iter();
    let mut next = || match data.next() {
        Some(Value::BulkString(bytes)) => Some(bytes),
        Some(Value::SimpleString(text)) => Some(text.into_bytes()),
        _ => None,
    };
    let Some(topic) = next() else { return };
    let item = match push.kind {
        PushKind::Message => next().map(|message| Item::Message(Bytes::from(message))),
        PushKind::Subscribe => {
            let name = std::str::from_utf8(&topic).ok();
            let channel = name.and_then(|name| scripts.names.tag(Kind::Topic, name));
            channel.and_then(|channel| ChannelName::parse(channel).ok()).map(Item::Subscribed)
        }
        _ => None,
    };
    if let Some(item) = item {
        queue.push(session, item);
    }
}
