//! The pods of one gateway as one: orders and revocations reach all of them, and what each holds is gathered.
//!
//! Pods speak through Redis Pub/Sub: one channel that all of them hear, and one of each pod's own for what only it is to know. What is
//! said there is [sealed](seal) under the gateway's secrets; whatever else is, is counted and ignored. Without a Redis, without secrets,
//! or while Redis cannot be reached, a pod speaks for itself, and its answers say so.

mod clock;
mod hearing;
mod lists;
mod message;
mod order;
mod revoked;
mod seal;
mod speaking;
mod ways;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use clock::Clock;
pub use lists::{Channels, Connection, Connections, merged};
use message::Message;
pub use order::{Answer, Order, Whom};
use parking_lot::Mutex;
use rtgw_config::Checked;
use rtgw_model::Timestamp;
pub use seal::Ignored;
use seal::{Keys, Window};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
pub use ways::Way;

use crate::control::Control;
use crate::limits::{Census, GivingWay};
use crate::redis_link::{Kind, Names, Trouble};
use crate::refusal::Refusal;
use crate::revocations::{Revocations, Revoked};

/// How long this pod's shards may take: they answer within a turn or two.
const OWN: Duration = Duration::from_secs(20);
/// How long the other pods are waited for.
const OTHERS: Duration = Duration::from_secs(2);
/// Messages that wait to be sent, and orders that wait to be carried out.
const WAITING: usize = 4096;
const ORDERS: usize = 256;

/// What came of an order.
#[derive(Debug)]
pub struct Gathered {
    /// Of each pod that answered, this one's first.
    pub answers: Vec<Answer>,
    /// How many pods were asked and how many answered, this one included; absent where only this one was.
    pub pods: Option<(usize, usize)>,
}

/// The way to the connections of all pods, or of this one alone; cheap to clone.
#[derive(Clone)]
pub struct Pods {
    control: Control,
    others: Option<Arc<Others>>,
}

/// The way to the other pods.
pub struct Others {
    pod: String,
    /// Never none; the first one's time counts.
    ways: watch::Sender<Vec<Way>>,
    keys: ArcSwapOption<Keys>,
    /// Names in Redis: the channel of all pods, the beginning of that of each, who is there, and what is revoked.
    names: Names,
    clock: Clock,
    number: AtomicU64,
    out: mpsc::Sender<Said>,
    questions: Mutex<HashMap<u64, mpsc::Sender<(String, Answer)>>>,
    window: Mutex<Window>,
    census: std::sync::OnceLock<Census>,
    revocations: Arc<Revocations>,
    /// The list of revocations has to be compared with Redis's.
    compare: watch::Sender<()>,
    /// Where the list has been read.
    read: Mutex<HashSet<String>>,
    counts: Counts,
}

/// A message on its way.
struct Said {
    channel: String,
    message: Message,
}

/// What has to be run for [`Others`]; see [`Others::keep`].
pub struct Ears {
    said: mpsc::Receiver<Said>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    ignored: [AtomicU64; Ignored::ALL.len()],
    unsent: AtomicU64,
}

impl Pods {
    /// This pod alone, or with `others`.
    pub fn new(control: Control, others: Option<Arc<Others>>) -> Self {
        Self { control, others }
    }

    /// Has `order` carried out by this pod, and by all where `wide` says so and they can be reached.
    ///
    /// # Errors
    /// As this pod refuses it, then no other is asked; 504 where this pod's shards do not answer.
    pub async fn order(&self, order: Order, wide: bool) -> Result<Gathered, Refusal> {
        let own = self.own(&order).await?;
        Ok(match self.others.as_ref().filter(|_| wide) {
            Some(others) => others.gather(own, order).await,
            None => Gathered { answers: vec![own], pods: None },
        })
    }

    async fn own(&self, order: &Order) -> Result<Answer, Refusal> {
        let late = |_| {
            let message = "not every I/O shard has answered: what was ordered may or may not have happened";
            Refusal::new(504, "timeout", message)
        };
        timeout(OWN, order::carry_out(&self.control, order.clone())).await.map_err(late)?
    }

    /// Revokes in all pods, and keeps it in Redis for those that begin later; whether it is kept there, which without a Redis it never is
    /// and need not be.
    ///
    /// # Errors
    /// As [`Pods::order`].
    pub async fn revoke(&self, revoked: Revoked, until: Timestamp) -> Result<(Gathered, bool), Refusal> {
        let order = Order::Revoke { revoked: revoked.clone(), until: until.0 };
        // Here first: whom this pod cannot keep out it does not promise to others.
        let own = self.own(&order).await?;
        let Some(others) = &self.others else {
            return Ok((Gathered { answers: vec![own], pods: None }, true));
        };
        let kept = others.keep_revoked(&revoked, until).await;
        Ok((others.gather(own, order).await, kept))
    }
}

