//! Answers in JSON: values, and refusals as `{"error":{"code","message"}}`.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;

use crate::refusal::Refusal;

/// `value` as a JSON answer that nobody keeps.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        // Only a map with keys that are no strings can fail; none of ours has one.
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The body of every refusal.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct ErrorBody<'a> {
    error: ErrorMembers<'a>,
}

/// What is wrong.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct ErrorMembers<'a> {
    /// A word for programs; stable.
    code: &'a str,
    /// A sentence for people: what was wrong and what to do.
    message: &'a str,
}

/// A refusal as the bytes of an answer that ends its connection.
pub(super) fn unasked(refusal: &Refusal) -> Vec<u8> {
    let error = ErrorMembers { code: refusal.code, message: &refusal.message };
    // Never fails: two texts.
    let body = serde_json::to_string(&ErrorBody { error }).unwrap_or_default();
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let after = refusal.retry_after.map_or(String::new(), |seconds| format!("retry-after: {seconds}\r\n"));
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{after}connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A refusal as an answer.
pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = ErrorMembers { code: refusal.code, message: &refusal.message };
    let mut response = json(status, &ErrorBody { error });
    let headers = response.headers_mut();
    if let Some(seconds) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
