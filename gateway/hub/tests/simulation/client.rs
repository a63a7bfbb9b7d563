//! One simulated client: a hostile socket, what it asked, and what it must and may hear.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rtgw_model::{ConnectionId, ConnectionKey, Millis};

use crate::plan::Plan;

/// What a client may still hear of a channel, by the publications' numbers.
#[derive(Default)]
pub(crate) struct Expectation {
    /// Subscribed now, as far as the shard has carried out commands.
    pub(crate) subscribed: bool,
    /// Must arrive, unless the client leaves or is closed first, or a newer one of the same key is published.
    pub(crate) required: BTreeMap<u64, Option<u64>>,
    /// Publications before this number were made before it subscribed; they may come or not.
    pub(crate) last_heard: BTreeMap<Option<u64>, u64>,
    /// Told that it hears it no more, and nobody has asked since.
    pub(crate) silenced: bool,
    /// Told of a hole, and nothing of the channel came since.
    pub(crate) hole: bool,
}

impl Expectation {
    /// A policy dropped something here: of what has no key, all that does not come before the next one; of what has one, anything.
    fn tell_hole(&mut self) {
        self.hole = true;
        self.required.retain(|_, key| key.is_none());
    }

    /// What has no key and came before `number` has come, or the client was told of the hole.
    fn check_hole(&mut self, number: u64) -> Result<bool, Vec<u64>> {
        let missing = self.required.range(..number).filter(|(_, key)| key.is_none());
        let missing: Vec<u64> = missing.map(|(number, _)| *number).collect();
        if std::mem::take(&mut self.hole) {
            self.required.retain(|number, _| !missing.contains(number));
            return Ok(!missing.is_empty());
        }
        if missing.is_empty() { Ok(false) } else { Err(missing) }
    }
}

pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    pub(crate) key: ConnectionKey,
    pub(crate) user: String,
    /// What it was ever given.
    pub(crate) claims: Vec<String>,
    /// When its credentials ended or end, the newest last.
    pub(crate) ends: Vec<Option<Millis>>,
    /// What it believes to hear.
    pub(crate) view: BTreeSet<String>,
    /// What the application ever subscribed it to.
    pub(crate) by_api: BTreeSet<String>,
    /// What the application ever took away.
    pub(crate) removed: BTreeSet<String>,
    /// The application may close it.
    pub(crate) ordered_away: bool,
    /// Subscribes without an answer.
    pub(crate) subscribing: BTreeMap<u64, String>,
    /// Refreshes that must succeed, and those that must not.
    pub(crate) refreshing: BTreeMap<u64, bool>,
    /// Taken away by a review.
    pub(crate) lost: BTreeSet<String>,
    /// Bytes that the socket took.
    received: Vec<u8>,
    parsed: usize,
    /// Bytes the socket still takes before it refuses; `None` = all.
    pub(crate) room: Option<usize>,
    pub(crate) blocked: bool,
    /// The socket dies at this write of its next flush, counted from one.
    pub(crate) dies_at: Option<u32>,
    /// Bytes handed out by the shard that the socket refused: they come again.
    unsent: usize,
    /// Publications that the shard has handed out.
    pub(crate) handed_out: u64,
    pub(crate) finished: bool,
    pub(crate) close_code: Option<u16>,
    pub(crate) channels: BTreeMap<String, Expectation>,
    pub(crate) asked: VecDeque<u64>,
    pub(crate) sequence: u64,
    pub(crate) heard: BTreeSet<u64>,
    /// Channels of which it asked to be told who comes and goes, and how many it heard of.
    pub(crate) told: BTreeSet<String>,
    pub(crate) arrivals: u64,
    /// Holes that it was told of, and those of them where something it waited for was missing.
    pub(crate) holes: u64,
    pub(crate) seen_holes: u64,
    pub(crate) numbered: bool,
    /// Joined writes that it heard.
    pub(crate) joined: u64,
    /// It asked for several messages in one frame.
    batch: bool,
    subscribed: BTreeSet<u64>,
    plan: Arc<Plan>,
}

