//! What it takes to leave this Redis for another, or to come from one: [`super::super::Switching`] decides when.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rtgw_model::ChannelName;
use rtgw_protocol::pods;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::super::{Appended, Generation, IdempotencyKey, PublishError};
use super::hearing::CHECKED;
use super::scripts::SWITCH;
use super::{PROBE, Redis};
use crate::redis_link::{Address, Kind, Trouble};

/// How soon it is looked again whether everything is subscribed.
const AGAIN: Duration = Duration::from_millis(20);
/// How long a pod that has come is known to be there.
const ARRIVED: Duration = Duration::from_secs(15);

/// What a Redis says of its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Seen {
    /// They have left for another: nothing is published here any more.
    pub(in super::super) left: bool,
    /// Some have come from another.
    pub(in super::super) arrived: bool,
}

/// The Redis for which the pods have left, where that is the trouble.
pub(super) fn left(trouble: &Trouble) -> Option<String> {
    match trouble {
        Trouble::Redis(error) if error.code() == Some("LEFT") => {
            Some(error.detail().unwrap_or("another").to_owned())
        }
        _ => None,
    }
}

impl Redis {
    /// What this Redis says.
    pub(in super::super) async fn look(&self) -> Result<Seen, Trouble> {
        self.switch("look", "").await
    }

    /// Has nothing be published here any more, by whichever pod: they go on at `place`.
    pub(in super::super) async fn leave(&self, place: &Address) -> Result<Seen, Trouble> {
        self.switch("leave", &place.to_string()).await
    }

    /// Has publications be taken here, also where pods have left once.
    pub(in super::super) async fn open(&self) -> Result<Seen, Trouble> {
        self.switch("open", "").await
    }

    /// Says that this pod has come from another Redis; to be said again while others may not know.
    pub(in super::super) async fn arrive(&self) -> Result<Seen, Trouble> {
        self.switch("arrive", &ARRIVED.as_millis().to_string()).await
    }

    async fn switch(&self, what: &str, with: &str) -> Result<Seen, Trouble> {
        let call = self.scripts.switch(what, with);
        let (left, arrived): (String, u8) = self.link.invoke(&SWITCH, &call).await?;
        Ok(Seen { left: !left.is_empty(), arrived: arrived == 1 })
    }

    /// Resolves when all pods were told something.
    pub(in super::super) async fn noticed(&self) {
        self.signals.notice.notified().await;
    }

    /// Whether this Redis is connected.
    pub(in super::super) fn is_up(&self) -> bool {
        self.link.up()
    }

    /// Resolves once everything that was published before the call has been handed on, or told as missed.
    pub(in super::super) async fn settle(&self) -> Result<(), Trouble> {
        while !self.carries_all() {
            sleep(AGAIN).await;
        }
        let all = self.interests.lock().all();
        let keeps = |channel: &ChannelName| (channel.clone(), (self.retention)(channel).is_some());
        let kept = self.interests.lock().keep(all.iter().map(keeps).collect());
        let mut parts: Vec<Vec<ChannelName>> = kept.chunks(CHECKED).map(<[ChannelName]>::to_vec).collect();
        // At the end once without any: what keeps nothing has been heard so far, too.
        parts.push(Vec::new());
        for part in parts {
            let (heard, waiting) = oneshot::channel();
            if self.ask(part, false, Some(heard)).await? == 0 {
                return Err(Trouble::Down);
            }
            timeout(PROBE, waiting).await.map_err(|_| Trouble::Silent)?.map_err(|_| Trouble::Down)?;
        }
        // Subscriptions that were lost meanwhile have missed something, which is told when they are back.
        if self.carries_all() { Ok(()) } else { Err(Trouble::Down) }
    }

    fn carries_all(&self) -> bool {
        self.signals.begun.load(Ordering::Acquire) && self.interests.lock().keeps_promises()
    }

    /// What was published here under this key.
    pub(in super::super) async fn remembered(
        &self,
        key: IdempotencyKey,
    ) -> Result<Option<Appended>, PublishError> {
        let IdempotencyKey(key) = key;
        let mut get = redis::cmd("GET");
        get.arg(self.scripts.names.of(Kind::Once, &format!("{key:032x}")));
        let found = self.link.query::<Option<Vec<u8>>>(&get).await;
        let found = found.map_err(|trouble| self.unavailable(&trouble))?;
        let Some(found) = found else { return Ok(None) };
        let Ok(stamp) = pods::stamp(&found) else {
            self.counts.malformed.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        };
        // Positions in a history that ends are of no use to anybody.
        Ok(Some(Appended { id: stamp.id, positions: rtgw_model::Positions::new(), repeated: true }))
    }

    /// The channels that are wanted.
    pub(in super::super) fn wanted(&self) -> Vec<(ChannelName, Generation)> {
        self.interests.lock().wanted()
    }

    /// Of these, those that nobody was told to be carried.
    pub(in super::super) fn unanswered(&self) -> Vec<ChannelName> {
        self.interests.lock().unanswered()
    }
}
