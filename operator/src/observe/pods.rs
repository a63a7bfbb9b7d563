//! What is kept of a pod, and of what it said.

use k8s_openapi::api::core::v1::Pod as ApiPod;
use rtgw_config::pod::{GENERATION_ANNOTATION, PodReport};
use tokio::time::Instant;

use super::digest::controller;

/// A pod of a gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Box<str>,
    /// Its address, once it has one.
    pub ip: Option<Box<str>>,
    /// Whether its containers were started.
    pub running: bool,
    /// Whether it takes clients.
    pub ready: bool,
    /// Whether it was told to go.
    pub deleting: bool,
    /// UID of the ReplicaSet that controls it.
    pub replica_set: Option<Box<str>>,
    /// The annotation with the configuration's generation.
    pub told: Option<Box<str>>,
    /// Why it waits, if something is wrong.
    pub trouble: Option<Box<str>>,
    /// What it said last.
    pub heard: Option<Heard>,
    /// How often it has not answered since.
    pub unheard: u8,
    /// What it was told last by its annotation.
    pub telling: Option<Telling>,
}

/// That a pod was told of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// Which.
    pub revision: Box<str>,
    /// When.
    pub at: Instant,
    /// How often.
    pub times: u32,
}

/// What a pod said.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// Generation of the configuration that runs.
    pub generation: Option<u64>,
    /// Its revision.
    pub revision: Option<Box<str>>,
    /// What is wrong with the one that it does not run.
    pub refused: Option<Box<str>>,
    /// References to Secrets that lead nowhere: path, name, key.
    pub missing: Vec<[Box<str>; 3]>,
    /// Connections.
    pub connections: u32,
    /// Connections that it can hold.
    pub capacity: u32,
    /// Whether publications pass through it.
    pub delivering: bool,
}

impl Pod {
    /// As the API server showed it.
    pub fn of(pod: &ApiPod) -> Self {
        let (metadata, status) = (&pod.metadata, pod.status.as_ref());
        let phase = status.and_then(|status| status.phase.as_deref());
        let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let told = metadata.annotations.as_ref().and_then(|all| all.get(GENERATION_ANNOTATION));
        Self {
            name: metadata.name.clone().unwrap_or_default().into(),
            uid: metadata.uid.clone().unwrap_or_default().into(),
            ip: status.and_then(|status| status.pod_ip.as_deref()).map(Into::into),
            running: phase == Some("Running"),
            ready: conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True"),
            deleting: metadata.deletion_timestamp.is_some(),
            replica_set: controller(metadata)
                .filter(|owner| owner.kind == "ReplicaSet" && owner.api_version == "apps/v1")
                .map(|owner| owner.uid.as_str().into()),
            told: told.map(|text| text.as_str().into()),
            trouble: trouble(pod),
            heard: None,
            unheard: 0,
            telling: None,
        }
    }

    /// Takes over from an older look what only the pod itself can say.
    pub fn remember(&mut self, older: &Self) {
        if self.uid == older.uid {
            self.heard.clone_from(&older.heard);
            self.unheard = older.unheard;
            self.telling.clone_from(&older.telling);
        }
    }
}

/// Why its containers do not start, or why no node takes it.
fn trouble(pod: &ApiPod) -> Option<Box<str>> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let waiting = containers.filter_map(|container| {
        let reason = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
        (!matches!(reason, "ContainerCreating" | "PodInitializing")).then(|| reason.into())
    });
    let conditions = status.conditions.iter().flatten();
    let nowhere = conditions
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .map(|condition| condition.reason.as_deref().unwrap_or("Unschedulable").into());
    waiting.chain(nowhere).next()
}

impl Heard {
    /// The part of a report that is looked at.
    pub fn of(report: PodReport, at: Instant) -> Self {
        let PodReport { config, secrets, connections, capacity, delivering, .. } = report;
        let refused = config.refused.and_then(|refused| {
            let first = refused.problems.into_iter().next()?;
            Some(format!("{}: {}", first.path, first.message).into())
        });
        Self {
            at,
            generation: config.generation,
            revision: config.revision.map(Into::into),
            refused,
            missing: secrets
                .missing
                .into_iter()
                .map(|missing| [missing.path.into(), missing.name.into(), missing.key.into()])
                .collect(),
            connections,
            capacity,
            delivering,
        }
    }

    /// Whether a decision may be another than after `older`; counters move them only in steps.
    pub fn decides_otherwise(&self, older: &Self) -> bool {
        let facts = |heard: &Self| {
            (heard.generation, heard.revision.clone(), heard.refused.clone(), heard.delivering)
        };
        facts(self) != facts(older) || self.missing != older.missing || self.capacity != older.capacity
    }
}
