//! The latest publications of the channels that some `replyLatest` may name and that keep no history, as this pod heard them. Of the
//! others the broker knows more than one pod does.
//!
//! What passes the intake is remembered: everything of this pod's sources, with or without a subscriber, and of what others publish
//! what this pod is carried because somebody here subscribes. Bounded in channels, in publications per channel and in bytes; what was
//! updated longest ago goes first, and a channel that was silent for an hour is forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_config::checked::{Checked, CommandAction};
use rtgw_model::{ChannelName, Millis, Publication, RuleIx, Timestamp};

use crate::expressions::ScalarExpression;
use crate::sources::{FindRule, reached};

/// Most channels that are remembered.
const CHANNELS: usize = 10_000;
/// Most publications of a channel: combinations of an event and the tags that some command asks.
const ENTRIES: usize = 64;
/// Most bytes, bookkeeping included.
const BYTES: usize = 64 << 20;
/// What a publication costs besides its data.
const OVERHEAD: usize = 256;
/// A channel without news for so long is forgotten.
const IDLE_MS: u64 = 60 * 60 * 1000;

/// A remembered publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Raw JSON.
    pub data: Bytes,
    /// When it happened.
    pub timestamp: Timestamp,
    /// As published.
    pub priority: Option<Box<str>>,
}

impl Remembered {
    /// What is remembered of `publication`.
    pub fn of(publication: &Publication) -> Self {
        let Publication { data, timestamp, priority, .. } = publication;
        Self { data: data.clone(), timestamp: *timestamp, priority: priority.clone() }
    }
}

/// Whether a publication is of this event and has these tags.
pub fn fits(publication: &Publication, event: &str, tags: &[(&str, Box<str>)]) -> bool {
    *publication.event == *event && tags.iter().all(|(name, value)| publication.tag(name) == Some(value))
}

/// The memory. Nothing here waits for anything but its lock, which is held for the copy of one publication's name and place.
pub struct Latest {
    find_rule: FindRule,
    /// Rules whose channels a command may name, sorted.
    rules: Box<[RuleIx]>,
    /// The events that commands ask for; `None` where one computes it.
    events: Option<Box<[Box<str>]>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The tags that commands ask for, sorted.
    tags: Box<[Box<str>]>,
    channels: HashMap<ChannelName, Kept>,
    /// Channels by their last update.
    order: BTreeMap<u64, ChannelName>,
    bytes: usize,
    updates: u64,
}

/// What is remembered of a channel.
#[derive(Default)]
struct Kept {
    entries: Vec<Entry>,
    /// Its key in the order.
    updated: u64,
    at: Millis,
}

struct Entry {
    event: Box<str>,
    /// The values of [`State::tags`]; `None` also where nobody asked for the tag when it was published.
    tags: Box<[Option<Box<str>>]>,
    /// The update that brought it.
    updated: u64,
    bytes: usize,
    remembered: Remembered,
}

impl Latest {
    /// A memory for what the commands of `config` may ask; `None` where none asks. `find_rule` finds a channel's rule.
    pub fn new(config: &Checked, find_rule: FindRule) -> Option<Self> {
        Self::renewed(config, find_rule, &|place| Some(place), None)
    }

    /// The same, which goes on with what `before` remembers. `number` gives the number of the rule at a place of the configuration.
    pub fn renewed(
        config: &Checked,
        find_rule: FindRule,
        number: &dyn Fn(RuleIx) -> Option<RuleIx>,
        before: Option<&Self>,
    ) -> Option<Self> {
        let mut rules: Vec<RuleIx> = Vec::new();
        let mut events = Some(Vec::new());
        let mut tags = Vec::new();
        for command in &config.commands {
            let CommandAction::ReplyLatest { channel, event, tags: asked, .. } = &command.action else {
                continue;
            };
            let kept = |place: &RuleIx| {
                config.channels.get(usize::from(place.0)).is_some_and(|channel| channel.history.is_some())
            };
            let reached = reached(channel, &config.channels).into_iter();
            rules.extend(reached.filter(|place| !kept(place)).filter_map(number));
            match ScalarExpression::new(event).constant() {
                Some(event) => events.iter_mut().for_each(|events| events.push(event.into())),
                None => events = None,
            }
            tags.extend(asked.keys().map(|tag| Box::from(tag.as_str())));
        }
        rules.sort_unstable();
        rules.dedup();
        tags.sort_unstable();
        tags.dedup();
        if rules.is_empty() {
            return None;
        }
        let state = before.map(|before| Arc::clone(&before.state)).unwrap_or_default();
        state.lock().ask_for(tags.into());
        Some(Self { find_rule, rules: rules.into(), events: events.map(Into::into), state })
    }

