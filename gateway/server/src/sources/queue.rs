//! What waits between a source's reader and its mapping: bounded in messages and bytes, with gaps at their place in the order.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_model::{GapReason, Timestamp};
use tokio::sync::Notify;

/// Most messages that wait.
pub(super) const MESSAGES: usize = 8192;
/// Most bytes that wait; one message of the largest size always fits an empty queue.
pub(super) const BYTES: usize = 16 * 1024 * 1024;

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
        self.channel.len() + self.glob.as_ref().map_or(0, Bytes::len) + self.payload.len()
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
    messages: usize,
    bytes: usize,
    session: u64,
    /// The gap of a reconnect waits, and all behind it, until the subscriptions hold: told earlier, a client would reload while
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
    pub(super) fn hold_gap(&self) {
        let mut state = self.state.lock();
        state.held = true;
        state.push_gap(GapReason::SourceReconnected);
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
        if state.overflowing && (state.messages > MESSAGES / 2 || state.bytes > BYTES / 2) {
            return Err(Overflow);
        }
        state.overflowing = state.messages + 1 > MESSAGES || state.bytes + bytes > BYTES;
        if state.overflowing {
            state.push_gap(GapReason::SourceOverflow);
            return Err(Overflow);
        }
        state.messages += 1;
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
            if self.held && self.items.front() == Some(&Item::Gap(GapReason::SourceReconnected)) {
                break;
            }
            let Some(item) = self.items.pop_front() else { break };
            if let Item::Message(message) = &item {
                self.messages -= 1;
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
        for number in 0..MESSAGES {
            queue.push(session, text(&number.to_string())).unwrap();
        }
        for _ in 0..10 {
            assert_eq!(queue.push(session, text("lost")), Err(Overflow));
        }
        let some = queue.take(MESSAGES / 2 - 1).now_or_never().unwrap();
        assert_eq!(some.len(), MESSAGES / 2 - 1);
        assert_eq!(queue.push(session, text("lost")), Err(Overflow), "until half is free");
        assert_eq!(queue.take(1).now_or_never().unwrap().len(), 1);
        queue.push(session, text("again")).unwrap();
        let rest = taken(&queue);
        assert_eq!(rest.len(), MESSAGES / 2 + 2);
        assert_eq!(rest[MESSAGES / 2 - 1..], ["8191", "source_overflow", "again"]);
        assert!(!rest.contains(&"lost".to_owned()));
    }

    #[test]
    fn bytes_are_bounded_too() {
        let queue = Queue::default();
        let session = queue.open_session();
        let large = message(vec![b'x'; 1 << 20]);
        let fit = BYTES / large.bytes();
        for _ in 0..fit {
            queue.push(session, large.clone()).unwrap();
        }
        assert_eq!(queue.push(session, large.clone()), Err(Overflow));
        assert_eq!(queue.take(usize::MAX).now_or_never().unwrap().len(), fit + 1);
        queue.push(session, large).unwrap();
        assert_eq!(queue.state.lock().bytes, (1 << 20) + 1);
    }

    #[test]
    fn a_reconnect_is_told_once_when_the_subscriptions_hold() {
        let queue = Queue::default();
        let old = queue.open_session();
        queue.push(old, text("old")).unwrap();
        let failed = queue.open_session();
        queue.hold_gap();
        assert_eq!(taken(&queue), ["old"], "what came before is not held back");
        let new = queue.open_session();
        queue.hold_gap();
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
        queue.hold_gap();
        let (items, ()) = tokio::join!(queue.take(8), async { queue.release() });
        assert_eq!(items, [Item::Gap(GapReason::SourceReconnected)]);
    }
}
