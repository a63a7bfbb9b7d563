//! The Redis that is made for a gateway: one pod behind one Service. Its password stands in a Secret that is mounted and never read here.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
    SecretVolumeSource, SecurityContext, Service, ServiceSpec, TCPSocketAction, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rtgw_crds::cluster::{ManagedRedis, PullPolicy};
use serde_json::{Value, json};

use super::secret::CONFIG_KEY;
use super::{Child, child, services};
use crate::check::Desired;
use crate::kinds::Kind;
use crate::names::{self, COMPONENT_REDIS, Names, REDIS_PORT};
use crate::pods;
use crate::quantity;

/// Its user: that of the official image.
const USER: i64 = 999;
/// Where the object says nothing.
const MEMORY: u64 = 256 << 20;
/// Of its memory; the rest is for buffers, and for the copy while its log is rewritten.
const FILLED_PERCENT: u64 = 75;
const CPU_REQUEST: &str = "50m";
const DATA: &str = "/data";
const SECRET: &str = "/etc/rtgw/redis";

pub(super) fn build(desired: &Desired, spec: &Value) -> [Child; 2] {
    let selector = names::selector(&desired.identity.name, COMPONENT_REDIS);
    let service = Service {
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            selector: Some(selector),
            ports: Some(vec![services::to("redis", REDIS_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    let name = &desired.names.redis;
    [
        child(Kind::Service, desired, COMPONENT_REDIS, name, &service),
        child(Kind::StatefulSet, desired, COMPONENT_REDIS, name, &json!({ "spec": spec })),
    ]
}

/// The StatefulSet's spec for `inputs`, as it is pinned.
pub fn spec(names: &Names, inputs: &ManagedRedis, image: &str, pull: PullPolicy) -> Value {
    let memory = inputs.memory.as_ref().and_then(|memory| memory.bytes()).unwrap_or(MEMORY);
    let persistent = inputs.persistence.is_some();
    let keep = StatefulSetPersistentVolumeClaimRetentionPolicy {
        when_deleted: Some("Delete".into()),
        when_scaled: Some("Retain".into()),
    };
    let spec = StatefulSetSpec {
        replicas: Some(1),
        service_name: Some(names.redis.clone()),
        selector: LabelSelector {
            match_labels: Some(names::selector(&names.own, COMPONENT_REDIS)),
            ..LabelSelector::default()
        },
        persistent_volume_claim_retention_policy: persistent.then_some(keep),
        volume_claim_templates: claims(inputs),
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: None,
        }),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(names::labels(&names.own, COMPONENT_REDIS)),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(names, memory, persistent, image, pull)),
        },
        ..StatefulSetSpec::default()
    };
    // Never fails: plain structures whose keys are texts.
    serde_json::to_value(spec).unwrap_or_default()
}

fn claims(inputs: &ManagedRedis) -> Option<Vec<PersistentVolumeClaim>> {
    let persistence = inputs.persistence.as_ref()?;
    let size = quantity::bytes(persistence.size.bytes().unwrap_or_default());
    Some(vec![PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some("data".into()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            storage_class_name: persistence.storage_class_name.clone(),
            // What the API server fills in: the list is owned whole, so it has to be in it to compare equal.
            volume_mode: Some("Filesystem".into()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: Some(PersistentVolumeClaimStatus {
            phase: Some("Pending".into()),
            ..PersistentVolumeClaimStatus::default()
        }),
    }])
}

fn pod(names: &Names, memory: u64, persistent: bool, image: &str, pull: PullPolicy) -> PodSpec {
    let mut volumes = vec![Volume {
        name: "secret".into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(names.redis_secret.clone()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }];
    if !persistent {
        let scratch = EmptyDirVolumeSource::default();
        volumes.push(Volume { name: "data".into(), empty_dir: Some(scratch), ..Volume::default() });
    }
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            ..pods::pod_security()
        }),
        containers: vec![container(memory, persistent, image, pull)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn container(memory: u64, persistent: bool, image: &str, pull: PullPolicy) -> Container {
    let data = VolumeMount { name: "data".into(), mount_path: DATA.into(), ..VolumeMount::default() };
    Container {
        name: "redis".into(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(pods::pull_policy(pull).into()),
        command: Some(vec!["redis-server".into()]),
        args: Some(args(memory, persistent)),
        ports: Some(vec![ContainerPort {
            name: Some("redis".into()),
            container_port: REDIS_PORT.into(),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        resources: Some(ResourceRequirements {
            requests: Some(
                [("cpu", Quantity(CPU_REQUEST.into())), ("memory", quantity::bytes(memory))]
                    .map(|(name, amount)| (name.to_owned(), amount))
                    .into(),
            ),
            limits: Some([("memory".to_owned(), quantity::bytes(memory))].into()),
            claims: None,
        }),
        readiness_probe: Some(probe(2, 3)),
        liveness_probe: Some(probe(10, 6)),
        security_context: Some(SecurityContext {
            read_only_root_filesystem: Some(true),
            ..pods::container_security()
        }),
        volume_mounts: Some(vec![data, pods::mount("secret", SECRET)]),
        ..Container::default()
    }
}

/// The file brings the password, which therefore stands in no argument list.
fn args(memory: u64, persistent: bool) -> Vec<String> {
    let most = memory / 100 * FILLED_PERCENT;
    let appends = if persistent { "yes" } else { "no" };
    let words = [
        &format!("{SECRET}/{CONFIG_KEY}"),
        "--dir",
        DATA,
        "--maxmemory",
        &most.to_string(),
        // What is refused is noticed; what is evicted is not.
        "--maxmemory-policy",
        "noeviction",
        "--save",
        "",
        "--appendonly",
        appends,
        "--appendfsync",
        "everysec",
        // A pod that is busy for a moment keeps its subscriptions.
        "--client-output-buffer-limit",
        "pubsub",
        "64mb",
        "32mb",
        "60",
    ];
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn probe(period: i32, failures: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::String("redis".into()), host: None }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
