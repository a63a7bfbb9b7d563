//! Pages of channels and connections: what one pod shows, and several pods' pages as one.
//!
//! The shards show what they hold as they carry out orders, a bounded number in each turn, and only a page's worth is kept. Pages
//! follow the order of names: what is there all the while is on exactly one page, whatever comes and goes between two requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rtgw_config::checked::starred;
use rtgw_hub::Seen;
use rtgw_model::{ChannelName, ConnectionKey, EndpointIx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::order::{Answer, Whom, key};
use crate::control::Control;
use crate::refusal::Refusal;

/// Which channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// Channels of this pattern.
    pub pattern: Option<String>,
    /// Channels whose names begin so.
    pub prefix: String,
    /// Most of them.
    pub limit: usize,
    /// Those behind this one.
    pub after: Option<String>,
}

/// Which connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// Whose.
    pub whom: Whom,
    /// That hear this channel.
    pub channel: Option<String>,
    /// That came in by the endpoint of this name.
    pub endpoint: Option<String>,
    /// Most of them.
    pub limit: usize,
    /// Those behind this one.
    #[serde(with = "key")]
    pub after: Option<ConnectionKey>,
}

/// A connection. Neither its claims nor its query are shown: both may hold what only the application should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ConnectionItem")]
pub struct Connection {
    /// Its id, 32 hexadecimal digits.
    pub connection_id: String,
    /// Empty for somebody without a credential.
    user: Box<str>,
    /// Empty where there is none.
    tenant: Box<str>,
    /// The name of its endpoint.
    endpoint: String,
    /// The client's address.
    ip: String,
    /// How many channels it hears.
    subscriptions: usize,
    /// When its credential ends (RFC 3339); absent where it does not, or nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl Channels {
    pub(super) async fn show(self, control: &Control) -> Result<Answer, Refusal> {
        let Self { pattern, prefix, limit, after } = self;
        let bad = |what: &str, why: &dyn std::fmt::Display| {
            Refusal::new(400, "bad_request", format!("{what} {why}"))
        };
        let pattern = pattern.as_deref().map(starred).transpose().map_err(|error| bad("pattern", &error))?;
        let after = after.as_deref().map(|after| {
            ChannelName::parse(after)
                .map_err(|_| bad("cursor", &"is not one of this list: take it from `next`"))
        });
        let page = Arc::new(Mutex::new(Page::new(limit, after.transpose()?)));
        let shown = Arc::clone(&page);
        let viewer = Arc::new(move |channel: &ChannelName, members: u64| {
            let name = channel.as_str();
            let fits = name.starts_with(&prefix)
                && pattern.as_ref().is_none_or(|pattern| pattern.matches(name).is_some());
            if fits && let Some(subscribers) = shown.lock().entry(channel.clone(), || 0) {
                *subscribers += members;
            }
            fits
        });
        control.show_channels(viewer).await;
        let (found, more) = page.lock().take();
        let found = found.into_iter().map(|(channel, hearers)| (channel.to_string(), hearers));
        Ok(Answer::Channels(found.collect(), more))
    }
}

impl Connections {
    pub(super) async fn show(self, control: &Control) -> Result<Answer, Refusal> {
        let Self { whom, channel, endpoint, limit, after } = self;
        let bad = |message: String| Refusal::new(400, "bad_request", message);
        let channel = channel
            .map(|name| ChannelName::parse(&name).map_err(|error| bad(format!("channel {error}"))))
            .transpose()?;
        let names = control.endpoints();
        let endpoint = endpoint.map(|wanted| {
            let known = names.iter().position(|name| **name == *wanted).and_then(|at| u16::try_from(at).ok());
            known.map(EndpointIx).ok_or_else(|| bad("endpoint is not the name of one".into()))
        });
        let endpoint = endpoint.transpose()?;
        let page = Arc::new(Mutex::new(Page::new(limit, after.map(|key| key.0))));
        let shown = Arc::clone(&page);
        let viewer = Arc::new(move |seen: &Seen<'_>| {
            let fits = endpoint.is_none_or(|endpoint| endpoint == seen.endpoint);
            if fits {
                shown.lock().entry(seen.key.0, || item(seen, &names));
            }
            fits
        });
        control.show(whom.target(), channel, viewer).await;
        let (found, more) = page.lock().take();
        Ok(Answer::Connections(found.into_values().collect(), more))
    }
}

fn item(seen: &Seen<'_>, endpoints: &[Arc<str>]) -> Connection {
    let principal = seen.principal;
    let end = |time: rtgw_model::Timestamp| jiff::Timestamp::from_millisecond(time.0).ok();
    Connection {
        connection_id: seen.key.to_string(),
        user: principal.user.clone(),
        tenant: principal.tenant.clone(),
        endpoint: endpoints.get(usize::from(seen.endpoint.0)).map_or_else(String::new, ToString::to_string),
        ip: principal.ip.to_string(),
        subscriptions: seen.subscriptions,
        expires_at: principal.expires.and_then(end).map(|time| time.to_string()),
    }
}

