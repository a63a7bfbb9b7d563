//! What waits between a source's reader and its mapping: bounded in bytes, with gaps at their place in the order.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_model::{GapReason, Timestamp};
use tokio::sync::Notify;

/// Most bytes that wait, bookkeeping included; one message of the largest size always fits an empty queue. The smallest messages
/// come to 60,000, so that a burst of ten thousand is no trouble for a mapping of 20 us each.
pub(super) const BYTES: usize = 16 * 1024 * 1024;
/// What a message costs besides its text: its place in the queue and its allocations.
const OVERHEAD: usize = 256;

/// One thing to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// A message.
    Message(Message),
    /// Messages are missing here.
    Gap(GapReason),
}

/// A message as Redis sent it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) channel: Bytes,
    /// The glob it came by.
    pub(super) glob: Option<Bytes>,
    pub(super) payload: Bytes,
    pub(super) heard: Timestamp,
}

impl Message {
    fn bytes(&self) -> usize {
        OVERHEAD + self.channel.len() + self.glob.as_ref().map_or(0, Bytes::len) + self.payload.len()
    }
}

/// A connection of the source, in the order of their making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Session(u64);

/// The queue. Pushing never waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    session: u64,
    /// The gap of a reconnect or takeover waits, and all behind it, until the subscriptions hold: told earlier, a client would reload while
    /// messages are still being missed.
    held: bool,
    /// Dropping until half is free, so that a mapping that falls behind for long makes few gaps and not one per message.
    overflowing: bool,
}

/// The message was not taken; the gap is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Queue {
    /// From now on messages of earlier sessions are ignored.
    pub(super) fn open_session(&self) -> Session {
        let mut state = self.state.lock();
        state.session += 1;
        Session(state.session)
    }

    /// Notes that messages were missed before whatever comes next, and holds it back until [`Queue::release`].
    pub(super) fn hold_gap(&self, reason: GapReason) {
        let mut state = self.state.lock();
        state.held = true;
        state.push_gap(reason);
    }

    /// The subscriptions hold.
    pub(super) fn release(&self) {
        self.state.lock().held = false;
        self.filled.notify_one();
    }

    /// Appends a message of `session`.
    pub(super) fn push(&self, session: Session, message: Message) -> Result<(), Overflow> {
        let mut state = self.state.lock();
        if session.0 != state.session {
            return Ok(());
        }
        let bytes = message.bytes();
        if state.overflowing && state.bytes > BYTES / 2 {
            return Err(Overflow);
        }
        state.overflowing = state.bytes + bytes > BYTES;
        if state.overflowing {
            state.push_gap(GapReason::SourceOverflow);
            return Err(Overflow);
        }
        state.bytes += bytes;
        state.items.push_back(Item::Message(message));
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// The next items, at most `most`; waits for the first. For one caller at a time.
    pub(super) async fn take(&self, most: usize) -> Vec<Item> {
        loop {
            let items = self.state.lock().take(most);
            if !items.is_empty() {
                return items;
            }
            self.filled.notified().await;
        }
    }
}

impl State {
    /// A gap right behind the same gap says nothing new.
    fn push_gap(&mut self, reason: GapReason) {
        if self.items.back() != Some(&Item::Gap(reason)) {
            self.items.push_back(Item::Gap(reason));
        }
    }

    fn take(&mut self, most: usize) -> Vec<Item> {
        let mut taken = Vec::new();
        while taken.len() < most {
            // Those of an overflow are no matter of the subscriptions.
            let of_connection =
                |item: &&Item| matches!(item, Item::Gap(reason) if *reason != GapReason::SourceOverflow);
            if self.held && self.items.front().filter(of_connection).is_some() {
                break;
            }
            let Some(item) = self.items.pop_front() else { break };
            if let Item::Message(message) = &item {
                self.bytes -= message.bytes();
            }
            taken.push(item);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::FutureExt;

    use super::*;

    fn message(payload: impl Into<Bytes>) -> Message {
        Message {
            channel: Bytes::from_static(b"c"),
            glob: None,
            payload: payload.into(),
            heard: Timestamp(0),
        }
    }

    fn text(text: &str) -> Message {
        message(text.to_owned())
    }

    fn taken(queue: &Queue) -> Vec<String> {
        let items = queue.take(usize::MAX).now_or_never().unwrap_or_default();
        let word = |item: &Item| match item {
            Item::Message(message) => String::from_utf8(message.payload.to_vec()).unwrap(),
            Item::Gap(reason) => reason.as_str().to_owned(),
        };
        items.iter().map(word).collect()
    }

    #[test]
    fn overflow_drops_the_newest_and_marks_the_place_once() {
        let queue = Queue::default();
        let session = queue.open_session();
        let sized = |number: usize| text(&format!("{number:0>1000}"));
        let fit = BYTES / sized(0).bytes();
        for number in 0..fit {
            queue.push(session, sized(number)).unwrap();
        }
        for _ in 0..10 {
            assert_eq!(queue.push(session, sized(0)), Err(Overflow));
        }
        assert_eq!(queue.take(fit / 2 - 1).now_or_never().unwrap().len(), fit / 2 - 1);
        assert_eq!(queue.push(session, sized(0)), Err(Overflow), "until half is free");
        assert_eq!(queue.take(2).now_or_never().unwrap().len(), 2);
        queue.push(session, text("again")).unwrap();
        let rest = taken(&queue);
        assert_eq!(rest.len(), fit - (fit / 2 + 1) + 2);
        assert_eq!(rest[rest.len() - 2..], ["source_overflow", "again"]);
        assert!(rest[rest.len() - 3].ends_with(&(fit - 1).to_string()));
        assert_eq!(queue.state.lock().bytes, 0);
    }

    #[test]
    fn the_largest_message_fits_an_empty_queue() {
        let queue = Queue::default();
        let session = queue.open_session();
        queue.push(session, message(vec![b'x'; 1 << 20])).unwrap();
        assert_eq!(taken(&queue).len(), 1);
    }

    #[test]
    fn a_reconnect_is_told_once_when_the_subscriptions_hold() {
        let queue = Queue::default();
        let old = queue.open_session();
        queue.push(old, text("old")).unwrap();
        let failed = queue.open_session();
        queue.hold_gap(GapReason::SourceReconnected);
        assert_eq!(taken(&queue), ["old"], "what came before is not held back");
        let new = queue.open_session();
        queue.hold_gap(GapReason::SourceReconnected);
        queue.push(old, text("late")).unwrap();
        queue.push(failed, text("late")).unwrap();
        queue.push(new, text("new")).unwrap();
        assert_eq!(taken(&queue), [""; 0]);
        queue.release();
        assert_eq!(taken(&queue), ["source_reconnected", "new"]);
    }

    #[tokio::test]
    async fn waiting_ends_with_a_push_and_with_a_release() {
        let queue = Queue::default();
        let session = queue.open_session();
        let (items, ()) = tokio::join!(queue.take(8), async { queue.push(session, text("a")).unwrap() });
        assert_eq!(items, [Item::Message(text("a"))]);
        queue.hold_gap(GapReason::SourceReconnected);
        let (items, ()) = tokio::join!(queue.take(8), async { queue.release() });
        assert_eq!(items, [Item::Gap(GapReason::SourceReconnected)]);
    }
}
