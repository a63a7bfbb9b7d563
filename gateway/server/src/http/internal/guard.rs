//! Who may use the API and the console: programs with a key of the manifest. Where the manifest has none, only this machine's user,
//! past the tricks by which a web page could act for them (a name that resolves to loopback, a form or script of another origin).

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use http::{HeaderMap, Method, Request, header};
use rtgw_config::checked::Operator;
use rtgw_model::Timestamp;

use super::caller::{Caller, Need};
use crate::auth::{ApiKeys, Place, credential_of_program, judge_operator};
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

    /// Who sends `request`, and that it may use a route that needs `need`.
    ///
    /// # Errors
    /// 400, 401, 403 or 415.
    pub(super) fn judge(
        self,
        keys: &ApiKeys,
        need: Need,
        request: &Request<Body>,
    ) -> Result<Caller, Refusal> {
        let headers = request.headers();
        // RFC 9112 section 3.2.2: a target with an authority replaces the Host header.
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => only(headers, &header::HOST),
        };
        if keys.is_empty() {
            self.is_of_this_machine(host)?;
        }
        own_origin(host, headers, !keys.is_empty())?;
        if request.method() == Method::POST && !is_json(headers) {
            let message = "the body must be JSON and say so: Content-Type: application/json";
            return Err(Refusal::new(415, "unsupported_media_type", message));
        }
        if keys.is_empty() || need == Need::Page {
            return Ok(Caller::Local);
        }
        let caller = Caller::find(keys, headers)?;
        caller.check(need)?;
        Ok(caller)
    }

    /// That the operator sends `request`, at `now`. Its `Host` is the pod's address, which nobody else needs to name; a browser, which
    /// says so, has no business here.
    ///
    /// # Errors
    /// 400, 401 or 403.
    pub(super) fn judge_operator(
        operator: &Operator,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        if [header::ORIGIN.as_str(), "sec-fetch-site"].iter().any(|name| headers.contains_key(*name)) {
            return Err(forbidden("a browser may not ask for a pod's report"));
        }
        let refused = |error: &dyn std::error::Error| Refusal::new(401, "unauthorized", error.to_string());
        let credential = credential_of_program(headers)?.filter(|found| found.place == Place::Header);
        let token = credential.ok_or_else(|| {
            Refusal::new(401, "unauthorized", "the operator's token is needed: Authorization: Bearer TOKEN")
        })?;
        judge_operator(operator, &token.text, now).map_err(|error| refused(&error))?;
        Ok(Caller::Operator)
    }

    fn is_of_this_machine(self, host: Option<&str>) -> Result<(), Refusal> {
        if self == Self::Exposed {
            return Err(forbidden(
                "the API and the console need an API key, and the manifest has none: name one under auth.apiKeys, or bind the \
                 internal listener to loopback (--admin 127.0.0.1:9090) to use them on this machine",
            ));
        }
        if host.is_some_and(is_loopback) {
            return Ok(());
        }
        Err(forbidden(
            "without auth.apiKeys the Host of a request to the API or the console must be localhost or a loopback address",
        ))
    }
}

/// A page may ask only where it came from. Where keys are needed this is a second wall: a foreign page has none to send.
fn own_origin(host: Option<&str>, headers: &HeaderMap, behind_proxy: bool) -> Result<(), Refusal> {
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let origin = only(headers, &header::ORIGIN);
    // A proxy may end TLS in front of a console that others reach.
    let secure = |origin| if behind_proxy { str::strip_prefix(origin, "https://") } else { None };
    let origin = origin.and_then(|origin| origin.strip_prefix("http://").or_else(|| secure(origin)));
    match (origin, host) {
        (Some(origin), Some(host)) if origin.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(forbidden(
            "pages of another origin may not use the API: ask it from a program, or from /console/",
        )),
    }
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
    use crate::fixture::{KEY, OTHER_KEY, checked};

    fn status(guard: Guard, method: &str, headers: &[(&str, &str)]) -> u16 {
        judged(guard, &ApiKeys::default(), Need::Key, method, headers)
    }

    fn judged(guard: Guard, keys: &ApiKeys, need: Need, method: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri("/v1/info");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        guard.judge(keys, need, &request).map_or_else(|refusal| refusal.status, |_| 200)
    }

    #[test]
    fn where_there_are_keys_everybody_needs_one() {
        let config = checked(
            "endpoints: [{name: ws, path: /ws}]\nauth:\n  anonymous: Allow\n  apiKeys:\n  - {name: a, secretRef: {name: auth, key: jwt}, scopes: [read]}\n  - {name: b, secretRef: {name: auth, key: other}, scopes: ['publish:jobs']}\nchannels: [{pattern: jobs}]\n",
        );
        let keys = ApiKeys::new(&config.auth.api_keys);
        let bearer = |key: &str| format!("Bearer {key}");
        let (a, b) = (bearer(KEY), bearer(OTHER_KEY));
        let host = ("host", "anything.example:9090");
        let cases: &[(&[(&str, &str)], u16)] = &[
            (&[host, ("authorization", &a)], 200),
            (&[("authorization", &a)], 200),
            (&[host, ("x-api-key", KEY)], 200),
            (&[host, ("authorization", &b)], 403),
            (&[host], 401),
            (&[("host", "localhost")], 401),
            (&[host, ("authorization", KEY)], 401),
            (&[host, ("authorization", "Basic eA==")], 401),
            (&[host, ("x-api-key", "")], 401),
            (&[host, ("x-api-key", &KEY[1..])], 401),
            (&[host, ("authorization", &a), ("authorization", &a)], 400),
            (&[host, ("x-api-key", KEY), ("x-api-key", KEY)], 400),
            (&[host, ("authorization", &a), ("x-api-key", KEY)], 400),
            (&[host, ("authorization", &a), ("origin", "https://evil.example")], 403),
            (&[host, ("authorization", &a), ("origin", "null")], 403),
            (&[host, ("authorization", &a), ("origin", "http://anything.example:9090")], 200),
            (&[host, ("authorization", &a), ("origin", "https://anything.example:9090")], 200),
            (&[("authorization", &a), ("origin", "https://anything.example:9090")], 403),
        ];
        for guard in [Guard::Loopback, Guard::Exposed] {
            for (headers, expected) in cases {
                assert_eq!(judged(guard, &keys, Need::Read, "GET", headers), *expected, "{headers:?}");
            }
            assert_eq!(
                judged(guard, &keys, Need::Page, "GET", &[host]),
                200,
                "the page has a field for the key"
            );
            assert_eq!(judged(guard, &keys, Need::Publish, "POST", &[host, ("x-api-key", OTHER_KEY)]), 415);
        }
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
