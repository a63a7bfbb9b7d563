//! One client that remembers where it stands, and checks every line against that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rtgw_model::{ConnectionId, Position};

/// What a command asks.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Subscribe { channel: &'static str, since: Option<Position>, recovers: bool },
    Unsubscribe,
    Other,
}

/// How it stands with one channel, as far as the client was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Told that it is subscribed.
    pub(crate) holds: bool,
    /// May hear it without having been told yet.
    pub(crate) awaits: bool,
    /// It has everything up to here, since it was told that it holds.
    pub(crate) at: Option<Position>,
    /// Told of a hole, and nothing came since.
    pub(crate) hole: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) heard: u64,
    /// Of several channels.
    pub(crate) several: u64,
    pub(crate) recovered: u64,
    pub(crate) not_recovered: u64,
    /// Holes told.
    pub(crate) holes: u64,
    /// Subscribed without being told where.
    pub(crate) nowhere: u64,
    pub(crate) taken: u64,
    pub(crate) slow: u64,
}

pub(crate) struct Listener {
    pub(crate) id: ConnectionId,
    /// It loses the connection and comes back under another id; only the newest one has memory.
    pub(crate) gone: bool,
    pub(crate) closed: bool,
    pub(crate) standings: BTreeMap<&'static str, Standing>,
    pub(crate) asked: VecDeque<(u64, Asked)>,
    pub(crate) tally: Tally,
    /// What the application ever subscribed it to.
    by_api: BTreeSet<&'static str>,
    /// A channel lets what waits be dropped.
    yields: bool,
    /// Numbers of publications for several channels that it has heard.
    heard: BTreeSet<u64>,
    /// Channels of which it was ever given the past.
    given: BTreeSet<String>,
    /// Places of what it has heard by another channel: there is no hole, whenever the channel comes by.
    elsewhere: BTreeMap<String, BTreeSet<(u64, u64)>>,
    received: Vec<u8>,
    /// Bytes the socket still takes; `None` = all.
    pub(crate) room: Option<usize>,
    pub(crate) blocked: bool,
}

fn place(text: &str) -> Option<Position> {
    let (offset, epoch) = text.split_once('@')?;
    Some(Position { offset: offset.parse().unwrap(), epoch: epoch.parse().unwrap() })
}

impl Listener {
    pub(crate) fn new(id: ConnectionId, auto: bool, yields: bool, channels: &[&'static str]) -> Self {
        let mut standings: BTreeMap<_, _> =
            channels.iter().map(|channel| (*channel, Standing::default())).collect();
        if auto {
            standings.get_mut(channels[0]).unwrap().holds = true;
        }
        Self {
            id,
            gone: false,
            closed: false,
            standings,
            asked: VecDeque::new(),
            tally: Tally::default(),
            by_api: BTreeSet::new(),
            yields,
            heard: BTreeSet::new(),
            given: BTreeSet::new(),
            elsewhere: BTreeMap::new(),
            received: Vec::new(),
            room: None,
            blocked: false,
        }
    }

    pub(crate) fn expect_by_api(&mut self, channel: &'static str) {
        self.by_api.insert(channel);
        self.standing(channel).awaits = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.gone && !self.closed
    }

    /// Offers bytes to the socket; returns how many it took.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = self.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if let Some(room) = &mut self.room {
            *room -= taken;
        }
        self.received.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Reads whole lines.
    pub(crate) fn read(&mut self, who: &str) {
        let Some(end) = self.received.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.received.split_off(end + 1);
        let lines = String::from_utf8(std::mem::replace(&mut self.received, rest)).unwrap();
        for line in lines.lines() {
            self.line(&format!("{who} {:?}: {line:?}", self.id), line);
        }
    }

    fn standing(&mut self, channel: &str) -> &mut Standing {
        self.standings.get_mut(channel).unwrap()
    }

