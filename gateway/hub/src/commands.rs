//! Commands of a connection take effect in the order received: at most one question is open, the rest waits behind it.

use std::collections::VecDeque;

use rtgw_model::{
    ChannelName, CommandId, ConnectionId, Denied, ErrorCode, Event, FilterLists, Intent, Now, Position,
    Recover, Rejection, Request,
};

use crate::channels::{ChannelIx, Member, Waiter};
use crate::filter::{self, Filter};
use crate::presence::may_be_told;
use crate::rate::Verdict;
use crate::recovery::Arrival;
use crate::review::Standing;
use crate::session::{Commands, Holding, InFlight};
use crate::shard::Shard;
use crate::{Answer, Grant, Question};
use rtgw_model::{Close, CloseCode};

/// What the answer to a subscribe repeats.
struct Waiting {
    id: Option<CommandId>,
    recover: Option<Recover>,
    told: bool,
}

impl Shard {
    pub(crate) fn heard(&mut self, now: Now, connection: ConnectionId) {
        if self.is_current(connection)
            && let Some(session) = self.sessions.get_mut(connection.slot as usize)
        {
            session.heard = now.at;
            session.pinged = false;
        }
    }

    /// Takes a decoded message: refused above the rate, else carried out now or behind the open question.
    pub(crate) fn receive(
        &mut self,
        now: Now,
        connection: ConnectionId,
        request: Result<Request, Rejection>,
    ) {
        self.heard(now, connection);
        if !self.open_session(connection) {
            return;
        }
        let slot = connection.slot;
        let rate = self.profile(slot).rate;
        let session = &mut self.sessions[slot as usize];
        let since = now.at.since(std::mem::replace(&mut session.spoke, now.at));
        match rate.map_or(Verdict::Within, |rate| session.bucket.take(rate, since)) {
            Verdict::Within => {}
            Verdict::Above => {
                let denied = Denied::new(ErrorCode::RateLimited, "too many messages; slow down");
                let (id, name) = match request {
                    Ok(request) => (request.id, request.intent.name()),
                    Err(rejection) => (rejection.id, "unknown"),
                };
                return match &mut session.commands {
                    // Answers keep the order of the commands, refusals too.
                    Some(commands) => commands.waiting.push_back(Err(Rejection { id, denied })),
                    None => self.refuse(slot, now, id, name, denied),
                };
            }
            Verdict::Abuse => {
                let close = Close::new(CloseCode::RateLimited, "message rate exceeded");
                return self.close(slot, now, &close);
            }
        }
        match &mut session.commands {
            Some(commands) => commands.waiting.push_back(request),
            None => self.execute(slot, now, request),
        }
    }

    fn execute(&mut self, slot: u32, now: Now, request: Result<Request, Rejection>) {
        let Request { id, intent } = match request {
            Ok(request) => request,
            Err(Rejection { id, denied }) => return self.refuse(slot, now, id, "unknown", denied),
        };
        let name = intent.name();
        match intent {
            Intent::Ping => self.reply(slot, now, id, name, Event::Pong),
            Intent::Echo { binary, payload } => {
                self.reply(slot, now, id, name, Event::Echo { binary, payload });
            }
            Intent::Subscribe { channel, filters, recover, presence: told } => {
                self.subscribe(slot, now, InFlight::Subscribe { id, filters, recover, told }, channel);
            }
            Intent::History { channel, limit, since, reverse } => {
                let question = Question::History { channel, limit, since, reverse };
                self.ask(slot, InFlight::History { id }, question);
            }
            Intent::Presence { channel, limit, after } => self.ask_presence(slot, id, channel, limit, after),
            Intent::Unsubscribe { channel } => self.unsubscribe(slot, now, id, &channel),
            Intent::Refresh(token) => self.refresh(slot, id, token),
            Intent::Narrow(lists) => self.narrow(slot, now, id, lists, true),
            Intent::Widen(lists) => self.narrow(slot, now, id, lists, false),
            Intent::Publish { channel, event, data, ephemeral, idempotency_key } => {
                let question = Question::Publish { channel, event, data, ephemeral, idempotency_key };
                self.ask(slot, InFlight::Publish { id }, question);
            }
            Intent::Command { name, data } => {
                let question = Question::Command { id: id.clone(), name, data };
                self.ask(slot, InFlight::Command { id, name }, question);
            }
        }
    }

