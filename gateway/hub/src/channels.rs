//! The channels that this shard's connections hear, and who hears them.

use std::sync::Arc;

use rtgw_model::{ChannelName, ChannelPolicy, CommandId, Position, Recover, Variant};
use slab::Slab;

use crate::access::Revision;

/// Index of a channel in the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChannelIx(pub(crate) u32);

/// A place in a channel's list of members; 8 bytes, because fan-out walks it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// The connection's slot; [`Member::GONE`] where a member left while a fan-out stood in the list.
    pub(crate) slot: u32,
    pub(crate) variant: Variant,
    /// What is to be asked before a publication goes into its outbox; mostly nothing.
    pub(crate) flags: u8,
}

const _: () = assert!(
    size_of::<Member>() <= 8,
    "a member is paid by every idle connection, and walked by every fan-out"
);

impl Member {
    pub(crate) const GONE: u32 = u32::MAX;
    /// The subscription has a filter.
    pub(crate) const FILTERED: u8 = 1;
    /// The subscription is given its past: see [`crate::recovery`].
    pub(crate) const RECOVERS: u8 = 2;
    /// It asked to be told who comes and goes.
    pub(crate) const TOLD: u8 = 4;

    pub(crate) fn set(&mut self, flag: u8, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }
}

/// A session that waits for the broker to carry the channel.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) id: Option<CommandId>,
    pub(crate) recover: Option<Recover>,
    /// The subscription began with this wish.
    pub(crate) fresh: bool,
    /// More came meanwhile than could be held for it.
    pub(crate) too_much: bool,
    /// Nobody asked: the API subscribed it, and no command waits.
    pub(crate) by_api: bool,
}

/// Whether a place is behind another one, of the same epoch.
pub(crate) fn is_behind(at: Position, other: Position) -> bool {
    at.epoch == other.epoch && at.offset > other.offset
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: ChannelName,
    pub(crate) policy: Arc<ChannelPolicy>,
    pub(crate) members: Vec<Member>,
    /// The broker carries it.
    pub(crate) ready: bool,
    /// Where its history stands for who subscribes now: what is behind this place reaches every member, what is not reaches no new one.
    /// `None` where that is not known.
    pub(crate) stood: Option<Position>,
    /// Members were told of a gap: where the broker stood when it began says nothing any more.
    pub(crate) broken: bool,
    pub(crate) waiters: Vec<Waiter>,
    /// The newest configuration known to give it this policy.
    pub(crate) as_of: Revision,
    /// The newest configuration that let a member in before the review under it came to the channel, if one did.
    pub(crate) ahead: Revision,
    /// Since which configuration its rule decides as it does: who was let in before has to be asked again.
    pub(crate) decided: Revision,
    /// No rule declares it any more: its members are about to leave.
    pub(crate) undeclared: bool,
    /// Fan-outs that still name this entry; it stays while there are any.
    pub(crate) fanouts: u32,
    /// Publications may have to wait, or some do under a policy that is gone.
    pub(crate) shaped: bool,
    /// A fan-out stands in the middle of `members`: places must not move.
    pub(crate) walked: bool,
    gone: u32,
}

impl Channel {
    /// Takes over another policy.
    pub(crate) fn adopt(&mut self, policy: &Arc<ChannelPolicy>) {
        // Never reset here: what waits under the old policy must be found by the next publication.
        self.shaped |= policy.delivery.waits();
        self.policy = policy.clone();
    }

    /// A publication with this place in the history waits for a walk. Called in the order of the places.
    pub(crate) fn arrives(&mut self, position: Option<Position>) {
        // Where others wait or are walked, the next walk says where it stands.
        if self.stood.is_none() && self.fanouts == 0 && !self.shaped {
            self.stood = position.map(|first| Position { offset: first.offset.saturating_sub(1), ..first });
        }
    }

    /// The broker says where its history stood when it began to carry the channel, and what came before it said so has been walked.
    /// Gives the place behind which nothing is missing, where that is known: what another channel brought before proves nothing.
    pub(crate) fn begins_at(&mut self, position: Option<Position>) -> Option<Position> {
        self.ready = true;
        let began = position.filter(|_| !self.broken);
        self.stood = match (self.stood, began) {
            (Some(stood), Some(began)) if is_behind(stood, began) => Some(stood),
            _ => began,
        };
        began
    }

    /// Members that are there.
    pub(crate) fn present(&self) -> usize {
        self.members.len() - self.gone as usize
    }
}

/// All channels of a shard.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    entries: Slab<Channel>,
    // The keys are chosen by clients, so the hash is seeded per process.
    by_name: std::collections::HashMap<ChannelName, ChannelIx>,
}

