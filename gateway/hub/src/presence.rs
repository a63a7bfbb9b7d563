//! Who hears a channel: says who comes and goes where a rule wants it known, and asks for those who do.

use rtgw_model::{ChannelPolicy, CommandId, ConnectionKey, Denied, ErrorCode, Presence};

use crate::channels::Member;
use crate::session::InFlight;
use crate::shard::Shard;
use crate::{Effect, Present, Question};

/// Whether a subscriber may be told who comes and goes, if it asks.
pub(crate) fn may_be_told(policy: &ChannelPolicy, asks: bool) -> Result<(), Denied> {
    if !asks || policy.presence == Presence::JoinLeave {
        return Ok(());
    }
    Err(Denied::new(ErrorCode::NotAvailable, "the channel's rule does not tell who joins and leaves"))
}

impl Shard {
    /// Says of each channel that the session hears whether it does, where that is not what was said last: the session is new there, or
    /// the channel's rule is another since.
    pub(crate) fn reconcile_presence(&mut self, slot: u32) {
        let session = &mut self.sessions[slot as usize];
        for held in &mut session.subscriptions {
            let channel = self.channels.get(held.channel);
            let on = channel.policy.presence.is_on() && !channel.undeclared;
            if held.present == on {
                continue;
            }
            held.present = on;
            let channel = channel.name.clone();
            self.effects.push(if on {
                let endpoint = self.profiles[usize::from(session.profile)].endpoint;
                let principal = session.principal.clone();
                Effect::Present(Box::new(Present { key: session.key, endpoint, principal, channel }))
            } else {
                Effect::Absent(session.key, channel)
            });
        }
    }

    /// Whether the subscription at this index of the session is told who comes and goes.
    pub(crate) fn set_told(&mut self, slot: u32, at: usize, told: bool) {
        let held = &self.sessions[slot as usize].subscriptions[at];
        self.channels.get_mut(held.channel).members[held.place as usize].set(Member::TOLD, told);
    }

    pub(crate) fn ask_presence(
        &mut self,
        slot: u32,
        id: Option<CommandId>,
        channel: Box<str>,
        limit: u32,
        after: Option<ConnectionKey>,
    ) {
        let session = &self.sessions[slot as usize];
        let held = self.channels.find(&channel).and_then(|known| session.subscription(known));
        let by_api = held.is_some_and(|at| session.subscriptions[at].by_api);
        self.ask(slot, InFlight::Presence { id }, Question::Presence { channel, limit, after, by_api });
    }
}
