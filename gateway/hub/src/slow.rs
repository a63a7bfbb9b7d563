//! What gives where a blocked socket's queue is full: by the policies of the channels, publications or the connection.
//!
//! Whatever comes to a full queue, publications of channels that let it go first: those of lower priority before others, the oldest
//! first. Where they stood, a marker tells the client of the hole, once for all that were next to each other in the channel. Only what
//! may not be dropped and does not fit even then ends the connection.

use std::sync::{Arc, Weak};

use rtgw_model::{
    ChannelName, ConnectionId, Event, GapReason, Message, Now, Outgoing, SlowConsumer, Timestamp, Variant,
};
use smallvec::SmallVec;

use crate::channels::ChannelIx;
use crate::fanout::Known;
use crate::frame::{Frame, Lane, Origin, Part, Waiting};
use crate::lanes::{Lanes, Side};
use crate::outbox::FrameIx;
use crate::shard::Shard;
use crate::throttle;

/// So many of the newest frames are looked at for one that a newer takes the place of.
const LOOKED_AT: usize = 4_096;

/// Why publications are dropped and gaps told here; a label of metrics.
pub(crate) const REASON: &str = GapReason::SlowConsumer.as_str();

/// What became of a frame for a blocked socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It waits; true when the connection became dirty by it.
    In(bool),
    /// It was dropped, and the client is told of the hole.
    Dropped,
    /// It does not fit, and nothing gives.
    Overflow,
}

/// The marker that was made last: many connections get the same at once.
#[derive(Debug)]
pub(crate) struct Marker {
    channel: ChannelName,
    variant: Variant,
    lane: Lane,
    at: Timestamp,
    frame: Weak<Waiting>,
}

/// Whether the client is told already, by a marker, of a hole that ends before this place of the channel. Not by one before something
/// that the server says: behind a `subscribed`, a hole is another.
fn is_told(lanes: &Lanes, side: Side, place: usize, channel: &ChannelName) -> bool {
    let of_channel =
        |frame: &Waiting| frame.origin.as_ref().is_some_and(|origin| origin.part(channel).is_some());
    let mut before = (0..place).rev().filter_map(|place| Some((place, lanes.at(side, place)?)));
    let last = before.find(|(_, frame)| of_channel(frame));
    last.is_some_and(|(last, frame)| frame.hole && !lanes.are_parted(side, last, place))
}

impl Shard {
    /// What a policy needs to know of a publication's frame; `None` where no channel of it lets it be dropped.
    pub(crate) fn origin(&self, channels: &Known, by: usize, outgoing: &Outgoing) -> Option<Arc<Origin>> {
        let policy = |channel: ChannelIx| &self.channels.get(channel).policy.delivery;
        if channels.iter().all(|(channel, _)| policy(*channel).slow_consumer == SlowConsumer::Disconnect) {
            return None;
        }
        let publication = outgoing.publication();
        let part = |&(channel, _): &(ChannelIx, u16)| {
            let key = match &policy(channel).slow_consumer {
                SlowConsumer::LatestPerKey(tags) if policy(channel).concerns(&publication.event) => {
                    let mut name = Vec::new();
                    throttle::name(tags, publication, &mut name);
                    Some(name.into_boxed_slice())
                }
                _ => None,
            };
            let firm = policy(channel).slow_consumer == SlowConsumer::Disconnect;
            Part { channel: self.channels.get(channel).name.clone(), firm, key }
        };
        Some(Arc::new(Origin { parts: channels.iter().map(part).collect(), by }))
    }

