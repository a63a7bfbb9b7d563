//! Endpoints: their paths, what excludes what, heartbeats.

use super::spelling::DURATION;
use super::{Rule, spelling};

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = paths();
    rules.extend([
        spelling::name("endpoints[].name"),
        spelling::origin("endpoints[].auth.allowedOrigins[]"),
        spelling::token_place("endpoints[].auth.tokenFrom[]"),
        Rule::new(
            "endpoints[]",
            "!self.?seq.orValue(false) || self.?envelope.orValue('Typed') != 'Raw'",
            "cannot be added to the Raw envelope, which is the data alone: use Typed or Event, or take seq out",
        )
        .about(".seq"),
        Rule::new(
            "endpoints[]",
            "!self.?seq.orValue(false) || self.?compression.?mode.orValue('None') == 'None'",
            "cannot be combined with compression, which is done once for everyone: set compression.mode to None, or take seq out",
        )
        .about(".seq"),
        Rule::new(
            "endpoints[]",
            "!self.?metadata.orValue(false) || self.?envelope.orValue('Typed') != 'Raw'",
            "cannot be added to the Raw envelope, which is the data alone: use Typed or Event, or take metadata out",
        )
        .about(".metadata"),
        Rule::new(
            "endpoints[].greeting",
            "!has(self.message) || !self.?disabled.orValue(false)",
            "has a message and is disabled: take one of them out",
        ),
        spelling::duration("endpoints[].heartbeat.interval", "1s", "1h"),
        spelling::duration("endpoints[].heartbeat.timeout", "1s", "2h"),
        spelling::duration("endpoints[].heartbeat.idle", "1s", "24h"),
        Rule::new(
            "endpoints[].heartbeat",
            format!(
                "(has(self.interval) && !self.interval.matches('{DURATION}')) || (has(self.timeout) && !self.timeout.matches('{DURATION}')) || \
                 (has(self.interval) ? duration(self.interval) : duration('25s')) < (has(self.timeout) ? duration(self.timeout) : duration('60s'))"
            ),
            "timeout must be longer than interval; where they are absent they are 60s and 25s",
        ),
    ]);
    rules
}

/// Which pages have which paths. Those of two endpoints' stats and health are compared by the operator: there may be too many pairs of them.
fn paths() -> Vec<Rule> {
    vec![
        spelling::path("endpoints[].path"),
        spelling::path("endpoints[].stats.paths[]"),
        spelling::path("endpoints[].health.paths[]"),
        Rule::new(
            "endpoints",
            "self.all(e, self.exists_one(o, o.path == e.path))",
            "two endpoints have the same path: give each its own",
        ),
        Rule::new(
            "endpoints",
            "self.all(e, self.all(o, !(has(o.stats) && has(o.stats.paths) && e.path in o.stats.paths) && \
             !(has(o.health) && has(o.health.paths) && e.path in o.health.paths)))",
            "a page of stats or health has the path of an endpoint: give it another one, such as /ws/stats",
        ),
        Rule::new(
            "endpoints[].stats.paths",
            "self.all(p, self.exists_one(o, o == p))",
            "names a path twice: take one of them out",
        ),
        Rule::new(
            "endpoints[]",
            "!has(self.stats) || !has(self.stats.paths) || !has(self.health) || !has(self.health.paths) || self.stats.paths.all(p, !(p in self.health.paths))",
            "has a path that is one of stats.paths too: a page can only be one of them",
        )
        .about(".health"),
    ]
}
