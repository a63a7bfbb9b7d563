//! The rules that hold now: a snapshot that everybody loads when asked and a reload replaces as a whole.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rtgw_config::checked::Checked;
use rtgw_hub::access::Revision;
use rtgw_model::{ChannelName, HistoryPolicy, RuleIx};

use crate::numbers::Numbers;
use crate::rules::CompiledRules;

/// The running configuration's rules.
#[derive(Debug)]
pub struct Rulebook {
    current: ArcSwap<CompiledRules>,
    numbers: Arc<Numbers>,
    /// Held while the rules are replaced: two reloads at once must not give one revision twice.
    replacing: Mutex<()>,
}

impl Rulebook {
    /// The rules of the configuration that the process starts with.
    pub fn new(config: &Checked) -> Arc<Self> {
        let numbers = Arc::new(Numbers::default());
        let rules = CompiledRules::of(config, Arc::clone(&numbers), Revision::FIRST);
        Arc::new(Self { current: ArcSwap::from_pointee(rules), numbers, replacing: Mutex::new(()) })
    }

    /// The rules of now; a caller that asks twice loads once.
    pub fn load(&self) -> Arc<CompiledRules> {
        self.current.load_full()
    }

    /// Has everybody who asks from now on answered by the rules of `config`. Shards are told by
    /// [`Control::reload`](crate::control::Control::reload).
    pub fn replace(&self, config: &Checked) -> Arc<CompiledRules> {
        let _one_at_a_time = self.replacing.lock();
        let next = Revision(self.current.load().revision().0 + 1);
        let rules = Arc::new(CompiledRules::of(config, Arc::clone(&self.numbers), next));
        self.current.store(Arc::clone(&rules));
        rules
    }

    /// The rule of a declared channel.
    pub fn rule_of(&self, channel: &ChannelName) -> Option<RuleIx> {
        self.current.load().rule_of(channel)
    }

    /// Whether one of the channels is sensitive.
    pub fn any_sensitive(&self, channels: &[ChannelName]) -> bool {
        self.current.load().any_sensitive(channels)
    }

    /// What the broker keeps of the channel.
    pub fn history_of(&self, channel: &ChannelName) -> Option<Arc<HistoryPolicy>> {
        self.current.load().history_of(channel)
    }

    /// The numbers of rules and endpoints.
    pub fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rtgw_hub::access::Lookup;

    use super::*;
    use crate::fixture::checked;

    fn config(channels: &str) -> Checked {
        checked(&format!(
            "endpoints: [{{name: ws, path: /ws}}]\nauth: {{anonymous: Allow}}\nchannels: [{channels}]\n"
        ))
    }

    #[test]
    fn replaced_rules_keep_the_numbers_of_their_patterns_and_tell_whether_they_decide_otherwise() {
        let book = Rulebook::new(&config("{pattern: a, subscribe: 'true'}, {pattern: 'b:{x}'}"));
        let channel = |name| ChannelName::parse(name).unwrap();
        let policy = |name| book.load().policy(&channel(name));
        let before = [policy("a").unwrap(), policy("b:1").unwrap()];
        assert_eq!((book.load().revision(), before[1].rule), (Revision::FIRST, RuleIx(1)));

        book.replace(&config(
            "{pattern: c}, {pattern: 'b:{x}', filters: {ids: id}}, {pattern: a, subscribe: 'false'}",
        ));
        let after = [policy("a").unwrap(), policy("b:1").unwrap(), policy("c").unwrap()];
        assert_eq!(after.each_ref().map(|policy| policy.rule.0), [0, 1, 2]);
        assert_eq!((book.load().revision(), book.load().rules()), (Revision(2), 3));
        assert_ne!(before[0].permission, after[0].permission, "another rule");
        assert_eq!(before[1].permission, after[1].permission, "filters let nobody in");
        assert_ne!(after[1].filters, before[1].filters);

        book.replace(&config("{pattern: '{any}', subscribe: 'false'}, {pattern: 'b:{y}'}"));
        assert_eq!(book.rule_of(&channel("a")), Some(RuleIx(3)), "another pattern is another rule");
        assert_ne!(policy("a").unwrap().permission, after[0].permission);
        assert_eq!(book.rule_of(&channel("x:y")), None);
    }
}
