//! What the application orders for many connections at once: subscribe, unsubscribe, close, renew, show.
//!
//! A shard walks its sessions, or its channels, in the order of their places, a bounded number in each turn. Orders are carried out one behind the
//! other, so that what was posted later has the last word.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtgw_model::{
    ChannelName, Close, ConnectionId, ConnectionKey, EndpointIx, Event, Now, Principal, UnsubscribeReason,
};

use crate::access::Grant;
use crate::channels::Waiter;
use crate::review::Standing;
use crate::session::Holding;
use crate::shard::{Shard, SweepBudget};
use crate::view::{ChannelViewer, ConnectionViewer, Seen};

/// Whom an order concerns. Asked on the shard's thread: must not wait.
pub type Target = Arc<dyn Fn(ConnectionKey, &Principal) -> bool + Send + Sync>;

/// Makes a session's credential of now into its next one.
pub type Renewal = Arc<dyn Fn(&Principal) -> Principal + Send + Sync>;

/// An order and whom it concerns: the connections that a shard holds when it begins.
#[derive(Clone)]
pub struct Control {
    /// Whom.
    pub target: Target,
    /// What.
    pub order: Order,
    /// Who waits for the count.
    pub tally: Arc<Tally>,
}

/// What is to be done with a connection.
#[derive(Clone)]
pub enum Order {
    /// Hear a channel from now on, up to the connection's limit of subscriptions. Survives what takes the rule's permission away.
    Subscribe(Grant),
    /// Hear a channel no more.
    Unsubscribe(ChannelName),
    /// End.
    Close(Close),
    /// End with 1012 if it is of this endpoint, told to come back after a random part of `spread_ms`.
    Retire {
        /// The endpoint.
        endpoint: EndpointIx,
        /// The window over which clients should return.
        spread_ms: u32,
    },
    /// Go on under another credential of the same user and tenant; another identity is left as it is.
    Renew(Renewal),
    /// Be shown; only those who hear the channel, where one is named.
    Show(Option<ChannelName>, ConnectionViewer),
    /// Nothing: the channels that somebody hears are shown instead, and nobody is asked whether the order concerns it.
    ShowChannels(ChannelViewer),
}

/// Counts the connections that an order has affected, and tells the count when the last shard has let go of it.
pub struct Tally {
    affected: AtomicU64,
    done: Option<Box<dyn FnOnce(u64) + Send + Sync>>,
}

impl Tally {
    /// A count from zero; `done` is called on the thread that ends last and must not wait.
    pub fn new(done: impl FnOnce(u64) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { affected: AtomicU64::new(0), done: Some(Box::new(done)) })
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(*self.affected.get_mut());
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("order", &self.order).finish_non_exhaustive()
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe(grant) => f.debug_tuple("Subscribe").field(grant.channel()).finish(),
            Self::Unsubscribe(channel) => f.debug_tuple("Unsubscribe").field(channel).finish(),
            Self::Close(close) => f.debug_tuple("Close").field(close).finish(),
            Self::Retire { endpoint, .. } => f.debug_tuple("Retire").field(endpoint).finish(),
            Self::Renew(_) => f.write_str("Renew"),
            Self::Show(channel, _) => f.debug_tuple("Show").field(channel).finish(),
            Self::ShowChannels(_) => f.write_str("ShowChannels"),
        }
    }
}

/// Orders that wait or are under way.
#[derive(Default)]
pub(crate) struct Controls(VecDeque<Under>);

/// An order under way.
struct Under {
    control: Control,
    /// The next slot, and the end of those that were there when it began.
    slot: usize,
    end: Option<usize>,
}

impl Shard {
    pub(crate) fn enqueue_control(&mut self, control: Control) {
        self.controls.0.push_back(Under { control, slot: 0, end: None });
    }

    /// Goes on with the orders; true when there is more to do at once.
    pub(crate) fn control(&mut self, now: Now, budget: SweepBudget) -> bool {
        let mut left = budget.steps.max(1);
        while let Some(mut under) = self.controls.0.pop_front() {
            let places = match under.control.order {
                Order::ShowChannels(_) => self.channels.places(),
                _ => self.generations.len(),
            };
            let end = *under.end.get_or_insert(places);
            while under.slot < end && left > 0 {
                self.order(now, under.slot, &under.control);
                under.slot += 1;
                left -= 1;
            }
            if under.slot < end {
                self.controls.0.push_front(under);
                return true;
            }
        }
        false
    }

