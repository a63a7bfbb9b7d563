//! From an object as it was read to what is wanted of it, or why it cannot be had. Pure: it knows the object and what the operator was
//! started with, and nothing of the cluster.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use rtgw_config::raw::{self, DurationText, SecretRef};
use rtgw_config::{Problem, defaults};
use rtgw_crds::gateway::Spec;
use rtgw_crds::in_cluster;
use serde_json::json;

use crate::gateway::{Gateway, Identity};
use crate::names::{self, Names};
use crate::overrides;
use crate::settings::Settings;

/// What is wanted, free of mistakes that can be seen from here.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Which object.
    pub identity: Identity,
    /// Its generation.
    pub generation: u64,
    /// What its children are called.
    pub names: Names,
    /// As it was written.
    pub spec: Spec,
    /// What its pods are configured with.
    pub config: raw::Spec,
    /// Where publications travel.
    pub broker: Broker,
    /// Pods.
    pub replicas: u32,
    /// How a pod lets its clients go.
    pub drain: Drain,
    /// What is overridden of the pods' template.
    pub overrides: Option<PodTemplateSpec>,
    /// What annotations say.
    pub orders: Orders,
    /// What is hardly meant as it stands.
    pub warnings: Vec<Problem>,
}

/// Where publications travel between pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broker {
    /// Nowhere: in the memory of the one pod.
    Embedded,
    /// Through a Redis that is made here.
    Managed,
    /// Through a Redis of the user's own.
    External,
}

/// How a pod lets its clients go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long it still takes connections.
    pub cordon_delay: Duration,
    /// How long it may take from then on.
    pub timeout: Duration,
    /// Connections that the whole gateway closes a second.
    pub per_second: u32,
}

/// What annotations of the object say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Nothing but the status is written.
    pub paused: bool,
    /// Pods are not replaced.
    pub hold_rollout: bool,
    /// Pods are replaced once after this moment; with it as it was written.
    pub restart_at: Option<(Timestamp, String)>,
    /// The member of `redis` that pods may go to although what one pod remembers is lost.
    pub broker_change: Option<String>,
    /// Annotations that say nothing that is understood.
    pub unclear: Vec<&'static str>,
}

/// Why an object cannot be had as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A gateway would refuse it.
    InvalidSpec(Vec<Problem>),
    /// It overrides what it may not.
    OverrideNotAllowed(Vec<Problem>),
}

/// Judges `gateway`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check(gateway: &Gateway, settings: &Settings) -> Result<Desired, Refusal> {
    let identity = Identity::of(gateway);
    let document = json!({
        "apiVersion": rtgw_crds::API_VERSION,
        "kind": rtgw_crds::KIND,
        "metadata": { "name": identity.name, "namespace": identity.namespace },
        "spec": gateway.spec.parse(),
    });
    let checked = in_cluster::check(&document).map_err(Refusal::InvalidSpec)?;
    let spec = checked.gateway.spec;
    let names = Names::of(&identity.name, &identity.uid);
    let overrides = match &spec.pod_template {
        None => None,
        Some(template) => Some(overrides::check(&template.0, settings).map_err(|refused| match refused {
            overrides::Refused::NotAllowed(problems) => Refusal::OverrideNotAllowed(problems),
            overrides::Refused::Wrong(problem) => Refusal::InvalidSpec(vec![problem]),
        })?),
    };
    images(&spec, settings)?;
    let broker = broker(&spec);
    let mut config = checked.spec;
    config.drain = Some(raw_drain(&spec));
    if broker == Broker::Managed {
        config.redis = Some(managed(&names, &identity.namespace));
    }
    Ok(Desired {
        generation: gateway.metadata.generation.and_then(|number| number.try_into().ok()).unwrap_or(1),
        replicas: spec.replicas.unwrap_or(1),
        drain: drain(config.drain.as_ref()),
        overrides,
        orders: orders(gateway),
        warnings: checked.warnings,
        identity,
        names,
        spec,
        config,
        broker,
    })
}

