//! What it takes for a field's change to count: one table of every field of a RealtimeGateway's `spec`.

/// What a change of a field takes in a cluster. Outside of one nothing is mounted and there is nothing beside the process: a gateway that
/// reads files takes every change at once, but for those that [`held`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Running pods take it; what is about a connection counts for new connections.
    Hot,
    /// Each pod takes it when it is replaced for another reason.
    Deferred,
    /// Pods are replaced, one after the other.
    Restart,
    /// Objects beside the pods change.
    Children,
}

impl Class {
    /// The word in references and in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Deferred => "deferred",
            Self::Restart => "restart",
            Self::Children => "children",
        }
    }
}

use Class::{Children, Deferred, Hot, Restart};

/// Every leaf inside `spec`; `[]` stands for any item of a list, `{}` for any entry of a map.
const LEAVES: &[(Class, &[&str])] = &[
    (
        Hot,
        &[
            "auth.allowedOrigins[]",
            "auth.anonymous",
            "auth.apiKeys[].claims",
            "auth.apiKeys[].name",
            "auth.apiKeys[].scopes[]",
            "auth.apiKeys[].secretRef.key",
            "auth.expiry.grace",
            "auth.expiry.warn",
            "auth.identity.tenant",
            "auth.identity.user",
            "auth.issuers[].algorithms[]",
            "auth.issuers[].audience[]",
            "auth.issuers[].issuer",
            "auth.issuers[].jwks.refresh",
            "auth.issuers[].jwks.staleFor",
            "auth.issuers[].jwks.url",
            "auth.issuers[].leeway",
            "auth.issuers[].name",
            "auth.issuers[].previousSecretRef.key",
            "auth.issuers[].secretRef.key",
            "auth.revocation.whenUnknown",
            "auth.tokenFrom[]",
            "auth.webhook.cacheFor",
            "auth.webhook.maxInFlight",
            "auth.webhook.secretRef.key",
            "auth.webhook.timeout",
            "auth.webhook.url",
            "channels[].delivery.batch",
            "channels[].delivery.conflate",
            "channels[].delivery.events[]",
            "channels[].delivery.maxRate",
            "channels[].delivery.priority",
            "channels[].delivery.sensitive",
            "channels[].delivery.slowConsumer",
            "channels[].filters",
            "channels[].history.mode",
            "channels[].history.size",
            "channels[].history.ttl",
            "channels[].pattern",
            "channels[].presence.enabled",
            "channels[].presence.info",
            "channels[].presence.joinLeave",
            "channels[].publish",
            "channels[].subscribe",
            "endpoints[].admit",
            "endpoints[].auth.allowedOrigins[]",
            "endpoints[].auth.anonymous",
            "endpoints[].auth.tokenFrom[]",
            "endpoints[].autoSubscribe[].channel",
            "endpoints[].autoSubscribe[].when",
            "endpoints[].compression.minBytes",
            "endpoints[].compression.mode",
            "endpoints[].envelope",
            "endpoints[].greeting.disabled",
            "endpoints[].greeting.message",
            "endpoints[].health.paths[]",
            "endpoints[].heartbeat.idle",
            "endpoints[].heartbeat.interval",
            "endpoints[].heartbeat.timeout",
            "endpoints[].metadata",
            "endpoints[].name",
            "endpoints[].path",
            "endpoints[].protocol",
            "endpoints[].seq",
            "endpoints[].stats.paths[]",
            "endpoints[].stats.public",
            "limits.connection.burst",
            "limits.connection.messageBytes",
            "limits.connection.messagesPerSecond",
            "limits.connection.queueBytes",
            "limits.connection.queueMessages",
            "limits.connection.subscriptions",
            "limits.gateway.connections",
            "limits.ip.connections",
            "limits.ip.proxyProtocol",
            "limits.ip.trustedProxies[]",
            "limits.pod.channels",
            "limits.pod.connections",
            "limits.pod.handshakesPerSecond",
            "limits.pod.outboundMemoryPercent",
            "limits.tenant.connections",
            "limits.tenant.messagesPerSecond",
            "limits.user.connections",
            "limits.user.policy",
            "observability.logLevel",
            "redis.external.caRef.key",
            "redis.external.passwordRef.key",
            "redis.external.url",
            "redis.previous.external.caRef.key",
            "redis.previous.external.passwordRef.key",
            "redis.previous.external.url",
            "redis.writeTo",
            "sources[].ingest",
            "sources[].name",
            "sources[].publish[].channelsFrom",
            "sources[].publish[].channels[]",
            "sources[].publish[].data",
            "sources[].publish[].event",
            "sources[].publish[].idempotencyKey",
            "sources[].publish[].priority",
            "sources[].publish[].tags",
            "sources[].publish[].timestamp",
            "sources[].publish[].when",
            "sources[].redisPubSub.channels[]",
            "sources[].redisPubSub.patterns[]",
            "sources[].redisPubSub.redis.caRef.key",
            "sources[].redisPubSub.redis.passwordRef.key",
            "sources[].redisPubSub.redis.url",
            "sources[].redisStream.group",
            "sources[].redisStream.key",
            "sources[].redisStream.redis.caRef.key",
            "sources[].redisStream.redis.passwordRef.key",
            "sources[].redisStream.redis.url",
            "sources[].redisStream.start",
        ],
    ),
    // The pod keeps those of `drain` that it started with: its grace period is of the same age.
    (
        Deferred,
        &[
            "disruption.topologySpread",
            "drain.cordonDelay",
            "drain.jitterPercent",
            "drain.maxPerSecond",
            "drain.timeout",
        ],
    ),
    (
        Restart,
        &[
            // The names of Secrets are mounts of the pods.
            "auth.apiKeys[].secretRef.name",
            "auth.issuers[].previousSecretRef.name",
            "auth.issuers[].secretRef.name",
            "auth.webhook.secretRef.name",
            "image.digest",
            "image.pullPolicy",
            "image.repository",
            "image.tag",
            "podTemplate",
            "redis.embedded",
            "redis.external.caRef.name",
            "redis.external.passwordRef.name",
            "redis.managed.image",
            "redis.managed.memory",
            "redis.managed.persistence.size",
            "redis.managed.persistence.storageClassName",
            "resources.limits.cpu",
            "resources.limits.memory",
            "resources.requests.cpu",
            "resources.requests.memory",
            "redis.previous.external.caRef.name",
            "redis.previous.external.passwordRef.name",
            "sources[].redisPubSub.redis.caRef.name",
            "sources[].redisPubSub.redis.passwordRef.name",
            "sources[].redisStream.redis.caRef.name",
            "sources[].redisStream.redis.passwordRef.name",
        ],
    ),
    (
        Children,
        &[
            "childMetadata.annotations",
            "childMetadata.labels",
            "disruption.maxUnavailable",
            "exposure.service.annotations",
            "exposure.service.port",
            "exposure.service.type",
            "networkPolicy.apiFrom[].ipBlock.cidr",
            "networkPolicy.apiFrom[].ipBlock.except[]",
            "networkPolicy.apiFrom[].namespaceSelector.matchExpressions[].key",
            "networkPolicy.apiFrom[].namespaceSelector.matchExpressions[].operator",
            "networkPolicy.apiFrom[].namespaceSelector.matchExpressions[].values[]",
            "networkPolicy.apiFrom[].namespaceSelector.matchLabels",
            "networkPolicy.apiFrom[].podSelector.matchExpressions[].key",
            "networkPolicy.apiFrom[].podSelector.matchExpressions[].operator",
            "networkPolicy.apiFrom[].podSelector.matchExpressions[].values[]",
            "networkPolicy.apiFrom[].podSelector.matchLabels",
            "networkPolicy.clientsFrom[].ipBlock.cidr",
            "networkPolicy.clientsFrom[].ipBlock.except[]",
            "networkPolicy.clientsFrom[].namespaceSelector.matchExpressions[].key",
            "networkPolicy.clientsFrom[].namespaceSelector.matchExpressions[].operator",
            "networkPolicy.clientsFrom[].namespaceSelector.matchExpressions[].values[]",
            "networkPolicy.clientsFrom[].namespaceSelector.matchLabels",
            "networkPolicy.clientsFrom[].podSelector.matchExpressions[].key",
            "networkPolicy.clientsFrom[].podSelector.matchExpressions[].operator",
            "networkPolicy.clientsFrom[].podSelector.matchExpressions[].values[]",
            "networkPolicy.clientsFrom[].podSelector.matchLabels",
            "networkPolicy.metricsFrom[].ipBlock.cidr",
            "networkPolicy.metricsFrom[].ipBlock.except[]",
            "networkPolicy.metricsFrom[].namespaceSelector.matchExpressions[].key",
            "networkPolicy.metricsFrom[].namespaceSelector.matchExpressions[].operator",
            "networkPolicy.metricsFrom[].namespaceSelector.matchExpressions[].values[]",
            "networkPolicy.metricsFrom[].namespaceSelector.matchLabels",
            "networkPolicy.metricsFrom[].podSelector.matchExpressions[].key",
            "networkPolicy.metricsFrom[].podSelector.matchExpressions[].operator",
            "networkPolicy.metricsFrom[].podSelector.matchExpressions[].values[]",
            "networkPolicy.metricsFrom[].podSelector.matchLabels",
            "networkPolicy.enabled",
            "replicas",
            "update.operatorChange",
        ],
    ),
];

