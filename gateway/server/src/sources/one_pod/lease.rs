//! Who reads a source: a lease in Redis that runs out unless it is kept. What is published under it is fenced by it: Redis takes nothing
//! from a reader whose lease another has, or nobody.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rtgw_model::GapReason;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::redis_link::{Address, Backoff, Call, Fence, Kind, Link, Names, Script, Task, Trouble};
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
    /// Where it is held, in the order in which all pods ask.
    places: Mutex<Vec<Place>>,
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

/// One Redis.
#[derive(Clone)]
struct Place {
    address: Address,
    /// Without it nobody reads.
    needed: bool,
    link: Link,
    /// It is held here in this turn.
    held: bool,
    _keeping: Arc<Task>,
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
    pub(super) fn new(places: &[(Address, bool)], keys: LeaseKeys, status: Arc<SourceStatus>) -> Self {
        let (held, lost) = (Mutex::default(), Notify::new());
        let lease = Self { shared: Arc::new(Shared { places: Mutex::default(), keys, held, lost, status }) };
        lease.go(places);
        lease
    }

    /// To be held in these from now on, where that is needed. Where it is held, it is taken in those that are new when it is kept.
    pub(super) fn go(&self, addresses: &[(Address, bool)]) {
        let mut places = self.shared.places.lock();
        let place = |(address, needed): &(Address, bool)| {
            let known = places.iter().find(|place| place.address.is_at(address)).cloned();
            let known = known.unwrap_or_else(|| {
                let link = Link::new("the lease of a source", address.clone());
                let kept = link.clone();
                let keeping = Arc::new(Task::run(async move { kept.keep().await }));
                Place { address: address.clone(), needed: true, link, held: false, _keeping: keeping }
            });
            Place { needed: *needed, ..known }
        };
        *places = addresses.iter().map(place).collect();
    }

    fn places(&self) -> Vec<Place> {
        self.shared.places.lock().clone()
    }

    fn note(&self, address: &Address, held: bool) {
        let mut places = self.shared.places.lock();
        let place = places.iter_mut().find(|place| place.address.is_at(address));
        place.into_iter().for_each(|place| place.held = held);
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
        let Shared { keys, status, .. } = &*self.shared;
        let announced = announcement(reason);
        let Some(fence) = self.fence() else { return };
        let mut call = Call::default();
        call.key(&fence.key).key(&keys.announcements).arg(&fence.token).arg(&announced);
        for place in self.places().into_iter().filter(|place| place.held) {
            let mut backoff = Backoff::default();
            while self.holds() {
                if place.link.invoke::<i64>(&ANNOUNCE, &call).await.is_ok() {
                    // This pod has told it.
                    let _known = status.heard(&self.announcements(&place), &announced);
                    break;
                }
                if !place.needed {
                    break;
                }
                sleep(backoff.delay()).await;
            }
        }
    }

    /// Names where pods announce gaps to each other.
    fn announcements(&self, place: &Place) -> String {
        format!("{} {}", place.address, self.shared.keys.announcements)
    }

    /// Waits a moment for the first connections; without one, asking fails.
    pub(super) async fn ready(&self) {
        for place in self.places().into_iter().filter(|place| place.needed) {
            let _connected = place.link.ready(TERM).await;
        }
    }

    /// Takes it where nobody has it: wherever it is needed, or nowhere.
    pub(super) async fn take(&self) -> Result<Asked, Trouble> {
        let token = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let (asked, mut term, mut gap) = (Instant::now(), 1, None);
        for place in self.places() {
            let taken = self.take_in(&place, &token).await;
            if let Ok((own, told)) = &taken {
                (gap, term) = (gap.or(*told), term.max(*own));
                self.note(&place.address, *own > 0);
            }
            if !place.needed || matches!(taken, Ok((1.., _))) {
                continue;
            }
            self.give_up(&token).await;
            return taken.map(|_| Asked::Theirs(gap));
        }
        *self.shared.held.lock() = Some(Held { token, until: asked + TERM - MARGIN });
        Ok(Asked::Ours(term))
    }

    /// The number of the term, 0 where another has it; and what was announced meanwhile.
    async fn take_in(&self, place: &Place, token: &str) -> Result<(u64, Option<GapReason>), Trouble> {
        let Shared { keys, status, .. } = &*self.shared;
        let mut call = Call::default();
        call.key(&keys.lease).key(&keys.term).key(&keys.announcements);
        call.arg(token).arg(millis(TERM));
        let (term, announced): (u64, String) = place.link.invoke(&TAKE, &call).await?;
        Ok((term, status.heard(&self.announcements(place), &announced)))
    }

    /// Keeps it; returns when it is lost.
    pub(super) async fn keep(&self) {
        let Shared { held, lost, .. } = &*self.shared;
        let mut pause = KEEP_EVERY;
        while let Some(fence) = self.fence() {
            if timeout(pause, lost.notified()).await.is_ok() {
                // Of this turn, or a word that is left of an earlier one.
                continue;
            }
            let asked = Instant::now();
            let mut kept = Ok(true);
            for place in self.places() {
                let here = self.keep_in(&place, &fence).await;
                if place.needed && matches!(kept, Ok(true)) {
                    kept = here;
                }
            }
            pause = match kept {
                Ok(true) => {
                    if let Some(held) = held.lock().as_mut() {
                        held.until = asked + TERM - MARGIN;
                    }
                    KEEP_EVERY
                }
                Ok(false) => {
                    self.give_up(&fence.token).await;
                    *held.lock() = None;
                    break;
                }
                // Soon again, as long as it may still be ours.
                Err(_) => KEEP_EVERY / 6,
            };
        }
    }

    /// Where it is not held yet in this turn, it is taken: a place that is new, or was not reached.
    async fn keep_in(&self, place: &Place, fence: &Fence) -> Result<bool, Trouble> {
        let kept = if place.held {
            let mut call = Call::default();
            call.key(&fence.key).arg(&fence.token).arg(millis(TERM));
            place.link.invoke::<i64>(&KEEP, &call).await? == 1
        } else {
            self.take_in(place, &fence.token).await?.0 > 0
        };
        self.note(&place.address, kept);
        Ok(kept)
    }

    /// Gives it up, so that another takes it at once.
    pub(super) async fn release(&self) {
        let held = self.shared.held.lock().take();
        if let Some(Held { token, .. }) = held {
            self.give_up(&token).await;
        }
        self.shared.places.lock().iter_mut().for_each(|place| place.held = false);
    }

    async fn give_up(&self, token: &str) {
        let mut call = Call::default();
        call.key(&self.shared.keys.lease).arg(token);
        for place in self.places().into_iter().filter(|place| place.held) {
            self.note(&place.address, false);
            // Where that fails it runs out.
            if let Err(error) = place.link.invoke::<i64>(&RELEASE, &call).await {
                tracing::debug!(%error, "the lease of a source was not given up");
            }
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
