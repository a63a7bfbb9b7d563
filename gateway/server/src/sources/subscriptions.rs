//! What a Redis source subscribes to, and which of it a message came by.

use rtgw_config::checked::SourcePattern;

use super::glob;

/// Channels and patterns of one source, in the manifest's order.
#[derive(Clone, Debug)]
pub struct Subscriptions {
    channels: Vec<String>,
    patterns: Vec<SourcePattern>,
}

impl Subscriptions {
    /// Exact channels and patterns.
    pub fn new(channels: Vec<String>, patterns: Vec<SourcePattern>) -> Self {
        Self { channels, patterns }
    }

    /// For `SUBSCRIBE`.
    pub(super) fn channels(&self) -> &[String] {
        &self.channels
    }

    /// For `PSUBSCRIBE`, each once.
    pub(super) fn globs(&self) -> Vec<&str> {
        let mut globs: Vec<&str> = self.patterns.iter().map(glob_of).collect();
        globs.sort_unstable();
        globs.dedup();
        globs
    }

    /// The captures of a message of `channel`, or `None` when it is not ours.
    ///
    /// Redis sends a message once for the channel and once for every glob that fits (`glob`). Only the first subscription that fits
    /// takes it, so that a message is published once; and a pattern with captures takes less than its glob.
    pub(super) fn bind<'a>(
        &'a self,
        channel: &'a str,
        glob: Option<&str>,
    ) -> Option<Vec<(&'a str, &'a str)>> {
        if self.channels.iter().any(|known| known == channel) {
            return glob.is_none().then(Vec::new);
        }
        let first = self.patterns.iter().find_map(|pattern| Some((pattern, captures(pattern, channel)?)));
        let (pattern, captures) = first?;
        (glob == Some(glob_of(pattern))).then_some(captures)
    }
}

fn glob_of(pattern: &SourcePattern) -> &str {
    match pattern {
        SourcePattern::Glob(glob) | SourcePattern::Captures { glob, .. } => glob,
    }
}

fn captures<'a>(pattern: &'a SourcePattern, channel: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    match pattern {
        SourcePattern::Glob(glob) => glob::fits(glob.as_bytes(), channel.as_bytes()).then(Vec::new),
        SourcePattern::Captures { pattern, .. } => pattern.matches(channel),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rtgw_config::pattern::Pattern;

    use super::*;

    fn subscriptions() -> Subscriptions {
        let captures = |text: &str, glob: &str| SourcePattern::Captures {
            glob: glob.to_owned(),
            pattern: Pattern::parse(text).unwrap(),
        };
        Subscriptions::new(
            vec!["jobs:all".to_owned()],
            vec![
                SourcePattern::Glob("jobs:*".to_owned()),
                captures("workspace:{id}", "workspace:*"),
                captures("workspace:{id}:{kind}", "workspace:*"),
                captures("{any}:1", "*:1"),
            ],
        )
    }

    #[test]
    fn a_message_is_taken_once() {
        let subscriptions = subscriptions();
        let bind = |channel, glob| subscriptions.bind(channel, glob).map(|captures| captures.len());
        assert_eq!(bind("jobs:all", None), Some(0));
        assert_eq!(bind("jobs:all", Some("jobs:*")), None, "already taken by the exact channel");
        assert_eq!(bind("jobs:1", Some("jobs:*")), Some(0));
        assert_eq!(bind("jobs:1", Some("*:1")), None, "the first pattern takes it");
        assert_eq!(bind("other:1", Some("*:1")), Some(1));
    }

    #[test]
    fn captures_take_less_than_their_glob() {
        let subscriptions = subscriptions();
        let bind = |channel| subscriptions.bind(channel, Some("workspace:*"));
        assert_eq!(bind("workspace:7").unwrap(), [("id", "7")]);
        assert_eq!(bind("workspace:7:a").unwrap(), [("id", "7"), ("kind", "a")]);
        assert_eq!(bind("workspace:7:a:b"), None);
        assert_eq!(subscriptions.globs(), ["*:1", "jobs:*", "workspace:*"]);
    }
}
