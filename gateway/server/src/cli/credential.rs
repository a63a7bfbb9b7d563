//! How a client on the command line says who it is: a token, in the place that the endpoint reads.

use anyhow::Context;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};

/// The subprotocol that lets refusals be read as closes.
const SUBPROTOCOL: &str = "rtgw.json.v1";

/// A token and where it is put.
#[derive(Clone, Default, clap::Args)]
pub(super) struct Credential {
    /// A token (see `rtgw token`); better in the environment, where other users of the machine cannot read it.
    #[arg(long, env = "RTGW_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Where the token goes, as the manifest's `tokenFrom` names it: Header, Query, Subprotocol, ApiKeyHeader, Cookie:NAME or
    /// FirstMessage.
    #[arg(long, value_name = "PLACE", default_value = "Header", value_parser = place)]
    token_from: Place,
    /// The `Origin` to send, as a browser would; a cookie needs one that the endpoint lists.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
}

/// Shows no token.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Credential({}, {:?})",
            if self.token.is_some() { "given" } else { "none" },
            self.token_from
        )
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Place {
    #[default]
    Header,
    Query,
    Subprotocol,
    ApiKeyHeader,
    Cookie(String),
    FirstMessage,
}

fn place(text: &str) -> Result<Place, String> {
    match text {
        "Header" => Ok(Place::Header),
        "Query" => Ok(Place::Query),
        "Subprotocol" => Ok(Place::Subprotocol),
        "ApiKeyHeader" => Ok(Place::ApiKeyHeader),
        "FirstMessage" => Ok(Place::FirstMessage),
        _ => match text.strip_prefix("Cookie:") {
            Some(name) if !name.is_empty() => Ok(Place::Cookie(name.to_owned())),
            _ => {
                Err("write Header, Query, Subprotocol, ApiKeyHeader, Cookie:NAME or FirstMessage".to_owned())
            }
        },
    }
}

impl Credential {
    /// A handshake at `url` with the token in its place.
    ///
    /// # Errors
    /// A URL that is none, or a token that cannot stand there.
    pub(super) fn request(&self, url: &str) -> anyhow::Result<Request> {
        let (mut address, mut offers, mut header) = (url.to_owned(), SUBPROTOCOL.to_owned(), None);
        if let Some(token) = &self.token {
            match &self.token_from {
                Place::Header => header = Some(("authorization", format!("Bearer {token}"))),
                Place::ApiKeyHeader => header = Some(("x-api-key", token.clone())),
                Place::Cookie(name) => header = Some(("cookie", format!("{name}={token}"))),
                Place::Subprotocol => offers = format!("{SUBPROTOCOL}, bearer, {token}"),
                Place::Query => {
                    let token: String = form_urlencoded::byte_serialize(token.as_bytes()).collect();
                    address = format!("{url}{}token={token}", if url.contains('?') { '&' } else { '?' });
                }
                Place::FirstMessage => {}
            }
        }
        let mut request =
            address.into_client_request().with_context(|| format!("{url:?} is not a ws:// URL"))?;
        let offered = header.into_iter().chain([("sec-websocket-protocol", offers)]);
        let origin = self.origin.iter().map(|origin| ("origin", origin.clone()));
        for (name, text) in offered.chain(origin) {
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                anyhow::anyhow!("the token or origin has characters that cannot stand in a header")
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        Ok(request)
    }

    /// What to say before anything else.
    pub(super) fn first_message(&self) -> Option<Value> {
        let token = self.token.as_ref().filter(|_| self.token_from == Place::FirstMessage)?;
        Some(json!({"type": "auth", "data": {"token": token}}))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(from: &str) -> Credential {
        Credential { token: Some("a.b".into()), token_from: place(from).unwrap(), origin: None }
    }

    #[test]
    fn a_token_goes_where_it_is_wanted_and_nowhere_else() {
        for (from, header, value) in [
            ("Header", "authorization", "Bearer a.b"),
            ("ApiKeyHeader", "x-api-key", "a.b"),
            ("Cookie:s", "cookie", "s=a.b"),
            ("Subprotocol", "sec-websocket-protocol", "rtgw.json.v1, bearer, a.b"),
        ] {
            let request = with(from).request("ws://a.test/ws?x=1").unwrap();
            assert_eq!(request.headers()[header], value, "{from}");
            assert_eq!(request.uri(), "ws://a.test/ws?x=1", "{from}");
            let holders = request.headers().values().filter(|value| value.to_str().unwrap().contains("a.b"));
            assert_eq!((holders.count(), with(from).first_message()), (1, None), "{from}");
        }
        assert_eq!(
            with("Query").request("ws://a.test/ws?x=1").unwrap().uri(),
            "ws://a.test/ws?x=1&token=a.b"
        );
        assert_eq!(with("Query").request("ws://a.test/ws").unwrap().uri(), "ws://a.test/ws?token=a.b");
        let late = with("FirstMessage");
        assert_eq!(late.first_message().unwrap()["data"]["token"], "a.b");
        assert!(!format!("{:?} {late:?}", late.request("ws://a.test/ws").unwrap()).contains("a.b"));
        assert!(place("Cookie:").is_err() && place("header").is_err());
        let page = Credential { origin: Some("https://app.test".into()), ..Credential::default() };
        assert_eq!(page.request("ws://a.test").unwrap().headers()["origin"], "https://app.test");
    }
}
