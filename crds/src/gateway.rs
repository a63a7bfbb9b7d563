//! `RealtimeGateway` as users write it. Doc comments here are what `kubectl explain` and the generated reference show.

use std::collections::BTreeMap;

use rtgw_config::raw::{
    Auth, Channel, Command, Drain, Embedded, Endpoint, ExternalRedis, Limits, LogLevel, PreviousRedis,
    Source, WriteTo,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::cluster::{ChildMetadata, Disruption, Image, ManagedRedis, Resources, Update};
use crate::exposure::{Exposure, NetworkPolicy};

/// A gateway that carries an application's events to its WebSocket clients.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RealtimeGateway {
    /// `realtime-gateway.dev/v1alpha1`.
    #[schemars(extend("enum" = [crate::API_VERSION]))]
    pub api_version: String,
    /// `RealtimeGateway`.
    #[schemars(extend("enum" = [crate::KIND]))]
    pub kind: String,
    /// Name, namespace, labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
    /// What is; written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Opaque>,
}

/// Name, namespace, labels. What else Kubernetes keeps here is accepted and not looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline, extend("additionalProperties" = true))]
pub struct Metadata {
    /// Name of the object. Lower-case letters, digits and `-`.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Its namespace; Secrets are looked for there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("default" = rtgw_config::defaults::NAMESPACE))]
    pub namespace: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What is wanted of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Spec {
    /// Paths that serve sockets.
    #[schemars(length(min = 1, max = 16))]
    pub endpoints: Vec<Endpoint>,
    /// How clients prove who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Channels and who may use them; the first pattern that fits decides. A channel that fits none does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub channels: Option<Vec<Channel>>,
    /// Commands of clients besides those of the protocol: name -> what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 128))]
    pub commands: Option<BTreeMap<String, Command>>,
    /// How events get in besides the HTTP API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sources: Option<Vec<Source>>,
    /// Where publications travel between pods. Absent: in the memory of the one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// Bounds that protect a pod and its clients from each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Logs and what watches the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observability: Option<Observability>,
    /// In a cluster: how many pods; several need a Redis. `/scale` writes it, so leave it out of what is applied from Git where something
    /// else scales. 0 stops all pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000), extend("default" = 1))]
    pub replicas: Option<u32>,
    /// In a cluster: which image. Absent: the release of the operator when the object was made, kept until pods are replaced anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// In a cluster: when a new operator may change pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// In a cluster: how a pod that goes lets its clients go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// In a cluster: the Service in front of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// In a cluster: who may reach the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
    /// In a cluster: how many pods may be missing, and where they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption: Option<Disruption>,
    /// In a cluster: CPU and memory of a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// In a cluster: overrides of the pods, merged into their template: metadata, nodeSelector, affinity, tolerations, priorityClassName,
    /// imagePullSecrets, topologySpreadConstraints, further containers and volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<Opaque>,
    /// In a cluster: labels and annotations of everything that is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_metadata: Option<ChildMetadata>,
}

/// Where publications travel between pods; exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Redis {
    /// In a cluster: a Redis that the operator runs. Outside: the memory of the one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedRedis>,
    /// In the memory of the one process: no other pod hears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<Embedded>,
    /// A Redis of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRedis>,
    /// The Redis that is being left: for as long as it is there, pods read both. Only with `external`, and with `writeTo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousRedis>,
    /// Which of both is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_to: Option<WriteTo>,
}

/// Logs and what watches the gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Observability {
    /// The most detailed level that is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Info"))]
    pub log_level: Option<LogLevel>,
}

/// An object that only the operator looks into.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Opaque(pub Map<String, Value>);
