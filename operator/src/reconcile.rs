//! One object, from what is wanted to what is said of it: observe, check, plan, build, apply, status. Only the first and the last two know
//! the cluster; each step takes what the one before gave, and any of them may be the last but the status.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::api::{self, Kubernetes};
use crate::apply::{self, Failure};
use crate::build;
use crate::check::{self, Desired};
use crate::gateway::{Gateway, Identity};
use crate::metrics::Metrics;
use crate::notices::{self, Notices};
use crate::observe::{Memory, Observed};
use crate::plan::{self, Plan};
use crate::settings::Settings;
use crate::status::{self, End, Outcome};
use crate::telling;

/// Objects are looked at again after so long, whatever watches say.
const RESYNC: Duration = Duration::from_secs(3600);
/// Something that goes has gone by then, or it is looked at again.
const GOING: Duration = Duration::from_secs(2);
/// Whether a stranger's object is still in the way.
const IN_THE_WAY: Duration = Duration::from_secs(30);
/// A conflict is over by then: what came between has been seen.
const CONFLICT: Duration = Duration::from_millis(200);

/// What every reconciliation needs.
pub struct Context {
    /// The API server.
    pub api: Kubernetes,
    /// What watches have told.
    pub memory: Arc<Memory>,
    /// What the operator was started with.
    pub settings: Settings,
    /// Events.
    pub notices: Notices,
    /// Numbers.
    pub metrics: Arc<Metrics>,
}

/// When to look at an object again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again(pub Duration);

/// Reconciles `gateway`.
///
/// # Errors
/// Something that is tried again, later each time. What only a person can help with is no error: it is said in the status.
pub async fn reconcile(gateway: &Gateway, context: &Context) -> Result<Again, Failure> {
    let started = Instant::now();
    let identity = Identity::of(gateway);
    let observed = context.memory.observe(&identity);
    let checked = check::check(gateway, &context.settings);
    let mut run = Run { gateway, identity: &identity, context, again: RESYNC };
    let ended = match &checked {
        Err(refusal) => {
            run.say(&Outcome { end: End::Refused(refusal), ..Outcome::default() }).await.map(|()| "stalled")
        }
        Ok(desired) => run.make(desired, observed).await,
    };
    let again = run.again;
    context.metrics.reconciled(ended.as_ref().map_or("failed", |result| result), started.elapsed());
    ended.map(|_| Again(again))
}

/// One reconciliation under way.
struct Run<'a> {
    gateway: &'a Gateway,
    identity: &'a Identity,
    context: &'a Context,
    again: Duration,
}

impl Run<'_> {
    async fn make(&mut self, desired: &Desired, mut observed: Observed) -> Result<&'static str, Failure> {
        let Context { api, settings, .. } = self.context;
        if plan::needs_texts(desired, &observed, settings) {
            let texts = api.texts(&self.identity.namespace, &desired.names.gateway).await;
            observed.texts = texts.map_err(|error| failure("reading the ConfigMap", error))?;
        }
        let plan = match plan::plan(desired, &observed, settings, Timestamp::now()) {
            Ok(plan) => plan,
            Err(obstacle) => {
                let outcome = Outcome { desired: Some(desired), plan: None, end: End::Obstacle(&obstacle) };
                return self.say(&outcome).await.map(|()| "stalled");
            }
        };
        self.sooner(plan.wake_after);
        let planned = |end| Outcome { desired: Some(desired), plan: Some(&plan), end };
        if desired.orders.paused {
            return self.say(&planned(End::Paused)).await.map(|()| "done");
        }
        match self.carry_out(desired, &plan, &observed).await {
            Ok(()) => self.say(&planned(End::Done)).await.map(|()| "done"),
            Err(failure @ Failure::NameConflict { .. }) => {
                self.sooner(Some(IN_THE_WAY));
                let outcome = Outcome { plan: None, ..planned(End::Failed(&failure)) };
                self.say(&outcome).await.map(|()| "stalled")
            }
            Err(failure @ Failure::Waiting { .. }) => {
                self.sooner(Some(GOING));
                self.say(&planned(End::Failed(&failure))).await.map(|()| "done")
            }
            // What came between wakes this object anyway; a status would speak of a moment.
            Err(Failure::Refused { error, .. }) if error.is_conflict() => {
                self.sooner(Some(CONFLICT));
                Ok("done")
            }
            Err(failure) => {
                self.say(&planned(End::Failed(&failure))).await?;
                Err(failure)
            }
        }
    }

    /// Build and apply, and tell pods what they have to read.
    async fn carry_out(
        &mut self,
        desired: &Desired,
        plan: &Plan,
        observed: &Observed,
    ) -> Result<(), Failure> {
        let Context { api, memory, settings, metrics, .. } = self.context;
        let children = build::children(desired, plan, settings);
        let applied = apply::apply(api, memory, desired, observed, &children).await?;
        metrics.wrote(applied.writes);
        memory.expect(self.identity, &plan.config.revision);
        let now = Instant::now();
        let (words, again) = telling::telling(&memory.observe(self.identity), &plan.config, now);
        self.sooner(again);
        for word in words {
            let told = api.tell(&self.identity.namespace, &word.pod, &word.uid, &word.word).await;
            told.map_err(|error| failure("telling a pod of its configuration", error))?;
            memory.told(self.identity, &word.uid, &plan.config.revision, now);
            metrics.wrote(1);
        }
        Ok(())
    }

    /// The status, written if it is another.
    async fn say(&mut self, outcome: &Outcome<'_>) -> Result<(), Failure> {
        let Context { api, memory, notices, metrics, .. } = self.context;
        let observed = memory.observe(self.identity);
        let before = memory.written(self.identity).unwrap_or_else(|| self.gateway.status.clone());
        let now = Instant::now();
        let count = memory.may_count(self.identity, now);
        let generation = self.gateway.metadata.generation.unwrap_or_default();
        let name = &self.identity.name;
        let after = status::summary(generation, name, outcome, &observed, &before, count, Timestamp::now());
        if after == before {
            return Ok(());
        }
        api.status(self.identity, &after).await.map_err(|error| failure("writing the status", error))?;
        metrics.wrote(1);
        if after.connections != before.connections {
            memory.counted(self.identity, now);
        }
        let unclear = !check::orders(self.gateway).unclear.is_empty();
        notices.tell(self.identity, &notices::between(&before, &after, unclear)).await;
        memory.wrote(self.identity, after);
        Ok(())
    }

    /// Looks again after `pause`, if that is sooner than planned.
    fn sooner(&mut self, pause: Option<Duration>) {
        self.again = pause.map_or(self.again, |pause| self.again.min(pause));
    }
}

fn failure(what: &str, error: api::Error) -> Failure {
    Failure::Refused { what: what.to_owned(), error: Box::new(error) }
}
