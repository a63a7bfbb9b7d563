//! What pods are made from, and what of it is pinned. A template that was applied once is applied again until the object asks for another:
//! neither a new operator nor its new defaults replace a pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use rtgw_config::raw::{self, DurationText};
use rtgw_config::{changes, defaults, references};
use rtgw_crds::cluster::{Image, ManagedRedis, PullPolicy, Resources, TopologySpread};
use rtgw_crds::gateway::Opaque;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::build;
use crate::check::{Broker, Desired, Drain};
use crate::settings::{Settings, TEMPLATE_VERSION};

/// Where an object says nothing of `limits.pod.connections`: what a pod with the default memory holds.
const POD_CONNECTIONS: u32 = 10_000;

/// Everything in an object that shapes its pods. What has the same inputs has the same pods.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodInputs {
    /// As it was written: image, resources and overrides, which replace pods, and drain and spread, which wait for that.
    pub spec: Shaping,
    /// Names of the Secrets that are mounted, sorted.
    pub secrets: Vec<String>,
    /// Whether publications travel in the memory of the one pod.
    pub embedded: bool,
    /// When images are fetched.
    pub pull_policy: PullPolicy,
    /// Connections that a pod may hold: how long one takes to drain.
    pub connections: u32,
    /// The annotation `restart-at` that these pods were made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<String>,
}

/// The fields of a spec that shape pods.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shaping {
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_template: Option<Opaque>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<raw::Drain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disruption: Option<Spread>,
}

/// The part of `disruption` that shapes pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Spread {
    #[serde(skip_serializing_if = "Option::is_none")]
    topology_spread: Option<TopologySpread>,
}

impl PodInputs {
    /// Those of `desired`, for pods made for the `restart-at` that `restart` is.
    pub fn of(desired: &Desired, settings: &Settings, restart: Option<String>) -> Self {
        let spec = &desired.spec;
        let mut secrets: Vec<String> =
            references::secrets(&desired.config).into_iter().map(|place| place.name).collect();
        secrets.sort_unstable();
        secrets.dedup();
        let limits = desired.config.limits.as_ref().and_then(|limits| limits.pod.as_ref());
        let spread = spec.disruption.as_ref().and_then(|disruption| disruption.topology_spread);
        Self {
            spec: Shaping {
                image: spec.image.clone(),
                resources: spec.resources.clone(),
                pod_template: spec.pod_template.clone(),
                drain: desired.config.drain.clone(),
                disruption: spread.map(|spread| Spread { topology_spread: Some(spread) }),
            },
            secrets,
            embedded: desired.broker == Broker::Embedded,
            pull_policy: spec
                .image
                .as_ref()
                .and_then(|image| image.pull_policy)
                .unwrap_or(settings.pull_policy),
            connections: limits.and_then(|pod| pod.connections).unwrap_or(POD_CONNECTIONS),
            restart,
        }
    }

    /// Whether pods made from `self` have to be replaced to be as `newer` wants them.
    pub fn needs_restart(&self, newer: &Self) -> bool {
        let hard = |inputs: &Self| {
            let Shaping { image, resources, pod_template, .. } = inputs.spec.clone();
            (image, resources, pod_template, inputs.embedded)
        };
        // A Secret that is no longer named may stay mounted until pods are replaced anyway.
        let mounted = newer.secrets.iter().all(|name| self.secrets.contains(name));
        hard(self) != hard(newer) || !mounted
    }

    /// Paths of the spec at which `newer` differs.
    pub fn differences(&self, newer: &Self, desired: &Desired) -> Vec<String> {
        // Never fails: keys are texts.
        let value = |inputs: &Self| serde_json::to_value(&inputs.spec).unwrap_or_default();
        let mut paths = changes::changes("spec", &value(self), &value(newer));
        let places = references::secrets(&desired.config).into_iter();
        paths.extend(
            places
                .filter(|place| !self.secrets.contains(&place.name))
                .map(|place| format!("{}.name", place.path)),
        );
        if self.embedded != newer.embedded {
            paths.push("spec.redis".into());
        }
        paths.truncate(MOST_PATHS);
        paths
    }

    /// How long a new pod has to be ready before an old one goes: as long as one takes to drain, so that a rollout never drains two at once.
    pub fn settle_seconds(&self) -> i32 {
        let Drain { cordon_delay, per_second, .. } = self.drain();
        let cordon = cordon_delay.as_secs() + u64::from(cordon_delay.subsec_nanos() > 0);
        let drain = u64::from(self.connections.div_ceil(per_second.max(1)));
        i32::try_from(cordon + drain).unwrap_or(i32::MAX)
    }