    pub(crate) fn reply(
        &mut self,
        slot: u32,
        now: Now,
        id: Option<CommandId>,
        name: &'static str,
        event: Event,
    ) {
        let endpoint = self.profile(slot).endpoint;
        self.counters.command(endpoint, name, "ok");
        self.say(slot, now, id, event);
    }

    pub(crate) fn refuse(
        &mut self,
        slot: u32,
        now: Now,
        id: Option<CommandId>,
        name: &'static str,
        denied: Denied,
    ) {
        let endpoint = self.profile(slot).endpoint;
        self.counters.command(endpoint, name, denied.code.as_str());
        self.say(slot, now, id, Event::Error(denied));
    }

    pub(crate) fn ask(&mut self, slot: u32, in_flight: InFlight, question: Question) {
        self.wait(slot, in_flight);
        self.put(slot, question);
    }

    /// Has the session's later commands wait behind this one.
    fn wait(&mut self, slot: u32, in_flight: InFlight) {
        let session = &mut self.sessions[slot as usize];
        match &mut session.commands {
            Some(commands) => (commands.in_flight, commands.outdated) = (in_flight, false),
            None => {
                let waiting = VecDeque::new();
                session.commands = Some(Box::new(Commands { in_flight, outdated: false, waiting }));
            }
        }
    }

    fn subscribe(&mut self, slot: u32, now: Now, in_flight: InFlight, channel: Box<str>) {
        let session = &self.sessions[slot as usize];
        let held = self.channels.find(&channel).and_then(|known| Some((known, session.subscription(known)?)));
        let limit = self.profile(slot).subscriptions;
        match (held, in_flight) {
            (Some((known, at)), InFlight::Subscribe { id, filters, recover, told }) => {
                let policy = &self.channels.get(known).policy;
                match may_be_told(policy, told).and_then(|()| Filter::explicit(&filters, policy)) {
                    Ok(filter) => {
                        self.set_filter(slot, at, filter, false);
                        self.set_told(slot, at, told);
                        let arrival = Arrival { id, recover, fresh: false, too_much: false };
                        self.confirm(slot, now, known, arrival);
                    }
                    Err(denied) => self.refuse(slot, now, id, "subscribe", denied),
                }
            }
            (None, InFlight::Subscribe { id, .. }) if session.subscriptions.len() >= limit as usize => {
                let message = format!("this connection may hold {limit} subscriptions");
                let denied = Denied::new(ErrorCode::TooManySubscriptions, message);
                self.refuse(slot, now, id, "subscribe", denied);
            }
            (_, in_flight) => self.ask(slot, in_flight, Question::Subscribe(channel)),
        }
    }

    /// A subscription is held: answers once its channel is carried. True while that is waited for.
    fn confirm(&mut self, slot: u32, now: Now, channel: ChannelIx, arrival: Arrival) -> bool {
        let kept = self.channels.get(channel).policy.history.is_some();
        if kept && arrival.recover.is_some() {
            self.hold(slot, channel);
        }
        let generation = self.sessions[slot as usize].generation;
        let entry = self.channels.get_mut(channel);
        if entry.ready || !(arrival.fresh || kept) {
            return self.arrive(slot, now, channel, arrival);
        }
        let Arrival { id, recover, fresh, too_much } = arrival;
        entry.waiters.push(Waiter { slot, generation, id, recover, fresh, too_much, by_api: false });
        let waiting = InFlight::Ready(entry.name.clone());
        self.wait(slot, waiting);
        true
    }

    fn unsubscribe(&mut self, slot: u32, now: Now, id: Option<CommandId>, channel: &str) {
        let name = match ChannelName::parse(channel) {
            Ok(name) => name,
            Err(why) => {
                let denied = Denied::new(ErrorCode::BadRequest, format!("the channel name {why}"));
                return self.refuse(slot, now, id, "unsubscribe", denied);
            }
        };
        let session = &self.sessions[slot as usize];
        if let Some(at) = self.channels.find(channel).and_then(|known| session.subscription(known)) {
            self.leave(slot, at);
        }
        // Asked twice is answered twice: the state the client wanted holds.
        self.reply(slot, now, id, "unsubscribe", Event::Unsubscribed { channel: name, reason: None });
    }

    fn narrow(&mut self, slot: u32, now: Now, id: Option<CommandId>, lists: FilterLists, more: bool) {
        let name = if more { "subscribe" } else { "unsubscribe" };
        match self.narrowed(slot, lists, more) {
            Ok(current) => {
                let event = if more { Event::Narrowed(current) } else { Event::Widened(current) };
                self.reply(slot, now, id, name, event);
            }
            Err(denied) => self.refuse(slot, now, id, name, denied),
        }
    }

