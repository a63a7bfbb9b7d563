//! What holds and what does not: the truth table behind the conditions of a status.

use rtgw_crds::status::ConditionStatus::{self, False, True, Unknown};

use crate::check::Broker;
use crate::observe::{Observed, Pod};
use crate::plan::Plan;
use crate::status::{End, Outcome, stalled};

/// A condition, but for the times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it is about.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub message: String,
}

fn said(
    kind: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    message: impl Into<String>,
) -> Said {
    Said { kind, status, reason, message: message.into() }
}

/// Every condition after `outcome`. Those that tell of trouble are there only while there is some.
pub fn all(outcome: &Outcome<'_>, observed: &Observed) -> Vec<Said> {
    let stalled = stalled(&outcome.end);
    let mut all = vec![
        ready(outcome, observed),
        reconciling(outcome, observed, stalled.is_some()),
        match stalled {
            Some((reason, message)) => said("Stalled", True, reason, message),
            None => said("Stalled", False, "Working", "nothing waits for a person"),
        },
    ];
    all.extend(degraded(observed));
    if matches!(outcome.end, End::Paused) {
        all.push(said("Paused", True, "Annotation", "nothing is changed until the annotation is taken away"));
    }
    if let Some(update) = outcome.plan.and_then(|plan| plan.update.as_ref()) {
        let message = format!(
            "with the next replacement of the pods {update}; the annotation realtime-gateway.dev/restart-at replaces them"
        );
        all.push(said("UpdateAvailable", True, "OperatorChanged", message));
    }
    all.push(config_applied(outcome.plan, observed));
    all.push(reachable(observed));
    all.push(redis_ready(outcome, observed));
    all
}

/// At least one pod serves what was accepted once.
fn ready(outcome: &Outcome<'_>, observed: &Observed) -> Said {
    let ready = observed.deployment.as_ref().map_or(0, |deployment| deployment.ready);
    let embedded = outcome.desired.is_some_and(|desired| desired.broker == Broker::Embedded);
    if ready > 0 && embedded {
        let message = "one pod serves from its own memory: without a Redis there can be no second one, and a restart forgets everything";
        return said("Ready", True, "EmbeddedBroker", message);
    }
    if ready > 0 {
        return said("Ready", True, "Serving", "clients are served");
    }
    match observed.deployment.as_ref() {
        None => said("Ready", False, "NoPods", "there are no pods yet"),
        Some(deployment) if deployment.wanted == 0 => said("Ready", False, "ScaledToZero", "replicas is 0"),
        Some(_) => said("Ready", False, "NoPodReady", no_pod_ready(observed)),
    }
}

fn no_pod_ready(observed: &Observed) -> String {
    let trouble = observed.live().find_map(|pod| Some((&pod.name, pod.trouble.as_deref()?)));
    match trouble {
        Some((pod, reason)) => format!("no pod is ready; {pod}: {reason}"),
        None => "no pod is ready".into(),
    }
}

/// Whether work remains that needs nobody.
fn reconciling(outcome: &Outcome<'_>, observed: &Observed, stalled: bool) -> Said {
    if let (End::Failed(failure), false) = (&outcome.end, stalled) {
        return said("Reconciling", True, "Retrying", failure.to_string());
    }
    let settled = observed.deployment.as_ref().is_some_and(|deployment| deployment.is_settled());
    if !settled && observed.deployment.is_some() {
        return said("Reconciling", True, "Rollout", "pods are being made or replaced");
    }
    if stalled || matches!(outcome.end, End::Paused) {
        return said("Reconciling", False, "Waiting", "nothing is being changed");
    }
    if !settled {
        return said("Reconciling", True, "Rollout", "pods are being made");
    }
    match outcome.plan {
        Some(plan) if behind(plan, observed).next().is_some() => {
            said("Reconciling", True, "Configuring", "pods are taking a new configuration")
        }
        _ => said("Reconciling", False, "Done", "everything is as it is wanted"),
    }
}

