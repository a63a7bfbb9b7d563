//! Who hears the channels whose rules want it known: tells presence what this pod's connections hear, and answers who asks.
//!
//! Shards say what changes and never wait. One task makes of it what others may see (`info`), waits a moment before it believes that
//! somebody has left, and tells presence; while that cannot be reached it goes on to keep what is true, and says it when it can.

mod asking;
mod entries;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rtgw_hub::Present;
use rtgw_hub::access::Asker;
use rtgw_model::{ChannelName, ConnectionKey, Member};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use self::asking::Asked;
use self::entries::{Entries, Known};
use crate::broker::{LEASE, Lease, Presence, PresenceError, RENEWAL, Said};
use crate::intake::Counts;
use crate::pace::Pace;
use crate::rulebook::Rulebook;

/// How long somebody who left is still counted: who comes back within it, to whichever pod, has not left for the others.
pub const LINGER: Duration = Duration::from_secs(1);
/// Longest wait for presence.
const PATIENCE: Duration = Duration::from_secs(2);
/// Pause after presence did not answer.
const RETRY: Duration = Duration::from_millis(250);

static TROUBLE: Pace = Pace::every_ms(10_000);

/// This pod's part in presence.
pub struct Roster {
    rules: Arc<Rulebook>,
    presence: Arc<dyn Presence>,
    counts: Arc<Counts>,
    /// What shards said; as long as the task is late, which only computes while it does not wait for [`Roster::wake`].
    queue: Mutex<Vec<Wish>>,
    wake: Notify,
}

/// What a shard says.
enum Wish {
    Present(Present),
    Absent(ConnectionKey, ChannelName),
}

impl Roster {
    /// A part that [`Roster::keep`] plays.
    pub fn new(rules: Arc<Rulebook>, presence: Arc<dyn Presence>, counts: Arc<Counts>) -> Arc<Self> {
        Arc::new(Self { rules, presence, counts, queue: Mutex::default(), wake: Notify::new() })
    }

    /// A connection hears a channel. Never waits.
    pub fn present(&self, present: Present) {
        self.queue.lock().push(Wish::Present(present));
        self.wake.notify_one();
    }

    /// It hears it no more. Never waits.
    pub fn absent(&self, connection: ConnectionKey, channel: ChannelName) {
        self.queue.lock().push(Wish::Absent(connection, channel));
        self.wake.notify_one();
    }

