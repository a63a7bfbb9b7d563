//! Keeping the pod within its outbound memory: the connections that hold most are shed, whatever their policies say.

use std::collections::BinaryHeap;

use rtgw_model::{Close, Now};

use crate::Effect;
use crate::account::Account;
use crate::shard::Shard;

/// Between two looks that found nothing to do, what is held grows by this part of the budget.
const STEPS: u64 = 64;
/// When those who were shed may come back, in milliseconds: not at once, and not all together.
const AFTER_MS: std::ops::RangeInclusive<u64> = 2_000..=20_000;
/// Why their publications are dropped; a label of metrics.
const REASON: &str = "shed";

impl Shard {
    /// Looks at the pod's memory if this shard holds more than when it last did.
    #[inline]
    pub(crate) fn relieve_if_grown(&mut self, now: Now) {
        if self.outboxes.grown {
            self.outboxes.grown = false;
            self.relieve(now);
        }
    }

    /// Sheds connections of this shard while the pod is near its budget and none of another shard holds more; and above the budget
    /// in any case.
    pub(crate) fn relieve(&mut self, now: Now) {
        // Borrowed: a count of who has the account would be written by all shards, for every frame.
        let account = &self.outboxes.account;
        let index = self.settings.index;
        let Some(budget) = account.budget() else { return };
        let (begin, end) = account.marks();
        let used = account.used();
        if used < begin {
            self.look_again_at = 0;
            account.tell_largest(index, self.outboxes.largest);
        } else if used >= self.look_again_at {
            let account = account.clone();
            self.shed_down_to(end, &account, budget, now);
        }
    }

    /// Sheds connections until the pod holds less than `end`, or another shard has larger ones.
    fn shed_down_to(&mut self, end: u64, account: &Account, budget: u64, now: Now) {
        let index = self.settings.index;
        let mut heaviest: BinaryHeap<(usize, u32)> = self.outboxes.weights().collect();
        let mut next = heaviest.peek().map_or(0, |(weight, _)| *weight);
        while account.used() >= end {
            if account.used() <= budget
                && let Some(other) = account.larger_elsewhere(index, next)
            {
                if account.ask(other) {
                    self.effects.push(Effect::Relieve(other));
                }
                break;
            }
            let Some((_, slot)) = heaviest.pop() else { break };
            self.shed(slot, now);
            let left = self.outboxes.weight(slot);
            if left > 0 {
                heaviest.push((left, slot));
            }
            next = heaviest.peek().map_or(0, |(weight, _)| *weight);
        }
        self.outboxes.largest = next;
        account.tell_largest(index, next);
        let later = account.used() + budget / STEPS;
        self.look_again_at = if next > 0 { later.min(budget) } else { later };
    }

    /// Closes a connection, and gives up one that is closing: then its socket ends inside what it has the beginning of.
    fn shed(&mut self, slot: u32, now: Now) {
        let counters = &mut self.counters;
        if self.sessions.get(slot as usize).is_some_and(|session| session.is_open()) {
            self.outboxes.shed(slot, |rule| counters.drop(rule, REASON, 1));
            let after = self.random.u64(AFTER_MS);
            self.close(slot, now, &Close::overloaded(after));
        } else {
            self.outboxes.abandon(slot, |rule| counters.drop(rule, REASON, 1));
        }
    }
}
