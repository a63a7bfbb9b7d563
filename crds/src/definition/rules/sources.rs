//! Sources: what they listen to, and which of their rules are ever used.

use super::commands::tags;
use super::{Rule, spelling};

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![
        spelling::name("sources[].name"),
        Rule::new(
            "sources[]",
            "has(self.redisPubSub) || has(self.redisStream)",
            "says nothing to listen to: add redisPubSub or redisStream",
        ),
        Rule::new(
            "sources[]",
            "!has(self.redisPubSub) || !has(self.redisStream)",
            "has redisPubSub and redisStream: make two sources of it",
        ),
        Rule::new(
            "sources[]",
            "has(self.redisStream) || self.?ingest.orValue('EveryPod') == 'OnePod' || !self.publish.exists(p, has(p.idempotencyKey))",
            "idempotencyKey does nothing where every pod hears the source by itself, past the broker: add ingest: OnePod, or take it out",
        )
        .about(".publish"),
        Rule::new(
            "sources[].redisPubSub",
            "(has(self.channels) && self.channels.size() > 0) || (has(self.patterns) && self.patterns.size() > 0)",
            "says nothing to listen to: add channels such as [NAME], or patterns such as [\"NAME:*\"]",
        ),
        Rule::new(
            "sources[].redisPubSub.patterns[]",
            r"!self.matches('[{}]') || self.matches('^([^{}:]+|[{]\\w+[}])(:([^{}:]+|[{]\\w+[}]))*(:[{]\\w+[*][}])?$|^[{]\\w+[*][}]$')",
            "is not a pattern: a glob such as jobs:*, or a name whose captures are whole segments, such as workspace:{id}",
        ),
        Rule::new(
            "sources[].publish",
            "self.filter(p, !has(p.when)).size() == 0 || (self.filter(p, !has(p.when)).size() == 1 && !has(self[self.size() - 1].when))",
            "has a rule that is never reached: only the last rule can do without when, because it takes every message",
        ),
        Rule::new(
            "sources[].publish[]",
            "has(self.channels) || has(self.channelsFrom)",
            "does not say where it publishes: add channels, such as [CHANNEL]",
        ),
        Rule::new(
            "sources[].publish[]",
            "!has(self.channels) || !has(self.channelsFrom)",
            "has channels and channelsFrom: take one of them out",
        ),
        tags("sources[].publish[].tags"),
    ];
    rules.extend(spelling::redis_address("sources[].redisPubSub.redis.url", "sources[].redisPubSub.redis"));
    rules.extend(spelling::redis_address("sources[].redisStream.redis.url", "sources[].redisStream.redis"));
    rules
}