/// What a change of the leaf at `path` inside `spec` takes; `None` for a path that is none.
pub fn class(path: &str) -> Option<Class> {
    // Commands are defined by a map whose entries differ by what they do.
    if path == "commands"
        || path.starts_with("commands[")
        || path.starts_with("commands{")
        || path.starts_with("commands.")
    {
        return Some(Hot);
    }
    LEAVES.iter().find(|(_, paths)| paths.contains(&path)).map(|(class, _)| *class)
}

/// Every leaf of the table with its class.
pub fn leaves() -> impl Iterator<Item = (&'static str, Class)> {
    LEAVES.iter().flat_map(|(class, paths)| paths.iter().map(|path| (*path, *class)))
}

/// Why a process that runs `before` cannot take `after` without a restart; empty where it can.
pub fn held(before: &crate::Checked, after: &crate::Checked) -> Vec<crate::Problem> {
    let mut held = Vec::new();
    let mut hold = |path: &str, hint: &str| {
        held.push(crate::Problem::error(path, "cannot change while the gateway runs").hint(hint));
    };
    if (&before.name, &before.namespace) != (&after.name, &after.namespace) {
        hold("metadata.name", "another gateway needs a restart");
    }
    if let Some(hint) = strands(before, after) {
        hold("spec.redis", hint);
    }
    held
}

