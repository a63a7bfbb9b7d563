//! Numbers for the names of a manifest, given once and kept for the life of the process: what is counted under a number before a
//! reload goes on under it after.

use std::sync::Arc;

use parking_lot::RwLock;
use rtgw_model::{EndpointIx, RuleIx};
use rustc_hash::FxHashMap;

/// The numbers of channel patterns and endpoints. Only grows, and only by what manifests name.
#[derive(Debug, Default)]
pub struct Numbers {
    patterns: RwLock<Names>,
    endpoints: RwLock<Names>,
}

#[derive(Debug, Default)]
struct Names {
    numbers: FxHashMap<Arc<str>, u16>,
    names: Vec<Arc<str>>,
}

impl Names {
    fn number(&mut self, name: &str) -> u16 {
        if let Some(known) = self.numbers.get(name) {
            return *known;
        }
        // Whoever reloads so many different names counts the rest of them as one.
        let number = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        if number == u16::MAX {
            return u16::MAX - 1;
        }
        let name: Arc<str> = name.into();
        self.numbers.insert(Arc::clone(&name), number);
        self.names.push(name);
        number
    }
}

impl Numbers {
    /// The number of a channel pattern.
    pub fn rule(&self, pattern: &str) -> RuleIx {
        RuleIx(self.patterns.write().number(pattern))
    }

    /// The number of an endpoint's name.
    pub fn endpoint(&self, name: &str) -> EndpointIx {
        EndpointIx(self.endpoints.write().number(name))
    }

    /// Every pattern that ever had a number, by its number.
    pub fn patterns(&self) -> Vec<Arc<str>> {
        self.patterns.read().names.clone()
    }

    /// Every endpoint that ever had a number, by its number.
    pub fn endpoints(&self) -> Vec<Arc<str>> {
        self.endpoints.read().names.clone()
    }

    /// How many patterns have a number.
    pub fn rule_count(&self) -> usize {
        self.patterns.read().names.len()
    }

    /// How many endpoints have a number.
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.read().names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let numbers = Numbers::default();
        let first: Vec<_> = ["a", "b", "a", "c"].map(|name| numbers.rule(name).0).into();
        assert_eq!(first, [0, 1, 0, 2]);
        assert_eq!(numbers.rule("b"), RuleIx(1));
        assert_eq!(numbers.endpoint("b"), EndpointIx(0), "endpoints count for themselves");
        assert_eq!(numbers.patterns().iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((numbers.rule_count(), numbers.endpoint_count()), (3, 1));
    }

    #[test]
    fn more_names_than_numbers_share_the_last_one() {
        let numbers = Numbers::default();
        for name in 0..70_000 {
            numbers.rule(&name.to_string());
        }
        assert_eq!((numbers.rule("0").0, numbers.rule("69999").0), (0, u16::MAX - 1));
        assert_eq!(numbers.rule_count(), usize::from(u16::MAX));
    }
}
