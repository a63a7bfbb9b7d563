//! Children as they should be: one file per kind, each a pure function that cannot fail.

pub mod config_map;
pub mod deployment;
pub mod disruption;
pub mod network_policy;
pub mod redis;
pub mod revision;
pub mod secret;
pub mod service_account;
pub mod services;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::{Value, json};

use crate::check::Desired;
use crate::hash;
use crate::kinds::Kind;
use crate::names::{self, APPLIED};
use crate::plan::Plan;
use crate::settings::Settings;

/// A child as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// All of it, ready to be applied: its annotation [`APPLIED`] names the rest.
    pub body: Value,
    /// Names `body`.
    pub applied: String,
    /// Names the fields in `body`, whatever their order.
    pub owned: u64,
}

/// Everything that `plan` wants, in the order in which it is applied: what pods read first, what runs them last.
pub fn children(desired: &Desired, plan: &Plan, settings: &Settings) -> Vec<Child> {
    let mut children = vec![config_map::build(desired, plan), service_account::build(desired)];
    children.extend(services::build(desired));
    children.extend(network_policy::build(desired, plan, settings));
    if let Some(pinned) = &plan.template.redis {
        children.extend(redis::build(desired, &pinned.body));
    }
    children.push(revision::build(desired, plan));
    children.push(disruption::build(desired));
    children.push(deployment::build(desired, &plan.template.gateway.body));
    children
}

/// Wraps what is special about a child into what all have.
fn child(kind: Kind, desired: &Desired, component: &str, name: &str, content: &impl Serialize) -> Child {
    annotated(kind, desired, component, name, content, BTreeMap::new())
}

/// [`child`] with annotations of its own.
fn annotated(
    kind: Kind,
    desired: &Desired,
    component: &str,
    name: &str,
    content: &impl Serialize,
    own: BTreeMap<String, String>,
) -> Child {
    let extra = desired.spec.child_metadata.as_ref();
    let mut labels = extra.and_then(|extra| extra.labels.clone()).unwrap_or_default();
    labels.extend(names::labels(&desired.identity.name, component));
    let mut annotations = extra.and_then(|extra| extra.annotations.clone()).unwrap_or_default();
    annotations.extend(own);
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(desired.identity.namespace.clone()),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: Some(vec![desired.identity.owner()]),
        ..ObjectMeta::default()
    };
    // Never fails: these are plain structures whose keys are texts.
    let mut body = serde_json::to_value(content).unwrap_or_default();
    if let Value::Object(members) = &mut body {
        members.insert("apiVersion".into(), kind.api_version().into());
        members.insert("kind".into(), kind.name().into());
        members.insert("metadata".into(), json!(metadata));
    }
    let applied = hash::short(body.to_string().as_bytes());
    body["metadata"]["annotations"][APPLIED] = applied.clone().into();
    let owned = hash::unordered(&fields(&body));
    Child { kind, name: name.to_owned(), body, applied, owned }
}

/// What a manager of fields can own of `body`: all but what identifies it.
fn fields(body: &Value) -> Value {
    let mut fields = body.clone();
    if let Value::Object(members) = &mut fields {
        for name in ["apiVersion", "kind"] {
            members.remove(name);
        }
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.remove("name");
            metadata.remove("namespace");
        }
    }
    fields
}
