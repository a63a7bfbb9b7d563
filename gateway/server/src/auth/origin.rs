//! Which web pages may connect (RFC 6455, section 10.2): browsers name the page's origin, other clients send none.

use http::{HeaderMap, header};
use rtgw_config::checked::Origins;

use crate::refusal::Refusal;

/// Refuses a request from a page that may not connect. The comparison ignores the case of ASCII letters.
///
/// # Errors
/// 403, or 400 for several `Origin` headers.
pub(super) fn check(origins: &Origins, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut given = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = given.next() else { return Ok(()) };
    if given.next().is_some() {
        return Err(Refusal::new(400, "bad_request", "the request has several Origin headers"));
    }
    let allowed = match (origins, origin.to_str()) {
        (Origins::Any, _) => true,
        (Origins::SameHost, Ok(origin)) => is_same_host(origin, headers),
        (Origins::Listed(listed), Ok(origin)) => {
            listed.iter().any(|known| known.eq_ignore_ascii_case(origin))
        }
        (_, Err(_)) => false,
    };
    if allowed {
        return Ok(());
    }
    Err(Refusal::new(
        403,
        "origin_not_allowed",
        "pages of this origin may not connect: add the origin to auth.allowedOrigins, as the browser's console shows it",
    ))
}

/// Whether the request names one origin, and the list has it. Neither `*` nor a request without `Origin` is enough, and nor is
/// `null`, which every page can arrange to be.
pub(super) fn is_listed(origins: &Origins, headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None, Origins::Listed(listed)) = (given.next(), given.next(), origins) else {
        return false;
    };
    origin
        .to_str()
        .is_ok_and(|origin| origin != "null" && listed.iter().any(|known| known.eq_ignore_ascii_case(origin)))
}

/// Whether `origin` names the host and port that the request was sent to. The scheme is not compared, because TLS often ends
/// before this process; it gives the port where none is written.
fn is_same_host(origin: &str, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let (Ok(host), Some((scheme, authority))) = (host.to_str(), origin.split_once("://")) else {
        return false;
    };
    let default = match scheme.to_ascii_lowercase().as_str() {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let (a, b) = (host_and_port(authority, default), host_and_port(host, default));
    a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1
}

/// `host`, `host:port` or `[v6]:port`.
fn host_and_port<'a>(authority: &'a str, default: &'a str) -> (&'a str, &'a str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_the_table_says() {
        let list = || Origins::Listed(vec!["https://app.example.com".into(), "null".into()]);
        let cases: &[(Origins, &str, &[&str], u16)] = &[
            (Origins::SameHost, "rt.example.com", &[], 200),
            (Origins::SameHost, "rt.example.com", &["https://rt.example.com"], 200),
            (Origins::SameHost, "rt.example.com", &["http://RT.example.com"], 200),
            (Origins::SameHost, "rt.example.com:80", &["http://rt.example.com"], 200),
            (Origins::SameHost, "rt.example.com:443", &["https://rt.example.com"], 200),
            (Origins::SameHost, "rt.example.com:443", &["http://rt.example.com"], 403),
            (Origins::SameHost, "localhost:8080", &["http://localhost:8080"], 200),
            (Origins::SameHost, "localhost:8080", &["http://localhost:8081"], 403),
            (Origins::SameHost, "localhost:8080", &["http://localhost"], 403),
            (Origins::SameHost, "[::1]:8080", &["http://[::1]:8080"], 200),
            (Origins::SameHost, "[::1]", &["http://[::1]"], 200),
            (Origins::SameHost, "[::1]", &["http://[::2]"], 403),
            (Origins::SameHost, "example.com", &["https://rt.example.com"], 403),
            (Origins::SameHost, "rt.example.com", &["https://rt.example.com.evil.test"], 403),
            (Origins::SameHost, "rt.example.com", &["https://evil.test/https://rt.example.com"], 403),
            (Origins::SameHost, "rt.example.com", &["null"], 403),
            (Origins::SameHost, "rt.example.com", &["rt.example.com"], 403),
            (Origins::SameHost, "rt.example.com", &["file://rt.example.com"], 403),
            (Origins::SameHost, "rt.example.com", &[""], 403),
            (Origins::Any, "x", &["https://anything.test"], 200),
            (Origins::Any, "x", &["null"], 200),
            (list(), "x", &[], 200),
            (list(), "x", &["https://app.example.com"], 200),
            (list(), "x", &["https://App.example.com"], 200),
            (list(), "x", &["http://app.example.com"], 403),
            (list(), "x", &["https://app.example.com:444"], 403),
            (list(), "x", &["https://app.example.com.evil.test"], 403),
            (list(), "x", &["null"], 200),
            (list(), "app.example.com", &["https://x.example.com"], 403),
            (Origins::Listed(vec!["https://a.test".into()]), "x", &["null"], 403),
            (list(), "x", &["https://app.example.com", "https://app.example.com"], 400),
        ];
        for (origins, host, given, status) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, http::HeaderValue::from_static(host));
            for origin in *given {
                headers.append(header::ORIGIN, http::HeaderValue::from_static(origin));
            }
            let answer = check(origins, &headers).map_or_else(|refusal| refusal.status, |()| 200);
            assert_eq!(answer, *status, "{origins:?}, Host {host}, Origin {given:?}");
        }
    }

    #[test]
    fn without_one_host_no_origin_is_the_same() {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, http::HeaderValue::from_static("https://a.test"));
        assert!(check(&Origins::SameHost, &headers).is_err());
        headers.append(header::HOST, http::HeaderValue::from_static("a.test"));
        assert!(check(&Origins::SameHost, &headers).is_ok());
        headers.append(header::HOST, http::HeaderValue::from_static("b.test"));
        assert!(check(&Origins::SameHost, &headers).is_err());
    }
}
