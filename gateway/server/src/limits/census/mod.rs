//! Connections counted across pods, in Redis: one round trip for each admission, shared by all that come meanwhile.
//!
//! Each pod has a hash of its own counts that lives as long as its lease is renewed, and a bound is asked of the sum over all hashes. So
//! nothing has to be cleaned up after a pod that crashed, and what a pod says of itself can be written anew at any time. While Redis
//! cannot be asked, or does not have this pod's counts, the pod's own counts decide, without waiting.

mod keeper;
mod ledger;
mod subject;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
pub use ledger::{Bound, GivingWay};
use ledger::{Ledger, Subjects, subjects};
use parking_lot::Mutex;
use rtgw_model::ConnectionId;
use smallvec::SmallVec;
pub use subject::Subject;
use tokio::sync::{Notify, oneshot};

use crate::redis_link::{Kind, Link, Names};

/// Longest that an admission waits for the counts of all pods.
const PATIENCE: Duration = Duration::from_millis(750);

/// What the counts of all pods ask of the rest of this one. Called on any thread: must not wait.
pub trait Reach: Send + Sync {
    /// Whether other pods can be told anything.
    fn reaches(&self) -> bool;
    /// Closes a connection of this pod, because a newer one took its place.
    fn close(&self, connection: ConnectionId);
    /// Tells another pod that a connection of its gives way.
    fn tell(&self, giving_way: GivingWay);
}

/// The counts.
#[derive(Clone)]
pub struct Census {
    shared: Arc<Shared>,
}

struct Shared {
    pod: String,
    link: ArcSwap<Link>,
    /// Names in Redis: the set of pods, this pod's counts, and where they are written before they take effect.
    pods: String,
    own: String,
    beside: String,
    reach: Box<dyn Reach>,
    ledger: Mutex<Ledger<oneshot::Sender<Verdict>>>,
    wake: Notify,
    by_all: AtomicU64,
    by_pod: AtomicU64,
}

/// Whether somebody may come in.
#[derive(Debug)]
pub enum Verdict {
    /// Yes, by the counts of all pods, or of this one.
    In(Claim),
    /// No, by the bound at this place.
    Refused(usize),
}

/// One counted connection; its drop gives its places back.
#[derive(Debug)]
pub struct Claim {
    census: Census,
    subjects: Subjects,
    stamp: u64,
    by_all: bool,
}

impl Census {
    /// The counts of the pods of one gateway, of which this one is called `pod`. Somebody has to run [`Census::keep`], and to keep `link`.
    pub fn new(pod: &str, link: Link, names: &Names, reach: Box<dyn Reach>) -> Self {
        let pods = names.of(Kind::Census, "limits");
        let own = format!("{pods}:{pod}");
        let beside = format!("{own}:new");
        let shared = Shared {
            pod: pod.to_owned(),
            link: ArcSwap::from_pointee(link),
            pods,
            own,
            beside,
            reach,
            ledger: Mutex::default(),
            wake: Notify::new(),
            by_all: AtomicU64::new(0),
            by_pod: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Counts a connection, unless one of `bounds` is reached. Where the counts of all pods are not to be had, it is counted whatever the
    /// bounds say: the caller has asked this pod's own counts before.
    pub async fn enter(&self, bounds: SmallVec<[Bound; 4]>) -> Verdict {
        let shared = &*self.shared;
        let answer = {
            let mut ledger = shared.ledger.lock();
            if !ledger.agrees() {
                return self.own(&mut ledger, &bounds);
            }
            let (send, answer) = oneshot::channel();
            ledger.ask(bounds.clone(), send);
            answer
        };
        shared.wake.notify_one();
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(verdict)) => verdict,
            // Whatever is answered later is given back by its drop.
            _ => self.own(&mut shared.ledger.lock(), &bounds),
        }
    }

    /// Whether other pods can be told that a connection of theirs gives way.
    pub fn reaches(&self) -> bool {
        self.shared.reach.reaches()
    }

    /// Lets somebody in by this pod's own counts.
    fn own(&self, ledger: &mut Ledger<oneshot::Sender<Verdict>>, bounds: &[Bound]) -> Verdict {
        self.shared.by_pod.fetch_add(1, Ordering::Relaxed);
        let subjects = subjects(bounds);
        let now = u64::try_from(UNIX_EPOCH.elapsed().unwrap_or_default().as_micros()).unwrap_or(0);
        let stamp = ledger.enter(&subjects, now);
        self.shared.wake.notify_one();
        Verdict::In(Claim { census: self.clone(), subjects, stamp, by_all: false })
    }

    /// A connection of this pod gives way to a newer one of its user in another pod.
    pub fn give_way(&self, subject: Subject, stamp: u64) {
        let connection = self.shared.ledger.lock().give_way(subject, stamp);
        if let Some(connection) = connection {
            self.shared.reach.close(connection);
        }
    }

    /// Writes this pod's counts anew, because something may have been missed.
    pub fn doubt(&self) {
        let mut ledger = self.shared.ledger.lock();
        let waiting = ledger.distrust();
        for (bounds, answer) in waiting {
            let verdict = self.own(&mut ledger, &bounds);
            answer_outside(answer, verdict);
        }
        drop(ledger);
        self.shared.wake.notify_one();
    }

    /// Counts in the Redis behind `link` from now on. Until the other pods do, their connections are not in the sum.
    pub fn go(&self, link: &Link) {
        if !self.shared.link.load().is(link) {
            self.shared.link.store(Arc::new(link.clone()));
            self.doubt();
        }
    }

    /// How many admissions the counts of all pods have decided, and how many those of this pod alone, because Redis could not be asked.
    pub fn decisions(&self) -> (u64, u64) {
        (self.shared.by_all.load(Ordering::Relaxed), self.shared.by_pod.load(Ordering::Relaxed))
    }
}

/// Answers while the ledger is locked: an answer that nobody takes must not be dropped here, because its drop locks the ledger.
fn answer_outside(answer: oneshot::Sender<Verdict>, verdict: Verdict) {
    if let Err(unwanted) = answer.send(verdict) {
        tokio::spawn(async move { drop(unwanted) });
    }
}

impl Claim {
    /// Says which connection it is; true where that has given way already and is to be closed.
    pub fn name(&self, connection: ConnectionId) -> bool {
        let user = self.subjects.iter().find(|subject| subject.is_ordered());
        user.is_some_and(|user| self.census.shared.ledger.lock().name(*user, self.stamp, connection))
    }

    /// Whether the counts of all pods let it in; else those of this pod have to keep the bounds.
    pub fn is_by_all(&self) -> bool {
        self.by_all
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let subjects = std::mem::take(&mut self.subjects);
        self.census.shared.ledger.lock().leave(subjects, self.stamp);
        self.census.shared.wake.notify_one();
    }
}

impl std::fmt::Debug for Census {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Census").field("pod", &self.shared.pod).finish_non_exhaustive()
    }
}
