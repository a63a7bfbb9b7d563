//! What the design of a manifest has and this version does not build: refused by name, so that nobody believes it works.

/// What a field that is not built will hold, as JSON Schema calls it.
pub type Kind = &'static str;

/// Fields by path inside `spec`; `[]` stands for any item of a list, `*` for any name of a map.
const FIELDS: &[(&str, Kind)] = &[
    ("autoscaling", "object"),
    ("commands.*.ackArgs", "string"),
    ("commands.*.reply.args", "string"),
    ("endpoints[].greeting.data", "string"),
    ("endpoints[].greeting.event", "string"),
    ("endpoints[].socketIO", "object"),
    ("exposure.httpRoute", "object"),
    ("exposure.ingress", "object"),
    ("maxConnectionAge", "object"),
    ("observability.podMonitor", "string"),
    ("observability.tracing", "object"),
    ("onRedisFailover", "object"),
    ("redis.cluster", "object"),
    ("redis.sentinel", "object"),
    ("redis.shards", "array"),
    ("sources[].redisPubSub.onDemand", "boolean"),
    ("sources[].socketIORedis", "object"),
    ("sources[].webhook", "object"),
    ("tls", "object"),
    ("update.windows", "array"),
];

/// Values by path of their field; a value may go on with `:NAME`.
const VALUES: &[(&str, &[&str])] =
    &[("endpoints[].protocol", &["SocketIO", "SSE"]), ("update.operatorChange", &["Window"])];

/// Every field of a manifest that is designed but not built.
pub fn fields() -> impl Iterator<Item = (&'static str, Kind)> {
    FIELDS.iter().copied()
}

/// Every field some of whose values are designed but not built, with these values.
pub fn values() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    VALUES.iter().copied()
}

/// Whether the field at `path` is designed but not built.
pub(crate) fn is_field(path: &str) -> bool {
    FIELDS.iter().any(|(field, _)| *field == path)
}

/// Whether `value` at `path` is designed but not built.
pub(crate) fn is_value(path: &str, value: &str) -> bool {
    let word = value.split(':').next().unwrap_or_default();
    VALUES.iter().any(|(field, values)| *field == path && values.contains(&word))
}
