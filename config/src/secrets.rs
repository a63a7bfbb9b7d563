//! Secrets by name, from wherever they were read. Their values are never shown.

use std::collections::BTreeMap;

use crate::checked::Secret;

/// The Secrets at hand.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    by_name: BTreeMap<String, BTreeMap<String, Secret>>,
    elsewhere: BTreeMap<String, String>,
    unseen: bool,
    mounted: bool,
}

impl Secrets {
    /// Secrets of which nothing is known, not even which there are.
    pub(crate) fn unseen() -> Self {
        Self { unseen: true, ..Self::default() }
    }

    /// Whether nothing is known of them.
    pub(crate) fn are_unseen(&self) -> bool {
        self.unseen
    }

    /// None yet; those to come are mounted into this pod.
    pub fn mounted() -> Self {
        Self { mounted: true, ..Self::default() }
    }

    /// Whether they are mounted into this pod, so that no file is the place to add one.
    pub fn are_mounted(&self) -> bool {
        self.mounted
    }

    /// Adds all of `others` that are not there yet, and notes where they come from.
    pub fn join(&mut self, others: &Self) {
        self.mounted |= others.mounted;
        for (name, values) in &others.by_name {
            self.by_name.entry(name.clone()).or_insert_with(|| values.clone());
        }
    }

    /// Whether a reference to `key` of the Secret `name` leads to a value.
    pub fn has(&self, name: &str, key: &str) -> bool {
        self.get(name).and_then(|values| values.get(key)).is_some_and(|value| !value.0.is_empty())
    }

    /// Adds a Secret. `false` where there already is one of this name: it is kept as it was.
    pub fn add(&mut self, name: impl Into<String>, values: BTreeMap<String, Secret>) -> bool {
        match self.by_name.entry(name.into()) {
            std::collections::btree_map::Entry::Occupied(_) => false,
            std::collections::btree_map::Entry::Vacant(free) => {
                free.insert(values);
                true
            }
        }
    }

    /// The values of a Secret.
    pub fn get(&self, name: &str) -> Option<&BTreeMap<String, Secret>> {
        self.by_name.get(name)
    }

    /// Notes a Secret of another namespace, which cannot be used.
    pub fn add_elsewhere(&mut self, name: impl Into<String>, namespace: impl Into<String>) {
        self.elsewhere.insert(name.into(), namespace.into());
    }

    /// The other namespace in which there is a Secret called `name`.
    pub fn elsewhere(&self, name: &str) -> Option<&str> {
        self.elsewhere.get(name).map(String::as_str)
    }

    /// Names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}
