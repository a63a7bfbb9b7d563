//! The bounded queue into a shard: many writers, one reader, one wake-up when the reader sleeps.

use mio::Waker;
use parking_lot::Mutex;
use rtgw_hub::{GapScope, Input};
use rtgw_model::{ChannelName, GapReason, Publication};

use super::handoff::{Inbox, InboxFull, ShardInput};

/// Above so many different channels of refused publications the gap is told to every channel instead.
const MISSED_CHANNELS: usize = 64;
/// Room that an emptied queue keeps; a burst's room is given back.
const KEPT_ITEMS: usize = 4_096;

/// The inbox of one shard. Publications count against the bounds until the shard has fanned them out
/// ([`ShardInbox::settle`]), so that a slow fan-out cannot hide a second queue behind the first.
pub(super) struct ShardInbox {
    state: Mutex<State>,
    waker: Waker,
    most: Load,
}

/// An amount of publications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// How many.
    pub(super) publications: usize,
    /// Their data.
    pub(super) bytes: usize,
}

#[derive(Default)]
struct State {
    items: Vec<ShardInput>,
    load: Load,
    missed: Missed,
    refused: u64,
    /// The reader waits in its poll, or is about to.
    asleep: bool,
    /// The reader has ended.
    closed: bool,
}

/// The channels of refused publications that no gap has told of yet.
#[derive(Default)]
enum Missed {
    #[default]
    Nothing,
    Channels(Vec<ChannelName>),
    TooMany,
}

impl Missed {
    fn add(&mut self, publication: &Publication) {
        let mut known = match std::mem::take(self) {
            Self::TooMany => return *self = Self::TooMany,
            Self::Nothing => Vec::new(),
            Self::Channels(known) => known,
        };
        for channel in &publication.channels {
            if !known.contains(channel) {
                known.push(channel.clone());
            }
        }
        *self = if known.len() > MISSED_CHANNELS { Self::TooMany } else { Self::Channels(known) };
    }

    fn take_gap(&mut self) -> Option<ShardInput> {
        let scope = match std::mem::take(self) {
            Self::Nothing => return None,
            Self::Channels(channels) => GapScope::Channels(channels.into_boxed_slice()),
            Self::TooMany => GapScope::All,
        };
        Some(ShardInput::Hub(Input::Gap(scope, GapReason::InboxFull)))
    }
}

/// What a publication weighs in an inbox. The bytes are shared by all shards, and each counts them: the bound must hold
/// when this shard is the last one to hold on to them.
pub(super) fn weight(publication: &Publication) -> usize {
    publication.data.len() + publication.event.len()
}

impl ShardInbox {
    /// An empty inbox of a reader that is awake.
    pub(super) fn new(waker: Waker, most: Load) -> Self {
        Self { state: Mutex::default(), waker, most }
    }

    /// Moves what waits to `into`. A gap for what was refused comes last: everything before
    /// it was accepted earlier.
    pub(super) fn take(&self, into: &mut Vec<ShardInput>) {
        debug_assert!(into.is_empty());
        if into.capacity() > KEPT_ITEMS {
            into.shrink_to(KEPT_ITEMS);
        }
        let mut state = self.state.lock();
        state.asleep = false;
        std::mem::swap(&mut state.items, into);
        into.extend(state.missed.take_gap());
    }

    /// Ends a turn of the reader, in which `done` was fanned out. True when the reader is `idle` and nothing waits here
    /// either: from then on the next post wakes it.
    pub(super) fn settle(&self, done: Load, idle: bool) -> bool {
        let mut state = self.state.lock();
        state.load.publications = state.load.publications.saturating_sub(done.publications);
        state.load.bytes = state.load.bytes.saturating_sub(done.bytes);
        state.asleep = idle && state.items.is_empty();
        state.asleep
    }

    /// Publications posted and not yet fanned out, and how many were ever refused.
    pub(super) fn gauge(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.load.publications, state.refused)
    }

    /// The reader ends: what waits and what comes is dropped.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(items);
    }
}

impl State {
    fn push(&mut self, input: ShardInput, most: Load) -> Result<(), InboxFull> {
        if let ShardInput::Hub(Input::Publication(outgoing)) = &input {
            let publication = outgoing.publication();
            let after = Load {
                publications: self.load.publications + 1,
                bytes: self.load.bytes.saturating_add(weight(publication)),
            };
            if after.publications > most.publications || after.bytes > most.bytes {
                self.missed.add(publication);
                self.refused += 1;
                return Err(InboxFull);
            }
            self.load = after;
            self.items.extend(self.missed.take_gap());
        }
        self.items.push(input);
        Ok(())
    }
}

impl Inbox for ShardInbox {
    fn post(&self, input: ShardInput) -> Result<(), InboxFull> {
        let mut state = self.state.lock();
        if state.closed {
            // The process is ending; whoever still posts has nobody left to reach.
            drop(state);
            drop(input);
            return Ok(());
        }
        let result = state.push(input, self.most);
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.wake();
        }
        result
    }

    fn post_all(&self, inputs: Vec<ShardInput>) -> Vec<Result<(), InboxFull>> {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return inputs.into_iter().map(|_| Ok(())).collect();
        }
        let results = inputs.into_iter().map(|input| state.push(input, self.most)).collect();
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.wake();
        }
        results
    }
}

impl ShardInbox {
    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            // An eventfd write fails only when the descriptor is broken. The shard still comes round with its next timer.
            tracing::error!(%error, "a shard could not be woken");
        }
    }
}

#[cfg(test)]
#[path = "inbox_tests.rs"]
mod tests;
