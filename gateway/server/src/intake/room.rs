//! How many channels this pod may carry: their names are chosen by clients, so their number must end somewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rtgw_model::ChannelName;

use super::Intake;

/// Most channels of one answer: the auto-subscriptions of an endpoint. With so many free nothing has to be looked up.
const AT_ONCE: usize = 64;

/// The pod's bound on channels with a subscriber.
///
/// Asked before a channel is made, by whoever answers a subscribe or admits a connection; nothing is asked when a publication is
/// fanned out. Those who are answered at the same moment may go over the bound together, each by the channels of one answer.
pub struct Room {
    intake: Arc<Intake>,
    most: AtomicUsize,
}

impl Room {
    /// Room for `most` channels of `intake`.
    pub fn new(intake: Arc<Intake>, most: u32) -> Arc<Self> {
        let room = Self { intake, most: AtomicUsize::new(0) };
        room.resize(most);
        Arc::new(room)
    }

    /// Has room for so many from now on; those that are held stay.
    pub fn resize(&self, most: u32) {
        self.most.store(usize::try_from(most).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Whether all of `channels` may be subscribed to: those that this pod carries already always may.
    pub fn has_place_for<'a>(&self, channels: impl IntoIterator<Item = &'a ChannelName>) -> bool {
        let free = self.capacity().saturating_sub(self.held());
        free >= AT_ONCE
            || channels.into_iter().filter(|channel| !self.intake.carries(channel)).count() <= free
    }

    /// Channels with a subscriber.
    pub fn held(&self) -> usize {
        self.intake.channels()
    }

    /// Most of them.
    pub fn capacity(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rtgw_model::RuleIx;

    use super::super::{Counts, Interests};
    use super::*;
    use crate::broker::{Broker, Memory, nothing_kept};
    use crate::transport::Clock;

    #[test]
    fn known_channels_need_no_place_and_left_ones_give_theirs_back() {
        let intake = Arc::new(Intake::new(Vec::new(), 1, Clock::start(), Arc::new(Counts::new(0))).unwrap());
        let broker = Arc::new(Memory::new(Arc::clone(&intake) as _, nothing_kept())) as Arc<dyn Broker>;
        let interests = Interests::new(Arc::clone(&intake), broker);
        let room = Room::new(intake, 2);
        let names: Vec<ChannelName> =
            ["a", "b", "c"].iter().map(|name| ChannelName::parse(name).unwrap()).collect();
        assert!(room.has_place_for(&names[..2]));
        assert!(!room.has_place_for(&names), "three do not fit into two");
        interests.want(0, names[0].clone(), RuleIx(0));
        interests.want(1, names[0].clone(), RuleIx(0));
        assert_eq!((room.held(), room.capacity()), (1, 2));
        assert!(room.has_place_for(&names[..2]), "one of the two is known");
        interests.want(0, names[1].clone(), RuleIx(0));
        assert!(room.has_place_for(&names[..2]));
        assert!(!room.has_place_for(&names[2..]));
        interests.unwant(0, &names[0]);
        assert!(!room.has_place_for(&names[2..]), "another shard still hears it");
        interests.unwant(1, &names[0]);
        assert!(room.has_place_for(&names[2..]));
    }
}
