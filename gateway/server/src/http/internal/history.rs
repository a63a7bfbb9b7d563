//! `GET /v1/history/{channel}`: what was published on a channel, page by page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::{Response, StatusCode, Uri};
use rtgw_model::{ChannelName, Publication};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Internal;
use super::body::{bad, query};
use crate::broker::PAGE;
use crate::http::response;
use crate::recovery::{PageError, Wanted};
use crate::refusal::Refusal;

/// Publications of a page unless asked otherwise.
const ITEMS: u32 = 100;
/// About so many bytes are in a page.
const BYTES: usize = 4 << 20;

/// Which part.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Publications of a page, 0 to 1000; 100 unless given. 0 asks only where the channel stands.
    #[schemars(range(min = 0, max = 1000))]
    limit: Option<u32>,
    /// `next` of the page before, or any offset: what is behind it, or with `reverse` before it.
    cursor: Option<String>,
    /// From the newest to the oldest.
    #[serde(default)]
    reverse: bool,
}

/// A page of a channel's history.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HistoryPage {
    /// The channel.
    channel: String,
    /// In the order asked for.
    publications: Vec<HistoryItem>,
    /// The offset of the channel's last publication.
    offset: u64,
    /// Whose offsets these are, 16 hexadecimal digits: under another epoch an offset means nothing.
    epoch: String,
    /// The cursor of the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A publication that was kept.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct HistoryItem {
    /// Its number in the channel.
    offset: u64,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The event's name.
    event: String,
    /// When it happened (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    /// As it was published.
    #[schemars(with = "serde_json::Value")]
    data: Box<RawValue>,
    /// What filters ask.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    tags: std::collections::BTreeMap<String, String>,
    /// Where it was published with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
}

/// `GET /v1/history/{channel}`.
pub(super) async fn history(
    State(internal): State<Arc<Internal>>,
    Path(channel): Path<String>,
    uri: Uri,
) -> Response<Body> {
    match page(&internal, &channel, &uri).await {
        Ok(page) => response::json(StatusCode::OK, &page),
        Err(refusal) => response::refused(&refusal),
    }
}

async fn page(internal: &Internal, channel: &str, uri: &Uri) -> Result<HistoryPage, Refusal> {
    let HistoryQuery { limit, cursor, reverse } = query(uri)?;
    let channel = ChannelName::parse(channel).map_err(|error| bad(format!("the channel name {error}")))?;
    let limit = limit.unwrap_or(ITEMS);
    if limit > PAGE {
        return Err(bad(format!("limit must be 0 to {PAGE}")));
    }
    let since = cursor.map(|cursor| cursor.parse().map_err(|_| bad("cursor must be an offset")));
    let wanted = Wanted { limit, since: since.transpose()?, reverse, bytes: BYTES };
    let pages = Arc::clone(&internal.parts.pages);
    let read = internal.parts.runtime.spawn(async move {
        let read = pages.read(&channel, wanted).await;
        (channel, read)
    });
    let (channel, read) =
        read.await.map_err(|_| Refusal::new(500, "internal", "the history could not be read"))?;
    let read = read.map_err(|error| match error {
        PageError::NotKept => Refusal::new(404, "not_found", error.to_string()),
        PageError::Unavailable(_) => Refusal::new(503, "not_available", error.to_string()),
        PageError::Timeout => Refusal::new(504, "timeout", error.to_string()),
    })?;
    Ok(HistoryPage {
        channel: channel.to_string(),
        publications: read.publications.into_iter().filter_map(item).collect(),
        offset: read.top.offset,
        epoch: read.top.epoch_text(),
        next: read.next.map(|next| next.to_string()),
    })
}

fn item(publication: Publication) -> Option<HistoryItem> {
    let offset = publication.position(0)?.offset;
    let tags = publication.tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let timestamp = jiff::Timestamp::from_millisecond(publication.timestamp.0).ok();
    Some(HistoryItem {
        offset,
        id: publication.id.map(|id| id.to_string()),
        event: publication.event.into(),
        timestamp: timestamp.map(|at| at.to_string()),
        data: serde_json::from_slice(&publication.data).ok()?,
        tags,
        priority: publication.priority.map(Into::into),
    })
}
