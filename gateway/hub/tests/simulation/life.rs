//! What happens to identities after admission: they expire, are refreshed, judged anew after a reload, and ordered about.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use rtgw_hub::access::{Asker, Review, by_api, review};
use rtgw_hub::{Answer, Control, Input, Order, Seen, Tally, Target};
use rtgw_model::{
    ChannelName, Close, CloseCode, ConnectionId, ConnectionKey, Denied, ErrorCode, Intent, Millis, Now,
    Principal, Token,
};

use crate::client::Client;
use crate::rules::{CHANNELS, EXPIRY, Manifest, Mode, claims, principal};
use crate::world::{Command, World};

/// A timer fires at most a tick late, a turn is at most so long, and both are looked at once in a turn.
const SLACK_MS: u64 = 700;

/// A token of the simulation says what it stands for: user, claims, and how long it is good.
fn token(user: &str, claims: &str, good_for: Option<i64>) -> String {
    format!("{user}|{claims}|{}", good_for.map_or("-".into(), |ms| ms.to_string()))
}

/// How long a credential is good: for ever, for less than the warning, or longer.
pub(crate) fn lifetime(random: &mut Rng) -> Option<i64> {
    random.bool().then(|| random.i64(500..15_000))
}

impl World {
    /// A client's refresh: mostly of its own identity.
    pub(crate) fn refresh_command(&mut self, at: usize) -> (Intent, Command) {
        let user = self.clients[at].user.clone();
        let claims = claims(&mut self.random);
        let (text, good) = match self.random.u8(0..8) {
            0 => ("bad".to_owned(), false),
            1 | 2 => (token("somebody else", &claims, None), false),
            _ => (token(&user, &claims, lifetime(&mut self.random)), true),
        };
        if good {
            self.clients[at].claims.push(claims);
        }
        (Intent::Refresh(Token(text.into())), Command::Refresh { good })
    }

    /// The answer to a refresh, by the manifest of now.
    pub(crate) fn judge_token(&self, asker: &Asker<'_>, token: &Token, held: &[ChannelName]) -> Answer {
        let words: Vec<&str> = token.0.split('|').collect();
        let [user, claims, good_for] = words[..] else {
            return Answer::Refreshed(Err(Denied::new(ErrorCode::Forbidden, "bad")));
        };
        let expires = good_for.parse::<i64>().ok().map(|ms| self.now.wall.0 + ms);
        let principal = Arc::new(principal(user, claims, expires));
        let review = review(&*self.manifest, held, &Asker { principal: &principal, ..*asker });
        Answer::Refreshed(Ok((principal, review)))
    }

    /// The answer to a review.
    pub(crate) fn review(&self, asker: &Asker<'_>, channels: &[ChannelName]) -> Review {
        review(&*self.manifest, channels, asker)
    }

    /// A good refresh arrives: from now on the client has another end.
    pub(crate) fn note_refresh(&mut self, connection: ConnectionId, answer: &Answer) {
        let Answer::Refreshed(Ok((principal, _))) = answer else { return };
        let now = self.now;
        if let Some(client) = self.clients.iter_mut().find(|client| client.id == connection)
            && *client.user == *principal.user
        {
            client.ends.push(end(principal, now));
        }
    }

    /// Another configuration: those who answer have it first, the shard hears of it at once or later.
    pub(crate) fn reconfigure(&mut self) {
        let next = Arc::new(self.manifest.next(&mut self.random));
        self.manifests.push(next.clone());
        self.manifest = next.clone();
        for (channel, mode) in CHANNELS.iter().zip(next.modes) {
            self.modes.entry(channel).or_default().insert(mode);
        }
        let delay = if self.random.bool() { 0 } else { self.random.u64(0..1_500) };
        self.answers.push((self.now.at.plus(delay), Input::Reconfigured(next)));
    }

    /// An order of the application for some of the clients.
    pub(crate) fn order(&mut self) {
        let chosen: Vec<usize> = (0..self.clients.len()).filter(|_| self.random.u8(0..3) == 0).collect();
        let keys: Vec<ConnectionKey> = chosen.iter().map(|at| self.clients[*at].key).collect();
        let target: Target = Arc::new(move |key, _| keys.contains(&key));
        let channel = CHANNELS[self.random.usize(0..CHANNELS.len())];
        let order = match self.random.u8(0..10) {
            0..4 => {
                let Ok(grant) = by_api(&*self.manifest, channel) else { return };
                for at in chosen {
                    self.clients[at].expect_by_api(channel);
                }
                Order::Subscribe(grant)
            }
            4..6 => {
                for at in chosen {
                    self.clients[at].removed.insert(channel.to_owned());
                    self.clients[at].forgive(channel);
                }
                Order::Unsubscribe(ChannelName::parse(channel).unwrap())
            }
            6 => {
                for at in chosen {
                    self.clients[at].ordered_away = true;
                }
                Order::Close(Close::new(CloseCode::Forbidden, "removed"))
            }
            _ => self.renewal(&chosen),
        };
        self.give(target, order);
    }

