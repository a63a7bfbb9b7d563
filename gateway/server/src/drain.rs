//! The end of a pod: wants no new connections, then closes the ones it holds at a bounded rate, each told when to come back.

use std::sync::Arc;
use std::time::Duration;

use rtgw_config::checked;
use rtgw_hub::Input;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::limits::Connections;
use crate::readiness::Readiness;
use crate::transport::{Inbox, ShardInput};

/// How often connections are closed.
const STEP: Duration = Duration::from_millis(100);
/// How often progress is logged.
const PROGRESS: Duration = Duration::from_secs(5);

/// How long a closed connection may linger, and some.
const LINGER: Duration = Duration::from_secs(2);

/// How a drain goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long new connections are still taken after readiness went off: what load balancers need to notice.
    pub cordon: Duration,
    /// Closes per second, unless the deadline asks for more.
    pub per_second: u32,
    /// When the last connection has been closed, counted from the end of the cordon.
    pub deadline: Duration,
    /// How far the returns of clients are spread.
    pub spread: Duration,
    /// How much the pauses between closes vary, percent.
    pub jitter_percent: u8,
}

impl Plan {
    /// For one of a gateway's pods, by itself: half of the gateway's rate, because two of them may go at once.
    pub fn of_a_pod(drain: &checked::Drain) -> Self {
        Self {
            cordon: drain.cordon_delay,
            per_second: (drain.max_per_second / 2).max(1),
            deadline: drain.timeout,
            jitter_percent: drain.jitter_percent,
            ..Self::default()
        }
    }
}

impl Default for Plan {
    /// For a single machine: no cordon, 200 closes a second, done within 30 s.
    fn default() -> Self {
        Self {
            cordon: Duration::ZERO,
            per_second: 200,
            deadline: Duration::from_secs(30),
            spread: Duration::from_secs(5),
            jitter_percent: 0,
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nobody is left.
    Empty,
    /// So many were left past the deadline; they end with the process.
    Left(u32),
}

/// The signals that end the program.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over SIGTERM and SIGINT.
    ///
    /// # Errors
    /// Where the system refuses the handler.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => info!("SIGTERM"),
            _ = self.interrupt.recv() => info!("SIGINT"),
        }
    }
}

/// A pod's connections, as a drain sees them.
pub struct Drain {
    /// How it goes.
    pub plan: Plan,
    /// The pod's state.
    pub readiness: Arc<Readiness>,
    /// The listener's stop.
    pub stop_listening: CancellationToken,
    /// The places held.
    pub connections: Arc<Connections>,
    /// The shards.
    pub inboxes: Box<[Arc<dyn Inbox>]>,
}

impl Drain {
    /// Runs the drain to its end.
    pub async fn run(&self) -> Drained {
        self.readiness.drain();
        info!(connections = self.connections.held(), cordon = ?self.plan.cordon, "draining");
        tokio::time::sleep(self.plan.cordon).await;
        self.readiness.evacuate();
        self.stop_listening.cancel();
        let start = Instant::now();
        let mut logged = start;
        let mut pace = Pace { plan: self.plan, at: Duration::ZERO, owed: 0 };
        loop {
            let held = self.connections.held();
            if held == 0 {
                info!(took = ?start.elapsed(), "every connection is closed");
                return Drained::Empty;
            }
            // Closed connections hold their places until their last bytes are gone; give those as long again as one may linger.
            if start.elapsed() >= self.plan.deadline + LINGER {
                warn!(connections = held, "connections are left past the deadline of the drain");
                return Drained::Left(held);
            }
            if logged.elapsed() >= PROGRESS {
                logged = Instant::now();
                info!(connections = held, "draining");
            }
            self.evict(pace.share(start.elapsed(), held));
            tokio::time::sleep(pause(&self.plan)).await;
        }
    }

    /// Closes `count` connections, spread over the shards by what they hold.
    fn evict(&self, count: u32) {
        let spread_ms = u32::try_from(self.plan.spread.as_millis()).unwrap_or(u32::MAX);
        for (inbox, count) in self.inboxes.iter().zip(self.connections.shares(count)) {
            if count > 0 {
                // Only publications are ever refused.
                let _ = inbox.post(ShardInput::Hub(Input::Evict { count, spread_ms }));
            }
        }
    }
}

/// [`STEP`], more or less.
fn pause(plan: &Plan) -> Duration {
    let most = f64::from(plan.jitter_percent) / 100.0;
    STEP.mul_f64(1.0 + most * (2.0 * fastrand::f64() - 1.0))
}

/// Keeps a rate over steps of whatever length: what is not closed in one for want of a whole connection is owed to the next.
struct Pace {
    plan: Plan,
    /// When the last step was.
    at: Duration,
    /// Thousandths of a connection.
    owed: u64,
}

impl Pace {
    /// How many of `held` connections to close in the step at `elapsed`: the plan's rate, or what is needed to be done by the deadline.
    fn share(&mut self, elapsed: Duration, held: u32) -> u32 {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        // A process that was held up does not make up for it at once.
        let passed = millis(elapsed.saturating_sub(self.at)).clamp(1, 5 * millis(STEP));
        self.at = elapsed;
        let owed = self.owed.saturating_add(u64::from(self.plan.per_second).saturating_mul(passed));
        let by_rate = owed / 1000;
        self.owed = owed % 1000;
        let left = self.plan.deadline.saturating_sub(elapsed);
        let steps_left = millis(left) / millis(STEP);
        let by_deadline = u64::from(held).div_ceil(steps_left.max(1));
        u32::try_from(by_rate.max(by_deadline)).unwrap_or(u32::MAX).min(held)
    }
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
