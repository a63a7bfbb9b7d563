//! From the object to the configuration of its pods: which fields go where, and nothing else.

use rtgw_config::{defaults, raw};

use crate::gateway::{RealtimeGateway, Redis, Spec};

/// The configuration that `gateway` asks for outside a cluster, where a managed Redis is the process's own memory.
pub(crate) fn project(gateway: &RealtimeGateway) -> raw::Config {
    let spec = &gateway.spec;
    let metadata = &gateway.metadata;
    raw::Config {
        version: raw::VERSION,
        generation: 1,
        revision: None,
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone().unwrap_or_else(|| defaults::NAMESPACE.to_owned()),
        operator: None,
        spec: raw::Spec {
            endpoints: spec.endpoints.clone(),
            auth: spec.auth.clone(),
            channels: spec.channels.clone(),
            commands: spec.commands.clone(),
            sources: spec.sources.clone(),
            redis: spec.redis.as_ref().map(redis),
            limits: spec.limits.clone(),
            drain: None,
            observability: spec
                .observability
                .as_ref()
                .map(|observability| raw::Observability { log_level: observability.log_level }),
        },
    }
}

fn redis(redis: &Redis) -> raw::Redis {
    let managed = redis.managed.as_ref().map(|_| raw::Embedded {});
    raw::Redis {
        embedded: redis.embedded.or(managed),
        external: redis.external.clone(),
        previous: redis.previous.clone(),
        write_to: redis.write_to,
    }
}

/// Paths that are written and mean nothing outside a cluster.
pub(crate) fn operator_only(spec: &Spec) -> Vec<&'static str> {
    let managed = spec.redis.as_ref().is_some_and(|redis| redis.managed.is_some());
    let written = [
        ("replicas", spec.replicas.is_some()),
        ("image", spec.image.is_some()),
        ("update", spec.update.is_some()),
        ("redis.managed (this process's memory instead)", managed),
        ("drain", spec.drain.is_some()),
        ("exposure", spec.exposure.is_some()),
        ("networkPolicy", spec.network_policy.is_some()),
        ("disruption", spec.disruption.is_some()),
        ("resources", spec.resources.is_some()),
        ("podTemplate", spec.pod_template.is_some()),
        ("childMetadata", spec.child_metadata.is_some()),
    ];
    written.into_iter().filter(|(_, written)| *written).map(|(path, _)| path).collect()
}
