//! Who reads a source: a lease in Redis that runs out unless it is kept. What is published under it is fenced by it: Redis takes nothing
//! from a reader whose lease another has, or nobody.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rtgw_model::GapReason;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::redis_link::{Backoff, Call, Fence, Kind, Link, Names, Script, Trouble};
use crate::sources::announcement;
use crate::sources::status::SourceStatus;

static TAKE: Script = Script::new(include_str!("take.lua"));
static KEEP: Script = Script::new(include_str!("keep.lua"));
static RELEASE: Script = Script::new(include_str!("release.lua"));
static ANNOUNCE: Script = Script::new(include_str!("announce.lua"));

/// How long a pod that says nothing more keeps the lease: another reads the source no later than that and a moment.
const TERM: Duration = Duration::from_millis(2500);
/// Our clock against that of Redis: for so long at the end of a term nobody reads rather than two.
const MARGIN: Duration = Duration::from_millis(250);
/// How often the lease is kept.
const KEEP_EVERY: Duration = Duration::from_millis(600);

/// The keys of a source's lease.
#[derive(Clone, Debug)]
pub struct LeaseKeys {
    lease: String,
    term: String,
    announcements: String,
}

impl LeaseKeys {
    /// Those of the source called `source`.
    pub fn new(names: &Names, source: &str) -> Self {
        Self {
            lease: names.of(Kind::SourceLease, source),
            term: names.of(Kind::SourceTerm, source),
            announcements: names.of(Kind::SourceTakeover, source),
        }
    }
}

/// The lease as one process sees it; clones share it.
#[derive(Clone)]
pub struct Lease {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    keys: LeaseKeys,
    held: Mutex<Option<Held>>,
    /// It was found out to be lost.
    lost: Notify,
    status: Arc<SourceStatus>,
}

struct Held {
    /// This turn, unlike every other of any process.
    token: String,
    /// Until when nobody else reads the source.
    until: Instant,
}

/// What asking for the lease brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It is ours, in the term of this number.
    Ours(u64),
    /// Another has it; and has told of a gap since the last time.
    Theirs(Option<GapReason>),
}

impl Lease {
    pub(super) fn new(link: Link, keys: LeaseKeys, status: Arc<SourceStatus>) -> Self {
        let (held, lost) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { link, keys, held, lost, status }) }
    }

    /// Whether nobody else reads the source at the moment. A process that was stopped for a while finds out here that it no longer does.
    pub fn holds(&self) -> bool {
        self.fence().is_some()
    }

    /// The right to publish what was read; `None` once it is lost. Of an earlier turn it is worth nothing in a later one.
    pub(in crate::sources) fn fence(&self) -> Option<Fence> {
        let held = self.shared.held.lock();
        let held = held.as_ref().filter(|held| Instant::now() < held.until)?;
        Some(Fence { key: self.shared.keys.lease.clone(), token: held.token.clone() })
    }

    /// It is lost, says Redis.
    pub(in crate::sources) fn lose(&self) {
        *self.shared.held.lock() = None;
        self.shared.lost.notify_one();
    }

    /// Tells the other pods of a gap. Given up with the lease: who has it next tells one of its own.
    pub async fn announce(&self, reason: GapReason) {
        let Shared { link, keys, status, .. } = &*self.shared;
        let announced = announcement(reason);
        let Some(fence) = self.fence() else { return };
        let mut call = Call::default();
        call.key(&fence.key).key(&keys.announcements).arg(&fence.token).arg(&announced);
        let mut backoff = Backoff::default();
        while self.holds() {
            if link.invoke::<i64>(&ANNOUNCE, &call).await.is_ok() {
                // This pod has told it.
                let _known = status.heard(&keys.announcements, &announced);
                return;
            }
            sleep(backoff.delay()).await;
        }
    }

    /// Waits a moment for the first connection; without one, asking fails.
    pub(super) async fn ready(&self) {
        let _connected = self.shared.link.ready(TERM).await;
    }

    /// Takes it where nobody has it.
    pub(super) async fn take(&self) -> Result<Asked, Trouble> {
        let Shared { link, keys, status, held, .. } = &*self.shared;
        let token = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut call = Call::default();
        call.key(&keys.lease).key(&keys.term).key(&keys.announcements);
        call.arg(&token).arg(millis(TERM));
        let asked = Instant::now();
        let (term, announced): (u64, String) = link.invoke(&TAKE, &call).await?;
        let gap = status.heard(&keys.announcements, &announced);
        if term == 0 {
            return Ok(Asked::Theirs(gap));
        }
        *held.lock() = Some(Held { token, until: asked + TERM - MARGIN });
        Ok(Asked::Ours(term))
    }

    /// Keeps it; returns when it is lost.
    pub(super) async fn keep(&self) {
        let Shared { link, held, lost, .. } = &*self.shared;
        let mut pause = KEEP_EVERY;
        while let Some(fence) = self.fence() {
            if timeout(pause, lost.notified()).await.is_ok() {
                // Of this turn, or a word that is left of an earlier one.
                continue;
            }
            let mut call = Call::default();
            call.key(&fence.key).arg(&fence.token).arg(millis(TERM));
            let asked = Instant::now();
            pause = match link.invoke::<i64>(&KEEP, &call).await {
                Ok(1) => {
                    if let Some(held) = held.lock().as_mut() {
                        held.until = asked + TERM - MARGIN;
                    }
                    KEEP_EVERY
                }
                Ok(_) => {
                    *held.lock() = None;
                    break;
                }
                // Soon again, as long as it may still be ours.
                Err(_) => KEEP_EVERY / 6,
            };
        }
    }

    /// Gives it up, so that another takes it at once.
    pub(super) async fn release(&self) {
        let Shared { link, keys, held, .. } = &*self.shared;
        let Some(Held { token, .. }) = held.lock().take() else { return };
        let mut call = Call::default();
        call.key(&keys.lease).arg(token);
        // Where that fails it runs out.
        if let Err(error) = link.invoke::<i64>(&RELEASE, &call).await {
            tracing::debug!(%error, "the lease of a source was not given up");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
