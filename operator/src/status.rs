//! What is said of an object: one pure summary of everything that a reconciliation knows, whichever step it ended at.

use jiff::Timestamp;
use rtgw_config::Problem;
use rtgw_crds::status::{
    Condition, ConditionStatus, ConfigStatus, EndpointStatus, LaggingPod, RedisKind, RedisStatus, Status,
    TemplateStatus,
};

use crate::apply;
use crate::build::services::PUBLIC_SERVICE_PORT;
use crate::check::{Broker, Desired, Refusal};
use crate::conditions::{self, Said};
use crate::counters;
use crate::names;
use crate::observe::Observed;
use crate::plan::{Obstacle, Plan};

/// Pods that are named where they lag behind.
const MOST_LAGGING: usize = 10;
/// Longest error of a pod.
const MOST_ERROR: usize = 1024;

/// How a reconciliation ended.
#[derive(Debug, Default)]
pub struct Outcome<'a> {
    /// What is wanted, where it could be told.
    pub desired: Option<&'a Desired>,
    /// What was planned, where it could be.
    pub plan: Option<&'a Plan>,
    /// What ended it.
    pub end: End<'a>,
}

/// What ended a reconciliation.
#[derive(Debug, Default)]
pub enum End<'a> {
    /// Nothing: all was done.
    #[default]
    Done,
    /// The annotation `paused`.
    Paused,
    /// The object is wrong.
    Refused(&'a Refusal),
    /// Only a person can decide.
    Obstacle(&'a Obstacle),
    /// The API server, or a stranger's object.
    Failed(&'a apply::Failure),
}

/// What only a person can help with: the condition's reason and message.
pub fn stalled(end: &End<'_>) -> Option<(&'static str, String)> {
    match end {
        End::Refused(Refusal::InvalidSpec(problems)) => Some(("InvalidSpec", sentences(problems))),
        End::Refused(Refusal::OverrideNotAllowed(problems)) => {
            Some(("OverrideNotAllowed", sentences(problems)))
        }
        End::Obstacle(Obstacle::BrokerChange { from, to }) => Some((
            "BrokerChange",
            format!(
                "from redis.{from} to redis.{to} what one pod remembers is lost and connections are closed: \
                 confirm it with the annotation {}: {to}",
                names::BROKER_CHANGE
            ),
        )),
        End::Failed(failure @ apply::Failure::NameConflict { .. }) => {
            Some(("NameConflict", failure.to_string()))
        }
        End::Done | End::Paused | End::Failed(_) => None,
    }
}

fn sentences(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.is_error());
    let texts: Vec<String> = errors
        .map(|Problem { path, message, hint, .. }| match hint {
            Some(hint) => format!("{path}: {message} ({hint})"),
            None => format!("{path}: {message}"),
        })
        .collect();
    texts.join("; ")
}

/// The status after `outcome`, where `before` was said last. Counters move only if `count` says so.
pub fn summary(
    generation: i64,
    own: &str,
    outcome: &Outcome<'_>,
    observed: &Observed,
    before: &Status,
    count: bool,
    now: Timestamp,
) -> Status {
    let deployment = observed.deployment.as_ref();
    let mut status = Status {
        observed_generation: Some(generation),
        replicas: Some(deployment.map_or(0, |workload| workload.replicas)),
        ready_replicas: Some(deployment.map_or(0, |workload| workload.ready)),
        selector: Some(names::selector_text(own)),
        // What was said of what runs still holds where nothing new could be planned.
        image: before.image.clone(),
        connections: counters::connections(
            &observed.live().collect::<Vec<_>>(),
            before.connections.as_ref(),
            count,
        ),
        config: before.config.clone(),
        template: before.template.clone(),
        redis: before.redis.clone(),
        endpoints: before.endpoints.clone(),
        conditions: Vec::new(),
    };
    if let (Some(desired), Some(plan)) = (outcome.desired, outcome.plan) {
        status.image = Some(plan.template.gateway.image.clone());
        status.config = Some(config(plan, observed));
        status.template =
            Some(TemplateStatus { revision: plan.revision.name.clone(), pending: plan.pending.clone() });
        status.redis = Some(redis(desired, observed));
        status.endpoints = endpoints(desired, observed);
    }
    let said = conditions::all(outcome, observed);
    status.conditions = said.iter().map(|said| condition(said, generation, before, now)).collect();
    status
}

fn config(plan: &Plan, observed: &Observed) -> ConfigStatus {
    let revision = &plan.config.revision;
    let lagging =
        observed.live().filter(|pod| pod.revision() != Some(revision)).take(MOST_LAGGING).map(|pod| {
            let heard = pod.heard.as_ref();
            let error = match heard {
                _ if pod.is_out_of_reach() => Some("does not answer".into()),
                Some(heard) => heard.refused.as_deref().map(|error| cut(error, MOST_ERROR)),
                None => pod.trouble.as_deref().map(str::to_owned),
            };
            let generation = heard.and_then(|heard| heard.generation).unwrap_or_default();
            LaggingPod {
                pod: pod.name.to_string(),
                generation: i64::try_from(generation).unwrap_or_default(),
                error,
            }
        });
    ConfigStatus {
        generation: i64::try_from(plan.config.generation).unwrap_or_default(),
        revision: revision.clone(),
        acknowledged: i32::try_from(observed.acknowledged(revision)).unwrap_or(i32::MAX),
        lagging: lagging.collect(),
    }
}

/// At most `most` bytes of `text`.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        text.to_owned()
    } else {
        format!("{}…", &text[..text.floor_char_boundary(most - 3)])
    }
}

