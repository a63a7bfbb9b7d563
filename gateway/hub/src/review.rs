//! After a reload, and after a credential changed: who may still hear what it hears?
//!
//! A reload walks the channels first: where the rule decides as before, its members notice nothing and the channel takes the new
//! policy; where it decides otherwise, or is gone, the channel is marked. Then the sessions are walked, each is asked once for all
//! its marked channels, and what it may not hear any more ends. Both walks stop when they have done enough for a turn. Sessions
//! are walked instead of members because their places do not move: nobody is overlooked, whoever comes and goes meanwhile.
//!
//! Every subscription remembers the configuration that granted it, so that answers of before a reload, however late, settle nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use rtgw_model::{
    ChannelName, ChannelPolicy, ConnectionId, Denied, ErrorCode, Event, Now, UnsubscribeReason,
};

use crate::access::{Grant, Lookup, Review, Revision};
use crate::session::{InFlight, Subscription};
use crate::shard::{Shard, SweepBudget};
use crate::{Effect, Question};

/// Reviews that wait or are under way.
#[derive(Default)]
pub(crate) struct Reviews {
    /// The newest configuration; `None` while the first one runs.
    lookup: Option<Arc<dyn Lookup>>,
    walk: Option<Walk>,
    /// Sessions to be asked outside of a walk, as (slot, generation).
    waiting: VecDeque<(u32, u32)>,
    /// Questions without an answer.
    open: usize,
}

/// The next place to look at.
#[derive(Clone, Copy, Debug)]
enum Walk {
    Channels(usize),
    Sessions(usize),
}

/// What the newest configuration makes of a grant.
pub(crate) enum Standing {
    /// It holds, with this policy, as of this configuration.
    Holds(Arc<ChannelPolicy>, Revision),
    /// The rule decides otherwise now: ask again. With the policy that the channel has now.
    Outdated(Arc<ChannelPolicy>),
    /// No rule declares the channel any more.
    Undeclared,
}

impl Shard {
    /// Takes a new configuration. Grants by its rules may have come before.
    pub(crate) fn reconfigure(&mut self, lookup: Arc<dyn Lookup>) {
        if lookup.revision() <= self.revision() {
            return;
        }
        self.grow(lookup.endpoints(), lookup.rules());
        self.settings.expiry = lookup.expiry();
        self.reviews.lookup = Some(lookup);
        self.reviews.walk = Some(Walk::Channels(0));
    }

    /// Which configuration the shard has.
    pub(crate) fn revision(&self) -> Revision {
        self.reviews.lookup.as_ref().map_or(Revision::FIRST, |lookup| lookup.revision())
    }

    /// Goes on with the walks; true when there is more to do at once.
    pub(crate) fn review(&mut self, now: Now, budget: SweepBudget) -> bool {
        while self.reviews.open < budget.reviews {
            let Some((slot, generation)) = self.reviews.waiting.pop_front() else { break };
            let connection = ConnectionId { shard: self.settings.index, slot, generation };
            if self.open_session(connection) {
                self.sessions[slot as usize].reviewed = false;
                self.review_session(slot, now);
            }
        }
        if self.reviews.walk.is_none() {
            return false;
        }
        let Some(lookup) = self.reviews.lookup.clone() else { return false };
        let mut left = budget.steps.max(1);
        while left > 0 {
            match self.reviews.walk {
                Some(Walk::Channels(place)) if place < self.channels.places() => {
                    self.review_channel(place, &*lookup);
                    self.reviews.walk = Some(Walk::Channels(place + 1));
                }
                Some(Walk::Channels(_)) => self.reviews.walk = Some(Walk::Sessions(0)),
                Some(Walk::Sessions(slot)) if slot < self.generations.len() => {
                    // The answers will wake the shard.
                    if self.reviews.open >= budget.reviews {
                        return false;
                    }
                    if let Some(session) = self.sessions.get(slot).filter(|session| session.is_open()) {
                        let reviewed = session.reviewed;
                        self.reconcile_presence(slot as u32);
                        if !reviewed {
                            self.review_session(slot as u32, now);
                        }
                    }
                    self.reviews.walk = Some(Walk::Sessions(slot + 1));
                }
                Some(Walk::Sessions(_)) => self.reviews.walk = None,
                None => return false,
            }
            left -= 1;
        }
        true
    }

