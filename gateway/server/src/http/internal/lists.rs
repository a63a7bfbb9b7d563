//! `GET /v1/channels | connections`: what this pod holds, page by page.
//!
//! The shards show what they hold as they carry out orders, a bounded number in each turn, and only a page's worth is kept. Pages
//! follow the order of names: what is there all the while is on exactly one page, whatever comes and goes between two requests.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode, Uri};
use parking_lot::Mutex;
use rtgw_config::checked::starred;
use rtgw_hub::Seen;
use rtgw_model::{ChannelName, ConnectionKey, EndpointIx, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Internal;
use super::body::{bad, query};
use super::orders::{Scope, in_time};
use super::whom::{Whom, connection};
use crate::control::everyone;
use crate::http::response;
use crate::refusal::Refusal;

/// Items of a page unless asked otherwise, and at most.
const ITEMS: usize = 100;
const MOST_ITEMS: usize = 1000;

/// Where an answer may be gathered.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WantedScope {
    /// The pod that answers.
    Pod,
    /// All pods where that can be gathered; in this version the pod that answers.
    Cluster,
}

/// Which channels.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelsQuery {
    /// Channels of this pattern, as manifests have them; `*` may stand for a segment, or at the end for all that are left.
    pattern: Option<String>,
    /// Channels whose names begin so.
    prefix: Option<String>,
    /// Items of a page, 1 to 1000; 100 unless given.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Whose channels.
    #[expect(dead_code, reason = "this version answers for the pod")]
    scope: Option<WantedScope>,
}

/// A page of channels, in the order of their names.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChannelsPage {
    channels: Vec<ChannelItem>,
    /// The cursor of the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    scope: Scope,
}

/// A channel that somebody hears.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChannelItem {
    /// Its name.
    channel: String,
    /// How many connections hear it.
    subscribers: u64,
}

/// `GET /v1/channels`.
pub(super) async fn channels(State(internal): State<Arc<Internal>>, uri: Uri) -> Response<Body> {
    answer(channels_page(&internal, &uri).await)
}

async fn channels_page(internal: &Internal, uri: &Uri) -> Result<ChannelsPage, Refusal> {
    let query: ChannelsQuery = query(uri)?;
    let pattern = query.pattern.as_deref().map(starred).transpose();
    let pattern = pattern.map_err(|error| bad(format!("pattern {error}")))?;
    let after = query.cursor.as_deref().map(|cursor| {
        ChannelName::parse(cursor).map_err(|_| bad("cursor is not one of this list: take it from `next`"))
    });
    let page = Arc::new(Mutex::new(Page::new(items(query.limit)?, after.transpose()?)));
    let (shown, prefix) = (Arc::clone(&page), query.prefix.unwrap_or_default());
    let viewer = Arc::new(move |channel: &ChannelName, members: u64| {
        let name = channel.as_str();
        let fits = name.starts_with(&prefix)
            && pattern.as_ref().is_none_or(|pattern| pattern.matches(name).is_some());
        if fits && let Some(subscribers) = shown.lock().entry(channel.clone(), || 0) {
            *subscribers += members;
        }
        fits
    });
    in_time(internal.parts.control.show_channels(viewer)).await?;
    let (found, next) = page.lock().take();
    let item = |(channel, subscribers): (ChannelName, u64)| ChannelItem {
        channel: channel.to_string(),
        subscribers,
    };
    let channels = found.into_iter().map(item).collect();
    Ok(ChannelsPage { channels, next: next.map(|last| last.to_string()), scope: Scope::Pod })
}

/// Which connections: those that fit everything that is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionsQuery {
    /// Of this user.
    user: Option<String>,
    /// Of this tenant.
    tenant: Option<String>,
    /// That hear this channel.
    channel: Option<String>,
    /// That came in by the endpoint of this name.
    endpoint: Option<String>,
    /// Items of a page, 1 to 1000; 100 unless given.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Whose connections.
    #[expect(dead_code, reason = "this version answers for the pod")]
    scope: Option<WantedScope>,
}

/// A page of connections, in the order of their ids.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConnectionsPage {
    connections: Vec<ConnectionItem>,
    /// The cursor of the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    scope: Scope,
}

/// A connection. Neither its claims nor its query are shown: both may hold what only the application should know.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConnectionItem {
    /// Its id, 32 hexadecimal digits.
    connection_id: String,
    /// Empty for somebody without a credential.
    user: String,
    /// Empty where there is none.
    tenant: String,
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

