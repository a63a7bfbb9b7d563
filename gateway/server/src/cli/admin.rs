//! A client of the internal listener: one plain HTTP request a call.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Largest answer that is read.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The internal listener of a gateway.
pub(super) struct Admin {
    authority: String,
    base: String,
}

impl Admin {
    /// Takes `http://host:port`, with a path that is put before every request's where a proxy adds one.
    pub(super) fn new(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url:?} must begin with http://");
        }
        let host = uri.host().ok_or_else(|| anyhow!("{url:?} names no host"))?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Ok(Self { authority, base: uri.path().trim_end_matches('/').to_owned() })
    }

    /// Posts `body` to `path`; an answer other than 2xx is an error with the server's sentence.
    pub(super) async fn post(&self, path: &str, body: String) -> Result<Value> {
        let stream = TcpStream::connect(&self.authority).await.with_context(|| {
            format!("no gateway answers at http://{}; is `rtgw serve` running there?", self.authority)
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.base))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
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
