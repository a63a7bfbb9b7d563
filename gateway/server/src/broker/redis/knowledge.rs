//! What this pod knows of the shard: what [`greet.lua`](./greet.lua) compares with what Redis remembers, and Redis's clock.

use std::time::Duration;

use parking_lot::Mutex;
use rtgw_model::PublicationId;
use tokio::time::Instant;

/// The shard as the pod knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) epoch: u64,
    /// When the epoch began, in milliseconds of Redis's clock.
    pub(super) since: u64,
    /// The highest number of the epoch that anybody told this pod.
    pub(super) number: u64,
    /// The server that told it.
    pub(super) run: String,
}

/// Shared by whoever learns something.
#[derive(Debug, Default)]
pub(super) struct Knowledge(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    shard: Option<Shard>,
    /// Redis's clock in milliseconds, and when it was read.
    clock: Option<(u64, Instant)>,
}

impl Knowledge {
    /// The shard; `None` before the first greeting.
    pub(super) fn shard(&self) -> Option<Shard> {
        self.0.lock().shard.clone()
    }

    /// What a greeting gave.
    pub(super) fn greeted(&self, shard: Shard) {
        self.0.lock().shard = Some(shard);
    }

    /// An id that was heard, or given to a publication of this pod.
    pub(super) fn saw(&self, id: PublicationId) {
        let mut known = self.0.lock();
        if let Some(shard) = &mut known.shard
            && shard.epoch == id.epoch
        {
            shard.number = shard.number.max(id.sequence);
        }
    }

    /// What a standing says.
    pub(super) fn stands(&self, epoch: u64, since: u64, number: u64) {
        let mut known = self.0.lock();
        let Some(shard) = &mut known.shard else { return };
        if shard.epoch == epoch {
            shard.number = shard.number.max(number);
        } else if since > shard.since {
            (shard.epoch, shard.since, shard.number) = (epoch, since, number);
        }
    }

    /// Redis's clock showed `now` between `asked` and this moment.
    pub(super) fn read_clock(&self, now: u64, asked: Instant) {
        self.0.lock().clock = Some((now, asked + asked.elapsed() / 2));
    }

    /// What Redis's clock shows after `wait`, in milliseconds; without a reading, a moment that never comes.
    pub(super) fn clock_in(&self, wait: Duration) -> u64 {
        let Some((read, at)) = self.0.lock().clock else { return u64::MAX >> 11 };
        let since = u64::try_from((at.elapsed() + wait).as_millis()).unwrap_or(u64::MAX);
        read.saturating_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_newer_counts() {
        let knowledge = Knowledge::default();
        knowledge.saw(PublicationId { epoch: 1, sequence: 9 });
        assert_eq!(knowledge.shard(), None);
        let shard = |epoch, since, number| Shard { epoch, since, number, run: "a".to_owned() };
        knowledge.greeted(shard(1, 100, 5));
        knowledge.saw(PublicationId { epoch: 1, sequence: 9 });
        knowledge.saw(PublicationId { epoch: 1, sequence: 7 });
        knowledge.saw(PublicationId { epoch: 2, sequence: 90 });
        assert_eq!(knowledge.shard(), Some(shard(1, 100, 9)));
        knowledge.stands(3, 50, 1);
        assert_eq!(knowledge.shard(), Some(shard(1, 100, 9)), "of a time before");
        knowledge.stands(2, 200, 1);
        assert_eq!(knowledge.shard(), Some(shard(2, 200, 1)));
    }
}