/// The rule of every change of Redis: pods of both configurations run side by side, so each has to read what the other writes. Credentials
/// may change under live connections.
fn strands(before: &crate::Checked, after: &crate::Checked) -> Option<&'static str> {
    use crate::checked::{Redis, WriteTo};
    let places = |config: &crate::Checked| {
        let Redis::External(current) = &config.redis else { return (Vec::new(), None) };
        let current = current.place();
        let Some(previous) = &config.previous_redis else { return (vec![current.clone()], Some(current)) };
        let place = previous.address.place();
        let written = if previous.write_to == WriteTo::Previous { &place } else { &current }.clone();
        (vec![current, place], Some(written))
    };
    let ((reads, writes), (will_read, will_write)) = (places(before), places(after));
    match (&writes, &will_write) {
        (None, None) => None,
        (Some(writes), Some(will_write)) => {
            (!will_read.contains(writes) || !reads.contains(will_write)).then_some(IN_STAGES)
        }
        _ => Some(
            "between `embedded` and a Redis lies a restart: nobody could hear what is in the memory of a process",
        ),
    }
}

const IN_STAGES: &str = "pods that publish in different Redis would not hear each other, so another host, port, database, or TLS or none \
    takes three stages, each once all pods run the one before: 1. `external` is the new one, `previous` the old one, `writeTo: Previous`; \
    2. `writeTo: Current`; 3. `previous` and `writeTo` are taken out";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::{raw, schema};

    fn walk(path: &str, schema: &Value, leaves: &mut BTreeSet<String>) {
        let (schema, path) = match schema.get("items") {
            Some(items) => (items, format!("{path}[]")),
            None => (schema, path.to_owned()),
        };
        match schema.get("properties").and_then(Value::as_object).filter(|some| !some.is_empty()) {
            Some(fields) => {
                for (name, field) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, field, leaves);
                }
            }
            None => {
                leaves.insert(path);
            }
        }
    }

    #[test]
    fn every_field_of_the_configuration_has_a_class() {
        let mut leaves = BTreeSet::new();
        walk("", &schema::of::<raw::Spec>(), &mut leaves);
        assert!(leaves.len() > 80, "{leaves:?}");
        let without: Vec<&String> = leaves.iter().filter(|path| class(path).is_none()).collect();
        assert!(without.is_empty(), "say in config/src/classes.rs what a change of these takes: {without:?}");
    }

    #[test]
    fn every_path_is_there_once() {
        let all: Vec<&str> = leaves().map(|(path, _)| path).collect();
        let once: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(all.len(), once.len());
        assert_eq!(class("redis.embedded"), Some(Restart), "what is held needs a restart");
        assert_eq!((class("channels[].subscribe"), class("channels[].colour")), (Some(Hot), None));
    }
}
