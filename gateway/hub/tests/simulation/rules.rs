//! The manifests of a simulated world: four channels whose rules change with every reload.

use std::sync::Arc;

use fastrand::Rng;
use rtgw_hub::access::{Action, Asker, Lookup, Revision, Rules, Verdict};
use rtgw_model::{ChannelName, ChannelPolicy, Expiry, Presence, Principal, RuleIx};

use crate::plan::Plan;

pub(crate) const CHANNELS: [&str; 4] = ["a", "b", "c", "x"];
pub(crate) const EXPIRY: Expiry = Expiry { warn_ms: 2_000, grace_ms: 1_000 };

/// Who may hear a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Everyone,
    /// Whose claims have the channel's letter.
    Claim,
    Nobody,
    Undeclared,
}

impl Mode {
    pub(crate) fn lets(self, channel: &str, claims: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Claim => claims.contains(channel),
            Self::Nobody | Self::Undeclared => false,
        }
    }
}

/// One configuration.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    revision: Revision,
    pub(crate) modes: [Mode; 4],
    /// What is known of who hears them.
    presence: [Presence; 4],
    /// Moves channels to rules of other numbers without changing who may hear them.
    generation: u16,
    plan: Arc<Plan>,
}

impl Manifest {
    pub(crate) fn first(plan: Arc<Plan>) -> Self {
        let modes = [Mode::Everyone, Mode::Everyone, Mode::Everyone, Mode::Nobody];
        let presence = [Presence::JoinLeave, Presence::Members, Presence::Off, Presence::Off];
        Self { revision: Revision::FIRST, modes, presence, generation: 0, plan }
    }

    /// The next configuration: some rules change, some are only renumbered.
    pub(crate) fn next(&self, random: &mut Rng) -> Self {
        let mut next = self.clone();
        next.revision = Revision(self.revision.0 + 1);
        if random.bool() {
            next.generation += 1;
        }
        for (channel, mode) in next.modes.iter_mut().enumerate() {
            // The third one never changes: whoever hears it must not notice any reload.
            if channel != 2 && random.u8(0..3) == 0 {
                let modes = [Mode::Everyone, Mode::Claim, Mode::Claim, Mode::Nobody, Mode::Undeclared];
                *mode = modes[random.usize(0..modes.len())];
            }
        }
        for presence in &mut next.presence {
            if random.u8(0..3) == 0 {
                let all = [Presence::Off, Presence::Members, Presence::JoinLeave];
                *presence = all[random.usize(0..all.len())];
            }
        }
        next
    }

    pub(crate) fn mode(&self, channel: &str) -> Mode {
        CHANNELS.iter().position(|known| *known == channel).map_or(Mode::Undeclared, |at| self.modes[at])
    }

    pub(crate) fn presence_of(&self, channel: &str) -> Presence {
        let at = CHANNELS.iter().position(|known| *known == channel);
        at.filter(|at| self.modes[*at] != Mode::Undeclared).map_or(Presence::Off, |at| self.presence[at])
    }

    /// The number of a channel's rule.
    pub(crate) fn rule(&self, channel: &str) -> Option<RuleIx> {
        let at = CHANNELS.iter().position(|known| *known == channel)?;
        (self.modes[at] != Mode::Undeclared).then_some(RuleIx(at as u16 + 4 * self.generation))
    }
}

impl Lookup for Manifest {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn policy(&self, channel: &ChannelName) -> Option<Arc<ChannelPolicy>> {
        let rule = self.rule(channel.as_str())?;
        let permission = u64::from(rule.0 % 4) * 4 + self.mode(channel.as_str()) as u64;
        let pattern = channel.as_str().into();
        Some(Arc::new(ChannelPolicy {
            rule,
            pattern,
            permission,
            filters: Box::default(),
            delivery: self.plan.policy(channel.as_str()).clone(),
            history: None,
            presence: self.presence_of(channel.as_str()),
        }))
    }

    fn rules(&self) -> usize {
        4 * (usize::from(self.generation) + 1)
    }

    fn endpoints(&self) -> usize {
        1
    }

    fn expiry(&self) -> Expiry {
        EXPIRY
    }
}

impl Rules for Manifest {
    fn decide(
        &self,
        _: Action,
        channel: &ChannelName,
        asker: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        let lets = self.mode(channel.as_str()).lets(channel.as_str(), &asker.principal.claims);
        Some((self.policy(channel)?, if lets { Verdict::Allow } else { Verdict::Deny }))
    }

    fn revision(&self) -> Revision {
        self.revision
    }
}

/// Somebody with a credential that ends at `expires`.
pub(crate) fn principal(user: &str, claims: &str, expires: Option<i64>) -> Principal {
    Principal {
        user: user.into(),
        tenant: "".into(),
        claims: claims.into(),
        ip: std::net::IpAddr::from([127, 0, 0, 1]),
        query: "".into(),
        expires: expires.map(rtgw_model::Timestamp),
    }
}

/// Some of the letters.
pub(crate) fn claims(random: &mut Rng) -> String {
    CHANNELS.iter().filter(|_| random.u8(0..3) > 0).copied().collect()
}
