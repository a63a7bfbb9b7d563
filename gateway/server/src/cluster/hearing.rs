//! What this pod hears from others: opened, judged, obeyed or ignored and counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::message::Message;
use super::order::{self, Answer, Order};
use super::seal::{Ignored, MOST_BYTES};
use super::speaking::ALL;
use super::{Ears, ORDERS, Others, Way};
use crate::control::Control;
use crate::limits::Subject;
use crate::redis_link::{Backoff, Connection, Kind, Quiet, Trouble, dial};

/// Messages that wait to be judged.
const HEARD: usize = 1024;
/// How often the connection is asked whether it lives.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// How long an order of another pod may take; whoever gave it has gone on before.
const ORDER: Duration = Duration::from_secs(10);

/// An order of another pod.
pub(super) struct Ordered {
    from: String,
    id: u64,
    order: Order,
}

impl Others {
    /// Hears, speaks and compares lists until dropped; never gives up. Once.
    pub async fn keep(self: Arc<Self>, mut ears: Ears, control: Control) {
        let (send, mut orders) = mpsc::channel(ORDERS);
        let obey = async {
            while let Some(Ordered { from, id, order }) = orders.recv().await {
                let done = timeout(ORDER, order::carry_out(&control, order)).await;
                let answer = match done {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(refusal)) => Answer::Refused(refusal.message.into_owned()),
                    Err(_) => Answer::Refused("not every I/O shard has answered".into()),
                };
                self.say(&from, Message::Answer { id, answer });
            }
        };
        tokio::join!(self.keep_ways(&send, &control), obey, self.speak(&mut ears.said));
    }

    pub(super) async fn hear(&self, way: &Way, orders: &mpsc::Sender<Ordered>) {
        let (mut backoff, mut log) = (Backoff::default(), Quiet::default());
        let mut first = true;
        loop {
            let (send, mut heard) = mpsc::channel(HEARD);
            let trouble = match self.open(way, send).await {
                Err(trouble) => trouble,
                Ok(connection) => {
                    log.end();
                    backoff.reset();
                    // What was said meanwhile is looked up where it is kept.
                    self.compare.send_replace(());
                    if !first && let Some(census) = self.census.get() {
                        census.doubt();
                    }
                    first = false;
                    self.listen(&connection, &mut heard, orders).await
                }
            };
            if log.speaks(trouble.reason()) {
                let redis = &way.address;
                tracing::warn!(%redis, error = %trouble, reason = trouble.reason(),
                    "other pods are not heard: {}", trouble.advice());
            }
            sleep(backoff.delay()).await;
        }
    }

    async fn open(
        &self,
        way: &Way,
        heard: mpsc::Sender<Result<Vec<u8>, Ignored>>,
    ) -> Result<Connection, Trouble> {
        let connection = dial(&way.address, move |push| {
            if let Some(message) = payload(push) {
                // Who asked is told by the silence; what has to be known by all is kept in Redis, too.
                let _lost = heard.try_send(message);
            }
        })
        .await?;
        let names = [self.names.of(Kind::Control, ALL), self.names.of(Kind::Control, &self.pod)];
        connection.commands().subscribe(&names[..]).await?;
        Ok(connection)
    }

    /// Obeys until the connection ends. A frozen Redis keeps its sockets open, so it is asked for a sign of life.
    async fn listen(
        &self,
        connection: &Connection,
        heard: &mut mpsc::Receiver<Result<Vec<u8>, Ignored>>,
        orders: &mpsc::Sender<Ordered>,
    ) -> Trouble {
        let mut commands = connection.commands();
        loop {
            tokio::select! {
                () = connection.closed() => return Trouble::Closed,
                Some(message) = heard.recv() => {
                    let judged = message.and_then(|sealed| self.take(&sealed, orders));
                    // What is said in two Redis is heard twice.
                    let twice = matches!(judged, Err(Ignored::Replayed)) && self.ways.borrow().len() > 1;
                    if let Err(why) = judged
                        && !twice
                    {
                        self.counts.ignored[why as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
                () = sleep(HEALTH_INTERVAL) => {
                    let answer = redis::cmd("PING").query_async::<Value>(&mut commands).await;
                    if let Err(error) = answer {
                        return error.into();
                    }
                }
            }
        }
    }

    fn take(&self, sealed: &[u8], orders: &mpsc::Sender<Ordered>) -> Result<(), Ignored> {
        let keys = self.keys.load_full().ok_or(Ignored::Forged)?;
        let body = keys.open(sealed)?;
        if body.from == self.pod {
            return Ok(());
        }
        let now = self.clock.now().ok_or(Ignored::Stale)?;
        self.window.lock().take(&body, now)?;
        match body.message {
            Message::Order { id, order } => {
                let ordered = Ordered { from: body.from, id, order };
                orders.try_send(ordered).map_err(|_| Ignored::Overflow)?;
            }
            Message::Answer { id, answer } => {
                // Whoever asked may have gone on.
                let asker = self.questions.lock().get(&id).cloned();
                if let Some(asker) = asker {
                    asker.try_send((body.from, answer)).map_err(|_| Ignored::Overflow)?;
                }
            }
            Message::GiveWay { subject, stamp } => {
                let subject = unhex(&subject).and_then(|bytes| Subject::from_bytes(&bytes));
                let subject = subject.ok_or(Ignored::Malformed)?;
                if let Some(census) = self.census.get() {
                    census.give_way(subject, stamp);
                }
            }
        }
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The message of a push; nothing of one that is too large is kept.
fn payload(push: PushInfo) -> Option<Result<Vec<u8>, Ignored>> {
    if push.kind != PushKind::Message {
        return None;
    }
    match push.data.into_iter().nth(1)? {
        Value::BulkString(bytes) if bytes.len() > MOST_BYTES => Some(Err(Ignored::TooLarge)),
        Value::BulkString(bytes) => Some(Ok(bytes)),
        _ => Some(Err(Ignored::Malformed)),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * Subject::BYTES || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
