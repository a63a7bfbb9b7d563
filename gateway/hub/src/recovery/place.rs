//! Where a subscriber stands: how far the live stream has come, and whether the past was told further.

use rtgw_model::{GapReason, Position};

use crate::channels::ChannelIx;
use crate::shard::Shard;

/// Up to where the past was told. What the live stream still brings of it is passed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    pub(super) top: Position,
    /// The live stream has come to where another epoch begins. Before that, what is of another one is older than the past.
    pub(super) epoch: bool,
    /// A gap came since.
    pub(super) gap: bool,
}

impl Ahead {
    pub(super) fn to(top: Position) -> Self {
        Self { top, epoch: false, gap: false }
    }

    pub(super) fn passes_over(self, at: Position) -> bool {
        if at.epoch == self.top.epoch { at.offset <= self.top.offset } else { !self.epoch }
    }

    pub(super) fn meets(&mut self, reason: GapReason) {
        self.gap = true;
        self.epoch |= may_end_epoch(reason);
    }
}

/// Whether another epoch may begin behind a gap. Of a full inbox nobody knows what was dropped.
pub(super) fn may_end_epoch(reason: GapReason) -> bool {
    matches!(reason, GapReason::BrokerReset | GapReason::InboxFull)
}

impl Shard {
    /// How far this shard was given the channel, or has told the subscriber of it.
    pub(super) fn walked(&self, slot: u32, channel: ChannelIx) -> Option<Position> {
        let (stood, ahead) = (self.channels.get(channel).stood, self.recoveries.ahead(slot, channel));
        match (stood, ahead) {
            (Some(stood), Some(Ahead { top, .. })) if stood.epoch == top.epoch => {
                Some(if stood.offset > top.offset { stood } else { top })
            }
            // Of which epoch the live stream is now is not known.
            (stood, ahead) => ahead.filter(|ahead| !ahead.epoch).map(|ahead| ahead.top).or(stood),
        }
    }

    /// What the subscriber has, and nothing behind it; `None` where that is not known.
    pub(super) fn stands(&self, slot: u32, channel: ChannelIx) -> Option<Position> {
        let entry = self.channels.get(channel);
        let gap = self.recoveries.ahead(slot, channel).is_some_and(|ahead| ahead.gap);
        // A walk that pauses may have come to it or not; behind a gap, the next publication says where the channel is.
        let known = !entry.walked && (entry.stood.is_some() || !gap);
        self.walked(slot, channel).filter(|_| known)
    }

    /// The same for who asked nothing: not known while the past is.
    pub(crate) fn stands_openly(&self, slot: u32, channel: ChannelIx) -> Option<Position> {
        let kept = self.channels.get(channel).policy.history.is_some();
        self.stands(slot, channel).filter(|_| kept && !self.recoveries.holds(slot, channel))
    }
}
