//! The Deployment of the pods that hold sockets. It never says how many: that is written through `scale` alone, because a field that an
//! apply once held and then leaves out falls back to 1.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::apps::v1::{DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{PodTemplateSpec, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rtgw_crds::cluster::TopologySpread;
use serde_json::{Value, json};

use super::{Child, child};
use crate::check::Desired;
use crate::kinds::Kind;
use crate::names::{self, COMPONENT_GATEWAY, RESTARTED_AT};
use crate::pods;
use crate::template::PodInputs;

/// Beyond the time that a rollout's pods take for certain: images that are fetched, nodes that are added.
const ROLLOUT_PATIENCE_SECONDS: i32 = 600;
/// ReplicaSets of before that are kept: ours is the history that counts ([`super::revision`]).
const KEPT_REPLICA_SETS: i32 = 2;

pub(super) fn build(desired: &Desired, spec: &Value) -> Child {
    let content = json!({ "spec": spec });
    child(Kind::Deployment, desired, COMPONENT_GATEWAY, &desired.names.gateway, &content)
}

/// The Deployment's spec for `inputs`, as it is pinned.
pub fn spec(own: &str, inputs: &PodInputs, image: &str) -> Value {
    let settle = inputs.settle_seconds();
    let (strategy, settle) = if inputs.embedded {
        // Two pods with memories of their own would not hear each other.
        (DeploymentStrategy { type_: Some("Recreate".into()), rolling_update: None }, None)
    } else {
        let rolling = RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(1)),
            max_unavailable: Some(IntOrString::Int(0)),
        };
        (
            DeploymentStrategy { type_: Some("RollingUpdate".into()), rolling_update: Some(rolling) },
            Some(settle),
        )
    };
    let spec = DeploymentSpec {
        min_ready_seconds: settle,
        // Has to be above `minReadySeconds`.
        progress_deadline_seconds: Some(settle.unwrap_or(0).saturating_add(ROLLOUT_PATIENCE_SECONDS)),
        revision_history_limit: Some(KEPT_REPLICA_SETS),
        selector: LabelSelector {
            match_labels: Some(names::selector(own, COMPONENT_GATEWAY)),
            ..LabelSelector::default()
        },
        strategy: Some(strategy),
        template: template(own, inputs, image),
        ..DeploymentSpec::default()
    };
    // Never fails: plain structures whose keys are texts.
    serde_json::to_value(spec).unwrap_or_default()
}

fn template(own: &str, inputs: &PodInputs, image: &str) -> PodTemplateSpec {
    let mut spec = pods::spec(own, inputs, image);
    spec.topology_spread_constraints = spread(own, inputs.spread());
    let annotations =
        inputs.restart.as_ref().map(|moment| [(RESTARTED_AT.to_owned(), moment.clone())].into());
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(names::labels(own, COMPONENT_GATEWAY)),
            annotations,
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    };
    if let Some(overrides) = inputs.overrides() {
        template.merge_from(overrides);
        pods::confine(&mut template);
    }
    template
}

/// Pods are spread where there is room; a zone that is full keeps nobody from being served.
fn spread(own: &str, over: TopologySpread) -> Option<Vec<TopologySpreadConstraint>> {
    let keys: &[&str] = match over {
        TopologySpread::Zone => &["topology.kubernetes.io/zone", "kubernetes.io/hostname"],
        TopologySpread::Node => &["kubernetes.io/hostname"],
        TopologySpread::None => return None,
    };
    let constraint = |key: &&str| TopologySpreadConstraint {
        max_skew: 1,
        topology_key: (*key).to_owned(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(names::selector(own, COMPONENT_GATEWAY)),
            ..LabelSelector::default()
        }),
        // Each rollout is spread by itself, or old pods would push new ones together.
        match_label_keys: Some(vec!["pod-template-hash".into()]),
        ..TopologySpreadConstraint::default()
    };
    Some(keys.iter().map(constraint).collect())
}
