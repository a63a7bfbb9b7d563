//! The kinds of children: how the API server calls them.

use kube::core::{ApiResource, GroupVersionKind};

/// A kind of child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `v1`.
    ConfigMap,
    /// `v1`.
    ServiceAccount,
    /// `v1`.
    Service,
    /// `networking.k8s.io/v1`.
    NetworkPolicy,
    /// `apps/v1`.
    StatefulSet,
    /// `apps/v1`.
    ControllerRevision,
    /// `policy/v1`.
    PodDisruptionBudget,
    /// `apps/v1`.
    Deployment,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ConfigMap,
        Self::ServiceAccount,
        Self::Service,
        Self::NetworkPolicy,
        Self::StatefulSet,
        Self::ControllerRevision,
        Self::PodDisruptionBudget,
        Self::Deployment,
    ];

    /// Its `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::ServiceAccount => "ServiceAccount",
            Self::Service => "Service",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::StatefulSet => "StatefulSet",
            Self::ControllerRevision => "ControllerRevision",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Deployment => "Deployment",
        }
    }

    /// Its name in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::ServiceAccount => "serviceaccounts",
            Self::Service => "services",
            Self::NetworkPolicy => "networkpolicies",
            Self::StatefulSet => "statefulsets",
            Self::ControllerRevision => "controllerrevisions",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::Deployment => "deployments",
        }
    }

    /// Its group; empty for the oldest one.
    pub fn group(self) -> &'static str {
        match self {
            Self::ConfigMap | Self::ServiceAccount | Self::Service => "",
            Self::NetworkPolicy => "networking.k8s.io",
            Self::StatefulSet | Self::ControllerRevision | Self::Deployment => "apps",
            Self::PodDisruptionBudget => "policy",
        }
    }

    /// Its `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self.group() {
            "networking.k8s.io" => "networking.k8s.io/v1",
            "apps" => "apps/v1",
            "policy" => "policy/v1",
            _ => "v1",
        }
    }

    /// What the client needs to know of it.
    pub fn resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group(), "v1", self.name());
        ApiResource::from_gvk_with_plural(&kind, self.plural())
    }
}