    /// Puts a frame of the turn into the queue of a blocked socket, or drops what a policy gives for it.
    pub(crate) fn queue(&mut self, slot: u32, frame: FrameIx, now: Now) -> Queued {
        let limits = self.profile(slot).outbox;
        let coming = self.outboxes.of(frame);
        let length = coming.bytes().len();
        let origin = coming.origin.clone().filter(|_| coming.yields());
        let origin = origin.filter(|origin| self.may_drop(slot, origin));
        if let Some(origin) = &origin {
            self.supersede_waiting(slot, origin);
        }
        // Where it would not fit into an empty queue, nobody gives for it.
        let begun = self.outboxes.begun(slot);
        let hopeless = origin.is_some() && begun > 0 && begun + length > limits.bytes as usize;
        while !hopeless && !self.outboxes.fits(slot, length, limits) && self.drop_oldest(slot, now) {}
        if self.outboxes.fits(slot, length, limits) {
            return Queued::In(self.outboxes.queue(slot, frame));
        }
        if origin.is_none() {
            return Queued::Overflow;
        }
        let coming = self.outboxes.of(frame).clone();
        let side = Side::of(coming.lane);
        let place = self.outboxes.waiting(slot).map_or(0, |lanes| lanes.count(side));
        for marker in self.markers(slot, (side, place), &coming, now) {
            self.outboxes.queue_waiting(slot, marker);
        }
        Queued::Dropped
    }

    fn may_drop(&self, slot: u32, origin: &Origin) -> bool {
        self.giving(slot, origin).is_some()
    }

    /// The places in `origin` of the channels that must give for its frame: the one by which it was heard, and those that the
    /// connection hears now, or has left without having read so. `None` where the policy of one lets nothing be dropped.
    fn giving(&self, slot: u32, origin: &Origin) -> Option<SmallVec<[usize; 1]>> {
        let session = &self.sessions[slot as usize];
        let mut giving = SmallVec::new();
        for (at, part) in origin.parts.iter().enumerate() {
            let heard = || {
                let channel = self.channels.find(part.channel.as_str());
                channel.is_some_and(|channel| session.subscription(channel).is_some())
                    || self.outboxes.has_left(slot, &part.channel)
            };
            // It may have left the first by now, and is going to read so behind this.
            if at != origin.by && !heard() {
                continue;
            }
            if part.firm {
                return None;
            }
            giving.push(at);
        }
        Some(giving)
    }

    /// Drops the oldest publication that waits and may be dropped; false where there is none.
    fn drop_oldest(&mut self, slot: u32, now: Now) -> bool {
        for side in Side::GIVING {
            let Some(lanes) = self.outboxes.waiting(slot) else { return false };
            let (first, count) = (lanes.firm(side), lanes.count(side));
            let gives = |place: &usize| {
                lanes.at(side, *place).is_some_and(|frame| {
                    let origin = frame.origin.as_ref().filter(|_| frame.yields());
                    origin.is_some_and(|origin| self.may_drop(slot, origin))
                })
            };
            let found = (first..count).find(gives);
            let victim = found.and_then(|place| lanes.at(side, place)).cloned();
            self.outboxes.set_firm(slot, side, found.unwrap_or(count));
            let (Some(place), Some(victim)) = (found, victim) else { continue };
            let markers = self.markers(slot, (side, place), &victim, now);
            self.outboxes.replace(slot, (side, place), markers);
            victim.rule.into_iter().for_each(|rule| self.counters.drop(rule, REASON, 1));
            return true;
        }
        false
    }

    /// What tells the client of a hole at this place, for the channel by which it would have heard the frame and each other one of
    /// `origin` that it hears, where nothing tells it yet.
    fn markers(
        &mut self,
        slot: u32,
        (side, place): (Side, usize),
        frame: &Frame,
        now: Now,
    ) -> SmallVec<[Arc<Waiting>; 1]> {
        let mut markers = SmallVec::new();
        let Some(origin) = &frame.origin else { return markers };
        for at in self.giving(slot, origin).unwrap_or_default() {
            let name = &origin.parts[at].channel;
            if self.outboxes.waiting(slot).is_some_and(|lanes| is_told(lanes, side, place, name)) {
                continue;
            }
            let known = self.channels.find(name.as_str());
            let rule = known.map(|channel| self.channels.get(channel).policy.rule).or(frame.rule);
            rule.into_iter().for_each(|rule| self.counters.gap(rule, REASON));
            let variant = self.profile(slot).variant;
            markers.push(self.marker(name, variant, frame.lane, now.wall));
        }
        markers
    }

