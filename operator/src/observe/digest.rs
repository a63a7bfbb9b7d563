//! What is kept of a child.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::DynamicObject;
use serde_json::Value;

use super::{SeenConfig, owned};
use crate::hash;
use crate::kinds::Kind;
use crate::names::{APPLIED, CONFIG_GENERATION, CONFIG_REDIS, CONFIG_REVISION, LAST_GOOD_REVISION, MANAGER};

/// A child: enough to tell whether it is ours, and whether it is as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Its UID.
    pub uid: Box<str>,
    /// Its resourceVersion.
    pub version: u64,
    /// UID of the object that controls it.
    pub owner: Option<Box<str>>,
    /// Whether it is going.
    pub deleting: bool,
    /// What was applied, as its annotation names it.
    pub applied: Option<Box<str>>,
    /// Hash of the fields that our manager owns now.
    pub owned: u64,
    /// What else is looked at.
    pub facts: Facts,
}

/// What is looked at in some kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// Nothing.
    None,
    /// Of the ConfigMap.
    Config(SeenConfig),
    /// Of the Deployment and the StatefulSet.
    Workload(Workload),
    /// Of a ControllerRevision; `data` is JSON.
    Revision {
        /// Its number.
        number: i64,
        /// What it remembers.
        data: Box<str>,
    },
    /// Of a Service of type LoadBalancer that has one.
    Balancer(String),
}

/// How far a workload is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion.
    pub version: String,
    /// Its generation.
    pub generation: i64,
    /// The one that its controller has seen.
    pub observed: i64,
    /// Pods that its spec asks for.
    pub wanted: i32,
    /// Pods that there are.
    pub replicas: i32,
    /// Those of them that are of its newest template.
    pub updated: i32,
    /// Those that are ready.
    pub ready: i32,
    /// Those that have been ready for long enough.
    pub available: i32,
    /// Why pods cannot be made, or a rollout does not move.
    pub trouble: Option<String>,
}

impl Digest {
    /// Of a child as the API server showed it.
    pub fn of(kind: Kind, object: &DynamicObject) -> Self {
        let metadata = &object.metadata;
        let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).map(String::as_str);
        Self {
            uid: metadata.uid.clone().unwrap_or_default().into(),
            version: version(metadata),
            owner: controller(metadata).map(|owner| owner.uid.clone().into()),
            deleting: metadata.deletion_timestamp.is_some(),
            applied: annotation(APPLIED).map(Into::into),
            owned: owned_hash(object),
            facts: facts(kind, object),
        }
    }

    /// Whether the object with this UID controls it.
    pub fn is_of(&self, uid: &str) -> bool {
        self.owner.as_deref() == Some(uid)
    }
}

/// A resourceVersion as a number, which it is (KEP-5504); 0 for what is none.
pub fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

/// The reference to what controls an object.
pub fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn owned_hash(object: &DynamicObject) -> u64 {
    let mut entries = object.metadata.managed_fields.iter().flatten();
    let ours = entries.find(|entry| {
        entry.manager.as_deref() == Some(MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or_default().is_empty()
    });
    let Some(fields) = ours.and_then(|entry| entry.fields_v1.as_ref()) else { return 0 };
    // Never fails: keys are texts.
    let live = serde_json::to_value(object).unwrap_or_default();
    hash::unordered(&owned::extract(&live, &fields.0))
}

fn facts(kind: Kind, object: &DynamicObject) -> Facts {
    let annotation = |name: &str| object.metadata.annotations.as_ref()?.get(name).cloned();
    match kind {
        Kind::ConfigMap => {
            let generation = annotation(CONFIG_GENERATION).and_then(|text| text.parse().ok());
            match (generation, annotation(CONFIG_REVISION)) {
                (Some(generation), Some(revision)) => {
                    let last_good = annotation(LAST_GOOD_REVISION);
                    let redis = annotation(CONFIG_REDIS).map(Into::into);
                    Facts::Config(SeenConfig { generation, revision, last_good, redis })
                }
                _ => Facts::None,
            }
        }
        Kind::Deployment | Kind::StatefulSet => Facts::Workload(workload(object)),
        Kind::ControllerRevision => Facts::Revision {
            number: object.data.get("revision").and_then(Value::as_i64).unwrap_or_default(),
            data: object.data.get("data").map(ToString::to_string).unwrap_or_default().into(),
        },
        Kind::Service => {
            let ingress = object.data.pointer("/status/loadBalancer/ingress/0");
            let place = |name: &str| ingress?.get(name)?.as_str().map(str::to_owned);
            place("hostname").or_else(|| place("ip")).map_or(Facts::None, Facts::Balancer)
        }
        _ => Facts::None,
    }
}

fn workload(object: &DynamicObject) -> Workload {
    let at = |path: &str| object.data.pointer(path).and_then(Value::as_i64).unwrap_or_default();
    let count = |path: &str| i32::try_from(at(path)).unwrap_or(i32::MAX);
    Workload {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        version: object.metadata.resource_version.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        observed: at("/status/observedGeneration"),
        wanted: count("/spec/replicas"),
        replicas: count("/status/replicas"),
        updated: count("/status/updatedReplicas"),
        ready: count("/status/readyReplicas"),
        available: count("/status/availableReplicas"),
        trouble: trouble(object),
    }
}

fn trouble(object: &DynamicObject) -> Option<String> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let text = |condition: &Value, name: &str| {
        condition.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let bad = conditions.iter().find(|condition| {
        match (text(condition, "type").as_str(), text(condition, "status").as_str()) {
            ("ReplicaFailure", "True") => true,
            ("Progressing", "False") => text(condition, "reason") == "ProgressDeadlineExceeded",
            _ => false,
        }
    })?;
    Some(text(bad, "message"))
}

impl Workload {
    /// Whether everything that was asked for is done.
    pub fn is_settled(&self) -> bool {
        self.observed >= self.generation
            && self.updated >= self.wanted
            && self.replicas == self.updated
            && self.available >= self.wanted
    }
}
