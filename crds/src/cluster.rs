//! What a gateway is given in a cluster: image, rollouts, CPU and memory, a Redis of its own.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rtgw_config::raw::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The image of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Image {
    /// Registry and name, such as `ghcr.io/realtime-gateway/rtgw`, without a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub repository: Option<String>,
    /// Version. Absent: that of the operator when the object was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub tag: Option<String>,
    /// Exact content, `sha256:` and 64 hexadecimal digits; wins over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 71))]
    pub digest: Option<String>,
    /// When nodes fetch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "IfNotPresent"))]
    pub pull_policy: Option<PullPolicy>,
}

/// When nodes fetch an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum PullPolicy {
    /// Where the node has none of this name, `latest` included.
    #[default]
    IfNotPresent,
    /// With every start of a pod.
    Always,
    /// Never: it has to be there.
    Never,
}

/// When a new operator may change pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Update {
    /// When pods take what a new operator would make different: its default image, its template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "WithNextRollout"))]
    pub operator_change: Option<OperatorChange>,
}

/// When pods take what a new operator would make different.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OperatorChange {
    /// When pods are replaced for another reason: an edit, or the annotation `realtime-gateway.dev/restart-at`.
    #[default]
    WithNextRollout,
    /// At once, by a rollout of its own.
    Immediate,
}

/// How many pods may be missing, and where they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Disruption {
    /// Pods that evictions may take away at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000), extend("default" = 1))]
    pub max_unavailable: Option<u32>,
    /// Over what pods are spread, where there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Zone"))]
    pub topology_spread: Option<TopologySpread>,
}

/// Over what pods are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TopologySpread {
    /// Zones (`topology.kubernetes.io/zone`), and nodes within them.
    #[default]
    Zone,
    /// Nodes (`kubernetes.io/hostname`).
    Node,
    /// Nothing: wherever the scheduler likes.
    None,
}

/// CPU and memory of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Resources {
    /// What a node has to have free. Without `cpu` a default is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,
    /// What it may use at most. Without `memory` there is a default; a limit of CPU slows down when everybody comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Amounts {
    /// Cores: `250m`, `1`, `"1.5"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cores>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// An amount of CPU: a whole number of cores, or text such as `250m` or `1.5`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Cores {
    /// Cores.
    Number(u64),
    /// Thousandths of a core with `m` behind them, or cores.
    Text(String),
}

impl Cores {
    /// Whether it is an amount, of at least a thousandth of a core.
    pub fn is_amount(&self) -> bool {
        let text = match self {
            Self::Number(cores) => return (1..1_000_000).contains(cores),
            Self::Text(text) => text,
        };
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let spelled = match (text.strip_suffix('m'), text.split_once('.')) {
            (Some(thousandths), _) => digits(thousandths, 9),
            (None, Some((cores, part))) => digits(cores, 6) && digits(part, 3),
            (None, None) => digits(text, 6),
        };
        spelled && text.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
    }
}

impl JsonSchema for Cores {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cores".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "integer", "minimum": 1, "maximum": 999_999 }, { "type": "string", "maxLength": 20 }],
            "x-kubernetes-int-or-string": true,
        })
    }
}

/// Labels and annotations of everything that is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct ChildMetadata {
    /// Labels; those of the operator win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A Redis that the operator runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct ManagedRedis {
    /// Its image. Absent: that of the operator when the object was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Memory of its pod, of which it may fill 75 percent. 16Mi to 1024Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "256Mi"))]
    pub memory: Option<Quantity>,
    /// A volume for what it knows. Absent: a restart forgets histories, and pods give it back their revocations and leases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
}

/// A volume for what Redis knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Persistence {
    /// Its size, at least 16Mi. It can grow and not shrink.
    pub size: Quantity,
    /// Its storage class. Absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}