impl Others {
    /// The other pods of the gateway of `config`, of which this one is called `pod`. Somebody has to run [`Others::keep`] with the ears.
    pub fn new(
        config: &Checked,
        pod: &str,
        ways: Vec<Way>,
        revocations: Arc<Revocations>,
    ) -> (Arc<Self>, Ears) {
        let (out, said) = mpsc::channel(WAITING);
        let keys = Keys::of(config).map(Arc::new);
        if keys.is_none() {
            tracing::warn!(
                "orders stay in the pod that gets them: there is no secret in the manifest that pods could know each other by; give the \
                 gateway an API key, or its Redis a password"
            );
        }
        let others = Self {
            pod: pod.to_owned(),
            ways: watch::Sender::new(ways),
            keys: ArcSwapOption::new(keys),
            names: Names::new(&config.namespace, &config.name),
            clock: Clock::default(),
            number: AtomicU64::new(0),
            out,
            questions: Mutex::default(),
            window: Mutex::new(Window::new()),
            census: std::sync::OnceLock::new(),
            revocations,
            compare: watch::Sender::new(()),
            read: Mutex::default(),
            counts: Counts::default(),
        };
        (Arc::new(others), Ears { said })
    }

    /// Who counts connections, told of those that give way and of what may have been missed; once.
    pub fn bind(&self, census: Census) {
        if self.census.set(census).is_err() {
            tracing::error!("the counts were bound twice; the first binding stays");
        }
    }

    /// Whether the other pods can be spoken to, if Redis is reached.
    pub fn can_speak(&self) -> bool {
        self.keys.load().is_some()
    }

    /// Goes on with the secrets of `config`.
    pub fn reload(&self, config: &Checked) {
        let keys = Keys::of(config);
        let keys = match (keys, self.keys.load_full()) {
            (Some(keys), Some(before)) => Some(keys.after(&before)),
            (keys, _) => keys,
        };
        self.keys.store(keys.map(Arc::new));
    }

    /// Tells another pod that a connection of its gives way. Never waits.
    pub fn tell(&self, giving_way: &GivingWay) {
        let subject = giving_way.subject.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let message = Message::GiveWay { subject, stamp: giving_way.stamp };
        self.say(&giving_way.pod, message);
    }

    /// Messages that were obeyed.
    pub fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Messages that were ignored, by their reasons.
    pub fn ignored(&self) -> [(&'static str, u64); Ignored::ALL.len()] {
        Ignored::ALL.map(|why| (why.as_str(), self.counts.ignored[why as usize].load(Ordering::Relaxed)))
    }

    /// Messages that could not be sent.
    pub fn unsent(&self) -> u64 {
        self.counts.unsent.load(Ordering::Relaxed)
    }

    fn say(&self, pod: &str, message: Message) {
        let channel = self.names.of(Kind::Control, pod);
        if self.out.try_send(Said { channel, message }).is_err() {
            self.counts.unsent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What this pod has answered, and the others.
    async fn gather(&self, own: Answer, order: Order) -> Gathered {
        let mut answers = vec![own];
        let pods = match self.ask(order).await {
            Ok((asked, theirs)) => {
                answers.extend(theirs);
                Some((asked + 1, answers.len()))
            }
            Err(trouble) => {
                tracing::debug!(error = %trouble, "an order reaches this pod only");
                None
            }
        };
        Gathered { answers, pods }
    }

    /// Has the other pods carry out `order`; how many there are, and what those say who answer in time.
    async fn ask(&self, order: Order) -> Result<(usize, Vec<Answer>), Trouble> {
        let id = fastrand::u64(..);
        let (send, mut receive) = mpsc::channel(ORDERS);
        self.questions.lock().insert(id, send);
        let _forgotten = Question { others: self, id };
        let mut awaited = self.tell_all(Message::Order { id, order }).await?;
        let (asked, mut answers) = (awaited.len(), Vec::new());
        let deadline = Instant::now() + OTHERS;
        while !awaited.is_empty()
            && let Ok(Some((pod, answer))) = timeout_at(deadline, receive.recv()).await
        {
            // A pod that has just begun may answer without being on the list; then it was asked, too.
            awaited.remove(&pod);
            match answer {
                Answer::Refused(why) => tracing::warn!(pod, why, "a pod refuses an order"),
                answer => answers.push(answer),
            }
        }
        Ok((asked.max(answers.len()), answers))
    }
}

/// A question that is asked; forgotten when dropped.
struct Question<'a> {
    others: &'a Others,
    id: u64,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.others.questions.lock().remove(&self.id);
    }
}
