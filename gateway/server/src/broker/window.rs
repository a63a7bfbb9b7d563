//! The idempotency keys of late and what was published under them, for a broker that keeps them in memory.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::{Appended, IDEMPOTENCY_KEYS, IDEMPOTENCY_WINDOW, IdempotencyKey};

/// Keys by their age; the oldest goes where there are too many.
#[derive(Default)]
pub(super) struct Window {
    ids: HashMap<IdempotencyKey, Appended>,
    by_age: VecDeque<(Instant, IdempotencyKey)>,
}

impl Window {
    /// What was published under `key`.
    pub(super) fn find(&mut self, key: IdempotencyKey, now: Instant) -> Option<Appended> {
        self.forget(now);
        self.ids.get(&key).cloned()
    }

    /// Remembers a key that [`Window::find`] did not find; `now` never goes back.
    pub(super) fn remember(&mut self, key: IdempotencyKey, id: Appended, now: Instant) {
        if self.by_age.len() >= IDEMPOTENCY_KEYS {
            self.drop_oldest();
        }
        self.ids.insert(key, id);
        self.by_age.push_back((now, key));
    }

    fn forget(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|(since, _)| now.duration_since(*since) >= IDEMPOTENCY_WINDOW) {
            self.drop_oldest();
        }
        // A wave of publications gives its memory back.
        if self.ids.is_empty() && self.ids.capacity() > 1024 {
            *self = Self::default();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, oldest)) = self.by_age.pop_front() {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rtgw_model::PublicationId;

    use super::*;

    fn id(sequence: u64) -> Appended {
        let id = PublicationId { epoch: 1, sequence };
        Appended { id, positions: Default::default(), repeated: false }
    }

    #[test]
    fn a_key_is_remembered_for_the_window_and_no_longer() {
        let (mut window, start) = (Window::default(), Instant::now());
        window.remember(IdempotencyKey(1), id(1), start);
        window.remember(IdempotencyKey(2), id(2), start + Duration::from_secs(1));
        let last = start + IDEMPOTENCY_WINDOW - Duration::from_millis(1);
        assert_eq!(window.find(IdempotencyKey(1), last), Some(id(1)));
        assert_eq!(window.find(IdempotencyKey(1), start + IDEMPOTENCY_WINDOW), None);
        assert_eq!(window.find(IdempotencyKey(2), start + IDEMPOTENCY_WINDOW), Some(id(2)));
        assert_eq!(window.find(IdempotencyKey(2), start + IDEMPOTENCY_WINDOW * 2), None);
        assert!(window.ids.is_empty() && window.by_age.is_empty());
    }

    #[test]
    fn the_newest_keys_are_kept() {
        let (mut window, now) = (Window::default(), Instant::now());
        for key in 0..=IDEMPOTENCY_KEYS as u128 {
            window.remember(IdempotencyKey(key), id(1), now);
        }
        assert_eq!((window.ids.len(), window.by_age.len()), (IDEMPOTENCY_KEYS, IDEMPOTENCY_KEYS));
        assert_eq!(window.find(IdempotencyKey(0), now), None);
        assert_eq!(window.find(IdempotencyKey(1), now), Some(id(1)));
        window.find(IdempotencyKey(1), now + IDEMPOTENCY_WINDOW);
        assert_eq!(window.ids.capacity(), 0);
    }
}
