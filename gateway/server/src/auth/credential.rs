//! Finds the credential of a request, and what is left of the query without credentials.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, header};
use rtgw_config::checked::TokenPlace;

use crate::refusal::Refusal;

/// Names of query parameters that hold a credential (RFC 6750, section 2.3, and what browsers' clients got used to).
const NAMES: [&str; 2] = ["token", "access_token"];

/// A token as it came; never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credential<'r>(pub(super) Cow<'r, str>);

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} bytes)", self.0.len())
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
                Some((name, value)) if NAMES.contains(&&*name) => credentials.push(Credential(value)),
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

/// The credential in the first of `places` that holds one.
///
/// # Errors
/// 400 where a place holds several: which of them counts would be a guess.
pub(super) fn find<'r>(
    places: &[TokenPlace],
    headers: &'r HeaderMap,
    query: &Query<'r>,
) -> Result<Option<Credential<'r>>, Refusal> {
    for place in places {
        let found = match place {
            TokenPlace::Header => bearer(headers)?,
            TokenPlace::Query => match query.credentials.as_slice() {
                [] => None,
                [one] => Some(one.clone()),
                _ => {
                    return Err(several(
                        "the query has several parameters called token or access_token; send one",
                    ));
                }
            },
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// `Authorization: Bearer …` (RFC 6750, section 2.1). Another scheme is not ours, for example a proxy's, and counts as none.
fn bearer(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Refusal> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(several("the request has several Authorization headers; send one"));
    }
    let Ok(value) = value.to_str() else {
        return Err(several("the Authorization header has bytes that are no ASCII text"));
    };
    let (scheme, token) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    Ok(scheme.eq_ignore_ascii_case("bearer").then(|| Credential(token.trim().into())))
}

fn several(message: &'static str) -> Refusal {
    Refusal::new(400, "bad_request", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const BOTH: &[TokenPlace] = &[TokenPlace::Header, TokenPlace::Query];

    fn found(places: &[TokenPlace], headers: &[&'static str], query: &str) -> Result<Option<String>, u16> {
        let mut map = HeaderMap::new();
        for value in headers {
            map.append(header::AUTHORIZATION, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let query = Query::new(query);
        find(places, &map, &query)
            .map(|credential| credential.map(|credential| credential.0.into_owned()))
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
    fn the_query_is_kept_without_credentials() {
        let rest = |query| Query::new(query).rest;
        assert_eq!(rest("a=1&token=x&b=%20&access_token=y&&c"), "a=1&b=%20&c");
        assert_eq!(rest("acces%73_token=y"), "");
        assert_eq!(rest("tokens=a&xtoken=b"), "tokens=a&xtoken=b");
        assert_eq!(rest(""), "");
        assert!(!format!("{:?}", Query::new("token=hidden")).contains("hidden"));
    }
}