/// What is kept of a connection that was shown.
struct Kept {
    user: Box<str>,
    tenant: Box<str>,
    ip: IpAddr,
    expires: Option<Timestamp>,
    endpoint: EndpointIx,
    subscriptions: usize,
}

/// `GET /v1/connections`.
pub(super) async fn connections(State(internal): State<Arc<Internal>>, uri: Uri) -> Response<Body> {
    answer(connections_page(&internal, &uri).await)
}

async fn connections_page(internal: &Internal, uri: &Uri) -> Result<ConnectionsPage, Refusal> {
    let query: ConnectionsQuery = query(uri)?;
    let (user, tenant) = (query.user.as_deref(), query.tenant.as_deref());
    let target = match (user, tenant) {
        (None, None) => everyone(),
        _ => Whom { user, tenant, connection: None }.target()?,
    };
    let channel = query
        .channel
        .as_deref()
        .map(|name| ChannelName::parse(name).map_err(|error| bad(format!("channel {error}"))));
    let names = internal.parts.control.endpoints();
    let endpoint = query.endpoint.map(|wanted| {
        let known = names.iter().position(|name| **name == *wanted).and_then(|at| u16::try_from(at).ok());
        known.map(EndpointIx).ok_or_else(|| bad("endpoint is not the name of one"))
    });
    let endpoint = endpoint.transpose()?;
    let after = query.cursor.as_deref().map(|cursor| connection("cursor", cursor)).transpose()?;
    let page = Arc::new(Mutex::new(Page::new(items(query.limit)?, after.map(|key| key.0))));
    let shown = Arc::clone(&page);
    let viewer = Arc::new(move |seen: &Seen<'_>| {
        let fits = endpoint.is_none_or(|endpoint| endpoint == seen.endpoint);
        if fits {
            let kept = || Kept {
                user: seen.principal.user.clone(),
                tenant: seen.principal.tenant.clone(),
                ip: seen.principal.ip,
                expires: seen.principal.expires,
                endpoint: seen.endpoint,
                subscriptions: seen.subscriptions,
            };
            shown.lock().entry(seen.key.0, kept);
        }
        fits
    });
    in_time(internal.parts.control.show(target, channel.transpose()?, viewer)).await?;
    let (found, next) = page.lock().take();
    let connections = found.into_iter().map(|(key, kept)| item(ConnectionKey(key), kept, &names)).collect();
    let next = next.map(|last| ConnectionKey(last).to_string());
    Ok(ConnectionsPage { connections, next, scope: Scope::Pod })
}

fn item(key: ConnectionKey, kept: Kept, endpoints: &[Arc<str>]) -> ConnectionItem {
    let Kept { user, tenant, ip, expires, endpoint, subscriptions } = kept;
    ConnectionItem {
        connection_id: key.to_string(),
        user: user.into(),
        tenant: tenant.into(),
        endpoint: endpoints.get(usize::from(endpoint.0)).map_or_else(String::new, ToString::to_string),
        ip: ip.to_string(),
        subscriptions,
        expires_at: expires.and_then(rfc3339),
    }
}

fn rfc3339(time: Timestamp) -> Option<String> {
    jiff::Timestamp::from_millisecond(time.0).ok().map(|time| time.to_string())
}

fn items(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit {
        None => Ok(ITEMS),
        Some(limit @ 1..=MOST_ITEMS) => Ok(limit),
        Some(_) => Err(bad(format!("limit must be 1 to {MOST_ITEMS}"))),
    }
}

fn answer<T: Serialize>(page: Result<T, Refusal>) -> Response<Body> {
    match page {
        Ok(page) => response::json(StatusCode::OK, &page),
        Err(refusal) => response::refused(&refusal),
    }
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

    /// The items, and the cursor of the next page where there is one.
    fn take(&mut self) -> (BTreeMap<K, V>, Option<K>) {
        let items = std::mem::take(&mut self.items);
        let next = items.last_key_value().filter(|_| self.more).map(|(last, _)| last.clone());
        (items, next)
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
                let (items, next) = page.take();
                pages += 1;
                assert!(items.len() == 7 || next.is_none());
                found.extend(items);
                match next {
                    None => break,
                    next => after = next,
                }
            }
            assert_eq!((found, pages), (expected.clone(), expected.len().div_ceil(7)), "seed {seed}");
        }
    }
}
