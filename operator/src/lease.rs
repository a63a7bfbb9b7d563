//! Leader election by a Lease, as client-go does it: every write replaces what was read, and whether a holder is gone is told by this
//! process's own clock, never by times that another machine wrote.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use parking_lot::Mutex;
use tokio::time::{self, Instant};

use crate::names::MANAGER;

/// The Lease's name.
pub const NAME: &str = "rtgw-operator";

/// How long things take. Renewals end before others may take over: that is what keeps two from leading.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A holder that has not renewed for so long is gone.
    pub duration: Duration,
    /// A holder that could not renew for so long gives up.
    pub deadline: Duration,
    /// Between two tries.
    pub retry: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Until when this process leads: asked before every write, because a process that was stopped for a while does not know that time has passed.
#[derive(Clone, Debug, Default)]
pub struct Term(Arc<Mutex<Option<Instant>>>);

impl Term {
    /// One that never ends, for programs that are alone.
    pub fn endless() -> Self {
        let far = Instant::now() + Duration::from_secs(u64::from(u32::MAX));
        Self(Arc::new(Mutex::new(Some(far))))
    }

    fn until(&self, deadline: Instant) {
        *self.0.lock() = Some(deadline);
    }

    fn end(&self) {
        *self.0.lock() = None;
    }

    /// Whether this process leads now.
    pub fn holds(&self) -> bool {
        self.0.lock().is_some_and(|deadline| Instant::now() < deadline)
    }
}

/// A candidate.
pub struct Candidate {
    api: Api<Lease>,
    namespace: String,
    identity: String,
    times: Times,
    /// The Lease as it was seen last, and when it was first seen so.
    seen: Option<(Lease, Instant)>,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// This candidate holds the Lease, for the time that the number counts.
    Holds(i32),
    /// Another one does.
    Taken,
}

impl Candidate {
    /// Who stands for the Lease in `namespace` under the name `identity`, which no other process has.
    pub fn new(client: Client, namespace: &str, identity: &str, times: Times) -> Self {
        let api = Api::namespaced(client, namespace);
        Self { api, namespace: namespace.to_owned(), identity: identity.to_owned(), times, seen: None }
    }

    /// Waits until this candidate leads. How often leaders have changed: it rises with each, so it tells an old one's orders.
    pub async fn acquire(&mut self) -> i32 {
        loop {
            match self.try_once().await {
                Ok(Tried::Holds(epoch)) => return epoch,
                Ok(Tried::Taken) => {}
                Err(error) => tracing::warn!(%error, "the Lease could not be taken"),
            }
            // Candidates that began together part.
            let jitter = self.times.retry.mul_f64(fastrand::f64() * 0.2);
            time::sleep(self.times.retry + jitter).await;
        }
    }

    /// Renews until that has failed for too long, or another one leads: from then on this process must not write, which `term` says to all
    /// that would.
    pub async fn hold(&mut self, term: &Term) {
        let mut deadline = Instant::now() + self.times.deadline;
        loop {
            term.until(deadline);
            time::sleep(self.times.retry).await;
            let asked = Instant::now();
            // Time may have passed in which this process did not run at all.
            if asked >= deadline {
                break;
            }
            match time::timeout_at(deadline, self.try_once()).await {
                Ok(Ok(Tried::Holds(_))) => deadline = asked + self.times.deadline,
                Ok(Ok(Tried::Taken)) | Err(_) => break,
                Ok(Err(error)) => tracing::warn!(%error, "the Lease could not be renewed"),
            }
        }
        term.end();
    }

    /// Gives the Lease back, so that another one leads at once.
    pub async fn release(&mut self) {
        let Some((lease, _)) = self.seen.take() else { return };
        let Some(spec) = lease.spec.clone().filter(|spec| self.is_own(spec)) else { return };
        let spec =
            LeaseSpec { holder_identity: Some(String::new()), lease_duration_seconds: Some(1), ..spec };
        let released = Lease { spec: Some(spec), ..lease };
        let how = how();
        let replaced = time::timeout(self.times.retry, self.api.replace(NAME, &how, &released));
        if !matches!(replaced.await, Ok(Ok(_))) {
            tracing::warn!("the Lease could not be given back: another one leads when it has run out");
        }
    }

    /// Takes or renews the Lease, if it is free or its own.
    ///
    /// # Errors
    /// The API server's, a write that came between included.
    pub async fn try_once(&mut self) -> kube::Result<Tried> {
        let Some(lease) = self.api.get_opt(NAME).await? else {
            let made = self.api.create(&how(), &self.lease(None, 0)).await?;
            return Ok(self.written(made));
        };
        let unchanged = self.seen.as_ref().filter(|(seen, _)| seen.spec == lease.spec);
        let since = unchanged.map_or_else(Instant::now, |(_, since)| *since);
        self.seen = Some((lease.clone(), since));
        let spec = lease.spec.clone().unwrap_or_default();
        let own = self.is_own(&spec);
        let held = spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty());
        if held && !own && since.elapsed() < self.times.duration {
            return Ok(Tried::Taken);
        }
        let changes = spec.lease_transitions.unwrap_or_default() + i32::from(!own);
        let mut next = self.lease(spec.acquire_time.filter(|_| own), changes);
        next.metadata = lease.metadata;
        let replaced = self.api.replace(NAME, &how(), &next).await?;
        Ok(self.written(replaced))
    }

    fn written(&mut self, lease: Lease) -> Tried {
        let epoch = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
        self.seen = Some((lease, Instant::now()));
        Tried::Holds(epoch)
    }

    fn is_own(&self, spec: &LeaseSpec) -> bool {
        spec.holder_identity.as_deref() == Some(&self.identity)
    }

    fn lease(&self, acquired: Option<MicroTime>, changes: i32) -> Lease {
        let now = MicroTime(Timestamp::now());
        Lease {
            metadata: ObjectMeta {
                name: Some(NAME.into()),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(
                    i32::try_from(self.times.duration.as_secs()).unwrap_or(i32::MAX),
                ),
                acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
                renew_time: Some(now),
                lease_transitions: Some(changes),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn how() -> PostParams {
    PostParams { field_manager: Some(MANAGER.into()), dry_run: false }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