    fn narrowed(&mut self, slot: u32, lists: FilterLists, more: bool) -> Result<FilterLists, Denied> {
        let session = &self.sessions[slot as usize];
        let autos: Vec<usize> =
            (0..session.subscriptions.len()).filter(|&at| session.subscriptions[at].auto).collect();
        if autos.is_empty() {
            let message = "name a channel: this connection has no channels of its own to narrow";
            return Err(Denied::new(ErrorCode::BadRequest, message));
        }
        let policies =
            || autos.iter().map(|&at| &self.channels.get(session.subscriptions[at].channel).policy);
        let undeclared = |name: &str| !policies().any(|policy| filter::declared(policy, name));
        if let Some((name, _)) = lists.0.iter().find(|(name, _)| undeclared(name)) {
            return Err(filter::unknown(name));
        }
        let mut current = session.narrowing.as_deref().cloned().unwrap_or_default();
        if more {
            filter::add(&mut current, lists)?;
        } else {
            filter::take_away(&mut current, &lists);
        }
        let filters: Vec<_> = policies().map(|policy| Filter::declared_part(&current, policy)).collect();
        for (at, filter) in autos.into_iter().zip(filters) {
            self.set_filter(slot, at, filter, true);
        }
        self.sessions[slot as usize].narrowing = (!current.is_empty()).then(|| Box::new(current.clone()));
        Ok(current)
    }

    /// Replaces the filter of a held subscription; a filter of its own takes an automatic one out of narrowing.
    fn set_filter(&mut self, slot: u32, at: usize, filter: Option<Box<Filter>>, auto: bool) {
        let held = &mut self.sessions[slot as usize].subscriptions[at];
        let member = &mut self.channels.get_mut(held.channel).members[held.place as usize];
        member.set(Member::FILTERED, filter.is_some());
        held.filter = filter;
        held.auto &= auto;
    }

    /// Takes the answer to the open question.
    pub(crate) fn answered(&mut self, now: Now, connection: ConnectionId, answer: Answer) {
        if let Answer::Reauthorized(principal, review) = &answer {
            return self.reviewed(now, connection, principal, review);
        }
        if !self.open_session(connection) {
            return;
        }
        let slot = connection.slot;
        let Some(commands) = &mut self.sessions[slot as usize].commands else { return };
        let placeholder = InFlight::Publish { id: None };
        match (std::mem::replace(&mut commands.in_flight, placeholder), answer) {
            (InFlight::Subscribe { id, filters, recover, told }, Answer::Subscribe(Ok(grant))) => {
                if self.granted(slot, now, Waiting { id, recover, told }, filters, &grant) {
                    return;
                }
            }
            (InFlight::Recover(open), Answer::Recovered(ticket, replay)) if open.ticket == ticket => {
                self.recovered(slot, now, *open, replay.as_ref());
            }
            (InFlight::History { id }, Answer::History(Ok(page))) => {
                self.reply(slot, now, id, "history", page);
            }
            (InFlight::History { id }, Answer::History(Err(denied))) => {
                self.refuse(slot, now, id, "history", denied);
            }
            (InFlight::Subscribe { id, .. }, Answer::Subscribe(Err(denied))) => {
                self.refuse(slot, now, id, "subscribe", denied);
            }
            (InFlight::Refresh { id }, Answer::Refreshed(answer)) => self.refreshed(slot, now, id, answer),
            (InFlight::Publish { id }, Answer::Published(Ok((channel, given, offset)))) => {
                self.reply(slot, now, id, "publish", Event::Published { channel, id: given, offset });
            }
            (InFlight::Publish { id }, Answer::Published(Err(denied))) => {
                self.refuse(slot, now, id, "publish", denied);
            }
            (InFlight::Presence { id }, Answer::Presence(Ok((channel, page)))) => {
                self.reply(slot, now, id, "presence", Event::Presence { channel, page });
            }
            (InFlight::Presence { id }, Answer::Presence(Err(denied))) => {
                self.refuse(slot, now, id, "presence", denied);
            }
            (InFlight::Command { id, name }, Answer::Command(Ok(event))) => {
                self.reply(slot, now, id, name.as_str(), event);
            }
            (InFlight::Command { id, name }, Answer::Command(Err(denied))) => {
                self.refuse(slot, now, id, name.as_str(), denied);
            }
            (open, _) => {
                // Not the answer to what is open: a reply that came late. The question stays open.
                if let Some(commands) = &mut self.sessions[slot as usize].commands {
                    commands.in_flight = open;
                }
                return;
            }
        }
        self.proceed(slot, now);
    }

