//! What this pod says of itself to the operator: gathered without asking anybody who may be busy.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rtgw_config::pod::{Cpu, PodReport};
use rtgw_hub::Account;

use crate::limits::{Connections, cpu_millis};
use crate::metrics::{Handshakes, cpu_seconds};
use crate::readiness::Readiness;
use crate::running::Running;

/// Rates are of about so long.
const WINDOW: Duration = Duration::from_secs(5);
/// How often numbers are noted at most, however many ask.
const SPACE: Duration = Duration::from_secs(1);

/// Where the numbers are.
pub struct ReporterParts {
    /// UID of the pod, in a cluster.
    pub uid: Option<String>,
    /// The running configuration.
    pub running: Arc<Running>,
    /// The pod's state.
    pub readiness: Arc<Readiness>,
    /// The pod's places.
    pub connections: Arc<Connections>,
    /// What outboxes hold.
    pub memory: Arc<Account>,
    /// Handshakes.
    pub handshakes: Arc<Handshakes>,
}

/// Makes the pod's reports.
pub struct Reporter {
    parts: ReporterParts,
    boot_id: String,
    rates: Mutex<Rates>,
}

impl Reporter {
    /// Of this process.
    pub fn new(parts: ReporterParts) -> Self {
        Self { parts, boot_id: boot_id(), rates: Mutex::new(Rates::new(Noted::now(0))) }
    }

    /// The report of now.
    pub fn report(&self) -> PodReport {
        let parts = &self.parts;
        let (config, secrets) = parts.running.report();
        let (handshakes_per_second, used_millis) =
            self.rates.lock().at(&Noted::now(parts.handshakes.total()));
        let held = parts.connections.held();
        PodReport {
            uid: parts.uid.clone(),
            boot_id: self.boot_id.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            config,
            secrets,
            capacity: parts.connections.capacity(),
            connections: held,
            handshakes_per_second,
            outbound_bytes: parts.memory.used(),
            cpu: Cpu { used_millis, available_millis: cpu_millis() },
            delivering: parts.readiness.delivering(),
            phase: parts.readiness.phase(),
            terminating: parts.readiness.draining(),
            remaining: held,
        }
    }
}

/// Names this run of the process.
pub fn boot_id() -> String {
    static BOOT: LazyLock<u64> = LazyLock::new(|| fastrand::u64(..));
    format!("{:016x}", *BOOT)
}

/// Numbers that only grow, at a time.
#[derive(Clone, Copy, Debug)]
struct Noted {
    at: Instant,
    handshakes: u64,
    /// Seconds.
    cpu: f64,
}

impl Noted {
    fn now(handshakes: u64) -> Self {
        Self { at: Instant::now(), handshakes, cpu: cpu_seconds().unwrap_or_default() }
    }
}

/// What was noted, the oldest first; never empty.
struct Rates(VecDeque<Noted>);

impl Rates {
    fn new(first: Noted) -> Self {
        Self(VecDeque::from([first]))
    }

    /// Handshakes per second and thousandths of a core, from [`WINDOW`] ago or the last question before that until `now`.
    fn at(&mut self, now: &Noted) -> (f64, u32) {
        while self.0.get(1).is_some_and(|next| now.at.duration_since(next.at) >= WINDOW) {
            self.0.pop_front();
        }
        let rates = self.0.front().map_or((0.0, 0), |from| between(from, now));
        if self.0.back().is_none_or(|last| now.at.duration_since(last.at) >= SPACE) {
            self.0.push_back(*now);
        }
        rates
    }
}

fn between(from: &Noted, to: &Noted) -> (f64, u32) {
    let seconds = to.at.duration_since(from.at).as_secs_f64();
    // Shorter than that the clock of the processor says nothing.
    if seconds < 0.1 {
        return (0.0, 0);
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
    let handshakes = to.handshakes.saturating_sub(from.handshakes) as f64 / seconds;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` stops at the edges")]
    let cpu = ((to.cpu - from.cpu) / seconds * 1000.0) as u32;
    (handshakes, cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds_however_many_ask() {
        let start = Instant::now();
        let noted = |millis: u64, handshakes: u64, cpu: f64| Noted {
            at: start + Duration::from_millis(millis),
            handshakes,
            cpu,
        };
        let mut rates = Rates::new(noted(0, 0, 1.0));
        assert_eq!(rates.at(&noted(50, 5, 1.0)), (0.0, 0), "too soon to say");
        assert_eq!(rates.at(&noted(2000, 10, 2.0)), (5.0, 500));
        for millis in 2001..2900 {
            rates.at(&noted(millis, 10, 2.0));
        }
        assert_eq!(rates.0.len(), 2, "who asks often is not remembered often");
        assert_eq!(rates.at(&noted(8000, 40, 2.0)), (5.0, 0), "since two seconds after the start");
        assert_eq!(rates.at(&noted(100_000, 40, 2.0)), (0.0, 0));
        assert!(rates.0.len() <= 3);
    }
}
