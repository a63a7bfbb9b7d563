//! Carrying publications to members: in the order of their channels, within a budget per turn, resumable in the middle.
//!
//! Publications wait in one queue. Neighbours for the same channel share one walk over its members, so that what arrives together
//! leaves in one write per connection. A walk that exceeds the turn's budget stops between two members and goes on next turn; others
//! may overtake it where they share no channel with it or with each other, so that one huge channel delays nobody else's order or time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rtgw_model::{
    Announced, Arrival, ChannelName, ConnectionId, EndpointIx, Event, GapReason, Message, Micros, Now,
    Outgoing, Position, Presence, RuleIx, SlowConsumer, Timestamp, Variant,
};
use smallvec::SmallVec;

use crate::GapScope;
use crate::channels::{Channel, ChannelIx, Channels, Member};
use crate::frame::{Frame, Lane};
use crate::outbox::{FrameIx, Pushed};
use crate::session::replace;
use crate::shard::{Shard, TurnBudget};
use crate::slow::{self, Queued};
use crate::told::ToldIx;

/// Most publications that share a walk.
pub(crate) const SHARED: usize = 64;
/// Waiting fan-outs that are looked at for overtaking in one turn.
const OVERTAKING: usize = 256;

/// What a frame for a blocked socket costs of a turn, in frames for others: limits and policies are asked, and places are changed.
const BLOCKED: usize = 16;

/// Channels that have members here, each with its index in the publication's list.
pub(crate) type Known = SmallVec<[(ChannelIx, u16); 1]>;

#[derive(Debug)]
enum Content {
    /// For one channel: any number in their order; for several channels: one.
    Publications(SmallVec<[Arc<Outgoing>; 1]>),
    Gap(GapReason, Timestamp),
    /// The broker carries the channel from here on, and says where its history stood. Reaches nobody's outbox by itself.
    Ready(Option<Position>),
    /// For those who asked to be told.
    Arrival(Arc<Announced>),
}

#[derive(Debug)]
struct Fanout {
    channels: Known,
    content: Content,
    /// Tells this fan-out's members apart from earlier ones'; 0 where no member can be met twice.
    stamp: u32,
    /// Whom it has reached, where somebody gets it at another time; only with a stamp.
    told: Option<ToldIx>,
    /// Other channels get the publication at other times.
    split: bool,
    /// The walk: which channel, which place, where its members ended when it began.
    channel: usize,
    place: usize,
    end: Option<usize>,
}

impl Fanout {
    fn new(channels: Known, content: Content) -> Self {
        Self { channels, content, stamp: 0, told: None, split: false, channel: 0, place: 0, end: None }
    }

    fn publications(&self) -> usize {
        match &self.content {
            Content::Publications(publications) => publications.len(),
            Content::Gap(..) | Content::Ready(_) | Content::Arrival(_) => 0,
        }
    }
}

/// Fan-outs that wait or are under way.
#[derive(Debug, Default)]
pub(crate) struct Fanouts {
    queue: VecDeque<Fanout>,
    /// Publications in the queue, counted as they come and go: asked in every turn.
    publications: usize,
    stamp: u32,
    /// Frames of the current walk by (publication, variant): resolved once per walk and turn.
    frames: Vec<Option<FrameIx>>,
    overflowed: Vec<u32>,
    /// The publications finished since the last look, each with its rule and when it was heard.
    pub(crate) finished: Vec<(RuleIx, Micros)>,
}

impl Fanouts {
    pub(crate) fn waiting(&self) -> usize {
        self.publications
    }

    #[inline]
    fn push(&mut self, channels: &mut Channels, fanout: Fanout) {
        for &(channel, _) in &fanout.channels {
            channels.get_mut(channel).fanouts += 1;
        }
        self.publications += fanout.publications();
        self.queue.push_back(fanout);
    }
}

/// What is left of a turn.
struct Left {
    connections: usize,
    deliveries: usize,
    bytes: usize,
    now: Now,
}

impl Left {
    fn of(budget: TurnBudget, now: Now) -> Self {
        let TurnBudget { connections, deliveries, bytes } = budget;
        Self { connections: connections.max(1), deliveries: deliveries.max(1), bytes: bytes.max(1), now }
    }

    fn is_spent(&self) -> bool {
        self.connections == 0 || self.deliveries == 0 || self.bytes == 0
    }

