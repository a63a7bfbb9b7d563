//! Bodies of requests, bounded in size and time, and the queries of their addresses.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// Largest body, bytes.
const BODY_BYTES: usize = 1024 * 1024;
/// How long a body may take.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// The whole body.
///
/// # Errors
/// 400, 408 or 413.
pub(super) async fn read(body: Body) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_WAIT, Limited::new(body, BODY_BYTES).collect()).await {
        Err(_) => Err(Refusal::new(408, "timeout", "the body did not come within 10 s")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(413, "too_large", "the body is larger than 1 MiB"))
        }
        Ok(Err(_)) => Err(Refusal::new(400, "bad_request", "the body could not be read")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

/// The body as a JSON object with these members.
///
/// # Errors
/// Those of [`read`], and 400 with what is wrong and where.
pub(super) async fn object<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let body = read(body).await?;
    // A list would be taken for the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("the body must be a JSON object"));
    }
    serde_json::from_slice(&body).map_err(|error| bad(format!("the body is wrong: {error}")))
}

/// The parameters of a query.
///
/// # Errors
/// 400 for one that is unknown, given twice or ill-formed.
pub(super) fn query<T: DeserializeOwned>(uri: &http::Uri) -> Result<T, Refusal> {
    let axum::extract::Query(query) = axum::extract::Query::try_from_uri(uri)
        .map_err(|error| bad(format!("the query is wrong: {}", inner(&error))))?;
    Ok(query)
}

/// What axum wraps into a sentence of its own.
fn inner(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// A request that has to be changed.
pub(super) fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(400, "bad_request", message)
}
