//! A newer credential for a connection that stays: the same identity, another end, perhaps other permissions.

use std::sync::Arc;

use rtgw_model::{ChannelName, CommandId, ConnectionId, Denied, ErrorCode, Event, Now, Principal, Token};

use crate::Question;
use crate::access::{Review, Revision};
use crate::session::InFlight;
use crate::shard::Shard;

impl Shard {
    /// Asks whether the token is good, and in the same question what its bearer may hear: between the two nobody shall hear by an
    /// identity that it no longer has.
    pub(crate) fn refresh(&mut self, slot: u32, id: Option<CommandId>, token: Token) {
        let held: Box<[ChannelName]> = self.sessions[slot as usize]
            .subscriptions
            .iter()
            .filter(|held| !held.by_api)
            .map(|held| self.channels.get(held.channel).name.clone())
            .collect();
        self.ask(slot, InFlight::Refresh { id }, Question::Refresh { token, held });
    }

    /// Takes the answer.
    pub(crate) fn refreshed(
        &mut self,
        slot: u32,
        now: Now,
        id: Option<CommandId>,
        answer: Result<(Arc<Principal>, Review), Denied>,
    ) {
        let (principal, review) = match answer {
            Ok(answer) => answer,
            Err(denied) => return self.refuse(slot, now, id, "refresh", denied),
        };
        if !is_same(&self.sessions[slot as usize].principal, &principal) {
            let message = "the token is somebody else's: connect anew with it";
            let denied = Denied::new(ErrorCode::IdentityChanged, message);
            return self.refuse(slot, now, id, "refresh", denied);
        }
        let expires_at = principal.expires;
        self.become_another(slot, now, principal);
        self.reply(slot, now, id, "refresh", Event::Refreshed { expires_at });
        if self.sessions[slot as usize].is_open() {
            self.settle(slot, now, &review);
        }
        self.review_later(self.connection(slot));
    }

    /// The server itself renews a credential. False where `principal` is another identity: then nothing happens.
    pub(crate) fn renew(&mut self, slot: u32, now: Now, principal: Arc<Principal>) -> bool {
        if !is_same(&self.sessions[slot as usize].principal, &principal) {
            return false;
        }
        let expires_at = principal.expires;
        self.become_another(slot, now, principal);
        if let Some(commands) = &mut self.sessions[slot as usize].commands {
            commands.outdated = true;
        }
        self.say(slot, now, None, Event::Refreshed { expires_at });
        self.review_later(self.connection(slot));
        true
    }

    /// Takes the new credential; what it may hear is not settled.
    fn become_another(&mut self, slot: u32, now: Now, principal: Arc<Principal>) {
        let session = &mut self.sessions[slot as usize];
        session.principal = principal;
        for held in &mut session.subscriptions {
            held.granted = Revision::NONE;
        }
        self.credential_changed(slot, now);
    }

    pub(crate) fn connection(&self, slot: u32) -> ConnectionId {
        let generation = self.generations.get(slot as usize).copied().unwrap_or_default();
        ConnectionId { shard: self.settings.index, slot, generation }
    }
}

/// Claims and end may differ; who it is may not.
fn is_same(known: &Principal, new: &Principal) -> bool {
    known.user == new.user && known.tenant == new.tenant
}
