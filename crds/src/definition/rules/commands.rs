//! Commands of clients: one action each, under names that mean nothing else.

use super::channels::WORD;
use super::{Rule, spelling};

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new(
            "commands",
            "self.all(name, name.matches('^[A-Za-z_][A-Za-z0-9_.:/-]{0,62}$'))",
            "has a name that is none: a letter or _, then up to 62 of A-Z a-z 0-9 _ . : / -",
        ),
        Rule::new(
            "commands",
            "!['auth', 'history', 'ping', 'presence', 'publish', 'refresh', 'subscribe', 'unsubscribe'].exists(name, name in self)",
            "has the name of a command of the protocol (auth, history, ping, presence, publish, refresh, subscribe, unsubscribe): give it another one",
        ),
        Rule::new(
            "commands.*",
            "[has(self.reply), has(self.ack), has(self.replyLatest), has(self.publishTo), has(self.webhook)].filter(one, one).size() == 1",
            "must do exactly one thing: reply, ack, replyLatest, publishTo or webhook",
        ),
        Rule::new(
            "commands.*",
            "!has(self.ephemeral) || has(self.publishTo)",
            "means something only beside publishTo: take it out",
        )
        .about(".ephemeral"),
        spelling::duration("commands.*.webhook.timeout", "10ms", "30s"),
    ];
    for at in ["commands.*.replyLatest.tags", "commands.*.publishTo.tags"] {
        rules.push(tags(at));
    }
    rules.extend(spelling::http_url("commands.*.webhook.url"));
    rules
}

/// Names of tags.
pub(super) fn tags(at: &'static str) -> Rule {
    Rule::new(
        at,
        format!("self.all(name, name.matches('{WORD}'))"),
        "has a name that is none: letters, digits and _, such as job_id",
    )
}
