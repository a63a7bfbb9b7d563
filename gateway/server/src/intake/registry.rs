//! Which shards have a subscriber of a channel.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use rtgw_model::{ChannelName, RuleIx};

use crate::broker::Generation;

/// Most shards of a pod: a channel's shards are the bits of one word.
pub const MAX_SHARDS: usize = 64;

/// Locks the channels are spread over, so that shards that take and leave channels rarely meet each other or a publication.
pub(super) const STRIPES: usize = 64;

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shards(u64);

impl Shards {
    fn one(shard: u16) -> Self {
        Self(1u64.checked_shl(u32::from(shard)).unwrap_or(0))
    }

    pub(super) fn of_all(count: usize) -> Self {
        Self(if count >= MAX_SHARDS { u64::MAX } else { (1 << count) - 1 })
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn contains(self, shard: usize) -> bool {
        shard < MAX_SHARDS && self.0 & (1 << shard) != 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let shard = left.trailing_zeros();
                left &= left - 1;
                shard as usize
            })
        })
    }
}

/// What a wish of a shard means for the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The pod's first: the broker must be asked.
    First(Generation),
    /// The broker has been asked and will answer.
    Asked,
    /// The broker carries the channel.
    Carried,
}

/// A channel with a subscriber; with its key 32 bytes, the name shared with the shards.
#[derive(Clone, Copy, Debug)]
struct Interest {
    shards: Shards,
    generation: Generation,
    rule: RuleIx,
    carried: bool,
}

/// Channel -> shards, for all shards of the pod. Channel names are chosen by clients, so the hash is keyed.
pub(super) struct Registry {
    hasher: RandomState,
    stripes: Box<[RwLock<Stripe>]>,
    /// Channels of all stripes.
    channels: AtomicUsize,
}

#[derive(Default)]
struct Stripe {
    channels: HashMap<ChannelName, Interest, RandomState>,
    /// Counts first wishes; wraps after four billion, when no answer of then can be under way.
    generation: u32,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| RwLock::default()).collect(),
            channels: AtomicUsize::new(0),
        }
    }

    /// The lock that a channel belongs to.
    pub(super) fn stripe(&self, channel: &ChannelName) -> usize {
        (self.hasher.hash_one(channel) as usize) % STRIPES
    }

    /// Notes that `shard` has a subscriber.
    pub(super) fn want(&self, shard: u16, channel: ChannelName, rule: RuleIx) -> Wanted {
        let stripe = &mut *self.stripes[self.stripe(&channel)].write();
        match stripe.channels.entry(channel) {
            Entry::Occupied(mut known) => {
                let interest = known.get_mut();
                interest.shards = interest.shards.union(Shards::one(shard));
                if interest.carried { Wanted::Carried } else { Wanted::Asked }
            }
            Entry::Vacant(free) => {
                stripe.generation = stripe.generation.wrapping_add(1);
                let generation = Generation(stripe.generation);
                self.channels.fetch_add(1, Ordering::Relaxed);
                free.insert(Interest { shards: Shards::one(shard), generation, rule, carried: false });
                Wanted::First(generation)
            }
        }
    }

    /// Notes that `shard` has no subscriber any more; true when the pod has none.
    pub(super) fn unwant(&self, shard: u16, channel: &ChannelName) -> bool {
        let mut stripe = self.stripes[self.stripe(channel)].write();
        let Some(interest) = stripe.channels.get_mut(channel) else { return false };
        interest.shards.0 &= !Shards::one(shard).0;
        if !interest.shards.is_empty() {
            return false;
        }
        stripe.channels.remove(channel);
        self.channels.fetch_sub(1, Ordering::Relaxed);
        // A wave of leavers gives its memory back.
        if stripe.channels.capacity() > 64 && stripe.channels.len() < stripe.channels.capacity() / 8 {
            let room = stripe.channels.len() * 2;
            stripe.channels.shrink_to(room);
        }
        true
    }

    /// Notes that the broker carries the channel, and gives the shards that wait for it; none when the answer is to an earlier wish.
    pub(super) fn carried(&self, channel: &ChannelName, generation: Generation) -> Shards {
        let mut stripe = self.stripes[self.stripe(channel)].write();
        match stripe.channels.get_mut(channel) {
            Some(interest) if interest.generation == generation => {
                interest.carried = true;
                interest.shards
            }
            _ => Shards::default(),
        }
    }

    /// The shards with a subscriber and the channel's rule.
    pub(super) fn interested(&self, channel: &ChannelName) -> Option<(Shards, RuleIx)> {
        let stripe = self.stripes[self.stripe(channel)].read();
        stripe.channels.get(channel).map(|interest| (interest.shards, interest.rule))
    }

    /// Channels with a subscriber in this pod.
    pub(super) fn len(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }
}
