//! What the design of a manifest has and this version does not build: refused by name, so that nobody believes it works.

/// Fields by path inside `spec`; `[]` stands for any item of a list, `*` for any name of a map.
const FIELDS: &[&str] = &[
    "commands.*.ackArgs",
    "commands.*.reply.args",
    "endpoints[].greeting.data",
    "endpoints[].greeting.event",
    "endpoints[].socketIO",
    "maxConnectionAge",
    "observability.tracing",
    "redis.cluster",
    "redis.previous",
    "redis.sentinel",
    "redis.shards",
    "redis.writeTo",
    "sources[].redisPubSub.onDemand",
    "sources[].socketIORedis",
    "sources[].webhook",
    "tls",
];

/// Values by path of their field; a value may go on with `:NAME`.
const VALUES: &[(&str, &[&str])] = &[("endpoints[].protocol", &["SocketIO", "SSE"])];

/// Whether the field at `path` is designed but not built.
pub(crate) fn is_field(path: &str) -> bool {
    FIELDS.contains(&path)
}

/// Whether `value` at `path` is designed but not built.
pub(crate) fn is_value(path: &str, value: &str) -> bool {
    let word = value.split(':').next().unwrap_or_default();
    VALUES.iter().any(|(field, values)| *field == path && values.contains(&word))
}