/// Tells a session that its place in a channel's list is another now: `(slot, channel, place)`.
pub(crate) type Moved<'a> = &'a mut dyn FnMut(u32, ChannelIx, u32);

impl Channels {
    pub(crate) fn find(&self, name: &str) -> Option<ChannelIx> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, channel: ChannelIx) -> &Channel {
        &self.entries[channel.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, channel: ChannelIx) -> &mut Channel {
        &mut self.entries[channel.0 as usize]
    }

    /// Those that somebody hears.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChannelIx, &Channel)> {
        let heard = self.entries.iter().filter(|(_, channel)| channel.present() > 0);
        heard.map(|(at, channel)| (ChannelIx(at as u32), channel))
    }

    /// Adds a member; returns the channel, the member's place, and whether it is the first.
    pub(crate) fn join(
        &mut self,
        name: &ChannelName,
        (policy, as_of): (&Arc<ChannelPolicy>, Revision),
        // Granted by a configuration that the shard has not heard of.
        early: bool,
        member: Member,
    ) -> (ChannelIx, u32, bool) {
        let known = self.by_name.get(name).copied();
        let first = known.is_none();
        let channel = known.unwrap_or_else(|| {
            let fresh = Channel {
                name: name.clone(),
                policy: policy.clone(),
                members: Vec::new(),
                ready: false,
                stood: None,
                broken: false,
                waiters: Vec::new(),
                as_of,
                ahead: Revision::NONE,
                decided: Revision::NONE,
                undeclared: false,
                fanouts: 0,
                shaped: policy.delivery.waits(),
                walked: false,
                gone: 0,
            };
            let channel = ChannelIx(self.entries.insert(fresh) as u32);
            self.by_name.insert(name.clone(), channel);
            channel
        });
        let entry = self.get_mut(channel);
        if entry.policy.permission != policy.permission {
            // Members of two configurations: those of the older one have to be asked.
            entry.decided = entry.decided.max(entry.as_of.max(as_of));
        } else if entry.policy.rule == policy.rule && entry.as_of <= as_of {
            entry.adopt(policy);
        }
        if as_of > entry.as_of && (early || entry.policy.permission != policy.permission) {
            entry.ahead = entry.ahead.max(as_of);
        }
        // Else the policy stays until the review comes to the channel: those who were there are counted under its rule.
        if entry.members.len() == entry.members.capacity() && entry.members.is_empty() {
            // Channels of one member are the most common kind: no spare room.
            entry.members.reserve_exact(1);
        }
        entry.members.push(member);
        let place = (entry.members.len() - 1) as u32;
        (channel, place, first)
    }

    /// The entry at a place of the slab, for walks that stop in between; places below [`Channels::places`].
    pub(crate) fn at(&mut self, place: usize) -> Option<&mut Channel> {
        self.entries.get_mut(place)
    }

    /// Places of the slab.
    pub(crate) fn places(&self) -> usize {
        self.entries.capacity()
    }

    /// Removes the member at `place`; returns whether it was the last. The entry of an empty channel is found no more, and goes when no
    /// fan-out names it.
    pub(crate) fn leave(&mut self, channel: ChannelIx, place: u32, moved: Moved<'_>) -> bool {
        let entry = self.get_mut(channel);
        if entry.walked {
            entry.members[place as usize].slot = Member::GONE;
            entry.gone += 1;
        } else {
            entry.members.swap_remove(place as usize);
            if let Some(member) = entry.members.get(place as usize)
                && member.slot != Member::GONE
            {
                moved(member.slot, channel, place);
            }
        }
        let last = entry.present() == 0;
        if last {
            // Who comes next gets an entry of its own: what still waits here is of before, and between the two nothing is carried.
            self.by_name.remove(self.entries[channel.0 as usize].name.as_str());
            self.collect(channel);
        }
        last
    }

    /// Ends a walk: places may move again.
    pub(crate) fn settle(&mut self, channel: ChannelIx, moved: Moved<'_>) {
        let entry = self.get_mut(channel);
        entry.walked = false;
        if entry.gone == 0 {
            return;
        }
        entry.gone = 0;
        entry.members.retain(|member| member.slot != Member::GONE);
        for (place, member) in entry.members.iter().enumerate() {
            moved(member.slot, channel, place as u32);
        }
    }

    /// A fan-out names the channel no more.
    pub(crate) fn release(&mut self, channel: ChannelIx) {
        self.get_mut(channel).fanouts -= 1;
        self.collect(channel);
    }

    fn collect(&mut self, channel: ChannelIx) {
        let entry = self.get(channel);
        if entry.present() == 0 && entry.fanouts == 0 && !entry.walked {
            self.entries.remove(channel.0 as usize);
        }
    }
}
