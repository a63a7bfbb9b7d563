//! One connection as the shard remembers it. Small, because there are many and most are idle.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use rtgw_model::{
    Admission, ChannelName, CommandId, CommandName, ConnectionKey, EndpointIx, FilterLists, Heartbeat,
    InboundRate, Millis, Now, OutboxLimits, Principal, Recover, Rejection, Request, Variant,
};
use slab::Slab;

use crate::access::Revision;
use crate::channels::ChannelIx;
use crate::expiry::Ends;
use crate::filter::Filter;
use crate::rate::Bucket;
use crate::recovery::Recovering;

/// Decoded commands that may wait behind a question before the socket is not read any more.
pub(crate) const WAITING_COMMANDS: usize = 32;

/// What the connections of an endpoint have in common; a handful exist, so sessions hold an index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    pub(crate) endpoint: EndpointIx,
    pub(crate) variant: Variant,
    pub(crate) batch: bool,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) outbox: OutboxLimits,
    pub(crate) rate: Option<InboundRate>,
    pub(crate) subscriptions: u32,
}

impl Profile {
    pub(crate) fn of(admission: &Admission) -> Self {
        Self {
            endpoint: admission.endpoint,
            variant: admission.variant,
            batch: admission.batch,
            heartbeat: admission.heartbeat,
            outbox: admission.outbox,
            rate: admission.rate,
            subscriptions: admission.subscriptions,
        }
    }
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Hears and speaks.
    Open,
    /// Its close frame is in the outbox; given up at this time, in milliseconds as [`Millis`] counts them.
    Closing(NonZeroU64),
}

impl Life {
    /// Closing, given up at `deadline`.
    pub(crate) fn closing(deadline: Millis) -> Self {
        Self::Closing(NonZeroU64::new(deadline.0).unwrap_or(NonZeroU64::MIN))
    }
}

const _: () = assert!(size_of::<Session>() <= 128, "a session is paid by every idle connection");

/// A held subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) channel: ChannelIx,
    /// Its place in the channel's list of members.
    pub(crate) place: u32,
    /// Made by the endpoint: `subscribe` without a channel narrows it.
    pub(crate) auto: bool,
    /// The application's will, whatever the rule says.
    pub(crate) by_api: bool,
    /// It was said that it hears the channel.
    pub(crate) present: bool,
    /// The newest configuration whose rules are known to allow it to who the session is now.
    pub(crate) granted: Revision,
    pub(crate) filter: Option<Box<Filter>>,
}

/// What a new subscription is besides its place.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) granted: Revision,
    pub(crate) auto: bool,
    pub(crate) by_api: bool,
    pub(crate) filter: Option<Box<Filter>>,
}

/// The one question of a session that is open.
#[derive(Debug)]
pub(crate) enum InFlight {
    /// May it subscribe? With the lists to filter by.
    Subscribe { id: Option<CommandId>, filters: FilterLists, recover: Option<Recover>, told: bool },
    /// It may; the broker does not carry the channel yet.
    Ready(ChannelName),
    /// It is; where does it stand, and what has it missed?
    Recover(Box<Recovering>),
    /// What was published on a channel?
    History { id: Option<CommandId> },
    /// May it go on under another token?
    Refresh { id: Option<CommandId> },
    /// May it publish, and under which id?
    Publish { id: Option<CommandId> },
    /// Who hears a channel?
    Presence { id: Option<CommandId> },
    /// What does a command of the manifest answer?
    Command { id: Option<CommandId>, name: CommandName },
}

/// Commands of a session that wait; exists only while a question is open.
#[derive(Debug)]
pub(crate) struct Commands {
    pub(crate) in_flight: InFlight,
    /// The session is another since the question was asked: a yes is not for who it is now.
    pub(crate) outdated: bool,
    pub(crate) waiting: VecDeque<Result<Request, Rejection>>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) key: ConnectionKey,
    pub(crate) principal: Arc<Principal>,
    pub(crate) generation: u32,
    pub(crate) profile: u16,
    pub(crate) life: Life,
    /// The socket was told to wait: more commands or answers than the session may hold.
    pub(crate) paused: bool,
    /// A ping went out after `heard` and nothing came since.
    pub(crate) pinged: bool,
    /// It was told that its credential ends.
    pub(crate) warned: bool,
    /// It is asked again what it may hear, or waits for that.
    pub(crate) reviewed: bool,
    /// When its credential ends.
    pub(crate) ends: Ends,
    /// The tick of its entry in the wheel; other entries of its are out of date.
    pub(crate) look: u32,
    pub(crate) heard: Millis,
    pub(crate) spoke: Millis,
    pub(crate) bucket: Bucket,
    /// The last multi-channel fan-out that reached it: such a publication arrives once.
    pub(crate) reached: u32,
    pub(crate) sequence: u64,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) narrowing: Option<Box<FilterLists>>,
    pub(crate) commands: Option<Box<Commands>>,
}

impl Session {
    pub(crate) fn new(
        admission: &Admission,
        profile: u16,
        generation: u32,
        now: Now,
        rate: Option<InboundRate>,
    ) -> Self {
        Self {
            key: admission.key,
            principal: admission.principal.clone(),
            generation,
            profile,
            life: Life::Open,
            paused: false,
            pinged: false,
            warned: false,
            reviewed: false,
            ends: Ends::of(admission.principal.expires, now),
            look: 0,
            heard: now.at,
            spoke: now.at,
            bucket: Bucket::full(rate),
            reached: 0,
            sequence: 0,
            subscriptions: Vec::new(),
            narrowing: None,
            commands: None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.life == Life::Open
    }

    pub(crate) fn subscription(&self, channel: ChannelIx) -> Option<usize> {
        self.subscriptions.iter().position(|held| held.channel == channel)
    }
}

const _: () = assert!(size_of::<Subscription>() <= 24, "a subscription is paid by every idle connection");

/// Notes that a subscription's place in its channel's list is another now.
pub(crate) fn replace(sessions: &mut Slab<Session>, slot: u32, channel: ChannelIx, place: u32) {
    if let Some(session) = sessions.get_mut(slot as usize)
        && let Some(held) = session.subscription(channel)
    {
        session.subscriptions[held].place = place;
    }
}
