//! The pods that hold sockets: mounts, ports, probes, and the `restricted` profile.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction,
    ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
    SeccompProfile, SecretVolumeSource, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rtgw_config::pod::{
    CONFIG_DIR, CONFIG_FILE, INTERNAL_PORT, INTERNAL_PORT_NAME, LIVE_PATH, POD_UID_ENV, PUBLIC_PORT,
    PUBLIC_PORT_NAME, READY_PATH, SECRETS_DIR,
};
use rtgw_crds::cluster::{Amounts, Cores, PullPolicy, Resources};

use crate::hash;
use crate::names::Names;
use crate::quantity;
use crate::template::PodInputs;

/// The container that holds sockets.
pub const CONTAINER: &str = "gateway";
/// `nobody` of images that have no users.
const USER: i64 = 65_532;
/// What a few thousand quiet connections take.
const CPU_REQUEST: &str = "100m";
/// Ten thousand connections with their queues.
const MEMORY_LIMIT: u64 = 512 << 20;
/// Between the last connection's close and the kill: the close frames' way, and what the process still writes.
const GRACE: Duration = Duration::from_secs(15);

/// The pod's spec for `inputs`.
pub fn spec(own: &str, inputs: &PodInputs, image: &str) -> PodSpec {
    let names = Names::of(own, "");
    let mut volumes = vec![Volume {
        name: "config".into(),
        config_map: Some(ConfigMapVolumeSource {
            name: names.gateway.clone(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }];
    let mut mounts = vec![mount("config", CONFIG_DIR)];
    for secret in &inputs.secrets {
        let name = format!("secret-{}", &hash::short(secret.as_bytes())[..10]);
        mounts.push(mount(&name, &format!("{SECRETS_DIR}/{secret}")));
        volumes.push(Volume {
            name,
            // A pod that lacks one says which, where one that cannot start says nothing.
            secret: Some(SecretVolumeSource {
                secret_name: Some(secret.clone()),
                optional: Some(true),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        });
    }
    PodSpec {
        service_account_name: Some(names.gateway),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            ..pod_security()
        }),
        termination_grace_period_seconds: Some(grace(inputs)),
        containers: vec![container(inputs, image, mounts)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// How long a pod may take to end: the drain, and a margin.
fn grace(inputs: &PodInputs) -> i64 {
    let drain = inputs.drain();
    let all = drain.cordon_delay + drain.timeout + GRACE;
    let seconds = all.as_secs() + u64::from(all.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn container(inputs: &PodInputs, image: &str, mounts: Vec<VolumeMount>) -> Container {
    let args = [
        "serve",
        "-f",
        &format!("{CONFIG_DIR}/{CONFIG_FILE}"),
        "--secrets",
        SECRETS_DIR,
        "--listen",
        &format!("[::]:{PUBLIC_PORT}"),
        "--admin",
        &format!("[::]:{INTERNAL_PORT}"),
        "--log-format",
        "json",
    ];
    let uid = ObjectFieldSelector { field_path: "metadata.uid".into(), api_version: Some("v1".into()) };
    Container {
        name: CONTAINER.into(),
        image: Some(image.to_owned()),
        image_pull_policy: Some(pull_policy(inputs.pull_policy).into()),
        args: Some(args.map(str::to_owned).to_vec()),
        env: Some(vec![EnvVar {
            name: POD_UID_ENV.into(),
            value_from: Some(EnvVarSource { field_ref: Some(uid), ..EnvVarSource::default() }),
            ..EnvVar::default()
        }]),
        ports: Some(vec![port(PUBLIC_PORT_NAME, PUBLIC_PORT), port(INTERNAL_PORT_NAME, INTERNAL_PORT)]),
        resources: Some(resources(inputs.resources())),
        liveness_probe: Some(probe(LIVE_PATH, 10, 6)),
        // Faster than the cordon delay, or clients would still be sent to a pod that closes them.
        readiness_probe: Some(probe(READY_PATH, 2, 2)),
        security_context: Some(SecurityContext {
            read_only_root_filesystem: Some(true),
            ..container_security()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// The word of the API for when an image is fetched.
pub fn pull_policy(policy: PullPolicy) -> &'static str {
    match policy {
        PullPolicy::IfNotPresent => "IfNotPresent",
        PullPolicy::Always => "Always",
        PullPolicy::Never => "Never",
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number.into(),
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String(INTERNAL_PORT_NAME.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// A volume at a path, not to be written.
pub fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// Requests and limits; no limit of CPU, which would slow a pod down when everybody comes back.
fn resources(wished: Option<&Resources>) -> ResourceRequirements {
    let amounts = |amounts: Option<&Amounts>| {
        let cpu = amounts.and_then(|amounts| amounts.cpu.as_ref()).map(|cores: &Cores| quantity::cpu(cores));
        let memory = amounts.and_then(|amounts| amounts.memory.as_ref()?.bytes()).map(quantity::bytes);
        (cpu, memory)
    };
    let (cpu, memory) = amounts(wished.and_then(|wished| wished.requests.as_ref()));
    let (most_cpu, most_memory) = amounts(wished.and_then(|wished| wished.limits.as_ref()));
    let cpu = cpu.or_else(|| most_cpu.clone()).unwrap_or_else(|| Quantity(CPU_REQUEST.into()));
    // A request above the usual limit is a wish for more than that.
    let most_memory = most_memory.or_else(|| {
        let asked = wished.and_then(|wished| wished.requests.as_ref()?.memory.as_ref()?.bytes());
        Some(quantity::bytes(asked.unwrap_or(0).max(MEMORY_LIMIT)))
    });
    let map = |pairs: [(&str, Option<Quantity>); 2]| {
        let map = pairs.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), amount?)));
        Some(map.collect())
    };
    ResourceRequirements {
        requests: map([("cpu", Some(cpu)), ("memory", memory)]),
        limits: map([("cpu", most_cpu), ("memory", most_memory)]),
        claims: None,
    }
}

/// What the `restricted` profile asks of a pod.
pub fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// What the `restricted` profile asks of a container.
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Gives containers that overrides brought along what the profile asks, where they say nothing of it themselves.
pub fn confine(template: &mut PodTemplateSpec) {
    let Some(spec) = &mut template.spec else { return };
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        container.security_context.get_or_insert_with(container_security);
    }
}
