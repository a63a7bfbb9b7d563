//! The console's page, embedded: works offline and from one origin.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

/// Only what the page itself brings, its own origin's API, and sockets of this host's gateway.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self' ws: wss:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page at `/console/`.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/console", get(|| async { Redirect::permanent("/console/") }))
        .route(
            "/console/",
            get(|| async { asset("text/html; charset=utf-8", include_str!("../../../console/index.html")) }),
        )
        .route(
            "/console/console.css",
            get(|| async { asset("text/css; charset=utf-8", include_str!("../../../console/console.css")) }),
        )
        .route(
            "/console/console.js",
            get(|| async {
                asset("text/javascript; charset=utf-8", include_str!("../../../console/console.js"))
            }),
        )
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text)
}
