//! Sources: what is heard and what becomes of it.

use super::{Check, reach};
use crate::checked::{
    Channel, Ingest, PublishChannels, PublishRule, RedisAddress, RedisPubSub, RedisStream, Source,
    SourceKind, SourcePattern, StreamStart,
};
use crate::expression::Scope;
use crate::pattern::{Pattern, Segment};
use crate::problem::Problem;
use crate::raw;

impl Check<'_> {
    /// `gateway` is `NAMESPACE/NAME`.
    pub(super) fn sources(
        &mut self,
        sources: &[raw::Source],
        channels: &[Channel],
        gateway: &str,
    ) -> Vec<Source> {
        self.unique("spec.sources", sources.iter().map(|source| source.name.as_str()));
        let checked = sources.iter().enumerate();
        checked.filter_map(|(at, source)| self.source(at, source, channels, gateway)).collect()
    }

    fn source(
        &mut self,
        at: usize,
        source: &raw::Source,
        channels: &[Channel],
        gateway: &str,
    ) -> Option<Source> {
        let path = format!("spec.sources[{at}]");
        let kind = self.source_kind(&path, source, gateway);
        let params = captures(source);
        let scope = Scope::Source { params: params.as_deref() };
        let mut publish = Vec::new();
        for (n, rule) in source.publish.iter().enumerate() {
            let place = format!("{path}.publish[{n}]");
            if n > 0 && source.publish.get(n - 1).is_some_and(|earlier| earlier.when.is_none()) {
                let message = format!(
                    "is never reached: {path}.publish[{}] has no `when` and takes every message",
                    n - 1
                );
                self.problems
                    .add(Problem::error(&place, message).hint("only the last rule can do without `when`"));
            }
            publish.extend(self.publish_rule(&place, rule, &scope, channels));
        }
        let ingest = match source.ingest.unwrap_or_default() {
            raw::Ingest::EveryPod => Ingest::EveryPod,
            raw::Ingest::OnePod => Ingest::OnePod,
        };
        let checked = Source { name: source.name.clone(), ingest, kind: kind?, publish };
        if !checked.through_the_broker() {
            self.past_the_broker(&path, &source.publish);
            self.kept_by_nobody(&path, &checked.publish, channels);
        }
        Some(checked)
    }

    fn source_kind(&mut self, path: &str, source: &raw::Source, gateway: &str) -> Option<SourceKind> {
        match (&source.redis_pub_sub, &source.redis_stream) {
            (Some(redis), None) => self.redis_pub_sub(&format!("{path}.redisPubSub"), redis),
            (None, Some(stream)) => {
                let own = format!("rtgw:{gateway}:{}", source.name);
                self.redis_stream(&format!("{path}.redisStream"), stream, own)
            }
            (None, None) => {
                let problem = Problem::error(path, "says nothing to listen to");
                self.problems.add(problem.hint("add redisPubSub or redisStream"));
                None
            }
            (Some(_), Some(_)) => {
                let problem =
                    Problem::error(path, "has redisPubSub and redisStream: only one of them can be meant");
                self.problems.add(problem.hint("make two sources of it"));
                None
            }
        }
    }

    /// What only the broker can do is refused where it is not passed.
    fn past_the_broker(&mut self, path: &str, rules: &[raw::PublishRule]) {
        for (n, _) in rules.iter().enumerate().filter(|(_, rule)| rule.idempotency_key.is_some()) {
            let place = format!("{path}.publish[{n}].idempotencyKey");
            let message = "does nothing where every pod hears the source by itself, past the broker";
            self.problems.add(Problem::error(place, message).hint("add `ingest: OnePod`, or take it out"));
        }
    }

    /// What goes past the broker is in no history: a client that recovers would not be given it, and nobody would know.
    fn kept_by_nobody(&mut self, path: &str, rules: &[PublishRule], channels: &[Channel]) {
        const HINT: &str = "add `ingest: OnePod`, or read a redisStream";
        for (n, rule) in rules.iter().enumerate() {
            let place = format!("{path}.publish[{n}]");
            match &rule.channels {
                PublishChannels::From(_) => {
                    if channels.iter().any(|channel| channel.history.is_some()) {
                        let message = "may name a channel that keeps history: what every pod hears by itself is in none";
                        let problem = Problem::warning(format!("{place}.channelsFrom"), message);
                        self.problems.add(problem.hint(HINT));
                    }
                }
                PublishChannels::List(templates) => {
                    for (at, template) in templates.iter().enumerate() {
                        let patterns = channels.iter().map(|channel| &channel.pattern);
                        let reached = reach::may_reach(template, patterns).map(|at| &channels[at]);
                        let mut kept = reached.filter(|channel| channel.history.is_some());
                        let Some(channel) = kept.next() else { continue };
                        let message = format!(
                            "may feed `{}`, which keeps history: what every pod hears by itself is in none",
                            channel.pattern.source()
                        );
                        let problem = Problem::error(format!("{place}.channels[{at}]"), message);
                        self.problems.add(problem.hint(HINT));
                    }
                }
            }
        }
    }

    fn redis_stream(&mut self, path: &str, source: &raw::RedisStream, own: String) -> Option<SourceKind> {
        let redis = self.own_redis(path, source.redis.as_ref());
        Some(SourceKind::RedisStream(RedisStream {
            key: source.key.clone(),
            group: source.group.clone().unwrap_or(own),
            start: match source.start.unwrap_or_default() {
                raw::StreamStart::New => StreamStart::New,
                raw::StreamStart::Beginning => StreamStart::Beginning,
            },
            redis: redis?,
        }))
    }

    /// Outer `None`: there is one and it is wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are different things here")]
    fn own_redis(&mut self, path: &str, redis: Option<&raw::ExternalRedis>) -> Option<Option<RedisAddress>> {
        match redis {
            None => Some(None),
            Some(redis) => self.redis_address(&format!("{path}.redis"), redis).map(Some),
        }
    }

    fn redis_pub_sub(&mut self, path: &str, source: &raw::RedisPubSub) -> Option<SourceKind> {
        let channels = source.channels.clone().unwrap_or_default();
        let written = source.patterns.as_deref().unwrap_or_default();
        if channels.is_empty() && written.is_empty() {
            let problem = Problem::error(path, "says nothing to listen to");
            self.problems.add(problem.hint("add channels: [NAME], or patterns: [\"NAME:*\"]"));
        }
        for (at, channel) in channels.iter().enumerate() {
            if channels.iter().take(at).any(|earlier| earlier == channel) {
                self.error(format!("{path}.channels[{at}]"), format!("`{channel}` is listed twice"));
            } else if channel.contains('*') {
                let problem = Problem::warning(
                    format!("{path}.channels[{at}]"),
                    "is an exact name, in which `*` stands for itself",
                );
                self.problems.add(problem.hint("a glob belongs under patterns"));
            }
        }
        let mut patterns = Vec::new();
        for (at, text) in written.iter().enumerate() {
            patterns.push(self.source_pattern(&format!("{path}.patterns[{at}]"), text));
        }
        let redis = self.own_redis(path, source.redis.as_ref());
        Some(SourceKind::RedisPubSub(RedisPubSub {
            channels,
            patterns: patterns.into_iter().collect::<Option<_>>()?,
            redis: redis?,
        }))
    }

    /// A glob, or a name with captures, which is subscribed as a glob and compared again when a message comes.
    fn source_pattern(&mut self, path: &str, text: &str) -> Option<SourcePattern> {
        if !text.contains(['{', '}']) {
            return Some(SourcePattern::Glob(text.to_owned()));
        }
        match Pattern::parse(text) {
            Ok(pattern) => {
                let segment = |segment: &Segment| match segment {
                    Segment::Literal(literal) => literal.clone(),
                    Segment::Capture(_) | Segment::Rest(_) => "*".to_owned(),
                };
                let glob: Vec<String> = pattern.segments().iter().map(segment).collect();
                Some(SourcePattern::Captures { glob: glob.join(":"), pattern })
            }
            Err(error) => {
                let hint = error
                    .hint()
                    .or_else(|| Some("a name with captures such as workspace:{id}, or a glob".into()));
                self.problems.add(Problem { hint, ..Problem::error(path, error.to_string()) });
                None
            }
        }
    }

    fn publish_rule(
        &mut self,
        path: &str,
        rule: &raw::PublishRule,
        scope: &Scope<'_>,
        channels: &[Channel],
    ) -> Option<PublishRule> {
        let field = |name: &str| format!("{path}.{name}");
        let when = self.optional(&field("when"), rule.when.as_ref(), scope);
        let event = self.optional(&field("event"), rule.event.as_ref(), scope);
        let data = self.optional(&field("data"), rule.data.as_ref(), scope);
        let timestamp = self.optional(&field("timestamp"), rule.timestamp.as_ref(), scope);
        let priority = self.optional(&field("priority"), rule.priority.as_ref(), scope);
        let idempotency_key = self.optional(&field("idempotencyKey"), rule.idempotency_key.as_ref(), scope);
        let mut tags = std::collections::BTreeMap::new();
        for (tag, text) in rule.tags.iter().flatten() {
            let place = format!("{path}.tags.{tag}");
            if !super::syntax::word(tag) {
                let problem = Problem::error(&place, "is not the name of a tag");
                self.problems.add(problem.hint("letters, digits and `_`, for example job_id"));
            }
            if let Some(expression) = self.expression(&place, text, scope) {
                tags.insert(tag.clone(), expression);
            }
        }
        let target = self.publish_channels(path, rule, scope, channels);
        Some(PublishRule {
            when: when?,
            channels: target?,
            event: event?,
            data: data?,
            tags,
            timestamp: timestamp?,
            priority: priority?,
            idempotency_key: idempotency_key?,
        })
    }

    fn publish_channels(
        &mut self,
        path: &str,
        rule: &raw::PublishRule,
        scope: &Scope<'_>,
        channels: &[Channel],
    ) -> Option<PublishChannels> {
        match (&rule.channels, &rule.channels_from) {
            (Some(_), Some(_)) => {
                self.error(path, "has channels and channelsFrom: only one of them can be meant");
                None
            }
            (None, None) => {
                self.problems.add(
                    Problem::error(path, "does not say where it publishes").hint("add channels: [CHANNEL]"),
                );
                None
            }
            (None, Some(text)) => {
                self.expression(&format!("{path}.channelsFrom"), text, scope).map(PublishChannels::From)
            }
            (Some(texts), None) => {
                let mut templates = Vec::new();
                for (at, text) in texts.iter().enumerate() {
                    let place = format!("{path}.channels[{at}]");
                    let template = self.template(&place, text, scope);
                    if let Some(template) = &template {
                        self.reachable(&place, template, channels);
                    }
                    templates.push(template);
                }
                templates.into_iter().collect::<Option<_>>().map(PublishChannels::List)
            }
        }
    }
}

/// Names that the patterns of `source` bind; `None` where one of them is wrong.
fn captures(source: &raw::Source) -> Option<Vec<String>> {
    let patterns = source.redis_pub_sub.iter().flat_map(|redis| redis.patterns.iter().flatten());
    let mut names = Vec::new();
    for text in patterns.filter(|text| text.contains(['{', '}'])) {
        names.extend(Pattern::parse(text).ok()?.captures());
    }
    Some(names)
}
