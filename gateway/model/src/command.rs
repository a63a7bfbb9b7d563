//! Names of commands that the manifest defines.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The name of a command that the manifest defines; a label of metrics. Made only from manifests, never from what clients send.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandName(&'static str);

/// Every name of this process's life. A name costs its bytes once, however often the manifest is loaded.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

impl CommandName {
    /// The name that a manifest declares.
    pub fn declare(name: &str) -> Self {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Self(known);
        }
        let kept: &'static str = Box::leak(Box::from(name));
        names.insert(kept);
        Self(kept)
    }

    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// The names that one configuration declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandNames(Box<[CommandName]>);

impl CommandNames {
    /// These names.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut names: Vec<CommandName> = names.into_iter().map(CommandName::declare).collect();
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }

    /// The declared name that equals what a client sent.
    pub fn find(&self, sent: &str) -> Option<CommandName> {
        let at = self.0.binary_search_by(|known| known.as_str().cmp(sent)).ok()?;
        self.0.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_names_are_found_and_each_is_kept_once() {
        let names = CommandNames::new(["typing", "ask", "typing"]);
        assert_eq!(names.find("ask").map(CommandName::as_str), Some("ask"));
        assert_eq!(names.find("typin"), None);
        assert_eq!(CommandNames::default().find("ask"), None);
        let again = CommandName::declare("typing");
        let found = names.find("typing").map_or("", |name| name.as_str());
        assert!(std::ptr::eq(again.as_str(), found));
    }
}
