//! An issuer's published keys, kept fresh by one loop: fetched at once, then at an interval, and sooner where a token names a key that
//! is not known, but never twice within half a minute. While the address does not answer, the last keys are used for some time more.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use rtgw_config::checked::{Algorithm, Jwks};
use rtgw_config::public_key::PublicKey;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::jwks::{PublishedKeys, SET_BYTES};
use crate::outbound::{Outbound, OutboundError, Target};

/// For one fetch.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two fetches that tokens ask for.
const ON_DEMAND: Duration = Duration::from_secs(30);
/// Before the second attempt after a failure; doubled with each.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Tokens that wait for a fetch.
const WAITING: usize = 256;

type Fetched = Pin<Box<dyn Future<Output = Result<Bytes, OutboundError>> + Send>>;
type Fetch = Box<dyn Fn() -> Fetched + Send + Sync>;

/// What is known of a token's key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// One of these made the signature, or none did.
    Keys(Vec<PublicKey>),
    /// There is no such key.
    Unknown,
    /// There are no keys yet, or none that are fresh enough.
    Unavailable,
}

/// The keys and what keeps them.
pub(super) struct KeySet {
    issuer: Box<str>,
    algorithms: Box<[Algorithm]>,
    settings: Jwks,
    /// Held by the one loop that fetches.
    keeper: tokio::sync::Mutex<()>,
    fetch: Fetch,
    state: RwLock<State>,
    /// A token names a key that is not known.
    wanted: Notify,
    /// Counts fetches that ended.
    rounds: watch::Sender<u64>,
    waiting: Semaphore,
}

struct State {
    keys: Option<Arc<PublishedKeys>>,
    /// Until when the keys count.
    good_until: Option<Instant>,
    /// When a fetch last began.
    tried: Option<Instant>,
    /// When the next fetch is due; `None`: at once.
    due: Option<Instant>,
    /// How long to wait after the next fetch, should it fail.
    retry: Duration,
    fetching: bool,
}

impl State {
    const NEW: Self =
        Self { keys: None, good_until: None, tried: None, due: None, retry: FIRST_RETRY, fetching: false };
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySet").field(&self.issuer).finish()
    }
}

impl KeySet {
    /// The keys of the issuer called `issuer`; none until [`Self::keep`] runs.
    pub(super) fn new(issuer: &str, jwks: &Jwks, algorithms: &[Algorithm], outbound: Outbound) -> Self {
        let target = Arc::new(Target::new(&jwks.url, 1));
        let fetch: Fetch = Box::new(move || {
            let (outbound, target) = (outbound.clone(), Arc::clone(&target));
            Box::pin(async move { outbound.get(&target, PATIENCE, SET_BYTES).await })
        });
        Self::fetched_by(fetch, issuer, jwks, algorithms)
    }

    pub(super) fn fetched_by(fetch: Fetch, issuer: &str, jwks: &Jwks, algorithms: &[Algorithm]) -> Self {
        Self {
            issuer: issuer.into(),
            algorithms: algorithms.into(),
            settings: jwks.clone(),
            keeper: tokio::sync::Mutex::default(),
            fetch,
            state: RwLock::new(State::NEW),
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// Whether it would be made of the same settings.
    pub(super) fn is_of(&self, issuer: &str, jwks: &Jwks, algorithms: &[Algorithm]) -> bool {
        *self.issuer == *issuer && self.settings == *jwks && *self.algorithms == *algorithms
    }

    /// Fetches until `stop`. Of several that keep the same keys one fetches; when that has stopped the next goes on when a fetch is due,
    /// so that reloads make no fetches of their own.
    pub(super) async fn keep(&self, stop: &CancellationToken) {
        let keeping = async {
            let _keeper = self.keeper.lock().await;
            // The one before may have been stopped in the middle of it.
            self.state.write().fetching = false;
            self.keep_fetching().await;
        };
        let _stopped = stop.run_until_cancelled(keeping).await;
    }

    async fn keep_fetching(&self) {
        loop {
            let now = Instant::now();
            let due = self.state.read().due.unwrap_or(now);
            let on_demand = async {
                self.wanted.notified().await;
                tokio::time::sleep_until(now.max(self.next_on_demand())).await;
            };
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = on_demand => {}
            }
            self.fetch_once().await;
        }
    }

    async fn fetch_once(&self) {
        let pause = {
            let mut state = self.state.write();
            let (now, pause) = (Instant::now(), state.retry.min(self.settings.refresh));
            state.tried = Some(now);
            // A fetch that is stopped in the middle counts as a failed one, or each loop that takes over would begin anew.
            state.due = Some(now + pause);
            state.retry = (state.retry * 2).min(ON_DEMAND);
            state.fetching = true;
            pause
        };
        let read = (self.fetch)()
            .await
            .map_err(|error| error.to_string())
            .and_then(|json| PublishedKeys::read(&json, &self.algorithms).map_err(|error| error.to_string()));
        let mut state = self.state.write();
        state.fetching = false;
        let (issuer, now) = (&*self.issuer, Instant::now());
        let pause = match read {
            Ok(keys) => {
                if state.keys.as_deref() != Some(&keys) {
                    tracing::info!(issuer, keys = keys.len(), "keys of an issuer are fetched");
                }
                state.keys = Some(Arc::new(keys));
                state.good_until = Some(now + self.settings.refresh + self.settings.stale_for);
                state.retry = FIRST_RETRY;
                // Pods that started together do not ask together for ever.
                self.settings.refresh.mul_f64(0.9 + 0.1 * fastrand::f64())
            }
            Err(error) => {
                let left = state.good_until.map(|until| until.saturating_duration_since(now).as_secs());
                tracing::warn!(issuer, %error, old_keys_for_seconds = left, "keys of an issuer cannot be fetched");
                pause
            }
        };
        state.due = Some(now + pause);
        drop(state);
        // What asked for a key before has its answer now.
        self.rounds.send_modify(|rounds| *rounds += 1);
    }

    fn next_on_demand(&self) -> Instant {
        self.state.read().tried.map_or_else(Instant::now, |tried| tried + ON_DEMAND)
    }

    /// Keys for a token's `kid` and algorithm. Waits where a fetch may bring a key that is not known.
    pub(super) async fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Lookup {
        let mut rounds = self.rounds.subscribe();
        match self.look(kid, algorithm) {
            Lookup::Unknown => {}
            found => return found,
        }
        let (fetching, soonest) = (self.state.read().fetching, self.next_on_demand());
        if !fetching {
            self.wanted.notify_one();
            if soonest > Instant::now() {
                return Lookup::Unknown;
            }
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Lookup::Unavailable };
        match tokio::time::timeout(PATIENCE, rounds.changed()).await {
            Ok(Ok(())) => self.look(kid, algorithm),
            _ => Lookup::Unavailable,
        }
    }

    fn look(&self, kid: Option<&str>, algorithm: Algorithm) -> Lookup {
        let state = self.state.read();
        let fresh = state.good_until.is_some_and(|until| Instant::now() < until);
        let Some(keys) = state.keys.as_ref().filter(|_| fresh) else { return Lookup::Unavailable };
        let found = keys.find(kid, algorithm);
        if found.is_empty() { Lookup::Unknown } else { Lookup::Keys(found) }
    }
}