impl Client {
    pub(crate) fn new(
        id: ConnectionId,
        key: ConnectionKey,
        user: String,
        claims: String,
        numbered: bool,
        batch: bool,
        plan: Arc<Plan>,
    ) -> Self {
        Self {
            id,
            plan,
            key,
            user,
            claims: vec![claims],
            ends: Vec::new(),
            view: BTreeSet::new(),
            by_api: BTreeSet::new(),
            removed: BTreeSet::new(),
            ordered_away: false,
            subscribing: BTreeMap::new(),
            refreshing: BTreeMap::new(),
            lost: BTreeSet::new(),
            received: Vec::new(),
            parsed: 0,
            room: None,
            blocked: false,
            dies_at: None,
            unsent: 0,
            handed_out: 0,
            finished: false,
            close_code: None,
            channels: BTreeMap::new(),
            asked: VecDeque::new(),
            sequence: 0,
            heard: BTreeSet::new(),
            told: BTreeSet::new(),
            arrivals: 0,
            holes: 0,
            seen_holes: 0,
            numbered,
            joined: 0,
            batch,
            subscribed: BTreeSet::new(),
        }
    }

    /// Whether the command `id` was answered with `subscribed`.
    pub(crate) fn heard_subscribed(&self, id: u64) -> bool {
        self.subscribed.contains(&id)
    }

    /// Counts the publications in what the shard handed out, but for the rest of what it handed out before.
    pub(crate) fn count(&mut self, bytes: &[u8]) {
        let fresh = &bytes[std::mem::take(&mut self.unsent)..];
        // Behind the mark of a joined write, too.
        let publication = |line: &&[u8]| line.strip_prefix(b"+").unwrap_or(line).starts_with(b"pub ");
        self.handed_out += fresh.split(|byte| *byte == b'\n').filter(publication).count() as u64;
    }

    /// Has an open session, as far as it knows.
    pub(crate) fn is_open(&self) -> bool {
        !self.finished && self.close_code.is_none()
    }

    /// And takes all bytes.
    pub(crate) fn is_well(&self) -> bool {
        self.is_open() && self.room.is_none() && !self.blocked
    }

    /// What waits for the channel may be dropped.
    pub(crate) fn forgive(&mut self, channel: &str) {
        if let Some(expectation) = self.channels.get_mut(channel) {
            expectation.required.clear();
            expectation.subscribed = false;
            expectation.hole = false;
        }
    }

