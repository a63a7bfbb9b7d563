//! `POST /v1/subscribe | unsubscribe | disconnect | revoke | refresh`: what the application orders of connections that are open.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode, Uri};
use rtgw_model::{CHANNELS, CloseCode, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Internal;
use super::body::{bad, object, query};
use super::draft::timestamp;
use super::whom::{Whom, name};
use crate::clock;
use crate::cluster::{Answer, Gathered, Order};
use crate::http::response;
use crate::refusal::Refusal;
use crate::revocations::Revoked;

/// Longest reason of a close, bytes (RFC 6455, section 5.5).
const REASON_BYTES: usize = 123;
/// Longest life of a revocation, seconds: a year and a day.
const MOST_SECONDS: u64 = 366 * 86_400;
/// As much as the claims of a token may be.
const CLAIMS_BYTES: usize = 6 * 1024;

/// How many it concerned.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Affected {
    /// How many connections did what was ordered; with several channels, how many subscriptions were made or ended.
    affected: u64,
    /// Whose connections were asked.
    scope: Scope,
    /// How many pods were asked, and how many of them answered in time; absent where `scope` is `pod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<PodsAsked>,
    /// Of `/v1/revoke` alone: false where the revocation could not be kept in Redis. The pod that answers keeps it, and writes it there when
    /// it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<bool>,
}

/// How complete an answer is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub(super) struct PodsAsked {
    /// Pods that were there.
    asked: usize,
    /// Those whose answers are in this one.
    answered: usize,
}

/// Whose connections an answer is about.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// Those of the pod that answered.
    Pod,
    /// Those of all pods.
    Cluster,
}

impl Scope {
    /// How far what was gathered goes.
    pub(super) fn of(gathered: &Gathered) -> (Self, Option<PodsAsked>) {
        match gathered.pods {
            Some((asked, answered)) => (Self::Cluster, Some(PodsAsked { asked, answered })),
            None => (Self::Pod, None),
        }
    }
}

/// Whose connections are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WantedScope {
    /// Those of the pod that answers.
    Pod,
    /// Those of all pods, where they can be asked.
    #[default]
    Cluster,
}

/// How far an order goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderQuery {
    /// Whose connections; `cluster` unless given.
    scope: Option<WantedScope>,
}

/// Which connections are to hear channels, or not to hear them any more. One of `user`, `tenant` and `connection` at least; those
/// are meant that fit all that are given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubscriptionBody {
    /// The user's connections.
    user: Option<String>,
    /// The tenant's connections.
    tenant: Option<String>,
    /// One connection, by the `connection_id` of its greeting.
    connection: Option<String>,
    /// The channel's name. Either this or `channels`.
    channel: Option<String>,
    /// At most 64 channels' names.
    channels: Option<Vec<String>>,
}

impl SubscriptionBody {
    fn whom(&self) -> Whom<'_> {
        let Self { user, tenant, connection, .. } = self;
        Whom { user: user.as_deref(), tenant: tenant.as_deref(), connection: connection.as_deref() }
    }

    fn channels(&self) -> Result<Vec<String>, Refusal> {
        let channels = match (&self.channel, &self.channels) {
            (Some(channel), None) => vec![channel.clone()],
            (None, Some(channels)) => channels.clone(),
            (Some(_), Some(_)) => return Err(bad("channels must not stand beside channel: use one of them")),
            (None, None) => return Err(bad("channel is missing")),
        };
        match channels.len() {
            0 => Err(bad("channels is empty: name at least one channel")),
            1..=CHANNELS => Ok(channels),
            many => Err(bad(format!("channels has {many} channels, at most {CHANNELS} are allowed"))),
        }
    }
}

/// `POST /v1/subscribe`.
pub(super) async fn subscribe(State(internal): State<Arc<Internal>>, uri: Uri, body: Body) -> Response<Body> {
    answer(&internal, &uri, async {
        let body: SubscriptionBody = object(body).await?;
        Ok(Order::Subscribe { whom: body.whom().checked()?, channels: body.channels()? })
    })
    .await
}

/// `POST /v1/unsubscribe`.
pub(super) async fn unsubscribe(
    State(internal): State<Arc<Internal>>,
    uri: Uri,
    body: Body,
) -> Response<Body> {
    answer(&internal, &uri, async {
        let body: SubscriptionBody = object(body).await?;
        Ok(Order::Unsubscribe { whom: body.whom().checked()?, channels: body.channels()? })
    })
    .await
}

/// Which connections are to be closed. One of `user`, `tenant` and `connection` at least; those are meant that fit all that are
/// given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DisconnectBody {
    /// The user's connections.
    user: Option<String>,
    /// The tenant's connections.
    tenant: Option<String>,
    /// One connection, by the `connection_id` of its greeting.
    connection: Option<String>,
    /// A close code of the protocol's table; 4403, after which clients stay away, unless given.
    code: Option<u16>,
    /// The reason of the close frame, at most 123 bytes.
    #[schemars(length(max = 123))]
    reason: Option<String>,
}