    /// Subscribes; true while another answer is waited for.
    fn granted(&mut self, slot: u32, now: Now, asked: Waiting, filters: FilterLists, grant: &Grant) -> bool {
        let Waiting { id, recover, told } = asked;
        let commands = self.sessions[slot as usize].commands.as_ref();
        let outdated = commands.is_some_and(|commands| commands.outdated);
        let (policy, granted) = match self.standing(grant) {
            Standing::Holds(policy, granted) if !outdated => (policy, granted),
            Standing::Holds(..) | Standing::Outdated(_) => {
                // Granted to who it was, or by a rule that decides otherwise by now.
                let again = Question::Subscribe(grant.channel().as_str().into());
                self.ask(slot, InFlight::Subscribe { id, filters, recover, told }, again);
                return true;
            }
            Standing::Undeclared => {
                let denied = Denied::new(ErrorCode::UnknownChannel, "no channel of that name is declared");
                self.refuse(slot, now, id, "subscribe", denied);
                return false;
            }
        };
        let filter = match may_be_told(&policy, told).and_then(|()| Filter::explicit(&filters, &policy)) {
            Ok(filter) => filter,
            Err(denied) => {
                self.refuse(slot, now, id, "subscribe", denied);
                return false;
            }
        };
        let known = self.channels.find(grant.channel().as_str());
        if let Some(at) = known.and_then(|known| self.sessions[slot as usize].subscription(known)) {
            // The API was quicker.
            self.set_filter(slot, at, filter, false);
            self.set_told(slot, at, told);
            let held = self.sessions[slot as usize].subscriptions[at].channel;
            return self.confirm(slot, now, held, Arrival { id, recover, fresh: false, too_much: false });
        }
        let holding = Holding { granted, auto: false, by_api: false, filter };
        let channel = self.join(slot, grant, &policy, holding);
        let newest = self.sessions[slot as usize].subscriptions.len() - 1;
        self.set_told(slot, newest, told);
        self.confirm(slot, now, channel, Arrival { id, recover, fresh: true, too_much: false })
    }

    /// The broker carries the channel, and what came before it said so has been walked: whoever waited for that is subscribed.
    pub(crate) fn carried(&mut self, now: Now, known: ChannelIx, position: Option<Position>) {
        let entry = self.channels.get_mut(known);
        if entry.ready || entry.present() == 0 {
            return;
        }
        let channel = &entry.name.clone();
        let began = entry.begins_at(position);
        for Waiter { slot, generation, id, recover, fresh, too_much, by_api } in
            std::mem::take(&mut entry.waiters)
        {
            let connection = ConnectionId { shard: self.settings.index, slot, generation };
            if by_api {
                self.ready_by_api(now, connection, channel);
                continue;
            }
            let waits = |shard: &Self| {
                let commands = shard.sessions[slot as usize].commands.as_ref();
                commands.is_some_and(
                    |commands| matches!(&commands.in_flight, InFlight::Ready(name) if name == channel),
                )
            };
            // Answers before this one may have ended connections, the last one of the channel too.
            if self.open_session(connection)
                && waits(self)
                && let Some(known) = self.channels.find(channel.as_str())
                && self.sessions[slot as usize].subscription(known).is_some()
            {
                self.hold_from(slot, known, began);
                if !self.arrive(slot, now, known, Arrival { id, recover, fresh, too_much }) {
                    self.proceed(slot, now);
                }
            }
        }
    }

    /// The open question is settled: carries out what waits, up to the next question.
    pub(crate) fn proceed(&mut self, slot: u32, now: Now) {
        let Some(mut commands) = self.sessions[slot as usize].commands.take() else { return };
        while let Some(request) = commands.waiting.pop_front() {
            self.execute(slot, now, request);
            let session = &mut self.sessions[slot as usize];
            if !session.is_open() {
                return;
            }
            if let Some(opened) = &mut session.commands {
                opened.waiting = commands.waiting;
                break;
            }
        }
        if self.sessions[slot as usize].paused {
            self.resume(slot);
        }
    }
}
