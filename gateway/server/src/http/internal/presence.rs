//! `GET /v1/presence/{channel}`: who hears a channel, on all pods, page by page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use http::{Response, StatusCode, Uri};
use rtgw_model::{MEMBERS, MOST_MEMBERS, Member};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Internal;
use super::body::{bad, query};
use super::whom::connection;
use crate::http::response;
use crate::refusal::Refusal;

/// Which part.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PresenceQuery {
    /// Members of a page, 0 to 1000; 100 unless given. 0 only counts.
    #[schemars(range(max = 1000))]
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Who hears a channel.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PresencePage {
    /// The channel.
    channel: String,
    /// In the order of their connections' ids.
    members: Vec<MemberItem>,
    /// Connections that hear the channel.
    clients: u64,
    /// Users that do, each once; connections without a user do not count.
    users: u64,
    /// The cursor of the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A connection that hears the channel.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MemberItem {
    /// Its id, 32 hexadecimal digits.
    connection_id: String,
    /// Null for somebody without a credential.
    user: Option<String>,
    /// What the channel's rule shows of it (`presence.info`); null where it shows nothing.
    #[schemars(with = "serde_json::Value")]
    info: Box<RawValue>,
}

/// `GET /v1/presence/{channel}`.
pub(super) async fn presence(
    State(internal): State<Arc<Internal>>,
    Path(channel): Path<String>,
    uri: Uri,
) -> Response<Body> {
    match page(&internal, channel, &uri).await {
        Ok(page) => response::json(StatusCode::OK, &page),
        Err(refusal) => response::refused(&refusal),
    }
}

async fn page(internal: &Internal, channel: String, uri: &Uri) -> Result<PresencePage, Refusal> {
    let query: PresenceQuery = query(uri)?;
    let limit = query.limit.unwrap_or(MEMBERS);
    if limit > MOST_MEMBERS {
        return Err(bad(format!("limit must be 0 to {MOST_MEMBERS}")));
    }
    let after = query.cursor.as_deref().map(|cursor| connection("cursor", cursor)).transpose()?;
    let page = internal.parts.roster.show(&channel, after, limit).await?;
    let next = page.next().map(|key| key.to_string());
    Ok(PresencePage {
        channel,
        members: page.members.into_iter().map(item).collect(),
        clients: page.clients,
        users: page.users,
        next,
    })
}

fn item(member: Member) -> MemberItem {
    let info = String::from_utf8(member.info.into()).ok().and_then(|info| RawValue::from_string(info).ok());
    MemberItem {
        connection_id: member.connection.to_string(),
        user: Some(member.user.into()).filter(|user: &String| !user.is_empty()),
        info: info.unwrap_or_else(|| RawValue::NULL.to_owned()),
    }
}