    /// Tells presence until `stop`, then that everybody has gone. On a thread with the 8 MiB of stack that expressions need.
    pub async fn keep(&self, stop: &CancellationToken) {
        let mut keeper = Keeper::new();
        while !stop.is_cancelled() {
            let waited = async {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(keeper.next()) => {}
                }
            };
            if stop.run_until_cancelled(waited).await.is_none() {
                break;
            }
            self.turn(&mut keeper).await;
        }
        self.take_wishes(&mut keeper.entries);
        keeper.entries.all_leave();
        let farewell = async {
            while keeper.entries.has_changes() && self.say_some(&mut keeper.entries).await.is_ok() {}
            self.presence.resign().await
        };
        if !matches!(timeout(PATIENCE, farewell).await, Ok(Ok(()))) {
            tracing::warn!("presence was not told that this pod ends; its members go with its lease");
        }
    }

    async fn turn(&self, keeper: &mut Keeper) {
        self.take_wishes(&mut keeper.entries);
        let now = Instant::now();
        if keeper.renew_at <= now {
            self.renew(keeper, now).await;
        }
        keeper.entries.settle(Instant::now());
        while keeper.lapsed.is_none() && keeper.entries.has_changes() && keeper.retry_at <= Instant::now() {
            if let Err(error) = self.say_some(&mut keeper.entries).await {
                trouble(&error);
                keeper.retry_at = Instant::now() + RETRY;
            }
            self.take_wishes(&mut keeper.entries);
            keeper.entries.settle(Instant::now());
            if keeper.renew_at <= Instant::now() {
                break;
            }
        }
    }

    async fn renew(&self, keeper: &mut Keeper, now: Instant) {
        keeper.renew_at = now + RENEWAL;
        let anew = keeper.lapsed.is_some();
        match within(self.presence.renew(anew)).await {
            Ok(lease) => {
                (keeper.renewed_at, keeper.lapsed) = (now, None);
                if anew || lease == Lease::Anew {
                    keeper.entries.say_all_again();
                }
            }
            Err(error) => {
                trouble(&error);
                if keeper.lapsed.is_none() && now.duration_since(keeper.renewed_at) > LEASE {
                    // Nobody counts this pod's members any more, so those who leave now need not be remembered.
                    keeper.lapsed = Some(now);
                    keeper.entries.nothing_is_said();
                }
            }
        }
    }

    /// Says a batch of what has changed.
    async fn say_some(&self, entries: &mut Entries) -> Result<(), PresenceError> {
        let (keys, changes) = entries.take_changes();
        match within(self.presence.change(&changes)).await {
            Ok(said) => {
                for (key, said) in keys.iter().zip(said) {
                    if let (Said::Crowded, Some(rule)) = (said, entries.rule(key)) {
                        self.counts.crowded(rule);
                    }
                }
                entries.said(&keys);
                Ok(())
            }
            Err(error) => {
                entries.not_said(keys);
                Err(error)
            }
        }
    }

    fn take_wishes(&self, entries: &mut Entries) {
        let wishes = std::mem::take(&mut *self.queue.lock());
        for wish in wishes {
            match wish {
                Wish::Absent(connection, channel) => entries.absent((channel, connection), Instant::now()),
                Wish::Present(present) => {
                    let known = self.known(&present);
                    let key = (present.channel, present.key);
                    match known {
                        Some(known) => entries.present(key, known),
                        // A reload took it away; the shard is about to say so, too.
                        None => entries.absent(key, Instant::now()),
                    }
                }
            }
        }
    }

    /// What is known of a connection in a channel; `None` where the rule does not want it known.
    fn known(&self, present: &Present) -> Option<Known> {
        let Present { key, endpoint, principal, channel } = present;
        let asker = Asker { key: *key, endpoint: *endpoint, principal };
        let (rule, told, info) = self.rules.load().presence_of(channel, &asker)?;
        let user = match &*principal.user {
            "" => "".into(),
            user => format!("{}:{}{user}", principal.tenant.len(), principal.tenant).into(),
        };
        let member = Member { connection: *key, user: principal.user.clone(), info };
        Some(Known { member, user, told, rule })
    }
}

/// What the task remembers from turn to turn.
struct Keeper {
    entries: Entries,
    renew_at: Instant,
    /// When the lease was last renewed.
    renewed_at: Instant,
    /// Since when the lease is known to have ended.
    lapsed: Option<Instant>,
    /// Presence did not answer: not before then.
    retry_at: Instant,
}

impl Keeper {
    fn new() -> Self {
        let now = Instant::now();
        Self { entries: Entries::default(), renew_at: now, renewed_at: now, lapsed: None, retry_at: now }
    }

    /// When to look again at the latest.
    fn next(&self) -> Instant {
        let mut next = self.renew_at;
        if let Some(due) = self.entries.next_due() {
            next = next.min(due);
        }
        if self.lapsed.is_none() && self.entries.has_changes() {
            next = next.min(self.retry_at);
        }
        next
    }
}

async fn within<T>(answer: impl Future<Output = Result<T, PresenceError>>) -> Result<T, PresenceError> {
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(PresenceError("no answer in time".into())))
}

fn trouble(error: &PresenceError) {
    if let Some(unsaid) = TROUBLE.due() {
        tracing::warn!(%error, unsaid, "who hears which channel is not told to the other pods; it will be");
    }
}