fn redis(desired: &Desired, observed: &Observed) -> RedisStatus {
    let (kind, ready) = match desired.broker {
        Broker::Embedded => (RedisKind::Embedded, None),
        Broker::Managed => {
            (RedisKind::Managed, Some(observed.redis.as_ref().is_some_and(|workload| workload.ready > 0)))
        }
        Broker::External => (RedisKind::External, conditions::delivering(observed)),
    };
    RedisStatus { kind, ready }
}

fn endpoints(desired: &Desired, observed: &Observed) -> Vec<EndpointStatus> {
    let identity = &desired.identity;
    let service = desired.spec.exposure.as_ref().and_then(|exposure| exposure.service.as_ref());
    let port = service.and_then(|service| service.port).unwrap_or(PUBLIC_SERVICE_PORT);
    let inside = || format!("{}.{}.svc", identity.name, identity.namespace);
    let mut host = observed.balancer.clone().unwrap_or_else(inside);
    if host.contains(':') {
        host = format!("[{host}]");
    }
    if port != PUBLIC_SERVICE_PORT {
        host = format!("{host}:{port}");
    }
    let endpoint = |endpoint: &rtgw_config::raw::Endpoint| EndpointStatus {
        name: endpoint.name.clone(),
        url: format!("ws://{host}{}", endpoint.path),
    };
    desired.config.endpoints.iter().map(endpoint).collect()
}

/// With the time at which its `status` became what it is.
fn condition(said: &Said, generation: i64, before: &Status, now: Timestamp) -> Condition {
    let known = before.conditions.iter().find(|known| known.kind == said.kind && known.status == said.status);
    let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Condition {
        kind: said.kind.into(),
        status: said.status,
        observed_generation: Some(generation),
        last_transition_time: known
            .map_or_else(|| seconds.to_string(), |known| known.last_transition_time.clone()),
        reason: said.reason.into(),
        message: cut(&said.message, 4000),
    }
}

/// Whether `status` says that the condition `kind` holds.
pub fn holds(status: &Status, kind: &str) -> bool {
    status.conditions.iter().any(|one| one.kind == kind && one.status == ConditionStatus::True)
}
