//! Requests that the gateway makes: keys of issuers, and the application's webhooks.
//!
//! Every address stands in the manifest. Every request has a time, every answer a size, every target a number of requests at once. No
//! redirect is followed, no proxy taken from the environment, and each connection asks anew whether its address may be reached.

mod connect;
mod signature;
#[cfg(test)]
pub(crate) mod tests;

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rtgw_config::url::HttpUrl;
use tokio::sync::Semaphore;

use connect::{ConnectError, Connector};

/// Largest answer of a webhook, bytes.
pub const ANSWER_BYTES: usize = 64 * 1024;
/// Requests that may wait for their turn, for each that may be under way.
const WAITING: usize = 4;
/// How long a connection is kept for the next request; below what servers and proxies do by default, so that they rarely close first.
const IDLE: Duration = Duration::from_secs(15);
/// Largest head of an answer, bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// Why there is no answer. Nothing of the request or the answer stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// As many requests as may be are under way or wait.
    #[error("too many requests are under way")]
    Busy,
    /// Nothing in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// No connection: name, network or certificate.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The name leads to an address that is never asked.
    #[error(
        "the name leads to an address that is never asked: link-local, this machine, or a cloud machine's own data"
    )]
    Forbidden,
    /// An answer that is no success.
    #[error("answered with status {0} (redirects are not followed)")]
    Status(u16),
    /// An answer that is too long.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// The connection broke, or what came is not HTTP.
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// Something that is asked.
#[derive(Debug)]
pub struct Target {
    uri: Uri,
    /// Those that ask and those that wait.
    places: Semaphore,
    in_flight: Semaphore,
}

impl Target {
    /// A target that takes `max_in_flight` requests at once. Four times as many wait, within their own time; more are refused.
    pub fn new(url: &HttpUrl, max_in_flight: usize) -> Self {
        // A checked address is one; should the two ever disagree, requests fail for want of a host.
        let uri = url.as_str().parse().unwrap_or_default();
        let places = max_in_flight.saturating_mul(1 + WAITING).min(Semaphore::MAX_PERMITS);
        Self { uri, places: Semaphore::new(places), in_flight: Semaphore::new(max_in_flight) }
    }
}

/// The one client of this process; clones share their connections.
#[derive(Clone)]
pub struct Outbound {
    client: Client<Connector, Full<Bytes>>,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outbound")
    }
}

impl Default for Outbound {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbound {
    /// A client that trusts the certificates that the system trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), read when
    /// first needed.
    pub fn new() -> Self {
        Self::over(Connector::default())
    }

    fn over(connector: Connector) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(64)
            .http1_max_buf_size(HEAD_BYTES)
            .build(connector);
        Self { client }
    }

    /// What stands at `target`, at most `most` bytes.
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn get(&self, target: &Target, within: Duration, most: usize) -> Result<Bytes, OutboundError> {
        self.ask(target, request(target, Method::GET, Bytes::new()), within, most).await
    }

    /// The answer of `target` to `body`, a JSON text; at most [`ANSWER_BYTES`]. With a `secret` the request carries
    /// `X-RTGW-Timestamp` (Unix seconds) and `X-RTGW-Signature-256` (HMAC-SHA-256 over the timestamp, a dot and the body, in
    /// hexadecimal).
    ///
    /// # Errors
    /// [`OutboundError`].
    pub async fn post_json(
        &self,
        target: &Target,
        body: Bytes,
        within: Duration,
        secret: Option<&[u8]>,
    ) -> Result<Bytes, OutboundError> {
        let mut request = request(target, Method::POST, body.clone());
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(secret) = secret {
            signature::sign(headers, &body, secret, crate::clock::unix_seconds());
        }
        self.ask(target, request, within, ANSWER_BYTES).await
    }

    async fn ask(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
        within: Duration,
        most: usize,
    ) -> Result<Bytes, OutboundError> {
        let _place = target.places.try_acquire().map_err(|_| OutboundError::Busy)?;
        let answer = async {
            let _turn = target.in_flight.acquire().await.map_err(|_| OutboundError::Busy)?;
            let response = self.client.request(request).await.map_err(|error| judge(&error))?;
            let status = response.status();
            // A refusal's body is read too, so that the connection can be used again.
            let body = Limited::new(response.into_body(), most).collect().await;
            if !status.is_success() {
                return Err(OutboundError::Status(status.as_u16()));
            }
            match body {
                Ok(body) => Ok(body.to_bytes()),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                    Err(OutboundError::TooLarge(most))
                }
                Err(error) => Err(OutboundError::Broken(error.to_string())),
            }
        };
        tokio::time::timeout(within, answer).await.unwrap_or(Err(OutboundError::Timeout(within)))
    }
}

fn request(target: &Target, method: Method, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = target.uri.clone();
    let agent = HeaderValue::from_static(concat!("rtgw/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(header::USER_AGENT, agent);
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request
}

/// The library's error in our words.
fn judge(error: &legacy::Error) -> OutboundError {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    let mut last = error.to_string();
    while let Some(error) = cause {
        match error.downcast_ref::<ConnectError>() {
            Some(ConnectError::Forbidden) => return OutboundError::Forbidden,
            Some(error) => return OutboundError::Connect(error.to_string()),
            None => last = error.to_string(),
        }
        cause = error.source();
    }
    if error.is_connect() { OutboundError::Connect(last) } else { OutboundError::Broken(last) }
}
