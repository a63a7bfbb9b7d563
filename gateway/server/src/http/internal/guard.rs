//! Who may use the API and the console: this version has no API keys, so only this machine's user, past the tricks by which a web
//! page could act for them (a name that resolves to loopback, a form or script of another origin).

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::middleware::Next;
use http::{HeaderMap, Method, Request, Response, header};

use crate::http::response;
use crate::refusal::Refusal;

/// Whether the listener is one that only this machine reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Bound to loopback.
    Loopback,
    /// Others reach it.
    Exposed,
}

impl Guard {
    pub(super) fn of(listener: SocketAddr) -> Self {
        if listener.ip().to_canonical().is_loopback() { Self::Loopback } else { Self::Exposed }
    }
}

/// Lets a request through, or refuses it.
pub(super) async fn check(guard: Guard, request: Request<Body>, next: Next) -> Response<Body> {
    match judge(guard, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => response::refused(&refusal),
    }
}

fn judge(guard: Guard, request: &Request<Body>) -> Result<(), Refusal> {
    if guard == Guard::Exposed {
        return Err(forbidden(
            "the API and the console need an API key, which this version does not have yet: bind the internal listener to \
             loopback (--admin 127.0.0.1:9090) to use them on this machine",
        ));
    }
    let headers = request.headers();
    // RFC 9112 section 3.2.2: a target with an authority replaces the Host header.
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => only(headers, &header::HOST),
    };
    let host = host.filter(|host| is_loopback(host)).ok_or_else(|| {
        forbidden("the Host of a request to the API or the console must be localhost or a loopback address")
    })?;
    if headers.contains_key(header::ORIGIN) {
        let origin = only(headers, &header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        if !origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host)) {
            return Err(forbidden(
                "pages of another origin may not use the API: ask it from a program, or from /console/",
            ));
        }
    }
    if request.method() == Method::POST && !is_json(headers) {
        let message = "the body must be JSON and say so: Content-Type: application/json";
        return Err(Refusal::new(415, "unsupported_media_type", message));
    }
    Ok(())
}

fn forbidden(message: &'static str) -> Refusal {
    Refusal::new(403, "forbidden", message)
}

/// The value of a field that is there once and is text.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whether `host`, with or without a port, can only mean this machine.
fn is_loopback(host: &str) -> bool {
    let Some(name) = without_port(host) else { return false };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn without_port(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { host.find(':').unwrap_or(host.len()) };
    let (name, port) = host.split_at(end);
    let port_is_digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(port_is_digits)).then_some(name)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = only(headers, &header::CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn status(guard: Guard, method: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri("/v1/info");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        judge(guard, &request.body(Body::empty()).unwrap()).map_or_else(|refusal| refusal.status, |()| 200)
    }

    #[test]
    fn only_loopback_hosts_pass() {
        for host in ["localhost", "LOCALHOST:9090", "127.0.0.1:9090", "127.8.8.8", "[::1]:9090", "[::1]"] {
            assert_eq!(status(Guard::Loopback, "GET", &[("host", host)]), 200, "{host}");
            assert_eq!(status(Guard::Exposed, "GET", &[("host", host)]), 403, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:9090",
            "10.0.0.1",
            "127.0.0.1.evil.example",
            "[::2]",
            "",
            "[::1",
            "127.0.0.1:9x",
        ] {
            assert_eq!(status(Guard::Loopback, "GET", &[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(Guard::Loopback, "GET", &[]), 403);
        assert_eq!(status(Guard::Loopback, "GET", &[("host", "localhost"), ("host", "evil.example")]), 403);
    }

    #[test]
    fn only_the_own_origin_passes() {
        let with = |origin| status(Guard::Loopback, "GET", &[("host", "localhost:9090"), ("origin", origin)]);
        assert_eq!(with("http://localhost:9090"), 200);
        for origin in [
            "null",
            "http://localhost:3000",
            "http://localhost",
            "https://localhost:9090",
            "http://evil.example",
            "*",
        ] {
            assert_eq!(with(origin), 403, "{origin}");
        }
    }

    #[test]
    fn bodies_say_that_they_are_json() {
        let with = |kind| status(Guard::Loopback, "POST", &[("host", "localhost"), ("content-type", kind)]);
        assert_eq!(with("application/json"), 200);
        assert_eq!(with("Application/JSON; charset=utf-8"), 200);
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert_eq!(with(kind), 415, "{kind}");
        }
        assert_eq!(status(Guard::Loopback, "POST", &[("host", "localhost")]), 415);
    }
}