    fn review_channel(&mut self, place: usize, lookup: &dyn Lookup) {
        let revision = lookup.revision();
        // What is of a newer configuration is left to the review that comes with it.
        let Some(channel) = self.channels.at(place).filter(|channel| channel.as_of < revision) else {
            return;
        };
        channel.as_of = revision;
        match lookup.policy(&channel.name) {
            None => channel.undeclared = true,
            Some(policy) => {
                channel.undeclared = false;
                // Under the same rule as before, but not as in between: whoever came then was let in by another.
                let ahead = std::mem::replace(&mut channel.ahead, Revision::NONE);
                if policy.permission != channel.policy.permission || ahead > Revision::NONE {
                    channel.decided = revision;
                }
                if ahead > revision {
                    channel.ahead = ahead;
                }
                let before = channel.policy.rule;
                channel.adopt(&policy);
                let members = i64::try_from(channel.present()).unwrap_or(i64::MAX);
                self.count_subscription(before, -members);
                self.count_subscription(policy.rule, members);
            }
        }
    }

    /// Ends what is undeclared and asks about what is not settled.
    fn review_session(&mut self, slot: u32, now: Now) {
        let held = &self.sessions[slot as usize].subscriptions;
        let names = |gone: bool| -> Vec<ChannelName> {
            let channels = held.iter().filter(|held| {
                self.channels.get(held.channel).undeclared == gone && (gone || self.is_unsettled(held))
            });
            channels.map(|held| self.channels.get(held.channel).name.clone()).collect()
        };
        let (undeclared, unsettled) = (names(true), names(false));
        if !unsettled.is_empty() {
            self.sessions[slot as usize].reviewed = true;
            self.reviews.open += 1;
            self.put(slot, Question::Reauthorize(unsettled.into()));
        }
        for name in undeclared {
            self.take_away(slot, now, &name, UnsubscribeReason::PermissionChanged);
        }
    }

    fn needs_review(&self, held: &Subscription) -> bool {
        self.channels.get(held.channel).undeclared || self.is_unsettled(held)
    }

    fn is_unsettled(&self, held: &Subscription) -> bool {
        !held.by_api && held.granted < self.channels.get(held.channel).decided.max(Revision::FIRST)
    }

    /// Takes the answer to a [`Question::Reauthorize`].
    pub(crate) fn reviewed(
        &mut self,
        now: Now,
        connection: ConnectionId,
        principal: &Arc<rtgw_model::Principal>,
        review: &Review,
    ) {
        self.reviews.open = self.reviews.open.saturating_sub(1);
        if !self.open_session(connection) {
            return;
        }
        let session = &mut self.sessions[connection.slot as usize];
        session.reviewed = false;
        // An answer about who it was before a refresh says nothing about who it is now.
        if Arc::ptr_eq(principal, &session.principal) {
            self.settle(connection.slot, now, review);
        }
        self.review_later(connection);
    }

    /// Applies what a review says, as far as no newer configuration decides otherwise.
    pub(crate) fn settle(&mut self, slot: u32, now: Now, review: &Review) {
        let mut lost: Vec<&ChannelName> = Vec::new();
        let early = review.revision() > self.revision();
        for (name, may) in review.channels() {
            let Some(channel) = self.channels.find(name.as_str()) else { continue };
            let session = &mut self.sessions[slot as usize];
            let Some(at) = session.subscription(channel) else { continue };
            let held = &mut session.subscriptions[at];
            if held.by_api || review.revision() < self.channels.get(channel).decided {
                continue;
            }
            if *may {
                held.granted = held.granted.max(review.revision());
                if early {
                    // As with who joins ahead of the shard: the next configuration may be the one before this answer's again.
                    let entry = self.channels.get_mut(channel);
                    entry.ahead = entry.ahead.max(review.revision());
                }
            } else {
                lost.push(name);
            }
        }
        for name in lost {
            self.take_away(slot, now, name, UnsubscribeReason::PermissionChanged);
        }
    }

