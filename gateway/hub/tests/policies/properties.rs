//! Any sequence of publications, times and members.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rtgw_model::DeliveryPolicy;

use crate::rig::{BATCH, CHANNELS, FILTER, Heard, INTERVAL, Rig, policy};

const CLIENTS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Publish {
        channels: Vec<&'static str>,
        event: &'static str,
        tag: Option<&'static str>,
        except: Option<usize>,
    },
    Pass(u64),
    Subscribe {
        client: usize,
        channel: &'static str,
        only: Option<&'static str>,
    },
    Unsubscribe {
        client: usize,
        channel: &'static str,
    },
    Gap,
}

fn step() -> impl Strategy<Value = Step> {
    let channel = || prop::sample::select(&CHANNELS[..]);
    let channels = prop_oneof![
        3 => channel().prop_map(|channel| vec![channel]),
        1 => prop::sample::subsequence(CHANNELS.to_vec(), 2..=3).prop_shuffle(),
    ];
    let event = prop::sample::select(&["s", "t"][..]);
    let tag = || prop::option::of(prop::sample::select(&["a", "b"][..]));
    let except = prop::option::weighted(0.05, 0..CLIENTS);
    prop_oneof![
        12 => (channels, event, tag(), except)
            .prop_map(|(channels, event, tag, except)| Step::Publish { channels, event, tag, except }),
        6 => (0..60_u64).prop_map(Step::Pass),
        1 => (0..250_u64).prop_map(Step::Pass),
        3 => (0..CLIENTS, channel(), tag()).prop_map(|(client, channel, only)| Step::Subscribe {
            client,
            channel,
            only: only.filter(|_| channel == "rate"),
        }),
        1 => (0..CLIENTS, channel()).prop_map(|(client, channel)| Step::Unsubscribe { client, channel }),
        1 => Just(Step::Gap),
    ]
}

/// A publication as it was made.
struct Made {
    at: u64,
    channels: Vec<&'static str>,
    except: Option<usize>,
    event: &'static str,
    tag: Option<&'static str>,
}

impl Made {
    /// The key within a channel; `None` where the channel's rate does not speak of it.
    fn key(&self, channel: &str) -> Option<(&'static str, Option<&'static str>)> {
        let DeliveryPolicy { throttle, events, .. } = policy(channel);
        let throttle =
            throttle.filter(|_| events.is_empty() || events.iter().any(|event| **event == *self.event))?;
        Some((self.event, self.tag.filter(|_| !throttle.tags.is_empty())))
    }
}

type Key = (&'static str, Option<&'static str>);

/// What one client may and must hear.
#[derive(Default)]
struct Owed {
    /// Channels it hears, with the tag's value it wants.
    hears: BTreeMap<&'static str, Option<&'static str>>,
    /// Publications that no rate may take away: number -> until when.
    surely: BTreeMap<usize, u64>,
    /// The last of each key.
    last: BTreeMap<(&'static str, Key), usize>,
    /// All that it may ever hear.
    allowed: BTreeSet<usize>,
    /// When each key was heard last.
    heard: BTreeMap<(String, Key), u64>,
    checked: usize,
}

struct Judge {
    rig: Rig,
    owed: Vec<Owed>,
    made: Vec<Made>,
}

impl Judge {
    fn new() -> Self {
        let owed = (0..CLIENTS).map(|_| Owed::default()).collect();
        Self { rig: Rig::new(CLIENTS), owed, made: Vec::new() }
    }

    fn carry_out(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish { channels, event, tag, except } => self.publish(&channels, event, tag, except),
            Step::Pass(ms) => self.rig.pass(ms),
            Step::Subscribe { client, channel, only } => {
                self.forgive(client, channel);
                self.owed[client].hears.insert(channel, only);
                self.expect_held(client, channel);
                self.rig.subscribe(client, channel, only);
            }
            Step::Unsubscribe { client, channel } => {
                self.forgive(client, channel);
                self.owed[client].hears.remove(channel);
                self.rig.unsubscribe(client, channel);
            }
            Step::Gap => {
                // What is held goes before its time.
                self.rig.gap();
                self.check(0)?;
                self.owed.iter_mut().for_each(|owed| owed.heard.clear());
            }
        }
        self.check(INTERVAL)
    }

    /// A client that leaves a channel, or hears it otherwise from now on, has no claim on what waited there.
    fn forgive(&mut self, client: usize, channel: &'static str) {
        let owed = &mut self.owed[client];
        owed.last.retain(|(of, _), _| *of != channel);
        owed.heard.retain(|(of, _), _| of != channel);
        owed.surely.clear();
    }