    /// How pods let their clients go.
    pub fn drain(&self) -> Drain {
        let drain = self.spec.drain.as_ref();
        let time = |text: Option<&DurationText>, default: Duration| {
            text.and_then(DurationText::parse).unwrap_or(default)
        };
        Drain {
            cordon_delay: time(drain.and_then(|drain| drain.cordon_delay.as_ref()), defaults::CORDON_DELAY),
            timeout: time(drain.and_then(|drain| drain.timeout.as_ref()), defaults::DRAIN_TIMEOUT),
            per_second: drain.and_then(|drain| drain.max_per_second).unwrap_or(defaults::DRAIN_PER_SECOND),
        }
    }

    /// Over what pods are spread.
    pub fn spread(&self) -> TopologySpread {
        self.spec.disruption.and_then(|disruption| disruption.topology_spread).unwrap_or_default()
    }

    /// CPU and memory.
    pub fn resources(&self) -> Option<&Resources> {
        self.spec.resources.as_ref()
    }

    /// What is overridden; checked before, so what cannot be read is not there.
    pub fn overrides(&self) -> Option<PodTemplateSpec> {
        let template = self.spec.pod_template.as_ref()?;
        serde_json::from_value(Value::Object(template.0.clone())).ok()
    }

    /// The image: a digest wins over a tag, and what is left out is the operator's.
    pub fn image(&self, settings: &Settings) -> String {
        let default = &settings.gateway_image;
        let Some(Image { repository, tag, digest, .. }) = &self.spec.image else { return default.clone() };
        let (name, version) = split(default);
        let name = repository.as_deref().unwrap_or(name);
        match (digest, tag) {
            (Some(digest), _) => format!("{name}@{digest}"),
            (None, Some(tag)) => format!("{name}:{tag}"),
            (None, None) => format!("{name}{version}"),
        }
    }
}

/// Paths that a status lists.
const MOST_PATHS: usize = 64;

/// Name and version of an image, the version with what separates it.
fn split(image: &str) -> (&str, &str) {
    let at = image.find('@').or_else(|| {
        let name = image.rfind('/').map_or(0, |slash| slash + 1);
        image[name..].find(':').map(|colon| name + colon)
    });
    at.map_or((image, ""), |at| image.split_at(at))
}

/// Everything that was pinned for an object: what a ControllerRevision holds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pinned {
    /// The pods.
    pub gateway: Part<PodInputs>,
    /// Version of the configuration that they read.
    pub config_version: u32,
    /// The managed Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Part<ManagedRedis>>,
    /// Where publications travel.
    pub broker: PinnedBroker,
}

/// [`Broker`], as it is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum PinnedBroker {
    /// In the memory of the one pod.
    Embedded,
    /// Through a Redis that is made here.
    Managed,
    /// Through a Redis of the user's own.
    External,
}

impl From<Broker> for PinnedBroker {
    fn from(broker: Broker) -> Self {
        match broker {
            Broker::Embedded => Self::Embedded,
            Broker::Managed => Self::Managed,
            Broker::External => Self::External,
        }
    }
}

/// A workload as it was made.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part<I> {
    /// Version of the templates that made it.
    pub template_version: u32,
    /// Its image, resolved.
    pub image: String,
    /// What it was made from.
    pub inputs: I,
    /// The workload's spec.
    pub body: Value,
}

/// Pods for `inputs`, as this operator makes them.
pub fn pods(own: &str, inputs: PodInputs, settings: &Settings) -> Part<PodInputs> {
    let image = inputs.image(settings);
    let body = build::deployment::spec(own, &inputs, &image);
    Part { template_version: TEMPLATE_VERSION, image, inputs, body }
}

/// A Redis for `inputs`, as this operator makes it.
pub fn redis(desired: &Desired, inputs: ManagedRedis, settings: &Settings) -> Part<ManagedRedis> {
    let image = inputs.image.clone().unwrap_or_else(|| settings.redis_image.clone());
    let body = build::redis::spec(&desired.names, &inputs, &image, settings.pull_policy);
    Part { template_version: TEMPLATE_VERSION, image, inputs, body }
}

impl Pinned {
    /// The content of a ControllerRevision: the same for the same pins.
    pub fn data(&self) -> Value {
        json!(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_an_image_is_what_follows_its_name() {
        for (image, parts) in [
            ("ghcr.io/a/b:1.2", ("ghcr.io/a/b", ":1.2")),
            ("localhost:5000/b", ("localhost:5000/b", "")),
            ("localhost:5000/b:1", ("localhost:5000/b", ":1")),
            ("b@sha256:00", ("b", "@sha256:00")),
            ("b:1@sha256:00", ("b:1", "@sha256:00")),
        ] {
            assert_eq!(split(image), parts);
        }
    }

    #[test]
    fn a_new_pod_settles_as_long_as_an_old_one_drains() {
        let inputs = PodInputs { connections: 10_001, ..PodInputs::default() };
        assert_eq!(inputs.settle_seconds(), 5 + 51, "10,001 at 200 a second, after 5 s");
    }
}
