//! Whether this pod should get new connections, and what is wrong with it: one place that the parts write and `/readyz` reads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rtgw_config::pod::Phase;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::Broker;

/// How often delivery is proven once it has been: an outage is named while it lasts.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How soon a probe that failed is tried again.
const PROBE_AGAIN: Duration = Duration::from_millis(500);
/// How long a probe may take.
const PROBE_WAIT: Duration = Duration::from_secs(2);
/// The broker's name among what is degraded.
const BROKER: &str = "broker";

/// The pod's state as the outside asks for it.
#[derive(Default)]
pub struct Readiness {
    proven: AtomicBool,
    draining: AtomicBool,
    evacuating: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    degraded: BTreeSet<String>,
    watched: Vec<(String, Works)>,
    probe: Option<Duration>,
}

/// Says whether a part works; cheap.
type Works = Box<dyn Fn() -> bool + Send + Sync>;

/// An answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Verdict {
    /// Whether new connections are wanted.
    pub ready: bool,
    /// Whether the pod is about to end.
    pub draining: bool,
    /// What does not work, while what the pod holds still does.
    pub degraded: Vec<String>,
}

impl Readiness {
    /// The state of a pod that has loaded its configuration and proven nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Asks `works` from now on whether a part such as `source:NAME` works.
    pub fn watch(&self, part: String, works: impl Fn() -> bool + Send + Sync + 'static) {
        self.state.lock().watched.push((part, Box::new(works)));
    }

    /// Asks no more about a part.
    pub fn forget(&self, part: &str) {
        self.state.lock().watched.retain(|(known, _)| known != part);
    }

    /// Marks a part as not working.
    pub fn degrade(&self, part: &str) {
        if self.state.lock().degraded.insert(part.to_owned()) {
            warn!(part, "degraded");
        }
    }

    /// Marks a part as working again.
    pub fn restore(&self, part: &str) {
        if self.state.lock().degraded.remove(part) {
            info!(part, "works again");
        }
    }

    /// Whether a part is marked as not working.
    pub fn is_degraded(&self, part: &str) -> bool {
        self.state.lock().degraded.contains(part)
    }

    /// The pod is about to end: it wants no new connections from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the pod is about to end.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// It takes none any more, and closes those that it has.
    pub fn evacuate(&self) {
        self.evacuating.store(true, Ordering::Relaxed);
    }

    /// Whether the pod wants connections, as it reports.
    pub fn phase(&self) -> Phase {
        if self.evacuating.load(Ordering::Relaxed) {
            Phase::Evacuating
        } else if self.draining() {
            Phase::Cordoned
        } else if self.proven() {
            Phase::Serving
        } else {
            Phase::Starting
        }
    }

    /// Whether a probe came back once.
    pub fn proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// How long the last probe took that came back.
    pub fn probe(&self) -> Option<Duration> {
        self.state.lock().probe
    }

    /// Whether the broker carried the last probe.
    pub fn delivering(&self) -> bool {
        self.proven() && !self.is_degraded(BROKER)
    }

    /// The answer of now.
    pub fn verdict(&self) -> Verdict {
        let draining = self.draining();
        let state = self.state.lock();
        let watched = state.watched.iter().filter(|(_, works)| !works()).map(|(part, _)| part.clone());
        let degraded = state.degraded.iter().cloned().chain(watched).collect();
        drop(state);
        Verdict { ready: self.proven() && !draining, draining, degraded }
    }

    /// Notes a probe that came back after `took`.
    pub fn probed(&self, took: Duration) {
        self.state.lock().probe = Some(took);
        if !self.proven.swap(true, Ordering::Relaxed) {
            info!(?took, "delivery is proven");
        }
        self.restore(BROKER);
    }

    /// Sends probes through `broker` until `stop`.
    pub async fn keep_probing(&self, broker: &dyn Broker, stop: &CancellationToken) {
        loop {
            let pause = match tokio::time::timeout(PROBE_WAIT, broker.probe()).await {
                Ok(Ok(took)) => {
                    self.probed(took);
                    PROBE_EVERY
                }
                Ok(Err(_)) | Err(_) => {
                    self.degrade(BROKER);
                    PROBE_AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_after_the_first_probe_whatever_is_degraded_until_the_drain() {
        let readiness = Readiness::new();
        readiness.watch("source:jobs".into(), || false);
        readiness.watch("source:other".into(), || true);
        assert!(!readiness.verdict().ready && readiness.phase() == Phase::Starting);
        readiness.probed(Duration::from_millis(1));
        let verdict = readiness.verdict();
        assert!(verdict.ready);
        assert_eq!(verdict.degraded, ["source:jobs"]);
        readiness.degrade("broker");
        assert!(readiness.verdict().ready);
        readiness.forget("source:jobs");
        assert_eq!(readiness.verdict().degraded, ["broker"]);
        assert!(!readiness.delivering());
        assert_eq!(readiness.phase(), Phase::Serving);
        readiness.drain();
        assert!(!readiness.verdict().ready && readiness.phase() == Phase::Cordoned);
        readiness.evacuate();
        assert_eq!(readiness.phase(), Phase::Evacuating);
    }
}