    fn marker(&mut self, channel: &ChannelName, variant: Variant, lane: Lane, at: Timestamp) -> Arc<Waiting> {
        let same = self.marker.as_ref().filter(|last| {
            last.channel == *channel && last.variant == variant && last.lane == lane && last.at == at
        });
        if let Some(frame) = same.and_then(|last| last.frame.upgrade()) {
            return frame;
        }
        let event = Event::Gap { channel: channel.clone(), reason: GapReason::SlowConsumer };
        let bytes = self.encoder.message(variant, &Message { reply_to: None, timestamp: at, event });
        let part = Part { channel: channel.clone(), firm: false, key: None };
        let origin = Some(Arc::new(Origin { parts: smallvec::smallvec![part], by: 0 }));
        let frame = Frame { lane, origin, hole: true, ..Frame::of_server(bytes) };
        let frame = Arc::new(Waiting::new(frame, &self.outboxes.account));
        self.marker =
            Some(Marker { channel: channel.clone(), variant, lane, at, frame: Arc::downgrade(&frame) });
        frame
    }

    /// Takes out what a newer publication of `origin` takes the place of: of one channel that the client hears, and of the same key.
    fn supersede_waiting(&mut self, slot: u32, origin: &Origin) {
        for part in origin.parts.iter().filter(|part| part.key.is_some()) {
            let Some(channel) = self.channels.find(part.channel.as_str()) else { continue };
            if self.sessions[slot as usize].subscription(channel).is_none() {
                continue;
            }
            let side = Side::of(Lane::Of(self.channels.get(channel).policy.delivery.priority));
            let Some(lanes) = self.outboxes.waiting(slot) else { return };
            let same = |place: &usize| {
                lanes.at(side, *place).is_some_and(|frame| {
                    let waits = frame.origin.as_ref().filter(|_| frame.yields());
                    waits.is_some_and(|waits| {
                        waits.part(&part.channel).is_some_and(|known| known.key == part.key)
                            && self.giving(slot, waits).is_some_and(|giving| giving.len() == 1)
                    })
                })
            };
            let count = lanes.count(side);
            let Some(place) = (count.saturating_sub(LOOKED_AT)..count).rev().find(same) else { continue };
            let taken = self.outboxes.replace(slot, (side, place), SmallVec::new());
            let rule = taken.and_then(|taken| taken.rule);
            if let Some(count) = rule.and_then(|rule| self.counters.superseded.get_mut(usize::from(rule.0))) {
                *count += 1;
            }
        }
    }

    /// The socket took only a part: `rest` is what it left of the last [`crate::Fill`]. The connection is written again after
    /// [`Shard::writable`].
    pub fn blocked(&mut self, now: Now, connection: ConnectionId, rest: bytes::Bytes) {
        if !self.is_current(connection) {
            return;
        }
        let slot = connection.slot;
        self.outboxes.block(slot, rest);
        let mut fits = true;
        while let Some(frame) = self.outboxes.unlink(slot) {
            match if fits { self.queue(slot, frame, now) } else { Queued::Overflow } {
                Queued::In(_) => {}
                Queued::Dropped => {
                    let rule = self.outboxes.of(frame).rule;
                    rule.into_iter().for_each(|rule| self.counters.drop(rule, REASON, 1));
                }
                Queued::Overflow => {
                    // To be counted with all that is dropped.
                    self.outboxes.queue(slot, frame);
                    fits = false;
                }
            }
        }
        if !fits {
            self.too_slow(slot, now);
        }
        self.relieve_if_grown(now);
    }
}
