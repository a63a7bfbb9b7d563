//! A client of the internal listener: one plain HTTP request a call.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Largest answer that is read.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// An API key of the command line; never printed.
#[derive(Clone)]
pub(super) struct Key(String);

impl std::str::FromStr for Key {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// The internal listener of a gateway.
pub(super) struct Admin {
    authority: String,
    base: String,
    /// `Bearer …`.
    authorization: Option<HeaderValue>,
}

impl Admin {
    /// Takes `http://host:port`, with a path that is put before every request's where a proxy adds one.
    /// `key` goes with every request.
    pub(super) fn new(url: &str, key: Option<&Key>) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url:?} must begin with http://");
        }
        let host = uri.host().ok_or_else(|| anyhow!("{url:?} names no host"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        let authorization = key.map(|key| HeaderValue::try_from(format!("Bearer {}", key.0))).transpose();
        // The error would repeat the key.
        let mut authorization =
            authorization.map_err(|_| anyhow!("the API key is no text that a header can carry"))?;
        if let Some(authorization) = &mut authorization {
            authorization.set_sensitive(true);
        }
        Ok(Self { authority, base: uri.path().trim_end_matches('/').to_owned(), authorization })
    }

    /// Posts `body` to `path`; an answer other than 2xx is an error with the server's sentence.
    pub(super) async fn post(&self, path: &str, body: String) -> Result<Value> {
        let stream = TcpStream::connect(&self.authority).await.with_context(|| {
            format!("no gateway answers at http://{}; is `rtgw serve` running there?", self.authority)
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES)
                .collect()
                .await
                .map_err(anyhow::Error::from_boxed)?;
            anyhow::Ok((status, body.to_bytes()))
        };
        tokio::pin!(exchange);
        tokio::pin!(connection);
        let (status, body) = tokio::select! {
            answer = &mut exchange => answer?,
            closed = &mut connection => {
                closed?;
                exchange.await?
            }
        };
        let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() { Ok(answer) } else { Err(refused(status, &answer)) }
    }
}

fn refused(status: StatusCode, answer: &Value) -> anyhow::Error {
    match answer.pointer("/error/message").and_then(Value::as_str) {
        Some(message) => anyhow!("{message} (HTTP {})", status.as_u16()),
        None => anyhow!("the gateway answered HTTP {}", status.as_u16()),
    }
}
