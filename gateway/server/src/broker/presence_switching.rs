//! The presence of pods that can go from one Redis to another: said in both, read and heard in the one that is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rtgw_model::{Arrival, ChannelName, ConnectionKey, Members};

use super::Stage;
use super::presence::{Change, Lease, Presence, PresenceFuture, PresenceSink, Said};
use super::presence_redis::RedisPresence;
use crate::redis_link::{Address, Names, Task};

/// The presence.
pub struct SwitchingPresence {
    names: Names,
    sink: Arc<dyn PresenceSink>,
    legs: Mutex<Legs>,
}

#[derive(Clone)]
struct Legs {
    now: Leg,
    other: Option<Leg>,
}

/// One Redis.
#[derive(Clone)]
struct Leg {
    address: Address,
    presence: Arc<RedisPresence>,
    ear: Arc<Ear>,
    /// It was not told everything.
    behind: Arc<AtomicBool>,
    _work: Arc<Task>,
}

/// Passes on what is heard while it is open.
struct Ear {
    open: AtomicBool,
    sink: Arc<dyn PresenceSink>,
}

impl PresenceSink for Ear {
    fn arrival(&self, channel: ChannelName, arrival: Arrival) {
        if self.open.load(Ordering::Acquire) {
            self.sink.arrival(channel, arrival);
        }
    }

    fn unheard(&self) {
        if self.open.load(Ordering::Acquire) {
            self.sink.unheard();
        }
    }
}

impl SwitchingPresence {
    /// The presence of gateway `names` at this stage; `sink` is told who comes and goes on all pods. Begins to connect.
    pub fn new(stage: &Stage, names: Names, sink: Arc<dyn PresenceSink>) -> Arc<Self> {
        let leg = |address: &Address, open| Leg::new(address, &names, &sink, open);
        let legs = Legs {
            now: leg(&stage.written, true),
            other: stage.other.as_ref().map(|address| leg(address, false)),
        };
        Arc::new(Self { sink, names, legs: Mutex::new(legs) })
    }

    /// Goes on at another stage. What was said meanwhile in the one that is left is told as missed.
    pub fn go(&self, stage: &Stage) {
        let mut legs = self.legs.lock();
        let known = [Some(legs.now.clone()), legs.other.clone()];
        let leg = |address: &Address| {
            let known = known.iter().flatten().find(|leg| leg.address.is_at(address));
            known.cloned().unwrap_or_else(|| Leg::new(address, &self.names, &self.sink, false))
        };
        let moved = !legs.now.address.is_at(&stage.written);
        legs.now.ear.open.store(false, Ordering::Release);
        *legs = Legs { now: leg(&stage.written), other: stage.other.as_ref().map(leg) };
        legs.now.ear.open.store(true, Ordering::Release);
        drop(legs);
        if moved {
            self.sink.unheard();
        }
    }

    fn legs(&self) -> Legs {
        self.legs.lock().clone()
    }
}

impl Leg {
    fn new(address: &Address, names: &Names, sink: &Arc<dyn PresenceSink>, open: bool) -> Self {
        let ear = Arc::new(Ear { open: AtomicBool::new(open), sink: Arc::clone(sink) });
        let presence = RedisPresence::new(address.clone(), names.clone(), Arc::clone(&ear) as _);
        let running = Arc::clone(&presence);
        let work = Arc::new(Task::run(async move { running.run().await }));
        Self { address: address.clone(), presence, ear, behind: Arc::new(AtomicBool::new(true)), _work: work }
    }

    /// Says the same here as in the one that counts. What fails is said again as a whole, with the next renewal.
    async fn follow(&self, changes: &[Change]) {
        if self.presence.change(changes).await.is_err() {
            self.behind.store(true, Ordering::Release);
        }
    }

    /// Renews the lease; true where everything has to be said again.
    async fn renew(&self, anew: bool) -> bool {
        let anew = anew || self.behind.load(Ordering::Acquire);
        let lease = self.presence.renew(anew).await;
        self.behind.store(lease.is_err(), Ordering::Release);
        lease == Ok(Lease::Anew)
    }
}

impl Presence for SwitchingPresence {
    fn change<'a>(&'a self, changes: &'a [Change]) -> PresenceFuture<'a, Vec<Said>> {
        Box::pin(async move {
            let Legs { now, other } = self.legs();
            match other {
                None => now.presence.change(changes).await,
                Some(other) => tokio::join!(now.presence.change(changes), other.follow(changes)).0,
            }
        })
    }

    fn page<'a>(
        &'a self,
        channel: &'a ChannelName,
        after: Option<ConnectionKey>,
        limit: u32,
    ) -> PresenceFuture<'a, Members> {
        Box::pin(async move { self.legs().now.presence.page(channel, after, limit).await })
    }

    fn renew(&self, anew: bool) -> PresenceFuture<'_, Lease> {
        Box::pin(async move {
            let Legs { now, other } = self.legs();
            let Some(other) = other else { return now.presence.renew(anew).await };
            let (lease, again) = tokio::join!(now.presence.renew(anew), other.renew(anew));
            Ok(if again { lease.map(|_| Lease::Anew)? } else { lease? })
        })
    }

    fn resign(&self) -> PresenceFuture<'_, ()> {
        Box::pin(async move {
            let Legs { now, other } = self.legs();
            if let Some(other) = other {
                // Otherwise its lease ends.
                let _resigned = other.presence.resign().await;
            }
            now.presence.resign().await
        })
    }
}