    /// Remembers `publication` if a command may ask for it.
    pub fn note(&self, publication: &Publication, now: Millis) {
        let event = &publication.event;
        // What is ephemeral is not kept.
        let asked = self.events.as_ref().is_none_or(|events| events.contains(event));
        if !asked || publication.except.is_some() {
            return;
        }
        let asked = |rule: RuleIx| self.rules.binary_search(&rule).is_ok();
        let mut channels = publication
            .channels
            .iter()
            .filter(|channel| (self.find_rule)(channel).is_some_and(asked))
            .peekable();
        if channels.peek().is_none() {
            return;
        }
        // A copy: the data may be a slice of a message that is much larger.
        let remembered =
            Remembered { data: Bytes::copy_from_slice(&publication.data), ..Remembered::of(publication) };
        let mut state = self.state.lock();
        let tags: Box<[Option<Box<str>>]> =
            state.tags.iter().map(|tag| publication.tag(tag).map(Into::into)).collect();
        for channel in channels {
            state.note(channel, event, &tags, remembered.clone(), now);
        }
    }

    /// The latest publication of `channel` with this event and these tags.
    pub fn find(
        &self,
        channel: &ChannelName,
        event: &str,
        tags: &[(&str, Box<str>)],
        now: Millis,
    ) -> Option<Remembered> {
        let mut state = self.state.lock();
        state.forget_idle(now);
        let fits = |entry: &&Entry| {
            let has = |(name, value): &(&str, Box<str>)| {
                let at = state.tags.iter().position(|tag| **tag == **name);
                at.and_then(|at| entry.tags.get(at)?.as_ref()) == Some(value)
            };
            *entry.event == *event && tags.iter().all(has)
        };
        let entries = &state.channels.get(channel)?.entries;
        entries.iter().filter(fits).max_by_key(|entry| entry.updated).map(|entry| entry.remembered.clone())
    }
}

impl State {
    /// Remembers by these tags from now on: what is remembered already keeps those of them that it has.
    fn ask_for(&mut self, tags: Box<[Box<str>]>) {
        if self.tags == tags {
            return;
        }
        let places: Box<[Option<usize>]> =
            tags.iter().map(|tag| self.tags.iter().position(|known| known == tag)).collect();
        for kept in self.channels.values_mut() {
            let mut entries = std::mem::take(&mut kept.entries);
            entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.updated));
            for mut entry in entries {
                let named = named(&entry.tags);
                entry.tags = places.iter().map(|place| entry.tags.get((*place)?)?.clone()).collect();
                self.bytes -= entry.bytes;
                // Of those that differ in nothing that is still asked for, the newest counts.
                let same = |other: &Entry| other.event == entry.event && other.tags == entry.tags;
                if !kept.entries.iter().any(same) {
                    entry.bytes = entry.bytes - named + self::named(&entry.tags);
                    self.bytes += entry.bytes;
                    kept.entries.push(entry);
                }
            }
        }
        self.tags = tags;
    }

    fn note(
        &mut self,
        channel: &ChannelName,
        event: &str,
        tags: &[Option<Box<str>>],
        remembered: Remembered,
        now: Millis,
    ) {
        self.forget_idle(now);
        self.updates += 1;
        let updated = self.updates;
        let kept = self.channels.entry(channel.clone()).or_default();
        self.order.remove(&kept.updated);
        self.order.insert(updated, channel.clone());
        (kept.updated, kept.at) = (updated, now);
        let known = kept.entries.iter().position(|entry| *entry.event == *event && *entry.tags == *tags);
        let oldest =
            || kept.entries.iter().enumerate().min_by_key(|(_, entry)| entry.updated).map(|(at, _)| at);
        let replaced = known.or_else(|| oldest().filter(|_| kept.entries.len() >= ENTRIES));
        if let Some(at) = replaced {
            self.bytes -= kept.entries.swap_remove(at).bytes;
        }
        let bytes = OVERHEAD + channel.as_str().len() + event.len() + named(tags) + remembered.data.len();
        self.bytes += bytes;
        kept.entries.push(Entry { event: event.into(), tags: tags.into(), updated, bytes, remembered });
        while self.channels.len() > CHANNELS || self.bytes > BYTES {
            if !self.forget_oldest() {
                break;
            }
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((_, channel)) = self.order.pop_first() else { return false };
        if let Some(kept) = self.channels.remove(&channel) {
            self.bytes -= kept.entries.iter().map(|entry| entry.bytes).sum::<usize>();
        }
        true
    }

    fn forget_idle(&mut self, now: Millis) {
        while let Some((_, channel)) = self.order.first_key_value()
            && self.channels.get(channel).is_none_or(|kept| now.since(kept.at) > IDLE_MS)
        {
            self.forget_oldest();
        }
        // A wave of channels gives its memory back.
        if self.channels.capacity() > 1024 && self.channels.len() < self.channels.capacity() / 8 {
            let room = self.channels.len() * 2;
            self.channels.shrink_to(room);
        }
    }
}

/// Bytes of the values of tags.
fn named(tags: &[Option<Box<str>>]) -> usize {
    tags.iter().flatten().map(|tag| tag.len()).sum()
}

#[cfg(test)]
#[path = "latest_tests.rs"]
mod tests;