/// Several pods' pages as one of at most `limit` items, and whether there is more behind it. A pod whose page is cut says nothing of what
/// is behind its last item, so no page goes further than the shortest of those.
pub fn merged<T>(
    pages: impl IntoIterator<Item = (Vec<T>, bool)>,
    limit: usize,
    key: impl Fn(&T) -> String,
    add: impl Fn(&mut T, T),
) -> (Vec<T>, bool) {
    let (mut all, mut end, mut more) = (BTreeMap::<String, T>::new(), None::<String>, false);
    for (items, cut) in pages {
        if cut && let Some(last) = items.last().map(&key) {
            more = true;
            end = Some(end.map_or(last.clone(), |end| end.min(last)));
        }
        for item in items {
            match all.entry(key(&item)) {
                std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(item)),
                std::collections::btree_map::Entry::Occupied(mut known) => add(known.get_mut(), item),
            }
        }
    }
    if let Some(end) = end {
        all.retain(|name, _| *name <= end);
    }
    more |= all.len() > limit;
    (all.into_values().take(limit).collect(), more)
}

/// The first `most` of what comes in any order, behind `after`.
struct Page<K, V> {
    most: usize,
    after: Option<K>,
    items: BTreeMap<K, V>,
    /// There is something behind the page.
    more: bool,
}

impl<K: Ord + Clone, V> Page<K, V> {
    fn new(most: usize, after: Option<K>) -> Self {
        Self { most, after, items: BTreeMap::new(), more: false }
    }

    /// The value of `key`, made where it is new; `None` where it is not on this page. What was refused or pushed out once never
    /// belongs to the page later, because its last key only gets smaller.
    fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> Option<&mut V> {
        if self.after.as_ref().is_some_and(|after| key <= *after) {
            return None;
        }
        if self.items.len() == self.most && !self.items.contains_key(&key) {
            self.more = true;
            if self.items.last_key_value().is_some_and(|(last, _)| key > *last) {
                return None;
            }
            self.items.pop_last();
        }
        Some(self.items.entry(key).or_insert_with(make))
    }

    /// The items, and whether there are more.
    fn take(&mut self) -> (BTreeMap<K, V>, bool) {
        (std::mem::take(&mut self.items), self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_whatever_the_order_and_however_often_a_key_comes() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut shown: Vec<u32> = (0..40).map(|_| random.u32(0..25)).collect();
            let mut expected = BTreeMap::<u32, u64>::new();
            shown.iter().for_each(|key| *expected.entry(*key).or_default() += 1);
            let (mut found, mut after, mut pages) = (BTreeMap::new(), None, 0);
            loop {
                random.shuffle(&mut shown);
                let mut page = Page::new(7, after);
                for key in &shown {
                    if let Some(count) = page.entry(*key, || 0) {
                        *count += 1;
                    }
                }
                let (items, more) = page.take();
                pages += 1;
                assert!(items.len() == 7 || !more);
                after = items.last_key_value().map(|(last, _)| *last);
                found.extend(items);
                if !more {
                    break;
                }
            }
            assert_eq!((found, pages), (expected.clone(), expected.len().div_ceil(7)), "seed {seed}");
        }
    }

    /// Three pods, each with its own items and some in common, read page by page: every item once, with the sum of all pods.
    #[test]
    fn pages_of_several_pods_are_whole() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let pods: Vec<BTreeMap<String, u64>> = (0..3)
                .map(|_| (0..random.u32(0..30)).map(|_| (format!("{:02}", random.u32(0..40)), 1)).collect())
                .collect();
            let mut expected = BTreeMap::<String, u64>::new();
            for (name, count) in pods.iter().flatten() {
                *expected.entry(name.clone()).or_default() += count;
            }
            let (mut found, mut after) = (BTreeMap::new(), String::new());
            loop {
                let pages = pods.iter().map(|pod| {
                    let mut page = Page::new(5, Some(after.clone()).filter(|after| !after.is_empty()));
                    for (name, count) in pod {
                        if let Some(sum) = page.entry(name.clone(), || 0) {
                            *sum += count;
                        }
                    }
                    let (items, more) = page.take();
                    (items.into_iter().collect::<Vec<_>>(), more)
                });
                let (items, more) = merged(pages, 5, |item| item.0.clone(), |known, one| known.1 += one.1);
                assert!(items.len() <= 5);
                for (name, count) in items {
                    after.clone_from(&name);
                    assert!(found.insert(name, count).is_none(), "seed {seed}: twice");
                }
                if !more {
                    break;
                }
            }
            assert_eq!(found, expected, "seed {seed}");
        }
    }
}
