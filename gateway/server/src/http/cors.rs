//! CORS for the pages beside a socket: the endpoint's allowed origins, as for the socket itself.

use http::{HeaderMap, HeaderValue, header};
use rtgw_config::checked::{EndpointAuth, Origins, TokenPlace};

/// Lets a script of `origin`, the request's `Origin`, read the answer if the endpoint's origins allow it; with the visitor's cookies
/// where the endpoint reads one. A script of the same host needs nothing of this.
pub(super) fn allow(auth: &EndpointAuth, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    let allowed = match &auth.allowed_origins {
        Origins::Any => Some(HeaderValue::from_static("*")),
        Origins::SameHost => None,
        Origins::Listed(listed) => {
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
            origin.filter(|origin| listed.iter().any(|known| known.as_bytes() == origin.as_bytes())).cloned()
        }
    };
    let cookie = |place: &TokenPlace| matches!(place, TokenPlace::Cookie(_));
    if let Some(allowed) = allowed {
        if auth.token_from.iter().any(cookie) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
}

/// What a preflight is told besides: reading with a token or a key.
pub(super) fn preflight(answer: &mut HeaderMap) {
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, x-api-key"));
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}
