//! What waits between the reader of a connection that Redis pushes to, which must not wait, and whoever works it off: bounded in bytes,
//! with what was dropped marked at its place.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One thing to be done, in order.
pub trait Waiting: PartialEq {
    /// Most bytes that wait, bookkeeping included; an item of the largest size always fits an empty queue.
    const BYTES: usize;

    /// What it costs. Nothing is dropped that costs 0: there must be little of it.
    fn bytes(&self) -> usize;

    /// What stands where others were dropped; costs nothing.
    fn dropped() -> Self;

    /// Whether it waits, and all behind it, while the queue is held.
    fn is_held(&self) -> bool {
        false
    }
}

/// A connection, in the order of their making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session(u64);

/// The queue. Pushing never waits.
#[derive(Debug)]
pub struct Inflow<I> {
    state: Mutex<State<I>>,
    filled: Notify,
}

#[derive(Debug)]
struct State<I> {
    items: VecDeque<I>,
    bytes: usize,
    session: u64,
    held: bool,
    /// Dropping until half is free, so that who falls behind for long has few places where something is missing, and not one per item.
    overflowing: bool,
}

impl<I> Default for Inflow<I> {
    fn default() -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, session: 0, held: false, overflowing: false };
        Self { state: Mutex::new(state), filled: Notify::new() }
    }
}

impl<I: Waiting> Inflow<I> {
    /// From now on items of earlier sessions are ignored.
    pub fn open_session(&self) -> Session {
        let mut state = self.state.lock();
        state.session += 1;
        Session(state.session)
    }

    /// Appends an item of `session`. False where it was dropped, and its place is marked.
    pub fn push(&self, session: Session, item: I) -> bool {
        let mut state = self.state.lock();
        if session.0 != state.session {
            return true;
        }
        let fits = state.make_room(item.bytes());
        if fits {
            state.items.push_back(item);
        } else {
            state.mark(I::dropped());
        }
        drop(state);
        self.filled.notify_one();
        fits
    }

    /// Puts `item` before whatever comes next, and holds it back, if it is one that is held, until [`Inflow::release`].
    pub fn hold(&self, item: I) {
        let mut state = self.state.lock();
        state.held = true;
        state.mark(item);
    }

    /// Nothing is held back any more.
    pub fn release(&self) {
        self.state.lock().held = false;
        self.filled.notify_one();
    }

    /// The next items, at most `most`; waits for the first. For one caller at a time.
    pub async fn take(&self, most: usize) -> Vec<I> {
        loop {
            let items = self.state.lock().take(most);
            if !items.is_empty() {
                return items;
            }
            self.filled.notified().await;
        }
    }
}

impl<I: Waiting> State<I> {
    fn make_room(&mut self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        if self.overflowing && self.bytes > I::BYTES / 2 {
            return false;
        }
        self.overflowing = self.bytes + bytes > I::BYTES;
        if !self.overflowing {
            self.bytes += bytes;
        }
        !self.overflowing
    }

    /// A mark right behind the same mark says nothing new.
    fn mark(&mut self, item: I) {
        if self.items.back() != Some(&item) {
            self.items.push_back(item);
        }
    }

    fn take(&mut self, most: usize) -> Vec<I> {
        let mut taken = Vec::new();
        while taken.len() < most {
            if self.held && self.items.front().is_some_and(I::is_held) {
                break;
            }
            let Some(item) = self.items.pop_front() else { break };
            self.bytes -= item.bytes();
            taken.push(item);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// The number of a message of 1,000 bytes, bookkeeping, or a mark.
    #[derive(Clone, Debug, PartialEq)]
    enum Item {
        Message(usize),
        Largest,
        Bookkeeping,
        Held,
        Dropped,
    }

    impl Waiting for Item {
        const BYTES: usize = 1_000_000;

        fn bytes(&self) -> usize {
            match self {
                Self::Message(_) => 1_000,
                Self::Largest => Self::BYTES,
                Self::Bookkeeping | Self::Held | Self::Dropped => 0,
            }
        }

        fn dropped() -> Self {
            Self::Dropped
        }

        fn is_held(&self) -> bool {
            *self == Self::Held
        }
    }

    fn taken(queue: &Inflow<Item>, most: usize) -> Vec<Item> {
        queue.take(most).now_or_never().unwrap_or_default()
    }

    #[test]
    fn the_newest_are_dropped_until_half_is_free_and_their_place_is_marked_once() {
        let queue = Inflow::default();
        let session = queue.open_session();
        assert!((0..1_000).all(|number| queue.push(session, Item::Message(number))));
        assert!((0..10).all(|number| !queue.push(session, Item::Message(number))));
        assert!(queue.push(session, Item::Bookkeeping), "never dropped");
        assert_eq!(taken(&queue, 499).len(), 499);
        assert!(!queue.push(session, Item::Message(0)), "until half is free");
        assert_eq!(taken(&queue, 1), [Item::Message(499)]);
        assert!(queue.push(session, Item::Message(1)));
        let rest = taken(&queue, usize::MAX);
        let end = [Item::Message(999), Item::Dropped, Item::Bookkeeping, Item::Dropped, Item::Message(1)];
        assert_eq!(rest[rest.len() - 5..], end);
        assert_eq!((rest.len(), queue.state.lock().bytes), (504, 0));
        assert!(queue.push(session, Item::Largest), "the largest fits an empty queue");
        assert_eq!(taken(&queue, 9), [Item::Largest]);
    }

    #[test]
    fn what_is_held_holds_back_what_is_behind_it_and_late_items_of_earlier_connections_are_ignored() {
        let queue = Inflow::default();
        let old = queue.open_session();
        queue.push(old, Item::Message(1));
        let failed = queue.open_session();
        queue.hold(Item::Held);
        assert_eq!(taken(&queue, 9), [Item::Message(1)], "what came before is not held back");
        let new = queue.open_session();
        queue.hold(Item::Held);
        queue.push(old, Item::Message(2));
        queue.push(failed, Item::Message(3));
        queue.push(new, Item::Message(4));
        assert_eq!(taken(&queue, 9), []);
        queue.release();
        assert_eq!(taken(&queue, 9), [Item::Held, Item::Message(4)], "told once");
    }

    #[tokio::test]
    async fn waiting_ends_with_a_push_and_with_a_release() {
        let queue = Inflow::default();
        let session = queue.open_session();
        let (items, _) = tokio::join!(queue.take(8), async { queue.push(session, Item::Message(1)) });
        assert_eq!(items, [Item::Message(1)]);
        queue.hold(Item::Held);
        let (items, ()) = tokio::join!(queue.take(8), async { queue.release() });
        assert_eq!(items, [Item::Held]);
    }
}