    fn renewal(&mut self, chosen: &[usize]) -> Order {
        let claims = claims(&mut self.random);
        let good_for = lifetime(&mut self.random);
        for at in chosen {
            self.clients[*at].claims.push(claims.clone());
        }
        let stranger = self.random.u8(0..6) == 0;
        let (now, renewed) = (self.shared_now.clone(), self.renewed.clone());
        Order::Renew(Arc::new(move |known: &Principal| {
            let now = *now.lock().unwrap();
            if stranger {
                return principal("somebody else", &claims, None);
            }
            let renewal = principal(&known.user, &claims, good_for.map(|ms| now.wall.0 + ms));
            renewed.lock().unwrap().push((known.user.to_string(), end(&renewal, now)));
            renewal
        }))
    }

    fn give(&mut self, target: Target, order: Order) {
        self.orders += 1;
        let done = self.orders_done.clone();
        let tally = Tally::new(move |_| *done.lock().unwrap() += 1);
        self.shard.handle(self.now, Input::Control(Control { target, order, tally }));
    }

    /// The clock of the wall is set; the one that counts goes on.
    pub(crate) fn set_clock(&mut self) {
        self.now.wall.0 += self.random.i64(-3_600_000..3_600_000);
    }

    /// What every turn must hold: nobody stays past its grace, whatever the clock of the wall says.
    pub(crate) fn check_expiry(&mut self) {
        for (user, end) in self.renewed.lock().unwrap().drain(..) {
            if let Some(client) = self.clients.iter_mut().find(|client| client.user == user) {
                client.ends.push(end);
            }
        }
        let now = self.now.at;
        let grace = u64::from(EXPIRY.grace_ms);
        for client in self.clients.iter().filter(|client| client.is_well()) {
            if let Some(end) = client.ends.last().copied().flatten() {
                let last = end.max(self.woke).plus(grace + SLACK_MS);
                assert!(
                    now < last,
                    "seed {}: {} ended at {end:?} and is here at {now:?}",
                    self.seed,
                    client.user
                );
            }
        }
    }

    /// Who everybody is, as the shard knows it.
    fn identities(&mut self) -> BTreeMap<u128, (String, String)> {
        let found: Arc<Mutex<BTreeMap<u128, (String, String)>>> = Arc::default();
        let seen = found.clone();
        let target: Target = Arc::new(move |key, principal| {
            let known = (principal.user.to_string(), principal.claims.to_string());
            seen.lock().unwrap().insert(key.0, known);
            false
        });
        self.give(target, Order::Close(Close::new(CloseCode::Internal, "nobody")));
        self.settle();
        found.lock().unwrap().clone()
    }

    /// Everything has come to rest: whoever still hears a channel must be allowed to, whoever believes to hear it must hear it.
    pub(crate) fn judge_identities(&mut self) {
        let first = self.next_publication;
        for channel in CHANNELS {
            self.publish_to(&[channel]);
        }
        self.settle();
        let identities = self.identities();
        assert_eq!(
            *self.orders_done.lock().unwrap(),
            self.orders,
            "seed {}: an order never ended",
            self.seed
        );
        let mut members = [0; 4];
        for client in self.clients.iter().filter(|client| client.is_open()) {
            let (user, claims) = &identities[&client.key.0];
            assert_eq!(*user, client.user, "seed {}: became somebody else", self.seed);
            assert!(client.claims.contains(claims), "seed {}: claims of nowhere: {claims}", self.seed);
            for (number, channel) in (first..).zip(CHANNELS) {
                let hears = client.heard.contains(&number);
                let who = format!("seed {}: {user} with {claims:?} on {channel}", self.seed);
                assert_eq!(hears, client.view.contains(channel), "{who}: told one thing, done another");
                members[CHANNELS.iter().position(|known| *known == channel).unwrap()] += u64::from(hears);
                let mode = self.manifest.mode(channel);
                let may =
                    mode.lets(channel, claims) || client.by_api.contains(channel) && mode != Mode::Undeclared;
                assert!(may || !hears, "{who}: hears what it may not ({mode:?})");
            }
        }
        self.judge_counts(members);
        self.judge_lists(members);
    }