/// `POST /v1/disconnect`.
pub(super) async fn disconnect(
    State(internal): State<Arc<Internal>>,
    uri: Uri,
    body: Body,
) -> Response<Body> {
    answer(&internal, &uri, async {
        let body: DisconnectBody = object(body).await?;
        let DisconnectBody { user, tenant, connection, .. } = &body;
        let whom =
            Whom { user: user.as_deref(), tenant: tenant.as_deref(), connection: connection.as_deref() };
        let whom = whom.checked()?;
        let (code, reason) = close(body.code, body.reason)?;
        Ok(Order::Disconnect { whom, code, reason })
    })
    .await
}

fn close(code: Option<u16>, reason: Option<String>) -> Result<(u16, String), Refusal> {
    let code = code.unwrap_or(CloseCode::Forbidden.code());
    if !CloseCode::ALL.iter().any(|known| known.code() == code) {
        let table: Vec<String> = CloseCode::ALL.iter().map(|known| known.code().to_string()).collect();
        return Err(bad(format!("code must be one of {}", table.join(", "))));
    }
    let reason = reason.unwrap_or_else(|| "removed by the application".into());
    if reason.len() > REASON_BYTES {
        return Err(bad(format!("reason has {} bytes, at most {REASON_BYTES} are allowed", reason.len())));
    }
    Ok((code, reason))
}

/// Whose credentials count no more. One of `jti`, `user` and `tenant`, or none of them with `issuedBefore`, which is everybody's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RevokeBody {
    /// The token with this `jti`.
    jti: Option<String>,
    /// The user's credentials.
    user: Option<String>,
    /// The credentials of the tenant's users.
    tenant: Option<String>,
    /// Only what was issued (`iat`) before: RFC 3339, or Unix seconds or milliseconds. Unless given, whenever issued.
    #[schemars(with = "Option<TimeText>")]
    issued_before: Option<Box<RawValue>>,
    /// For how many seconds, 1 to 31622400: as long as what is revoked would have been good.
    #[schemars(range(min = 1, max = 31_622_400))]
    ttl: u64,
}

/// A moment: RFC 3339, or Unix seconds or milliseconds.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "for the description of the API only")]
pub(super) enum TimeText {
    /// RFC 3339.
    Text(String),
    /// Unix seconds; from 100000000000 on milliseconds.
    Number(f64),
}

/// `POST /v1/revoke`.
pub(super) async fn revoke(State(internal): State<Arc<Internal>>, body: Body) -> Response<Body> {
    let ordered = async {
        let body: RevokeBody = object(body).await?;
        if !(1..=MOST_SECONDS).contains(&body.ttl) {
            return Err(bad(format!("ttl must be 1 to {MOST_SECONDS} seconds")));
        }
        #[allow(clippy::cast_possible_wrap, reason = "at most a year")]
        let until = Timestamp(clock::wall().0 + body.ttl as i64 * 1000);
        internal.parts.pods.revoke(revoked(&body)?, until).await
    };
    match ordered.await {
        Ok((gathered, kept)) => {
            let status = if kept { StatusCode::OK } else { StatusCode::ACCEPTED };
            response::json(status, &Affected { kept: (!kept).then_some(false), ..affected(&gathered) })
        }
        Err(refusal) => response::refused(&refusal),
    }
}

fn revoked(body: &RevokeBody) -> Result<Revoked, Refusal> {
    let before = body.issued_before.as_deref().map(|raw| moment("issuedBefore", raw)).transpose()?;
    match (&body.jti, &body.user, &body.tenant, before) {
        (Some(jti), None, None, None) => Ok(Revoked::Token(name("jti", jti)?)),
        (Some(_), None, None, Some(_)) => {
            Err(bad("issuedBefore says nothing beside jti: a token was issued once"))
        }
        (None, Some(user), None, before) => Ok(Revoked::User(name("user", user)?, before)),
        (None, None, Some(tenant), before) => Ok(Revoked::Tenant(name("tenant", tenant)?, before)),
        (None, None, None, Some(before)) => Ok(Revoked::Everyone(before)),
        (None, None, None, None) => Err(bad("jti, user, tenant or issuedBefore is missing")),
        _ => Err(bad("jti, user and tenant are three ways to say whose: use one of them")),
    }
}

fn moment(member: &'static str, raw: &RawValue) -> Result<Timestamp, Refusal> {
    timestamp(member, raw).map_err(|error| bad(error.to_string()))
}

