//! What this pod's connections hear, and how much of it presence has been told.

use std::collections::{HashMap, VecDeque};

use rtgw_model::{ChannelName, ConnectionKey, Member, RuleIx};
use tokio::time::Instant;

use super::LINGER;
use crate::broker::{CHANGES, Change, What};

/// A connection in a channel.
pub(super) type Key = (ChannelName, ConnectionKey);

/// What is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// As others see it.
    pub(super) member: Member,
    /// Tells users apart; empty for anonymous.
    pub(super) user: Box<str>,
    /// Others are told.
    pub(super) told: bool,
    pub(super) rule: RuleIx,
}

#[derive(Debug)]
struct Entry {
    known: Known,
    state: State,
    /// In the list of changes.
    changed: bool,
    /// Presence may have been told that it joined.
    said: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Here,
    /// It left; believed at this time.
    Leaving(Instant),
    Gone,
}

/// All of the pod; as many as its connections hold subscriptions of such channels, and those that left a moment ago.
#[derive(Debug, Default)]
pub(super) struct Entries {
    // Clients choose names, so the hash is keyed.
    by_key: HashMap<Key, Entry>,
    /// Who left, in the order of when that is believed.
    leaving: VecDeque<(Instant, Key)>,
    /// Whom presence does not know as it is; each once.
    changes: VecDeque<Key>,
}

impl Entries {
    /// A connection hears a channel.
    pub(super) fn present(&mut self, key: Key, known: Known) {
        let entry = self.by_key.entry(key.clone()).or_insert_with(|| {
            let known = known.clone();
            Entry { known, state: State::Gone, changed: false, said: false }
        });
        // Who came back before it was believed to have left has never left.
        let same = entry.known == known && entry.state != State::Gone;
        (entry.known, entry.state) = (known, State::Here);
        if !same {
            self.change(key);
        }
    }

    /// It hears it no more.
    pub(super) fn absent(&mut self, key: Key, now: Instant) {
        if let Some(entry) = self.by_key.get_mut(&key).filter(|entry| entry.state == State::Here) {
            let at = now + LINGER;
            entry.state = State::Leaving(at);
            self.leaving.push_back((at, key));
        }
    }

    /// Believes who left a moment ago.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some((at, _)) = self.leaving.front()
            && *at <= now
        {
            let Some((at, key)) = self.leaving.pop_front() else { return };
            if self.by_key.get(&key).is_some_and(|entry| entry.state == State::Leaving(at)) {
                self.gone(key);
            }
        }
    }

    /// When [`Entries::settle`] has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.leaving.front().map(|(at, _)| *at)
    }

    /// The pod ends.
    pub(super) fn all_leave(&mut self) {
        let keys: Vec<Key> = self.by_key.keys().cloned().collect();
        keys.into_iter().for_each(|key| self.gone(key));
    }

    fn gone(&mut self, key: Key) {
        let Some(entry) = self.by_key.get_mut(&key) else { return };
        entry.state = State::Gone;
        if entry.said {
            self.change(key);
        } else {
            // Presence never heard of it. Where it is in the list of changes, it is passed over.
            self.by_key.remove(&key);
        }
    }

    fn change(&mut self, key: Key) {
        if let Some(entry) = self.by_key.get_mut(&key)
            && !std::mem::replace(&mut entry.changed, true)
        {
            self.changes.push_back(key);
        }
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The rule of an entry.
    pub(super) fn rule(&self, key: &Key) -> Option<RuleIx> {
        self.by_key.get(key).map(|entry| entry.known.rule)
    }

    /// The next changes to tell, each with its key.
    pub(super) fn take_changes(&mut self) -> (Vec<Key>, Vec<Change>) {
        let (mut keys, mut changes) = (Vec::new(), Vec::new());
        while keys.len() < CHANGES
            && let Some(key) = self.changes.pop_front()
        {
            let Some(entry) = self.by_key.get_mut(&key).filter(|entry| entry.changed) else { continue };
            entry.changed = false;
            let Known { member, user, told, .. } = &entry.known;
            let what = if entry.state == State::Gone {
                What::Leaves(key.1)
            } else {
                entry.said = true;
                What::Joins { member: member.clone(), user: user.clone() }
            };
            changes.push(Change { channel: key.0.clone(), told: *told, what });
            keys.push(key);
        }
        (keys, changes)
    }

    /// These were told.
    pub(super) fn said(&mut self, keys: &[Key]) {
        for key in keys {
            if self.by_key.get(key).is_some_and(|entry| entry.state == State::Gone && !entry.changed) {
                self.by_key.remove(key);
            }
        }
    }

    /// These were not, or nobody knows.
    pub(super) fn not_said(&mut self, keys: Vec<Key>) {
        for key in keys {
            self.change(key);
        }
    }

    /// Presence has forgotten this pod, and will be told all again when it is there: who has left needs no word.
    pub(super) fn nothing_is_said(&mut self) {
        self.changes = VecDeque::new();
        self.by_key.retain(|_, entry| {
            (entry.changed, entry.said) = (false, false);
            entry.state != State::Gone
        });
    }

    /// Tells presence everything again.
    pub(super) fn say_all_again(&mut self) {
        self.nothing_is_said();
        let keys: Vec<Key> = self.by_key.keys().cloned().collect();
        keys.into_iter().for_each(|key| self.change(key));
    }
}