fn degraded(observed: &Observed) -> Option<Said> {
    let trouble = observed.deployment.as_ref()?.trouble.as_ref()?;
    let surge = observed.live().any(|pod| !pod.running && pod.trouble.is_some());
    let reason = if surge { "RolloutStuck" } else { "PodsFailing" };
    Some(said("Degraded", True, reason, format!("{trouble}; what runs is kept")))
}

/// Live pods that do not run what was planned.
fn behind<'o>(plan: &'o Plan, observed: &'o Observed) -> impl Iterator<Item = &'o Pod> {
    observed.live().filter(|pod| pod.revision() != Some(plan.config.revision.as_str()))
}

fn config_applied(plan: Option<&Plan>, observed: &Observed) -> Said {
    let kind = "ConfigApplied";
    let Some(plan) = plan else {
        return said(kind, Unknown, "NotPlanned", "pods keep the configuration that they have");
    };
    if observed.live().next().is_none() {
        return said(kind, Unknown, "NoPods", "there is no pod to run it");
    }
    let heard = || observed.live().filter_map(|pod| Some((pod, pod.heard.as_ref()?)));
    // A pod that runs the configuration names what is missing as well.
    let missing = heard().find_map(|(_, heard)| heard.missing.first());
    if let Some([path, name, key]) = missing {
        let message = format!("{path}: the Secret `{name}` has no key `{key}`, or is not there");
        return said(kind, False, "SecretMissing", message);
    }
    let refused = heard().find_map(|(pod, heard)| Some((pod, heard.refused.as_deref()?)));
    if let Some((pod, error)) = refused {
        return said(kind, False, "Refused", format!("{} refuses it: {error}", pod.name));
    }
    if plan.config.switching {
        let message = "pods go from one Redis to another, in stages: each begins when all pods run the one before; status.config names those that do not yet";
        return said(kind, False, "BrokerSwitchWaiting", message);
    }
    match behind(plan, observed).count() {
        0 => said(kind, True, "Acknowledged", "all pods run it"),
        _ => said(kind, False, "NotAcknowledged", "some pods do not run it yet; status.config names them"),
    }
}

fn reachable(observed: &Observed) -> Said {
    let kind = "PodsReachable";
    let mut running = observed.live().filter(|pod| pod.running).peekable();
    if running.peek().is_none() {
        return said(kind, Unknown, "NoPods", "no pod runs");
    }
    let running: Vec<&Pod> = running.collect();
    if let Some(pod) = running.iter().find(|pod| pod.is_out_of_reach()) {
        let message = format!(
            "{} does not answer on its internal port: look for a NetworkPolicy of another, or a mesh that asks for mutual TLS",
            pod.name
        );
        return said(kind, False, "NoAnswer", message);
    }
    if running.iter().all(|pod| pod.heard.is_some()) {
        said(kind, True, "Answering", "all pods answer")
    } else {
        said(kind, Unknown, "NotAsked", "some pods were not asked yet")
    }
}

/// Whether publications pass through the pods that were heard; absent: none was.
pub fn delivering(observed: &Observed) -> Option<bool> {
    let mut heard = observed.live().filter_map(|pod| pod.heard.as_ref()).peekable();
    heard.peek()?;
    Some(heard.all(|heard| heard.delivering))
}

fn redis_ready(outcome: &Outcome<'_>, observed: &Observed) -> Said {
    let kind = "RedisReady";
    let Some(desired) = outcome.desired else {
        return said(kind, Unknown, "NotPlanned", "the object could not be read");
    };
    match (desired.broker, delivering(observed)) {
        (Broker::Embedded, _) => {
            said(kind, True, "Embedded", "there is none: the one pod has its own memory")
        }
        (Broker::Managed, _) if observed.redis.as_ref().is_none_or(|redis| redis.ready == 0) => {
            said(kind, False, "NotReady", "the managed Redis is not ready; connections stay open")
        }
        (_, None) => said(kind, Unknown, "NotAsked", "no pod was heard yet"),
        (_, Some(true)) => said(kind, True, "Delivering", "publications pass through it"),
        (_, Some(false)) => {
            said(kind, False, "NotDelivering", "publications do not pass through it; connections stay open")
        }
    }
}