/// Which connections go on under another credential of the same user and tenant. One of `user`, `tenant` and `connection` at least;
/// those are meant that fit all that are given, except those without a credential.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RefreshBody {
    /// The user's connections.
    user: Option<String>,
    /// The tenant's connections.
    tenant: Option<String>,
    /// One connection, by the `connection_id` of its greeting.
    connection: Option<String>,
    /// When the credential ends from now on: RFC 3339, or Unix seconds or milliseconds. Unless given, as before.
    #[schemars(with = "Option<TimeText>")]
    expires_at: Option<Box<RawValue>>,
    /// All claims from now on, at most 6 KiB: the rules are asked again for every subscription. User and tenant stay what they are,
    /// whatever these claims say. Unless given, as before.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    claims: Option<Box<RawValue>>,
}

/// `POST /v1/refresh`.
pub(super) async fn refresh(State(internal): State<Arc<Internal>>, uri: Uri, body: Body) -> Response<Body> {
    answer(&internal, &uri, async {
        let body: RefreshBody = object(body).await?;
        let RefreshBody { user, tenant, connection, .. } = &body;
        let whom =
            Whom { user: user.as_deref(), tenant: tenant.as_deref(), connection: connection.as_deref() };
        let whom = whom.checked()?;
        let (expires, claims) = renewal(&body)?;
        Ok(Order::Refresh { whom, expires: expires.map(|end| end.0), claims })
    })
    .await
}

/// The new end and the new claims.
fn renewal(body: &RefreshBody) -> Result<(Option<Timestamp>, Option<Box<str>>), Refusal> {
    let expires = body.expires_at.as_deref().map(|raw| moment("expiresAt", raw)).transpose()?;
    if expires.is_some_and(|end| end <= clock::wall()) {
        return Err(bad("expiresAt has passed: /v1/disconnect ends connections"));
    }
    let claims: Option<Box<str>> = body.claims.as_deref().map(|claims| claims.get().into());
    if let Some(claims) = &claims {
        if !claims.starts_with('{') {
            return Err(bad("claims must be an object"));
        }
        if claims.len() > CLAIMS_BYTES {
            return Err(bad(format!("claims have more than {CLAIMS_BYTES} bytes")));
        }
    }
    if expires.is_none() && claims.is_none() {
        return Err(bad("expiresAt or claims is missing: nothing would change"));
    }
    Ok((expires, claims))
}

/// Has an order carried out where its query says.
async fn answer(
    internal: &Internal,
    uri: &Uri,
    order: impl Future<Output = Result<Order, Refusal>>,
) -> Response<Body> {
    let ordered = async {
        let OrderQuery { scope } = query(uri)?;
        let wide = scope.unwrap_or_default() == WantedScope::Cluster;
        internal.parts.pods.order(order.await?, wide).await
    };
    match ordered.await {
        Ok(gathered) => response::json(StatusCode::OK, &affected(&gathered)),
        Err(refusal) => response::refused(&refusal),
    }
}

fn affected(gathered: &Gathered) -> Affected {
    let (scope, pods) = Scope::of(gathered);
    let count = |answer: &Answer| if let Answer::Affected(count) = answer { *count } else { 0 };
    Affected { affected: gathered.answers.iter().map(count).sum(), scope, pods, kept: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn closes_have_a_code_of_the_table_and_a_reason_that_fits() {
        let of = |code, reason: &str| close(code, Some(reason.into()));
        assert_eq!(close(None, None).unwrap(), (4403, "removed by the application".into()));
        assert_eq!(of(Some(4401), "x").unwrap(), (4401, "x".into()));
        assert_eq!(of(Some(1000), &"x".repeat(123)).unwrap().1.len(), 123);
        assert!(of(None, &"x".repeat(124)).is_err());
        for code in [0, 999, 1004, 1005, 1006, 1015, 3000, 4000, 4402, 5000] {
            assert!(of(Some(code), "x").unwrap_err().message.contains("4403"), "{code}");
        }
    }

    #[test]
    fn revocations_name_one_subject() {
        let read =
            |body: &str| revoked(&serde_json::from_str(body).unwrap()).map_err(|refusal| refusal.message);
        assert_eq!(read(r#"{"jti":"a","ttl":1}"#), Ok(Revoked::Token("a".into())));
        assert_eq!(read(r#"{"user":"a","ttl":1}"#), Ok(Revoked::User("a".into(), None)));
        let before = Timestamp(1_699_369_800_000);
        assert_eq!(
            read(r#"{"tenant":"a","issuedBefore":1699369800,"ttl":1}"#),
            Ok(Revoked::Tenant("a".into(), Some(before)))
        );
        assert_eq!(read(r#"{"issuedBefore":"2023-11-07T15:10:00Z","ttl":1}"#), Ok(Revoked::Everyone(before)));
        for bad in [
            r#"{"ttl":1}"#,
            r#"{"jti":"","ttl":1}"#,
            r#"{"user":"","ttl":1}"#,
            r#"{"jti":"a","user":"b","ttl":1}"#,
            r#"{"user":"a","tenant":"b","ttl":1}"#,
            r#"{"jti":"a","issuedBefore":1,"ttl":1}"#,
            r#"{"user":"a","issuedBefore":"soon","ttl":1}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
