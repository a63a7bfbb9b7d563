//! Finds the credential of a request, and what is left of the query without credentials.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderValue, header};
use rtgw_config::checked::{EndpointAuth, TokenPlace};
use rtgw_protocol::websocket::subprotocol;

use super::origin;
use crate::refusal::Refusal;

/// Names of query parameters that hold a credential (RFC 6750, section 2.3, and what browsers' clients got used to).
const NAMES: [&str; 2] = ["token", "access_token"];
/// Where backends put keys by habit.
const API_KEY: &str = "x-api-key";

/// Where a credential stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer …`.
    Header,
    /// `?token=` or `?access_token=`.
    Query,
    /// Behind `bearer`, `authorization` or `access_token` among the offered subprotocols.
    Subprotocol,
    /// `X-API-Key`.
    ApiKeyHeader,
    /// A cookie, from a page of a listed origin.
    Cookie,
    /// The `auth` message, or a later `refresh`.
    Message,
}

impl Place {
    /// Whether a static API key may stand here. Keys live long, so only headers that programs set by themselves carry them: not an
    /// address, which ends up in logs, and nothing that a browser sends.
    pub fn may_hold_api_key(self) -> bool {
        matches!(self, Self::Header | Self::ApiKeyHeader)
    }
}

/// A credential as it came; never printed, and nothing to compare with a secret.
#[derive(Clone)]
pub struct Credential<'r> {
    /// The token or key.
    pub text: Cow<'r, str>,
    /// Where it stood.
    pub place: Place,
}

impl<'r> Credential<'r> {
    /// One that came in a message.
    pub fn of_message(text: impl Into<Cow<'r, str>>) -> Self {
        Self { text: text.into(), place: Place::Message }
    }
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} bytes, {:?})", self.text.len(), self.place)
    }
}

/// A query string, taken apart.
#[derive(Debug)]
pub(super) struct Query<'r> {
    credentials: Vec<Credential<'r>>,
    /// The other parameters as they came.
    pub(super) rest: String,
}

impl<'r> Query<'r> {
    /// Takes `query` apart.
    pub(super) fn new(query: &'r str) -> Self {
        let mut credentials = Vec::new();
        let mut rest = String::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match form_urlencoded::parse(pair.as_bytes()).next() {
                Some((name, text)) if NAMES.contains(&&*name) => {
                    credentials.push(Credential { text, place: Place::Query });
                }
                _ => {
                    if !rest.is_empty() {
                        rest.push('&');
                    }
                    rest.push_str(pair);
                }
            }
        }
        Self { credentials, rest }
    }
}