    /// Offers bytes to the socket; returns how many it took.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = self.room.map_or(bytes.len(), |room| room.min(bytes.len()));
        if let Some(room) = &mut self.room {
            *room -= taken;
        }
        self.received.extend_from_slice(&bytes[..taken]);
        self.unsent = bytes.len() - taken;
        taken
    }

    /// Reads complete lines and checks each against what the client may hear.
    pub(crate) fn read(&mut self, seed: u64) {
        while let Some(end) = self.received[self.parsed..].iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8(self.received[self.parsed..self.parsed + end].to_vec()).unwrap();
            self.parsed += end + 1;
            assert_eq!(self.close_code, None, "seed {seed}: {line:?} behind the close frame");
            let line = match line.strip_prefix('+') {
                Some(line) if self.batch => {
                    self.joined += 1;
                    line
                }
                _ => &line,
            };
            self.line(seed, line);
        }
    }

    fn line(&mut self, seed: u64, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            // pub <number>/<channel>,<channel>
            "pub" => self.publication(seed, line, &words),
            "subscribed" | "unsubscribed" if words[1] == "-" => self.told(seed, line, &words),
            "refreshed" if words[1] == "-" => {}
            "expiring" => {
                assert!(self.ends.iter().any(Option::is_some), "seed {seed}: nothing of it expires");
            }
            "subscribed" | "unsubscribed" | "pong" | "error" | "published" | "acknowledged" | "refreshed" => {
                let id: u64 = words[1].parse().unwrap();
                let expected = self.asked.pop_front();
                assert_eq!(expected, Some(id), "seed {seed}: answers out of order: {line:?}");
                self.subscribing.remove(&id);
                match words[0] {
                    "subscribed" => {
                        self.subscribed.insert(id);
                        self.view.insert(words[2].to_owned());
                    }
                    "unsubscribed" => self.hears_no_more(words[2]),
                    _ => {}
                }
                if let Some(good) = self.refreshing.remove(&id) {
                    assert_eq!(words[0] == "refreshed", good, "seed {seed}: {line:?}");
                    let refused = ["identity_changed", "forbidden"];
                    assert!(good || refused.contains(&words[2]), "seed {seed}: {line:?}");
                }
            }
            "close" => self.close_code = Some(words[1].parse().unwrap()),
            "join" | "leave" => {
                self.arrivals += 1;
                assert!(self.told.contains(words[1]), "seed {seed}: told without asking: {line:?}");
            }
            "gap" if words[2] == "slow_consumer" => {
                assert!(self.plan.drops(words[1]), "seed {seed}: {line:?} of a channel that drops nothing");
                self.holes += 1;
                if let Some(expectation) = self.channels.get_mut(words[1]) {
                    expectation.tell_hole();
                }
            }
            "gap" => {}
            "ping" | "wirepong" | "hello" => {}
            other => panic!("seed {seed}: unexpected {other:?} in {line:?}"),
        }
    }

    /// Something that nobody asked for.
    fn told(&mut self, seed: u64, line: &str, words: &[&str]) {
        let channel = words[2];
        if words[0] == "subscribed" {
            assert!(self.by_api.contains(channel), "seed {seed}: out of nowhere: {line:?}");
            self.view.insert(channel.to_owned());
            return;
        }
        match words[3] {
            "removed" => assert!(self.removed.contains(channel), "seed {seed}: out of nowhere: {line:?}"),
            "permission_changed" => {
                self.lost.insert(channel.to_owned());
            }
            other => panic!("seed {seed}: unsubscribed because of {other:?}"),
        }
        self.forgive(channel);
        self.hears_no_more(channel);
    }

    fn hears_no_more(&mut self, channel: &str) {
        self.view.remove(channel);
        let asked = self.subscribing.values().any(|asked| asked == channel) || self.by_api.contains(channel);
        if let Some(expectation) = self.channels.get_mut(channel) {
            expectation.silenced = !asked;
        }
    }

    fn publication(&mut self, seed: u64, line: &str, words: &[&str]) {
        let (number, channels) = words[1].split_once('/').unwrap();
        let number: u64 = number.parse().unwrap();
        assert!(self.heard.insert(number), "seed {seed}: twice: {line:?}");
        if self.numbered {
            self.sequence += 1;
            assert_eq!(
                words.last().unwrap().parse(),
                Ok(self.sequence),
                "seed {seed}: numbers have holes: {line:?}"
            );
        }
        let (mut known, mut silenced) = (false, true);
        for channel in channels.split(',') {
            let Some(expectation) = self.channels.get_mut(channel) else { continue };
            known = true;
            silenced &= expectation.silenced;
            expectation.required.remove(&number);
            // One channel's order, of each key that may wait and of all the others; a publication for several was walked for whichever
            // this client hears.
            if !channels.contains(',') {
                let key = self.plan.key(channel, number);
                let last = expectation.last_heard.insert(key, number);
                assert!(last < Some(number), "seed {seed}: out of order: {line:?}");
                if key.is_none() && self.plan.drops(channel) {
                    match expectation.check_hole(number) {
                        Ok(seen) => self.seen_holes += u64::from(seen),
                        Err(missing) => panic!(
                            "seed {seed}: {line:?} behind an untold hole, {missing:?} {:?} {:?} {:?} {}",
                            self.id,
                            self.plan,
                            self.view,
                            String::from_utf8_lossy(&self.received)
                        ),
                    }
                }
            }
        }
        assert!(!silenced, "seed {seed}: {line:?} behind the end of the subscription");
        assert!(known, "seed {seed}: {line:?} for channels never asked for");
    }
}