    fn spend(&mut self, connections: usize, deliveries: usize, bytes: usize) {
        self.connections = self.connections.saturating_sub(connections);
        self.deliveries = self.deliveries.saturating_sub(deliveries);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl Shard {
    pub(crate) fn enqueue_publication(&mut self, now: Now, outgoing: Arc<Outgoing>) {
        let mut known = Known::new();
        let mut shaped = false;
        for (at, name) in outgoing.publication().channels.iter().enumerate() {
            let Some(channel) = self.channels.find(name.as_str()) else { continue };
            let entry = self.channels.get_mut(channel);
            entry.arrives(outgoing.publication().position(at));
            shaped |= entry.shaped;
            known.push((channel, at as u16));
        }
        if shaped {
            self.shape(now, outgoing, known);
        } else if !known.is_empty() {
            self.enqueue(outgoing, known, None);
        }
    }

    /// Puts a publication behind all others.
    #[inline]
    pub(crate) fn enqueue(&mut self, outgoing: Arc<Outgoing>, known: Known, told: Option<ToldIx>) {
        if let ([channel], None) = (&known[..], told)
            && let Some(Fanout {
                channels,
                content: Content::Publications(shared),
                stamp: 0,
                end: None,
                channel: 0,
                ..
            }) = self.fanouts.queue.back_mut()
            && channels[..] == [*channel]
            && shared.len() < SHARED
        {
            shared.push(outgoing);
            self.fanouts.publications += 1;
            return;
        }
        let mut fanout = Fanout::new(known, Content::Publications(smallvec::smallvec![outgoing]));
        if fanout.channels.len() > 1 || told.is_some() {
            self.fanouts.stamp = self.fanouts.stamp.checked_add(1).unwrap_or(1);
            (fanout.stamp, fanout.told, fanout.split) = (self.fanouts.stamp, told, told.is_some());
        }
        self.fanouts.push(&mut self.channels, fanout);
    }

    pub(crate) fn enqueue_gap(&mut self, scope: &GapScope, reason: GapReason, now: Now) {
        let concerned: Vec<ChannelIx> = match scope {
            GapScope::Channels(names) => {
                names.iter().filter_map(|name| self.channels.find(name.as_str())).collect()
            }
            GapScope::Rules(rules) => {
                let hit = |rule: RuleIx| rules.contains(&rule);
                self.channels
                    .iter()
                    .filter(|(_, channel)| hit(channel.policy.rule))
                    .map(|(at, _)| at)
                    .collect()
            }
            GapScope::All => self.channels.iter().map(|(at, _)| at).collect(),
        };
        for channel in concerned {
            if self.channels.get(channel).shaped {
                // Or a client that loads anew would then hear what is older.
                self.unleash(now, channel);
            }
            let fanout = Fanout::new(smallvec::smallvec![(channel, 0)], Content::Gap(reason, now.wall));
            self.fanouts.push(&mut self.channels, fanout);
        }
    }

    /// The broker carries the channel: said behind what came before, which may have come by another channel only.
    pub(crate) fn enqueue_ready(&mut self, name: &ChannelName, position: Option<Position>, now: Now) {
        let Some(channel) = self.channels.find(name.as_str()) else { return };
        let entry = self.channels.get(channel);
        // Without a history there is no place to be told.
        let placed = entry.policy.history.is_some() || position.is_some();
        if placed && entry.shaped {
            self.unleash(now, channel);
        }
        if !placed || self.channels.get(channel).fanouts == 0 {
            return self.carried(now, channel, position);
        }
        let fanout = Fanout::new(smallvec::smallvec![(channel, 0)], Content::Ready(position));
        self.fanouts.push(&mut self.channels, fanout);
    }

    pub(crate) fn enqueue_arrival(&mut self, announced: Arc<Announced>) {
        if let Some(channel) = self.channels.find(announced.channel().as_str()) {
            let fanout = Fanout::new(smallvec::smallvec![(channel, 0)], Content::Arrival(announced));
            self.fanouts.push(&mut self.channels, fanout);
        }
    }

    /// Tells the watchers of every channel that who came and went may not have been heard.
    pub(crate) fn enqueue_unheard(&mut self, now: Now) {
        let watched = |channel: &Channel| channel.policy.presence == Presence::JoinLeave;
        let names: Vec<ChannelName> = self
            .channels
            .iter()
            .filter(|(_, channel)| watched(channel))
            .map(|(_, channel)| channel.name.clone())
            .collect();
        for name in names {
            self.enqueue_arrival(Arc::new(Announced::new(name, Arrival::Unheard, now.wall, 0)));
        }
    }

    /// Carries waiting publications to outboxes, as far as `budget` goes; true when some are left for the next turn.
    pub fn advance(&mut self, now: Now, budget: TurnBudget) -> bool {
        let mut left = Left::of(budget, now);
        // What was answered since the last turn waits too.
        self.relieve_if_grown(now);
        while !left.is_spent() {
            let Some(mut fanout) = self.fanouts.queue.pop_front() else { break };
            if self.walk(now, &mut fanout, &mut left) {
                self.finish(&fanout);
            } else {
                self.fanouts.queue.push_front(fanout);
            }
        }
        if !self.fanouts.queue.is_empty() {
            self.overtake(now, budget);
        }
        !self.fanouts.queue.is_empty()
    }

    /// Carries small fan-outs past the unfinished one in front, with a budget of their own of the same size.
    fn overtake(&mut self, now: Now, budget: TurnBudget) {
        let mut left = Left::of(budget, now);
        let mut blocked: Vec<ChannelIx> = Vec::new();
        let mut at = 0;
        for _ in 0..OVERTAKING {
            let Some(fanout) = self.fanouts.queue.get(at) else { break };
            let size: usize =
                fanout.channels.iter().map(|(channel, _)| self.channels.get(*channel).present()).sum();
            let (count, bytes) = match &fanout.content {
                Content::Publications(publications) => {
                    let bytes = publications.iter().map(|outgoing| outgoing.publication().data.len());
                    (publications.len(), bytes.sum())
                }
                Content::Gap(..) | Content::Ready(_) | Content::Arrival(_) => (1, 0),
            };
            // Fan-outs with a stamp stay in line: their once-per-connection mark belongs to one walk at a time.
            let may = at > 0
                && fanout.stamp == 0
                && size <= left.connections
                && size * count <= left.deliveries
                && size * bytes <= left.bytes
                && !fanout.channels.iter().any(|(channel, _)| blocked.contains(channel));
            if !may {
                blocked.extend(fanout.channels.iter().map(|(channel, _)| *channel));
                at += 1;
                continue;
            }
            let Some(mut fanout) = self.fanouts.queue.remove(at) else { break };
            // Bounded by its size above, so it finishes.
            let all = usize::MAX;
            let mut own = Left { connections: all, deliveries: all, bytes: all, now };
            self.walk(now, &mut fanout, &mut own);
            left.spend(size, all - own.deliveries, all - own.bytes);
            self.finish(&fanout);
            if left.is_spent() {
                break;
            }
        }
    }

    fn finish(&mut self, fanout: &Fanout) {
        self.fanouts.publications -= fanout.publications();
        if let (Content::Publications(publications), Some((first, _))) =
            (&fanout.content, fanout.channels.first())
        {
            let entry = self.channels.get(*first);
            // What waited because it should would look slow.
            if !entry.shaped {
                let rule = entry.policy.rule;
                self.fanouts.finished.extend(publications.iter().map(|outgoing| (rule, outgoing.heard)));
            }
        }
        for &(channel, _) in &fanout.channels {
            self.channels.release(channel);
        }
        if let Some(told) = fanout.told {
            self.shapers.told.end(told);
        }
    }

    /// Walks on; true when every member of every channel has been reached.
    fn walk(&mut self, now: Now, fanout: &mut Fanout, left: &mut Left) -> bool {
        if let (Content::Ready(position), Some((channel, _))) = (&fanout.content, fanout.channels.first()) {
            self.carried(now, *channel, *position);
            return true;
        }
        while let Some(&(channel, shown)) = fanout.channels.get(fanout.channel) {
            let entry = self.channels.get_mut(channel);
            if fanout.end.is_none() {
                // Whoever comes from now on is not reached by this walk.
                match &fanout.content {
                    Content::Publications(publications) => {
                        let place =
                            |outgoing: &Arc<Outgoing>| outgoing.publication().position(usize::from(shown));
                        // The last ones may be of those that are not kept.
                        entry.stood = publications.iter().rev().find_map(place).or(entry.stood);
                    }
                    Content::Gap(..) => (entry.stood, entry.broken) = (None, true),
                    Content::Ready(_) | Content::Arrival(_) => {}
                }
            }
            let end = *fanout.end.get_or_insert(entry.members.len());
            entry.walked = true;
            self.fanouts.frames.clear();
            while fanout.place < end && !left.is_spent() {
                let member = self.channels.get(channel).members[fanout.place];
                fanout.place += 1;
                if member.slot != Member::GONE {
                    self.reach(fanout, channel, shown, member, left);
                    self.relieve_if_grown(now);
                }
            }
            for slot in std::mem::take(&mut self.fanouts.overflowed) {
                self.too_slow(slot, now);
            }
            self.relieve_overfull(now);
            if fanout.place < end {
                return false;
            }
            let sessions = &mut self.sessions;
            self.channels
                .settle(channel, &mut |slot, channel, place| replace(sessions, slot, channel, place));
            fanout.channel += 1;
            fanout.place = 0;
            fanout.end = None;
        }
        true
    }

    /// Puts what the fan-out carries into one member's outbox.
    fn reach(
        &mut self,
        fanout: &mut Fanout,
        channel: ChannelIx,
        shown: u16,
        member: Member,
        left: &mut Left,
    ) {
        let session = &mut self.sessions[member.slot as usize];
        let endpoint = self.profiles[usize::from(session.profile)].endpoint;
        let rule = self.channels.get(channel).policy.rule;
        let publications = match &fanout.content {
            Content::Publications(publications) => publications,
            Content::Gap(reason, at) => {
                if member.flags & Member::RECOVERS != 0 && self.keeps_gap_back(member.slot, channel, *reason)
                {
                    return;
                }
                self.counters.gap(rule, reason.as_str());
                let frame = self.gap_frame(channel, member.variant, *reason, *at);
                self.deliver(member.slot, frame, left);
                return;
            }
            Content::Arrival(announced) => {
                return self.reach_told(announced, rule, member, left);
            }
            Content::Ready(_) => return,
        };
        let filter = (member.flags & Member::FILTERED != 0).then(|| session.subscription(channel)).flatten();
        let variants = self.encoder.variants();
        for (at, outgoing) in publications.iter().enumerate() {
            let session = &mut self.sessions[member.slot as usize];
            let publication = outgoing.publication();
            let filter = filter.and_then(|held| session.subscriptions[held].filter.as_deref());
            if filter.is_some_and(|filter| !filter.matches(publication)) {
                continue;
            }
            let (slot, generation) = (member.slot, session.generation);
            let own = || ConnectionId { shard: self.settings.index, slot, generation };
            if publication.except.is_some_and(|except| except == own()) {
                continue;
            }
            if member.flags & Member::RECOVERS != 0 {
                // Before it counts as heard: what waits may go by another channel yet.
                let once = fanout.stamp != 0 && self.stays(&fanout.channels);
                let heard = once && self.has_heard(fanout.stamp, fanout.told, member.slot);
                let told = once.then_some(&mut fanout.told);
                if heard || self.keeps_back(member.slot, channel, outgoing, shown, told) {
                    continue;
                }
            }
            if fanout.stamp != 0 && self.was_reached(fanout.stamp, fanout.told, member.slot) {
                continue;
            }
            let cell = at * variants + usize::from(member.variant.0);
            let frame = match self.fanouts.frames.get(cell).copied().flatten() {
                Some(frame) => frame,
                None => {
                    let frame = self.publication_frame(fanout, outgoing, member.variant, shown, rule);
                    self.keep_frame(cell, frame)
                }
            };
            if !self.deliver(member.slot, frame, left) {
                self.counters.drop(rule, slow::REASON, 1);
                continue;
            }
            self.delivered(endpoint, rule);
        }
    }

    /// Counts a publication that an outbox took.
    #[inline]
    pub(crate) fn delivered(&mut self, endpoint: EndpointIx, rule: RuleIx) {
        let tally = usize::from(endpoint.0) * self.settings.rules + usize::from(rule.0);
        if let Some(count) = self.counters.deliveries.get_mut(tally) {
            *count += 1;
        }
    }

    /// Whether the connection has heard the publication by another of its channels. From now on it has.
    #[inline(never)]
    fn was_reached(&mut self, stamp: u32, told: Option<ToldIx>, slot: u32) -> bool {
        let session = &mut self.sessions[slot as usize];
        let before = std::mem::replace(&mut session.reached, stamp);
        let elsewhere = |at| !self.shapers.told.reach(at, slot, session.generation);
        before == stamp || told.is_some_and(elsewhere)
    }

    /// Whether what is in an outbox stays there, by the policies of all these channels. What may be dropped again would be missing
    /// behind a `subscribed` that is still to come, and the gap told before that: there it is rather told twice.
    #[cold]
    fn stays(&self, channels: &Known) -> bool {
        let policy = |channel: ChannelIx| &self.channels.get(channel).policy.delivery.slow_consumer;
        channels.iter().all(|(channel, _)| *policy(*channel) == SlowConsumer::Disconnect)
    }

    /// Only whether it has.
    #[cold]
    fn has_heard(&self, stamp: u32, told: Option<ToldIx>, slot: u32) -> bool {
        let session = &self.sessions[slot as usize];
        let elsewhere = |at| self.shapers.told.has_reached(at, slot, session.generation);
        session.reached == stamp || told.is_some_and(elsewhere)
    }

    /// Whether the outbox took the frame; a connection whose outbox is full is closed when the walk pauses.
    fn deliver(&mut self, slot: u32, frame: FrameIx, left: &mut Left) -> bool {
        let (queued, deliveries, bytes) = match self.outboxes.push(slot, frame) {
            Pushed::In(dirty) => (Queued::In(dirty), 1, self.outboxes.of(frame).bytes().len()),
            Pushed::Blocked => (self.queue(slot, frame, left.now), BLOCKED, 0),
        };
        left.spend(usize::from(queued == Queued::In(true)), deliveries, bytes);
        if queued == Queued::Overflow && self.fanouts.overflowed.last() != Some(&slot) {
            self.fanouts.overflowed.push(slot);
        }
        matches!(queued, Queued::In(_))
    }

    fn publication_frame(
        &self,
        fanout: &Fanout,
        outgoing: &Outgoing,
        variant: Variant,
        shown: u16,
        rule: RuleIx,
    ) -> Frame {
        let encoded = outgoing.frame(variant, usize::from(shown), &*self.encoder).clone();
        let numbered = self.encoder.numbers(variant).then_some(variant);
        let mut lanes = fanout
            .channels
            .iter()
            .map(|(channel, _)| Lane::Of(self.channels.get(*channel).policy.delivery.priority));
        let first = lanes.next().unwrap_or(Lane::Fixed);
        // What belongs to several lanes keeps its place in each.
        let one = !fanout.split && lanes.all(|lane| lane == first);
        let lane = if one { first } else { Lane::Fixed };
        let origin = self.origin(&fanout.channels, fanout.channel, outgoing);
        Frame { encoded, rule: Some(rule), numbered, lane, origin, hole: false }
    }

    fn gap_frame(
        &mut self,
        channel: ChannelIx,
        variant: Variant,
        reason: GapReason,
        timestamp: Timestamp,
    ) -> FrameIx {
        let cell = usize::from(variant.0);
        if let Some(frame) = self.fanouts.frames.get(cell).copied().flatten() {
            return frame;
        }
        let event = Event::Gap { channel: self.channels.get(channel).name.clone(), reason };
        let bytes: Bytes = self.encoder.message(variant, &Message { reply_to: None, timestamp, event });
        self.keep_frame(cell, Frame::of_server(bytes))
    }

    /// Puts who came or went into the outbox of a member that asked for it.
    fn reach_told(&mut self, announced: &Announced, rule: RuleIx, member: Member, left: &mut Left) {
        // A look costs, too: most members may not have asked.
        left.deliveries = left.deliveries.saturating_sub(1);
        if member.flags & Member::TOLD == 0 {
            return;
        }
        if let Some(reason) = announced.gap() {
            self.counters.gap(rule, reason.as_str());
        }
        let cell = usize::from(member.variant.0);
        let frame = match self.fanouts.frames.get(cell).copied().flatten() {
            Some(frame) => frame,
            None => {
                let bytes = announced.frame(member.variant, &*self.encoder);
                self.keep_frame(cell, Frame::of_server(bytes))
            }
        };
        self.deliver(member.slot, frame, left);
    }

    /// Puts a frame into the palette, for all of this walk.
    fn keep_frame(&mut self, cell: usize, frame: Frame) -> FrameIx {
        let frame = self.outboxes.frame(frame);
        if self.fanouts.frames.len() <= cell {
            self.fanouts.frames.resize(cell + 1, None);
        }
        self.fanouts.frames[cell] = Some(frame);
        frame
    }
}
