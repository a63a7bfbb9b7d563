//! Where publications travel between pods: exactly one member, and what each asks of the rest.

use super::{Rule, spelling};

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![
        // A misspelled member is dropped by clients that do not ask for strictness, and what is left must not mean "embedded".
        Rule::new(
            "redis",
            "has(self.managed) || has(self.embedded) || has(self.external)",
            "says nothing: add managed: {}, embedded: {} or external with url; without redis at all the gateway is one pod with its own memory",
        ),
        Rule::new(
            "redis",
            "[has(self.managed), has(self.embedded), has(self.external)].filter(one, one).size() <= 1",
            "has several members: only one of managed, embedded and external can be meant",
        ),
        Rule::new(
            "redis",
            "has(self.previous) == has(self.writeTo)",
            "previous and writeTo stand together: the Redis that is being left, and which of both is written (Previous at first, then Current)",
        ),
        Rule::new(
            "redis",
            "!has(self.previous) || has(self.external)",
            "previous can only be left for external",
        ),
        Rule::new(
            "",
            "(has(self.redis) && (has(self.redis.managed) || has(self.redis.external))) || self.replicas <= 1",
            "several replicas need a Redis, or clients of one pod would not hear what is published in another: set redis.managed: {} or redis.external, or replicas to 1",
        )
        .about(".replicas"),
        spelling::bytes("redis.managed.memory", "16Mi", "1024Gi"),
        spelling::bytes("redis.managed.persistence.size", "16Mi", "65536Gi"),
        Rule::new(
            "redis.managed.persistence.size",
            "quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",
            "cannot shrink: volumes only grow",
        ),
        Rule::new(
            "redis.managed.image",
            format!("self.matches('{}')", super::cluster::IMAGE),
            "is not an image such as docker.io/library/redis:8 or registry.example.com/redis@sha256:…",
        ),
    ];
    rules.extend(spelling::redis_address("redis.external.url", "redis.external"));
    rules.extend(spelling::redis_address("redis.previous.external.url", "redis.previous.external"));
    rules
}