fn broker(spec: &Spec) -> Broker {
    match &spec.redis {
        Some(redis) if redis.managed.is_some() => Broker::Managed,
        Some(redis) if redis.external.is_some() => Broker::External,
        _ => Broker::Embedded,
    }
}

/// How pods reach the Redis that is made for them.
fn managed(names: &Names, namespace: &str) -> raw::Redis {
    let url = managed_url(names, namespace);
    let password = SecretRef { name: names.redis_secret.clone(), key: PASSWORD_KEY.into() };
    raw::Redis {
        external: Some(raw::ExternalRedis { url, password_ref: Some(password), ca_ref: None }),
        ..raw::Redis::default()
    }
}

/// The address of the Redis that is made for an object.
pub fn managed_url(names: &Names, namespace: &str) -> String {
    format!("redis://{}.{namespace}.svc:{}", names.redis, names::REDIS_PORT)
}

/// Key of the password in the Secret of a managed Redis.
pub const PASSWORD_KEY: &str = "password";

/// Always written, because its absence tells pods that they are in no cluster.
fn raw_drain(spec: &Spec) -> raw::Drain {
    let Some(drain) = &spec.drain else { return raw::Drain::default() };
    raw::Drain {
        cordon_delay: drain.cordon_delay.clone(),
        timeout: drain.timeout.clone(),
        max_per_second: drain.max_per_second,
        jitter_percent: drain.jitter_percent,
    }
}

fn drain(drain: Option<&raw::Drain>) -> Drain {
    let time = |text: Option<&DurationText>, default| text.and_then(DurationText::parse).unwrap_or(default);
    Drain {
        cordon_delay: time(drain.and_then(|drain| drain.cordon_delay.as_ref()), defaults::CORDON_DELAY),
        timeout: time(drain.and_then(|drain| drain.timeout.as_ref()), defaults::DRAIN_TIMEOUT),
        per_second: drain.and_then(|drain| drain.max_per_second).unwrap_or(defaults::DRAIN_PER_SECOND),
    }
}

/// Images that the object names and may not.
fn images(spec: &Spec, settings: &Settings) -> Result<(), Refusal> {
    let own = spec.image.as_ref().and_then(|image| image.repository.as_ref());
    let redis = spec.redis.as_ref().and_then(|redis| redis.managed.as_ref()?.image.as_ref());
    let named = [("spec.image.repository", own), ("spec.redis.managed.image", redis)];
    let refused: Vec<Problem> = named
        .into_iter()
        .filter_map(|(path, image)| image.map(|image| (path, image)))
        .filter(|(_, image)| !settings.allows_image(image))
        .map(|(path, image)| overrides::not_allowed(path.into(), image))
        .collect();
    if refused.is_empty() { Ok(()) } else { Err(Refusal::OverrideNotAllowed(refused)) }
}

/// What the annotations of `gateway` say.
pub fn orders(gateway: &Gateway) -> Orders {
    let mut orders = Orders::default();
    let annotation = |name: &str| gateway.metadata.annotations.as_ref()?.get(name).map(|text| text.trim());
    for (name, said) in [(names::PAUSED, &mut orders.paused), (names::HOLD_ROLLOUT, &mut orders.hold_rollout)]
    {
        match annotation(name) {
            Some("true") => *said = true,
            None | Some("false" | "") => {}
            Some(_) => orders.unclear.push(name),
        }
    }
    orders.broker_change = annotation(names::BROKER_CHANGE).map(str::to_owned);
    match annotation(names::RESTART_AT).filter(|text| !text.is_empty()) {
        None => {}
        Some(text) => match text.parse::<Timestamp>() {
            Ok(moment) => orders.restart_at = Some((moment, text.to_owned())),
            Err(_) => orders.unclear.push(names::RESTART_AT),
        },
    }
    orders
}