/// The credential in the first of the endpoint's places that holds one. The first message comes later and holds none here.
///
/// # Errors
/// 400 where a place holds several: which of them counts would be a guess. 403 for a cookie that a foreign page could have sent.
pub(super) fn find<'r>(
    auth: &EndpointAuth,
    headers: &'r HeaderMap,
    query: &Query<'r>,
) -> Result<Option<Credential<'r>>, Refusal> {
    for place in &auth.token_from {
        let found = match place {
            TokenPlace::Header => bearer(headers)?,
            TokenPlace::Query => only(
                query.credentials.iter().cloned(),
                "the query has several parameters called token or access_token; send one",
            )?,
            TokenPlace::Subprotocol => offered(headers)?,
            TokenPlace::ApiKeyHeader => api_key(headers)?,
            TokenPlace::Cookie(name) => cookie(auth, name, headers)?,
            TokenPlace::FirstMessage => None,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The key of a program that asks for something else than a connection.
///
/// # Errors
/// 400 where there are several.
pub fn of_program(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Refusal> {
    match (bearer(headers)?, api_key(headers)?) {
        (Some(_), Some(_)) => {
            Err(bad("the request has both an Authorization and an X-API-Key header; send one"))
        }
        (bearer, key) => Ok(bearer.or(key)),
    }
}

/// `Authorization: Bearer …` (RFC 6750, section 2.1). Another scheme is not ours, for example a proxy's, and counts as none.
fn bearer(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Refusal> {
    let several = "the request has several Authorization headers; send one";
    let Some(value) = only(headers.get_all(header::AUTHORIZATION).iter(), several)? else { return Ok(None) };
    let value = ascii(value, "the Authorization header has bytes that are no ASCII text")?;
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    Ok(is_bearer.then(|| Credential { text: token.trim().into(), place: Place::Header }))
}

fn api_key(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Refusal> {
    let several = "the request has several X-API-Key headers; send one";
    let Some(value) = only(headers.get_all(API_KEY).iter(), several)? else { return Ok(None) };
    let text = ascii(value, "the X-API-Key header has bytes that are no ASCII text")?.trim().into();
    Ok(Some(Credential { text, place: Place::ApiKeyHeader }))
}

/// The token behind the word that announces it; a browser's page can put one nowhere else but into the address.
fn offered(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Refusal> {
    let offers = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().map(HeaderValue::as_bytes);
    let tokens = subprotocol::credentials(offers);
    let token = only(tokens, "Sec-WebSocket-Protocol announces several tokens; send one")?;
    Ok(token.map(|text| Credential { text: text.into(), place: Place::Subprotocol }))
}

/// The cookie called `name`. Browsers send it from whichever page opens the connection, so only a page that is known to be the
/// application's may use it (cross-site WebSocket hijacking).
fn cookie<'r>(
    auth: &EndpointAuth,
    name: &str,
    headers: &'r HeaderMap,
) -> Result<Option<Credential<'r>>, Refusal> {
    let pairs = headers.get_all(header::COOKIE).iter().flat_map(|value| {
        value.as_bytes().split(|byte| *byte == b';').filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
        })
    });
    let values = pairs.filter(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value);
    let several =
        "the request has the cookie with the token more than once; which of them counts would be a guess";
    let Some(value) = only(values, several)? else { return Ok(None) };
    if !origin::is_listed(&auth.allowed_origins, headers) {
        return Err(Refusal::new(
            403,
            "origin_needed",
            "a cookie counts only with an Origin header that auth.allowedOrigins lists: programs send a token in a header instead",
        ));
    }
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    let text = std::str::from_utf8(unquoted).map_err(|_| bad("the cookie with the token is no text"))?;
    Ok(Some(Credential { text: text.into(), place: Place::Cookie }))
}

/// The one of `found`; several are refused.
fn only<T>(found: impl IntoIterator<Item = T>, several: &'static str) -> Result<Option<T>, Refusal> {
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (one, None) => Ok(one),
        _ => Err(bad(several)),
    }
}

fn ascii<'r>(value: &'r HeaderValue, otherwise: &'static str) -> Result<&'r str, Refusal> {
    value.to_str().map_err(|_| bad(otherwise))
}

fn bad(message: &'static str) -> Refusal {
    Refusal::new(400, "bad_request", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rtgw_config::checked::Origins;

    use super::*;

    const BOTH: &[TokenPlace] = &[TokenPlace::Header, TokenPlace::Query];

    fn found(places: &[TokenPlace], headers: &[&'static str], query: &str) -> Result<Option<String>, u16> {
        let lines: Vec<_> = headers.iter().map(|value| ("authorization", *value)).collect();
        among(places, &lines, query).map(|found| found.map(|(text, _)| text))
    }

    fn among(
        places: &[TokenPlace],
        headers: &[(&'static str, &str)],
        query: &str,
    ) -> Result<Option<(String, Place)>, u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let allowed_origins = Origins::Listed(vec!["https://app.test".into()]);
        let auth = EndpointAuth { anonymous: false, token_from: places.to_vec(), allowed_origins };
        find(&auth, &map, &Query::new(query))
            .map(|found| found.map(|found| (found.text.into_owned(), found.place)))
            .map_err(|refusal| refusal.status)
    }

    #[test]
    fn the_first_place_that_holds_a_credential_decides() {
        let one = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(found(BOTH, &[], ""), Ok(None));
        assert_eq!(found(BOTH, &["Bearer a"], "token=b"), one("a"));
        assert_eq!(found(BOTH, &[], "x=1&token=b"), one("b"));
        assert_eq!(found(BOTH, &[], "access_token=b%2Ec"), one("b.c"));
        assert_eq!(found(BOTH, &[], "tok%65n=b"), one("b"));
        assert_eq!(found(&[TokenPlace::Query, TokenPlace::Header], &["Bearer a"], "token=b"), one("b"));
        assert_eq!(found(&[TokenPlace::Query], &["Bearer a"], ""), Ok(None));
        assert_eq!(found(&[TokenPlace::Header], &[], "token=b"), Ok(None));
        assert_eq!(found(BOTH, &["bearer  a "], ""), one("a"));
        assert_eq!(found(BOTH, &["Basic YTpi"], "token=b"), one("b"), "not ours");
        // An empty credential is one that is wrong, not none: its sender means to be somebody.
        assert_eq!(found(BOTH, &["Bearer"], ""), one(""));
        assert_eq!(found(BOTH, &["Bearer "], "token=b"), one(""));
        assert_eq!(found(BOTH, &[], "token="), one(""));
        assert_eq!(found(BOTH, &[], "token"), one(""));
    }

    #[test]
    fn several_credentials_in_one_place_are_refused() {
        assert_eq!(found(BOTH, &["Bearer a", "Bearer a"], ""), Err(400));
        assert_eq!(found(BOTH, &["Basic a", "Bearer a"], ""), Err(400));
        assert_eq!(found(BOTH, &["Bearer é"], ""), Err(400));
        assert_eq!(found(BOTH, &[], "token=a&token=a"), Err(400));
        assert_eq!(found(BOTH, &[], "token=a&access_token=b"), Err(400));
    }

    #[test]
    fn offered_tokens_and_keys_are_found_once() {
        let offered = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("sec-websocket-protocol", *line)).collect();
            among(&[TokenPlace::Subprotocol], &lines, "")
        };
        let token = |text: &str| Ok(Some((text.to_owned(), Place::Subprotocol)));
        assert_eq!(offered(&["rtgw.json.v1"]), Ok(None));
        assert_eq!(offered(&["bearer"]), Ok(None), "a word without a token announces nothing");
        assert_eq!(offered(&["rtgw.json.v1, bearer, a.b.c"]), token("a.b.c"));
        assert_eq!(offered(&["access_token", "a.b.c"]), token("a.b.c"));
        assert_eq!(offered(&["authorization, bearer"]), token("bearer"));
        assert_eq!(offered(&["bearer, a, access_token, b"]), Err(400));
        assert_eq!(offered(&["bearer, a", "bearer, a"]), Err(400));

        let keys = |lines: &[(&'static str, &str)]| among(&[TokenPlace::ApiKeyHeader], lines, "");
        let key = |text: &str| Ok(Some((text.to_owned(), Place::ApiKeyHeader)));
        assert_eq!(keys(&[("x-api-key", " k ")]), key("k"));
        assert_eq!(keys(&[("x-api-key", "")]), key(""));
        assert_eq!(keys(&[("authorization", "Bearer a")]), Ok(None));
        assert_eq!(keys(&[("x-api-key", "a"), ("x-api-key", "a")]), Err(400));
        assert_eq!(keys(&[("x-api-key", "é")]), Err(400));
    }

    #[test]
    fn a_cookie_counts_once_and_only_from_a_listed_page() {
        let from = |origin: &[&'static str], cookies: &[&str]| {
            let mut lines: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
            lines.extend(cookies.iter().map(|line| ("cookie", *line)));
            among(&[TokenPlace::Cookie("session".into()), TokenPlace::Query], &lines, "token=q")
        };
        let ours = |cookies: &[&str]| from(&["https://app.test"], cookies);
        let token = |text: &str| Ok(Some((text.to_owned(), Place::Cookie)));
        assert_eq!(ours(&["session=a.b.c"]), token("a.b.c"));
        assert_eq!(ours(&["x=1; session=\"a.b\" ;y"]), token("a.b"));
        assert_eq!(ours(&["x=1", "session=a=b"]), token("a=b"));
        assert_eq!(ours(&["session="]), token(""));
        assert_eq!(ours(&["session=a; session=b"]), Err(400));
        assert_eq!(ours(&["session=a", "session=a"]), Err(400));
        let query = Ok(Some(("q".to_owned(), Place::Query)));
        assert_eq!(ours(&["Session=a; xsession=b; session"]), query);
        assert_eq!(from(&[], &["x=1"]), query);
        for origin in [&[][..], &["https://evil.test"], &["null"], &["https://app.test", "https://app.test"]]
        {
            assert_eq!(from(origin, &["session=a"]), Err(403), "{origin:?}");
        }
    }

    #[test]
    fn the_query_is_kept_without_credentials() {
        let rest = |query| Query::new(query).rest;
        assert_eq!(rest("a=1&token=x&b=%20&access_token=y&&c"), "a=1&b=%20&c");
        assert_eq!(rest("acces%73_token=y"), "");
        assert_eq!(rest("tokens=a&xtoken=b"), "tokens=a&xtoken=b");
        assert_eq!(rest(""), "");
        assert!(!format!("{:?}", Query::new("token=hidden")).contains("hidden"));
    }
}
