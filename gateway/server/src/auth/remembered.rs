//! Answers that are kept for a while: bounded in number and bytes, the oldest go first.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

/// What stands for a question; nobody can read it back or choose it.
pub(super) type Digest = [u8; 32];

/// Bookkeeping of an entry, bytes, roughly.
const OVERHEAD: usize = 160;

/// Answers by their questions.
#[derive(Debug)]
pub(super) struct Remembered<V> {
    entries: HashMap<Digest, Entry<V>>,
    /// Oldest first; what was replaced stands here twice, with another number.
    order: VecDeque<(Digest, u64)>,
    number: u64,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    until: Instant,
    bytes: usize,
    number: u64,
}

impl<V: Clone> Remembered<V> {
    /// Keeps at most `most` answers and about `most_bytes`.
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), number: 0, bytes: 0, most, most_bytes }
    }

    /// The answer, where it still counts.
    pub(super) fn get(&self, digest: &Digest, now: Instant) -> Option<V> {
        self.entries.get(digest).filter(|entry| now < entry.until).map(|entry| entry.value.clone())
    }

    /// Keeps an answer of `bytes` until `until`.
    pub(super) fn put(&mut self, digest: Digest, value: V, bytes: usize, until: Instant) {
        self.number += 1;
        let (bytes, number) = (bytes + OVERHEAD, self.number);
        if let Some(old) = self.entries.insert(digest, Entry { value, until, bytes, number }) {
            self.bytes -= old.bytes;
        }
        self.bytes += bytes;
        self.order.push_back((digest, number));
        let now = Instant::now();
        // Also what has expired at the front: a quiet time frees memory with the next answer.
        while self.entries.len() > self.most || self.bytes > self.most_bytes || self.front_is_gone(now) {
            let Some((digest, number)) = self.order.pop_front() else { return };
            if self.entries.get(&digest).is_some_and(|entry| entry.number == number)
                && let Some(entry) = self.entries.remove(&digest)
            {
                self.bytes -= entry.bytes;
            }
        }
    }

    fn front_is_gone(&self, now: Instant) -> bool {
        self.order.front().is_some_and(|(digest, number)| {
            self.entries.get(digest).is_none_or(|entry| entry.number != *number || entry.until <= now)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_go_first_and_nothing_grows() {
        let digest = |n: u32| {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&n.to_le_bytes());
            digest
        };
        let mut kept = Remembered::new(100, 100 * (OVERHEAD + 10));
        let later = Instant::now() + Duration::from_secs(60);
        for n in 0..10_000u32 {
            kept.put(digest(n), n, 10, later);
            // The same again and again counts once.
            kept.put(digest(n), n, 10, later);
        }
        let now = Instant::now();
        assert_eq!((kept.entries.len(), kept.bytes), (100, 100 * (OVERHEAD + 10)));
        assert!(kept.order.len() <= 200, "{}", kept.order.len());
        assert_eq!((kept.get(&digest(9_899), now), kept.get(&digest(9_900), now)), (None, Some(9_900)));
        kept.put(digest(0), 0, 50 * (OVERHEAD + 10), later);
        assert!(kept.bytes <= 100 * (OVERHEAD + 10) && kept.entries.len() <= 51);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(kept.get(&digest(0), Instant::now()), None, "its time is over");
        kept.put(digest(1), 1, 10, Instant::now() + Duration::from_secs(1));
        assert_eq!((kept.entries.len(), kept.order.len(), kept.bytes), (1, 1, OVERHEAD + 10));
    }
}