    fn line(&mut self, who: &str, line: &str) {
        if std::env::var("SHOW").is_ok() {
            eprintln!("{who}");
        }
        let mut words: Vec<&str> = line.split(' ').collect();
        // A place and whether it recovered, where there is one.
        words.resize(words.len().max(5), "-");
        match words[0] {
            "pub" => {
                let (number, channels) = words[1].split_once('/').unwrap();
                let parts: Vec<_> = channels.split(',').zip(words[2].split(',').map(place)).collect();
                self.publication(who, number.parse().unwrap(), &parts);
            }
            "gap" => {
                self.tally.holes += 1;
                self.standing(words[1]).hole = true;
            }
            "close" => {
                self.closed = true;
                assert_eq!(words[1], "4430", "{who}");
                self.tally.slow += 1;
            }
            "subscribed" if words[1] == "-" => self.subscribed(who, words[2], place(words[3])),
            "unsubscribed" if words[1] == "-" => {
                self.tally.taken += 1;
                *self.standing(words[2]) = Standing::default();
                self.expect_more(words[2]);
            }
            "subscribed" | "unsubscribed" | "error" | "pong" => {
                let (id, asked) = self.asked.pop_front().unwrap();
                assert_eq!(words[1], id.to_string(), "{who}: out of order");
                match (words[0], asked) {
                    ("subscribed", Asked::Subscribe { channel, since, recovers }) => {
                        assert_eq!(channel, words[2], "{who}");
                        self.answer(who, channel, (since, recovers), (place(words[3]), words[4]));
                    }
                    ("error", Asked::Subscribe { channel, .. }) if !self.standing(channel).holds => {
                        self.standing(channel).awaits = false;
                        self.expect_more(channel);
                    }
                    ("unsubscribed", _) => {
                        *self.standing(words[2]) = Standing::default();
                        self.expect_more(words[2]);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Another subscribe for the channel may be under way.
    fn expect_more(&mut self, channel: &str) {
        let more = self
            .asked
            .iter()
            .any(|(_, asked)| matches!(asked, Asked::Subscribe { channel: named, .. } if *named == channel));
        let more = more || self.by_api.contains(channel);
        self.standing(channel).awaits |= more;
    }

    fn answer(
        &mut self,
        who: &str,
        channel: &'static str,
        (since, recovers): (Option<Position>, bool),
        (position, recovered): (Option<Position>, &str),
    ) {
        assert_eq!(recovers, recovered != "-", "{who}: {since:?}");
        if recovered == "true" {
            self.tally.recovered += 1;
            self.given.insert(channel.to_owned());
            assert_eq!(position, since, "{who}: the place that was named");
            *self.standing(channel) = Standing { holds: true, at: since, ..Standing::default() };
            return;
        }
        self.tally.not_recovered += u64::from(recovers);
        self.tally.nowhere += u64::from(position.is_none());
        self.subscribed(who, channel, position);
    }

    fn subscribed(&mut self, who: &str, channel: &str, position: Option<Position>) {
        let standing = self.standing(channel);
        // What it heard before it was told is of before that.
        if let (Some(at), Some(position), false) = (standing.at, position, standing.hole) {
            assert!(at.epoch != position.epoch || at.offset <= position.offset, "{who} behind {at:?}");
        }
        *standing = Standing { holds: true, at: position, ..Standing::default() };
    }

    fn publication(&mut self, who: &str, number: u64, parts: &[(&str, Option<Position>)]) {
        self.tally.heard += 1;
        let hears = |standing: &Standing| standing.holds || standing.awaits;
        let heard = parts.iter().any(|(channel, _)| hears(&self.standings[channel]));
        assert!(heard, "{who}: does not hear it");
        if let &[(channel, place)] = parts {
            return place.into_iter().for_each(|place| self.next(who, channel, place));
        }
        // Who is given a past may be given there what came by another channel, or still comes; and what may be dropped again counts
        // as heard by nobody who waits.
        let twice = !self.heard.insert(number);
        let given = parts.iter().any(|(channel, _)| self.given.contains(*channel));
        assert!(!twice || given || self.yields, "{who}: twice");
        self.tally.several += 1;
        for &(channel, place) in parts {
            let Some(place) = place else { continue };
            // In its order, or before it: then the channel comes by later, and finds it heard.
            self.elsewhere.entry(channel.to_owned()).or_default().insert((place.epoch, place.offset));
        }
    }

    /// Up to where it has everything of the channel.
    pub(crate) fn stands(&self, channel: &str) -> Option<Position> {
        let mut at = self.standings[channel].at?;
        let heard = self.elsewhere.get(channel);
        while heard.is_some_and(|heard| heard.contains(&(at.epoch, at.offset + 1))) {
            at.offset += 1;
        }
        Some(at)
    }

    fn next(&mut self, who: &str, channel: &str, place: Position) {
        let known = self.stands(channel);
        let standing = self.standing(channel);
        match standing.at {
            Some(at) if standing.holds && !standing.hole => {
                let known = known.unwrap();
                assert!(
                    known.is_followed_by(place),
                    "{who}: untold hole or repeated, behind {at:?} {known:?}"
                );
            }
            Some(at) if at.epoch == place.epoch => {
                assert!(at.offset < place.offset, "{who}: repeated, behind {at:?}");
            }
            _ => {}
        }
        (standing.at, standing.hole) = (Some(place), false);
    }
}