    /// Who joins may hear what waits.
    fn expect_held(&mut self, client: usize, channel: &'static str) {
        // A batch before it lengthens the interval, and then comes its own.
        let since = self.rig.now.at.0.saturating_sub(u64::from(INTERVAL + 2 * BATCH));
        let heard = self.rig.numbers(client);
        let waits = |(number, made): (usize, &Made)| {
            let may = made.at >= since && made.channels.contains(&channel) && made.except != Some(client);
            (may && !heard.contains(&number)).then_some(number)
        };
        self.owed[client].allowed.extend(self.made.iter().enumerate().filter_map(waits));
    }

    fn publish(
        &mut self,
        channels: &[&'static str],
        event: &'static str,
        tag: Option<&'static str>,
        except: Option<usize>,
    ) {
        let number = self.made.len();
        let made = Made { at: self.rig.now.at.0, channels: channels.to_vec(), except, event, tag };
        for (client, owed) in self.owed.iter_mut().enumerate() {
            let own = except == Some(client);
            for channel in channels {
                let Some(only) = owed.hears.get(channel) else { continue };
                let wanted = only.is_none_or(|only| tag == Some(only));
                match made.key(channel) {
                    // Who replaced it is known to the client, because it was the client itself.
                    Some(key) if own => drop(owed.last.remove(&(*channel, key))),
                    Some(key) if wanted => drop(owed.last.insert((*channel, key), number)),
                    None if wanted && !own => {
                        let wait = if *channel == "batch" && event == "s" { u64::from(BATCH) } else { 0 };
                        let until = owed.surely.entry(number).or_insert(u64::MAX);
                        *until = (*until).min(made.at + wait);
                    }
                    _ => {}
                }
                if wanted && !own {
                    owed.allowed.insert(number);
                }
            }
            // It is delivered once, by whichever channel lets it through first; that may be any.
            if owed.surely.contains_key(&number) {
                owed.last.retain(|_, last| *last != number);
            }
        }
        self.made.push(made);
        let tags: Vec<(&str, &str)> =
            tag.iter().flat_map(|value| [(FILTER, *value), ("c", *value)]).collect();
        self.rig.publish(number, channels, event, &tags, except);
    }

    fn check(&mut self, least: u32) -> Result<(), TestCaseError> {
        let now = self.rig.now.at.0;
        for (client, owed) in self.owed.iter_mut().enumerate() {
            let heard = &self.rig.clients[client].1;
            for Heard { at, number, by } in &heard[owed.checked..] {
                prop_assert!(owed.allowed.remove(number), "{number} came twice or unasked");
                if let Some(until) = owed.surely.remove(number) {
                    prop_assert!(*at <= until, "{number} came at {at} and not until {until}");
                }
                owed.last.retain(|_, last| last != number);
                if let Some(key) = self.made[*number].key(by) {
                    let before = owed.heard.insert((by.clone(), key), *at);
                    let soon = before.filter(|before| at - before < u64::from(least));
                    prop_assert!(soon.is_none(), "{by} {key:?} at {before:?} and {at}");
                }
            }
            owed.checked = heard.len();
            let late = owed.surely.iter().find(|(_, until)| **until < now);
            prop_assert!(late.is_none(), "{late:?} has not come until {now}");
        }
        Ok(())
    }

    /// Order of what a client heard by one channel: of each key, and of everything that no rate touches.
    fn check_order(&self) -> Result<(), TestCaseError> {
        for (_, heard) in &self.rig.clients {
            let mut last: BTreeMap<(&str, Option<Key>), usize> = BTreeMap::new();
            for Heard { number, by, .. } in heard {
                let key = self.made[*number].key(by);
                let before = last.insert((by, key), *number);
                prop_assert!(before < Some(*number), "{by} {key:?}: {before:?} then {number}");
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn at_most_one_per_interval_the_last_always_and_the_others_untouched(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut judge = Judge::new();
        for step in steps {
            judge.carry_out(step)?;
        }
        judge.carry_out(Step::Pass(1_000))?;
        judge.check_order()?;
        for owed in &judge.owed {
            prop_assert!(owed.surely.is_empty(), "never came: {:?}", owed.surely);
            prop_assert!(owed.last.is_empty(), "the last of a key never came: {:?}", owed.last);
        }
        prop_assert!(judge.rig.shard.holds_nothing_back());
        prop_assert_eq!(judge.rig.shard.waiting_publications(), 0);
        prop_assert_eq!(judge.rig.shard.counters().held_bytes, 0);
    }
}
