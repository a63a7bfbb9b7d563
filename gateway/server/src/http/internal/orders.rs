//! `POST /v1/subscribe | unsubscribe | disconnect | revoke | refresh`: what the application orders of connections that are open.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use http::Response;
use rtgw_hub::Renewal;
use rtgw_model::{CHANNELS, Close, CloseCode, CloseReason, Denied, ErrorCode, Principal, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Internal;
use super::body::{bad, object};
use super::draft::timestamp;
use super::whom::{Whom, name};
use crate::clock;
use crate::http::response;
use crate::refusal::Refusal;
use crate::revocations::{Full, Revoked};

/// Longest reason of a close, bytes (RFC 6455, section 5.5).
const REASON_BYTES: usize = 123;
/// Longest life of a revocation, seconds: a year and a day.
const MOST_SECONDS: u64 = 366 * 86_400;
/// As much as the claims of a token may be.
const CLAIMS_BYTES: usize = 6 * 1024;
/// The shards answer within a turn or two.
const ORDER_TIMEOUT: Duration = Duration::from_secs(20);

/// How many it concerned.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Affected {
    /// How many connections did what was ordered; with several channels, how many subscriptions were made or ended.
    affected: u64,
    /// Whose connections were asked.
    scope: Scope,
}

/// Whose connections an answer is about.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Scope {
    /// Those of the pod that answered.
    Pod,
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

    fn channels(&self) -> Result<Vec<&str>, Refusal> {
        let channels: Vec<&str> = match (&self.channel, &self.channels) {
            (Some(channel), None) => vec![channel],
            (None, Some(channels)) => channels.iter().map(String::as_str).collect(),
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
pub(super) async fn subscribe(State(internal): State<Arc<Internal>>, body: Body) -> Response<Body> {
    answer(async {
        let body: SubscriptionBody = object(body).await?;
        let target = body.whom().target()?;
        let channels = body.channels()?;
        let control = &internal.parts.control;
        // All or none: nobody is subscribed to the first where the second has a slip in its name, or no place.
        control.may_subscribe(&channels).map_err(|denied| refused(&denied))?;
        let mut affected = 0;
        for channel in channels {
            let ordered = control.subscribe(Arc::clone(&target), channel);
            affected += in_time(ordered).await?.map_err(|denied| refused(&denied))?;
        }
        Ok(affected)
    })
    .await
}

/// `POST /v1/unsubscribe`.
pub(super) async fn unsubscribe(State(internal): State<Arc<Internal>>, body: Body) -> Response<Body> {
    answer(async {
        let body: SubscriptionBody = object(body).await?;
        let target = body.whom().target()?;
        let mut affected = 0;
        for channel in body.channels()? {
            let ordered = internal.parts.control.unsubscribe(Arc::clone(&target), channel);
            affected += in_time(ordered).await?.map_err(|denied| refused(&denied))?;
        }
        Ok(affected)
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
pub(super) async fn disconnect(State(internal): State<Arc<Internal>>, body: Body) -> Response<Body> {
    answer(async {
        let body: DisconnectBody = object(body).await?;
        let DisconnectBody { user, tenant, connection, .. } = &body;
        let whom =
            Whom { user: user.as_deref(), tenant: tenant.as_deref(), connection: connection.as_deref() };
        let target = whom.target()?;
        let close = close(body.code, body.reason)?;
        in_time(internal.parts.control.disconnect(target, close)).await
    })
    .await
}

fn close(code: Option<u16>, reason: Option<String>) -> Result<Close, Refusal> {
    let code = match code {
        None => CloseCode::Forbidden,
        Some(number) => {
            let known = CloseCode::ALL.iter().find(|known| known.code() == number);
            let table =
                || CloseCode::ALL.iter().map(|known| known.code().to_string()).collect::<Vec<_>>().join(", ");
            *known.ok_or_else(|| bad(format!("code must be one of {}", table())))?
        }
    };
    let reason = reason.unwrap_or_else(|| "removed by the application".into());
    if reason.len() > REASON_BYTES {
        return Err(bad(format!("reason has {} bytes, at most {REASON_BYTES} are allowed", reason.len())));
    }
    Ok(Close { code, reason: reason.into(), why: CloseReason::Removed })
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
    answer(async {
        let body: RevokeBody = object(body).await?;
        if !(1..=MOST_SECONDS).contains(&body.ttl) {
            return Err(bad(format!("ttl must be 1 to {MOST_SECONDS} seconds")));
        }
        #[allow(clippy::cast_possible_wrap, reason = "at most a year")]
        let until = Timestamp(clock::wall().0 + body.ttl as i64 * 1000);
        let ordered = internal.parts.control.revoke(revoked(&body)?, until);
        in_time(ordered).await?.map_err(|full: Full| Refusal::new(503, "not_available", full.to_string()))
    })
    .await
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
pub(super) async fn refresh(State(internal): State<Arc<Internal>>, body: Body) -> Response<Body> {
    answer(async {
        let body: RefreshBody = object(body).await?;
        let RefreshBody { user, tenant, connection, .. } = &body;
        let whom =
            Whom { user: user.as_deref(), tenant: tenant.as_deref(), connection: connection.as_deref() };
        let chosen = whom.target()?;
        let renewal = renewal(&body)?;
        // Nobody has no credential that could end or say something else.
        let target = Arc::new(move |key, principal: &Principal| {
            !principal.claims.is_empty() && chosen(key, principal)
        });
        in_time(internal.parts.control.renew(target, renewal)).await
    })
    .await
}

fn renewal(body: &RefreshBody) -> Result<Renewal, Refusal> {
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
    Ok(Arc::new(move |known| Principal {
        claims: claims.clone().unwrap_or_else(|| known.claims.clone()),
        expires: expires.or(known.expires),
        ..known.clone()
    }))
}

async fn answer(ordered: impl Future<Output = Result<u64, Refusal>>) -> Response<Body> {
    match ordered.await {
        Ok(affected) => response::json(http::StatusCode::OK, &Affected { affected, scope: Scope::Pod }),
        Err(refusal) => response::refused(&refusal),
    }
}

/// What the shards answer, unless one of them does not.
pub(super) async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, Refusal> {
    tokio::time::timeout(ORDER_TIMEOUT, answer).await.map_err(|_| {
        Refusal::new(
            504,
            "timeout",
            "not every I/O shard has answered: what was ordered may or may not have happened",
        )
    })
}

fn refused(denied: &Denied) -> Refusal {
    let code = denied.code;
    let status = match code {
        ErrorCode::Forbidden => 403,
        ErrorCode::NotAvailable => 503,
        _ => 400,
    };
    Refusal::new(status, code.as_str(), denied.message.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn closes_have_a_code_of_the_table_and_a_reason_that_fits() {
        let of = |code, reason: &str| close(code, Some(reason.into()));
        let usual = close(None, None).unwrap();
        assert_eq!((usual.code, usual.why), (CloseCode::Forbidden, CloseReason::Removed));
        assert_eq!(of(Some(4401), "x").unwrap().code, CloseCode::Unauthenticated);
        assert_eq!(of(Some(1000), &"x".repeat(123)).unwrap().reason.len(), 123);
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
