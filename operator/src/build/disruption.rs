//! What evictions have to leave. Pods that are not ready do not count, so that they never block a node, and there is no lowest number: one
//! replica would block its node for ever.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Child, child};
use crate::check::Desired;
use crate::kinds::Kind;
use crate::names::{self, COMPONENT_GATEWAY};

/// Pods that evictions may take away at once.
const MAX_UNAVAILABLE: u32 = 1;

pub(super) fn build(desired: &Desired) -> Child {
    let wished = desired.spec.disruption.as_ref().and_then(|disruption| disruption.max_unavailable);
    let most = i32::try_from(wished.unwrap_or(MAX_UNAVAILABLE)).unwrap_or(i32::MAX);
    let content = PodDisruptionBudget {
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(most)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&desired.identity.name, COMPONENT_GATEWAY)),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    child(Kind::PodDisruptionBudget, desired, COMPONENT_GATEWAY, &desired.names.gateway, &content)
}
