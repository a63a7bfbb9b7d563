//! The configurations of a world with histories: reloads let other people in, and have channels remembered or not.

use std::sync::Arc;

use fastrand::Rng;
use rtgw_hub::access::{Action, Asker, Lookup, Revision, Rules, Verdict};
use rtgw_model::{
    ChannelName, ChannelPolicy, DeliveryPolicy, Expiry, HistoryMode, HistoryPolicy, Presence, RuleIx,
    SlowConsumer,
};

pub(crate) const CHANNELS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    revision: Revision,
    pub(crate) keeps: [bool; 3],
    lets: [bool; 3],
    delivery: [DeliveryPolicy; 3],
}

impl Manifest {
    pub(crate) fn first(delivery: [DeliveryPolicy; 3]) -> Self {
        Self { revision: Revision::FIRST, keeps: [true; 3], lets: [true; 3], delivery }
    }

    pub(crate) fn next(&self, random: &mut Rng, forgets: bool) -> Self {
        let mut next = self.clone();
        next.revision = Revision(self.revision.0 + 1);
        let at = random.usize(0..3);
        next.lets[at] = random.u8(0..3) > 0;
        if forgets {
            next.keeps[random.usize(0..3)] = random.u8(0..4) > 0;
        }
        next
    }

    fn at(channel: &str) -> Option<usize> {
        CHANNELS.iter().position(|known| *known == channel)
    }

    /// Some channel lets what waits for a blocked socket be dropped.
    pub(crate) fn yields(&self) -> bool {
        self.delivery.iter().any(|delivery| delivery.slow_consumer != SlowConsumer::Disconnect)
    }

    pub(crate) fn keeps(&self, channel: &str) -> bool {
        Self::at(channel).is_some_and(|at| self.keeps[at])
    }
}

impl Lookup for Manifest {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn policy(&self, channel: &ChannelName) -> Option<Arc<ChannelPolicy>> {
        let at = Self::at(channel.as_str())?;
        let history = HistoryPolicy { mode: HistoryMode::Stream, size: 100, ttl_ms: 1_000 };
        Some(Arc::new(ChannelPolicy {
            rule: RuleIx(at as u16),
            pattern: channel.as_str().into(),
            permission: at as u64 * 2 + u64::from(self.lets[at]),
            filters: Box::default(),
            delivery: self.delivery[at].clone(),
            history: self.keeps[at].then(|| Arc::new(history)),
            presence: Presence::Off,
        }))
    }

    fn rules(&self) -> usize {
        3
    }

    fn endpoints(&self) -> usize {
        1
    }

    fn expiry(&self) -> Expiry {
        crate::rules::EXPIRY
    }
}

impl Rules for Manifest {
    fn decide(
        &self,
        _: Action,
        channel: &ChannelName,
        _: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        let policy = self.policy(channel)?;
        let lets = self.lets[usize::from(policy.rule.0)];
        Some((policy, if lets { Verdict::Allow } else { Verdict::Deny }))
    }

    fn revision(&self) -> Revision {
        self.revision
    }
}
