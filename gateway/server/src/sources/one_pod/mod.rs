//! `ingest: OnePod`: the pods ask for a lease, and who has it reads the source. Every takeover is a gap, and every gap is told by every
//! pod: a publication that the reader missed is missing for everybody.

mod lease;

use std::sync::Arc;
use std::time::Duration;

use lease::Asked;
pub use lease::{Lease, LeaseKeys};
use rtgw_model::GapReason;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::status::SourceStatus;
use super::{Concerned, SourceSink};
use crate::redis_link::{Address, Quiet};

/// How often a pod asks whether it is its turn: about so long nobody reads after a reader that has stopped.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Within this every other pod has asked again, unless it is in trouble itself.
pub(super) const HEARD_WITHIN: Duration = Duration::from_millis(300);

/// One source's turns in this pod.
pub struct OnePod {
    /// The source's name.
    pub name: String,
    /// Every Redis in which the lease is held, and whether nobody reads without that one: pods of stages side by side have one of those in
    /// common.
    pub addresses: watch::Receiver<Vec<(Address, bool)>>,
    /// Where it is kept.
    pub keys: LeaseKeys,
    /// Whom a gap concerns ([`super::concerned`]).
    pub concerned: Concerned,
    /// Where gaps are told.
    pub sink: Arc<dyn SourceSink>,
    /// How the source is doing.
    pub status: Arc<SourceStatus>,
}

impl OnePod {
    /// Waits for this pod's turns until `stop`, and reads in each with what `read` makes: it is given the lease, the reason of the gap that
    /// begins the turn, and when to stop. It is dropped once the lease is lost.
    pub async fn run<F: Future<Output = ()>>(
        &self,
        stop: &CancellationToken,
        read: impl Fn(Lease, GapReason, CancellationToken) -> F,
    ) {
        let mut addresses = self.addresses.clone();
        let now = addresses.borrow_and_update().clone();
        let lease = Lease::new(&now, self.keys.clone(), Arc::clone(&self.status));
        let follow = async {
            while addresses.changed().await.is_ok() {
                lease.go(&addresses.borrow_and_update().clone());
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = follow => {}
            () = self.take_turns(&lease, stop, read) => {}
        }
    }

    async fn take_turns<F: Future<Output = ()>>(
        &self,
        lease: &Lease,
        stop: &CancellationToken,
        read: impl Fn(Lease, GapReason, CancellationToken) -> F,
    ) {
        let (mut log, mut first) = (Quiet::default(), true);
        lease.ready().await;
        while !stop.is_cancelled() {
            match lease.take().await {
                Ok(Asked::Ours(term)) => {
                    log.end();
                    tracing::info!(source = self.name, term, "this pod reads the source");
                    let takeover = term > 1 || !first;
                    let missed =
                        if takeover { GapReason::SourceTakeover } else { GapReason::SourceReconnected };
                    self.turn(lease, stop, |until| read(lease.clone(), missed, until)).await;
                    first = false;
                }
                Ok(Asked::Theirs(gap)) => {
                    log.end();
                    first = false;
                    self.status.set_up(true);
                    if let Some(reason) = gap {
                        self.sink.gap((self.concerned)(), reason);
                    }
                }
                Err(trouble) => {
                    first = false;
                    self.status.set_up(false);
                    if log.speaks(trouble.reason()) {
                        tracing::warn!(source = self.name, error = %trouble, reason = trouble.reason(),
                            "nobody knows which pod reads the source: {}", trouble.advice());
                        self.status.count_error(trouble.reason());
                    }
                }
            }
            // Not in step with other pods.
            stop.run_until_cancelled(sleep(ASK_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0))).await;
        }
        self.status.set_up(false);
    }

    async fn turn<F: Future<Output = ()>>(
        &self,
        lease: &Lease,
        stop: &CancellationToken,
        read: impl FnOnce(CancellationToken) -> F,
    ) {
        let until = stop.child_token();
        tokio::select! {
            () = lease.keep() => {
                tracing::warn!(source = self.name, "this pod has lost its turn to read the source");
            }
            () = read(until.clone()) => {}
        }
        until.cancel();
        self.status.set_up(false);
        lease.release().await;
    }
}
