//! What waits between the connection's reader and the delivery: bounded in bytes, with what was dropped marked at its place.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_model::ChannelName;
use tokio::sync::Notify;

/// Most bytes that wait, bookkeeping included; a message of the largest size always fits an empty queue.
const BYTES: usize = 32 * 1024 * 1024;
/// What a message costs besides its bytes.
const OVERHEAD: usize = 128;

/// One thing to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A message of one of the topics.
    Message(Bytes),
    /// Redis has confirmed a subscription.
    Subscribed(ChannelName),
    /// Messages were dropped here.
    Overflow,
}

/// A connection, in the order of their making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Dropping until half is free, so that a delivery that falls behind makes few gaps and not one per message.
    overflowing: bool,
}

impl Queue {
    /// From now on messages of earlier sessions are ignored.
    pub(super) fn open_session(&self) -> Session {
        let mut state = self.state.lock();
        state.session += 1;
        Session(state.session)
    }

    /// Appends an item of `session`. False where it was dropped.
    pub(super) fn push(&self, session: Session, item: Item) -> bool {
        let mut state = self.state.lock();
        if session.0 != state.session {
            return true;
        }
        let fits = state.make_room(&item);
        if fits {
            state.items.push_back(item);
        } else if state.items.back() != Some(&Item::Overflow) {
            state.items.push_back(Item::Overflow);
        }
        drop(state);
        self.filled.notify_one();
        fits
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
    fn make_room(&mut self, item: &Item) -> bool {
        // The others are as many as the pod has channels, which is bounded elsewhere.
        let Item::Message(message) = item else { return true };
        if self.overflowing && self.bytes > BYTES / 2 {
            return false;
        }
        let bytes = OVERHEAD + message.len();
        self.overflowing = self.bytes + bytes > BYTES;
        if !self.overflowing {
            self.bytes += bytes;
        }
        !self.overflowing
    }

    fn take(&mut self, most: usize) -> Vec<Item> {
        let taken: Vec<Item> = self.items.drain(..most.min(self.items.len())).collect();
        for item in &taken {
            if let Item::Message(message) = item {
                self.bytes -= OVERHEAD + message.len();
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn message(length: usize) -> Item {
        Item::Message(vec![b'x'; length].into())
    }

    #[test]
    fn overflow_is_marked_once_and_lasts_until_half_is_free() {
        let queue = Queue::default();
        let session = queue.open_session();
        let fit = BYTES / (1000 + OVERHEAD);
        assert!((0..fit).all(|_| queue.push(session, message(1000))));
        assert!((0..10).all(|_| !queue.push(session, message(1000))));
        assert!(
            queue.push(session, Item::Subscribed(ChannelName::parse("a").unwrap())),
            "bookkeeping is never dropped"
        );
        assert_eq!(queue.take(fit / 2 - 1).now_or_never().map(|items| items.len()), Some(fit / 2 - 1));
        assert!(!queue.push(session, message(1000)));
        assert_eq!(queue.take(2).now_or_never().map(|items| items.len()), Some(2));
        assert!(queue.push(session, message(1)));
        let rest = queue.take(usize::MAX).now_or_never().unwrap_or_default();
        let marks = rest.iter().filter(|item| **item == Item::Overflow).count();
        assert_eq!((marks, queue.state.lock().bytes), (2, 0));
    }

    #[test]
    fn late_messages_of_an_earlier_connection_are_ignored() {
        let queue = Queue::default();
        let old = queue.open_session();
        queue.push(old, message(1));
        let new = queue.open_session();
        queue.push(old, message(2));
        queue.push(new, message(3));
        assert_eq!(queue.take(9).now_or_never(), Some(vec![message(1), message(3)]));
    }
}