    /// Who asks is shown every open connection and every channel that is heard, each once.
    fn judge_lists(&mut self, members: [u64; 4]) {
        let connections: Arc<Mutex<Vec<(u128, usize)>>> = Arc::default();
        let channels: Arc<Mutex<Vec<(String, u64)>>> = Arc::default();
        let everybody: Target = Arc::new(|_, _| true);
        let seen = connections.clone();
        let viewer = Arc::new(move |connection: &Seen<'_>| {
            seen.lock().unwrap().push((connection.key.0, connection.subscriptions));
            true
        });
        let in_one: Arc<Mutex<Vec<u128>>> = Arc::default();
        let heard = in_one.clone();
        let of_one = Arc::new(move |connection: &Seen<'_>| {
            heard.lock().unwrap().push(connection.key.0);
            true
        });
        let names = channels.clone();
        let lister = Arc::new(move |channel: &ChannelName, members: u64| {
            names.lock().unwrap().push((channel.to_string(), members));
            true
        });
        let sorted = |mut list: Vec<(u128, usize)>| {
            list.sort_unstable();
            list
        };
        // Of now: some may end before the world has come to rest again.
        let open = self.clients.iter().filter(|client| client.is_open());
        let expected = sorted(open.map(|client| (client.key.0, client.view.len())).collect());
        self.give(everybody.clone(), Order::Show(None, viewer));
        let first = ChannelName::parse(CHANNELS[0]).unwrap();
        self.give(everybody.clone(), Order::Show(Some(first), of_one));
        self.give(everybody, Order::ShowChannels(lister));
        self.settle();
        // Some may have ended before the order came to them.
        let open = self.clients.iter().filter(|client| client.is_open());
        let left = sorted(open.map(|client| (client.key.0, client.view.len())).collect());
        let shown = sorted(connections.lock().unwrap().clone());
        let within = |some: &[(u128, usize)], all: &[(u128, usize)]| some.iter().all(|one| all.contains(one));
        let who = format!("seed {}: {left:?} within {shown:?} within {expected:?}", self.seed);
        assert!(within(&left, &shown) && within(&shown, &expected), "{who}");
        assert!(shown.windows(2).all(|pair| pair[0].0 != pair[1].0), "{who}: each once");
        let listed = channels.lock().unwrap().clone();
        let in_one = in_one.lock().unwrap().len() as u64;
        for (channel, most) in CHANNELS.iter().zip(members) {
            let open = self.clients.iter().filter(|client| client.is_open());
            let least = open.filter(|client| client.view.contains(*channel)).count() as u64;
            let found: Vec<u64> =
                listed.iter().filter(|(name, _)| name == channel).map(|(_, members)| *members).collect();
            let who = format!("seed {}: {channel} {found:?}, {least} to {most}", self.seed);
            assert!(found.len() <= 1 && !found.contains(&0), "{who}: each once, none that nobody hears");
            assert!((least..=most).contains(&found.iter().sum()), "{who}");
            assert!(*channel != CHANNELS[0] || (least..=most).contains(&in_one), "{who}, {in_one} by name");
        }
        assert!(listed.iter().all(|(name, _)| CHANNELS.contains(&name.as_str())), "{listed:?}");
    }

    fn judge_counts(&mut self, members: [u64; 4]) {
        let manifest: &Manifest = &self.manifest;
        let counters = self.shard.counters();
        let mut expected = vec![0; counters.subscriptions.len()];
        for (channel, members) in CHANNELS.iter().zip(members) {
            if let Some(rule) = manifest.rule(channel) {
                expected[usize::from(rule.0)] += members;
            }
        }
        assert_eq!(counters.subscriptions, expected, "seed {}: subscriptions are miscounted", self.seed);
    }
}

/// When the shard has to count `principal`'s credential as ended.
pub(crate) fn end(principal: &Principal, now: Now) -> Option<Millis> {
    let left = principal.expires?.0.saturating_sub(now.wall.0).max(0);
    Some(now.at.plus(left as u64))
}

impl Client {
    /// The application subscribes it, if there is room.
    fn expect_by_api(&mut self, channel: &str) {
        self.by_api.insert(channel.to_owned());
        self.channels.entry(channel.to_owned()).or_default().silenced = false;
    }

    /// Whether a review may take the channel away: some configuration denied it to somebody that it was.
    pub(crate) fn may_lose(&self, channel: &str, modes: &std::collections::BTreeSet<Mode>) -> bool {
        modes.iter().any(|mode| self.claims.iter().any(|claims| !mode.lets(channel, claims)))
    }
}
