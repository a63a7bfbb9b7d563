//! Channels: patterns, filters, and policies that need or exclude each other. That a pattern is there twice is left to the operator, who
//! finds every pattern that is never reached: 256 long ones have more pairs than a rule may compare when it runs.

use super::{Rule, spelling};

/// Segments joined by `:`: literal ones, `{name}`, and at the end `{name*}`.
pub(super) const PATTERN: &str = r"^(([A-Za-z0-9_.~@=+,$!%-]{1,128}|\{[A-Za-z_][A-Za-z0-9_]*\}):)*([A-Za-z0-9_.~@=+,$!%-]{1,128}|\{[A-Za-z_][A-Za-z0-9_]*[*]?\})$";

/// Captures that expressions could not name: their own words, and those of CEL.
pub(super) const TAKEN: &str = r"\{(claims|user|tenant|connection|now|params|channel|event|data|args|msg|as|break|const|continue|else|false|for|function|if|import|in|let|loop|namespace|null|package|return|true|var|void|while)[*]?\}";

/// A name that expressions and clients can write without quotes.
pub(super) const WORD: &str = "^[A-Za-z_][A-Za-z0-9_]{0,62}$";

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new(
            "channels[].pattern",
            format!(r#"self.matches(r"{PATTERN}")"#),
            "is not a pattern such as room:{room} or files:{path*}: segments of A-Z a-z 0-9 _ . ~ @ = + , $ ! % - or whole captures, joined by :",
        ),
        Rule::new(
            "channels[].pattern",
            format!(r#"!self.matches(r"{TAKEN}")"#),
            "calls a capture by a name that expressions already use: write for example {user_id} instead of {user}",
        ),
        Rule::new(
            "channels[].filters",
            format!("self.all(name, name.matches('{WORD}') && self[name].matches('{WORD}'))"),
            "has a name or a tag that is none: letters, digits and _, such as job_ids: job_id",
        ),
        Rule::new(
            "channels[].filters",
            "!['type', 'event', 'id', 'timestamp', 'data', 'channel', 'filters', 'recover', 'presence', 'event_types'].exists(taken, taken in self)",
            "has a name that the subscribe command already uses for something else: write for example event_types_list",
        ),
        spelling::duration("channels[].history.ttl", "1s", "168h"),
        Rule::new(
            "channels[]",
            "!has(self.history) || self.history.mode != 'Stream' || !has(self.delivery) || \
             !(has(self.delivery.maxRate) || self.delivery.?slowConsumer.orValue('Disconnect') == 'LatestPerKey')",
            "cannot have mode Stream where delivery.maxRate or slowConsumer leaves publications out, because clients would ask for them: use Cache, or take maxRate and LatestPerKey out",
        )
        .about(".history"),
    ];
    for field in ["joinLeave", "info"] {
        let given = match field {
            "info" => "!has(self.info)",
            _ => "!self.?joinLeave.orValue(false)",
        };
        let rule = format!("{given} || self.?enabled.orValue(false)");
        rules.push(
            Rule::new(
                "channels[].presence",
                rule,
                format!("does nothing without enabled: true; set that, or take {field} out"),
            )
            .about(if field == "info" { ".info" } else { ".joinLeave" }),
        );
    }
    rules.extend(delivery());
    rules
}

fn delivery() -> Vec<Rule> {
    let replaces = "self.?slowConsumer.orValue('Disconnect') == 'LatestPerKey'";
    // The time of a rate in milliseconds; one that has no number is of one unit.
    let time = "duration(self.split('/')[1].matches('^[0-9]') ? self.split('/')[1] : '1' + self.split('/')[1]).getMilliseconds()";
    let count = "int(self.split('/')[0])";
    vec![
        Rule::new(
            "channels[].delivery.maxRate",
            format!(
                "self.matches('^[0-9]{{1,5}}/([0-9]{{1,5}})?(h|m|s|ms)$') && {count} > 0 && {time} > 9 * {count} && {time} <= 600000 * {count}"
            ),
            "must be a rate from one every 10m to 100/s: a number per time, such as 1/s, 30/m or 1/5s",
        ),
        spelling::duration("channels[].delivery.batch", "1ms", "1s"),
        Rule::new(
            "channels[].delivery.conflate",
            format!("self.matches('{WORD}')"),
            "does not name a tag: letters, digits and _, such as job_id",
        ),
        Rule::new(
            "channels[].delivery",
            format!("!has(self.conflate) || has(self.maxRate) || {replaces}"),
            "does nothing without maxRate or slowConsumer LatestPerKey: add for example maxRate: 1/s, or take conflate out",
        )
        .about(".conflate"),
        Rule::new(
            "channels[].delivery",
            format!("!has(self.events) || has(self.maxRate) || has(self.batch) || {replaces}"),
            "limits a policy to some events, and there is none to limit: add maxRate, batch or slowConsumer LatestPerKey, or take events out",
        )
        .about(".events"),
    ]
}
