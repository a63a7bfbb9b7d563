//! `GET /v1/channels | connections`: what all pods hold, or this one, page by page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Internal;
use super::body::{bad, query};
use super::orders::{PodsAsked, Scope, WantedScope};
use super::whom::{Whom, connection};
use crate::cluster::{self, Answer, Channels, Connection, Connections, Order, merged};
use crate::http::response;
use crate::refusal::Refusal;

/// Items of a page unless asked otherwise, and at most.
const ITEMS: usize = 100;
const MOST_ITEMS: usize = 1000;

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
    /// Whose channels; `cluster` unless given.
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
    /// How many pods were asked, and how many of them answered in time; absent where `scope` is `pod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<PodsAsked>,
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
    let limit = items(query.limit)?;
    let (pattern, prefix, after) = (query.pattern, query.prefix.unwrap_or_default(), query.cursor);
    let wanted = Order::Channels(Channels { pattern, prefix, limit, after });
    let gathered = internal.parts.pods.order(wanted, is_wide(query.scope)).await?;
    let (scope, pods) = Scope::of(&gathered);
    let pages = gathered.answers.into_iter().filter_map(|answer| match answer {
        Answer::Channels(found, more) => Some((found, more)),
        _ => None,
    });
    let (found, more) = merged(pages, limit, |(name, _)| name.clone(), |known, one| known.1 += one.1);
    let next = found.last().filter(|_| more).map(|(name, _)| name.clone());
    let item = |(channel, subscribers)| ChannelItem { channel, subscribers };
    Ok(ChannelsPage { channels: found.into_iter().map(item).collect(), next, scope, pods })
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
    /// Whose connections; `cluster` unless given.
    scope: Option<WantedScope>,
}

/// A page of connections, in the order of their ids.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConnectionsPage {
    connections: Vec<Connection>,
    /// The cursor of the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    scope: Scope,
    /// How many pods were asked, and how many of them answered in time; absent where `scope` is `pod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<PodsAsked>,
}

/// `GET /v1/connections`.
pub(super) async fn connections(State(internal): State<Arc<Internal>>, uri: Uri) -> Response<Body> {
    answer(connections_page(&internal, &uri).await)
}

async fn connections_page(internal: &Internal, uri: &Uri) -> Result<ConnectionsPage, Refusal> {
    let query: ConnectionsQuery = query(uri)?;
    let (user, tenant) = (query.user.as_deref(), query.tenant.as_deref());
    let whom = match (user, tenant) {
        (None, None) => cluster::Whom::default(),
        _ => Whom { user, tenant, connection: None }.checked()?,
    };
    let limit = items(query.limit)?;
    let after = query.cursor.as_deref().map(|cursor| connection("cursor", cursor)).transpose()?;
    let (channel, endpoint) = (query.channel, query.endpoint);
    let wanted = Order::Connections(Connections { whom, channel, endpoint, limit, after });
    let gathered = internal.parts.pods.order(wanted, is_wide(query.scope)).await?;
    let (scope, pods) = Scope::of(&gathered);
    let pages = gathered.answers.into_iter().filter_map(|answer| match answer {
        Answer::Connections(found, more) => Some((found, more)),
        _ => None,
    });
    let (connections, more) = merged(pages, limit, |one| one.connection_id.clone(), |_, _| ());
    let next = connections.last().filter(|_| more).map(|last| last.connection_id.clone());
    Ok(ConnectionsPage { connections, next, scope, pods })
}

fn is_wide(scope: Option<WantedScope>) -> bool {
    scope.unwrap_or_default() == WantedScope::Cluster
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