    fn order(&mut self, now: Now, slot: usize, control: &Control) {
        if let Order::ShowChannels(viewer) = &control.order {
            return self.show_channel(slot, viewer, &control.tally);
        }
        let Some(session) = self.sessions.get(slot).filter(|session| session.is_open()) else { return };
        if !(control.target)(session.key, &session.principal) {
            return;
        }
        let slot = slot as u32;
        let affected = match &control.order {
            Order::Subscribe(grant) => self.subscribe_by_api(slot, now, grant),
            Order::Unsubscribe(channel) => self.unsubscribe_by_api(slot, now, channel),
            Order::Close(close) => {
                self.close(slot, now, close);
                true
            }
            Order::Retire { endpoint, spread_ms } => {
                let after = u64::from(*spread_ms);
                let concerned = self.profile(slot).endpoint == *endpoint;
                if concerned {
                    let after = self.random.u64(0..=after);
                    self.close(slot, now, &Close::restart(after));
                }
                concerned
            }
            Order::Renew(renewal) => {
                let principal = Arc::new(renewal(&session.principal));
                self.renew(slot, now, principal)
            }
            Order::Show(channel, viewer) => self.show(slot, channel.as_ref(), viewer),
            Order::ShowChannels(_) => false,
        };
        if affected {
            control.tally.affected.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn show(&self, slot: u32, hears: Option<&ChannelName>, viewer: &ConnectionViewer) -> bool {
        let session = &self.sessions[slot as usize];
        let heard = |channel: &ChannelName| {
            self.channels
                .find(channel.as_str())
                .is_some_and(|channel| session.subscription(channel).is_some())
        };
        if !hears.is_none_or(heard) {
            return false;
        }
        viewer(&Seen {
            key: session.key,
            principal: &session.principal,
            endpoint: self.profile(slot).endpoint,
            subscriptions: session.subscriptions.len(),
        })
    }

    fn show_channel(&mut self, place: usize, viewer: &ChannelViewer, tally: &Tally) {
        let Some(channel) = self.channels.at(place).filter(|channel| channel.present() > 0) else { return };
        if viewer(&channel.name, channel.present() as u64) {
            tally.affected.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn subscribe_by_api(&mut self, slot: u32, now: Now, grant: &Grant) -> bool {
        let Standing::Holds(policy, granted) = self.standing(grant) else { return false };
        let held = self.channels.find(grant.channel().as_str());
        let limit = self.profile(slot).subscriptions as usize;
        let session = &mut self.sessions[slot as usize];
        if let Some(at) = held.and_then(|channel| session.subscription(channel)) {
            // From now on it is the application's will, too.
            session.subscriptions[at].by_api = true;
            return true;
        }
        if session.subscriptions.len() >= limit {
            return false;
        }
        let generation = session.generation;
        let holding = Holding { granted, auto: false, by_api: true, filter: None };
        let channel = self.join(slot, grant, &policy, holding);
        let entry = self.channels.get_mut(channel);
        if entry.ready {
            let position = entry.stood.filter(|_| entry.policy.history.is_some());
            let event = Event::Subscribed { channel: grant.channel().clone(), position, recovered: None };
            self.say(slot, now, None, event);
        } else {
            let (fresh, too_much) = (true, false);
            let waiter = Waiter { slot, generation, id: None, recover: None, fresh, too_much, by_api: true };
            entry.waiters.push(waiter);
        }
        true
    }

    fn unsubscribe_by_api(&mut self, slot: u32, now: Now, channel: &ChannelName) -> bool {
        let held = self.channels.find(channel.as_str());
        let session = &self.sessions[slot as usize];
        if held.and_then(|channel| session.subscription(channel)).is_none() {
            return false;
        }
        self.take_away(slot, now, channel, UnsubscribeReason::Removed);
        true
    }

    /// The broker carries a channel that the API has subscribed somebody to.
    pub(crate) fn ready_by_api(&mut self, now: Now, connection: ConnectionId, channel: &ChannelName) {
        if self.open_session(connection)
            && let Some(known) = self.channels.find(channel.as_str())
            && self.sessions[connection.slot as usize].subscription(known).is_some()
        {
            let slot = connection.slot;
            let position = self.stands_openly(slot, known);
            let event = Event::Subscribed { channel: channel.clone(), position, recovered: None };
            self.say(connection.slot, now, None, event);
        }
    }
}