    /// Has the session asked when its turn comes, where something is not settled.
    pub(crate) fn review_later(&mut self, connection: ConnectionId) {
        if !self.open_session(connection) {
            return;
        }
        let session = &self.sessions[connection.slot as usize];
        if !session.reviewed && session.subscriptions.iter().any(|held| self.needs_review(held)) {
            self.sessions[connection.slot as usize].reviewed = true;
            self.reviews.waiting.push_back((connection.slot, connection.generation));
        }
    }

    /// Ends a subscription that the client did not give up, and tells it; nothing where it is not held. A subscribe that still waits
    /// for the broker is refused instead: its client was never told that it holds.
    pub(crate) fn take_away(&mut self, slot: u32, now: Now, name: &ChannelName, reason: UnsubscribeReason) {
        let Some(session) = self.sessions.get(slot as usize).filter(|session| session.is_open()) else {
            return;
        };
        let generation = session.generation;
        let Some(channel) = self.channels.find(name.as_str()) else { return };
        let Some(at) = session.subscription(channel) else { return };
        let mut asked = None;
        let waits = match session.commands.as_ref().map(|commands| &commands.in_flight) {
            Some(InFlight::Ready(waiting)) => waiting == name,
            Some(InFlight::Recover(open)) if open.channel == *name => {
                asked = Some((open.arrival.id.clone(), open.arrival.fresh));
                true
            }
            _ => false,
        };
        self.channels.get_mut(channel).waiters.retain_mut(|waiter| {
            let own = waiter.slot == slot && waiter.generation == generation;
            if own && !waiter.by_api {
                asked = Some((waiter.id.take(), waiter.fresh));
            }
            !own
        });
        self.leave(slot, at);
        let asked = asked.filter(|_| waits);
        if asked.as_ref().is_none_or(|(_, fresh)| !fresh) {
            self.say(slot, now, None, Event::Unsubscribed { channel: name.clone(), reason: Some(reason) });
        }
        if let Some((id, _)) = asked.filter(|_| self.session_is_open(slot)) {
            let denied = Denied::new(ErrorCode::Forbidden, "the permission was taken away meanwhile");
            self.refuse(slot, now, id, "subscribe", denied);
            self.proceed(slot, now);
        }
    }

    /// What the newest configuration makes of `grant`, which may have been on its way while it came.
    pub(crate) fn standing(&self, grant: &Grant) -> Standing {
        let as_granted = || Standing::Holds(grant.policy().clone(), grant.revision());
        let Some(lookup) = &self.reviews.lookup else { return as_granted() };
        if grant.revision() >= lookup.revision() {
            return as_granted();
        }
        match lookup.policy(grant.channel()) {
            None => Standing::Undeclared,
            Some(policy) if grant.by_api() || policy.permission == grant.policy().permission => {
                Standing::Holds(policy, lookup.revision())
            }
            Some(policy) => Standing::Outdated(policy),
        }
    }

    /// Leaves the shard with a question; the session's lanes are the caller's business.
    pub(crate) fn put(&mut self, slot: u32, question: Question) {
        let endpoint = self.profile(slot).endpoint;
        let session = &self.sessions[slot as usize];
        let ask = crate::Ask {
            connection: ConnectionId { shard: self.settings.index, slot, generation: session.generation },
            key: session.key,
            endpoint,
            principal: session.principal.clone(),
            question,
        };
        self.effects.push(Effect::Ask(Box::new(ask)));
    }
}
