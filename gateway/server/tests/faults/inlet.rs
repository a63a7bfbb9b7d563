//! Ways in for publications: the API of a pod, and what applications write to Redis for sources to find.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A client of the API.
pub type Http = Client<HttpConnector, Full<Bytes>>;

/// A client of the API that keeps its connections.
pub fn http() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

/// The answer that stands for acceptance.
pub const ACCEPTED: &str = "accepted";

/// One way in.
pub enum Inlet {
    /// `POST /v1/publish` at an internal listener; `once` under an idempotency key for each number.
    Api { pod: SocketAddr, http: Http, once: bool },
    /// `PUBLISH` or `XADD`, as an application does that knows nothing of the gateway.
    Redis { redis: SocketAddr, verb: Verb, connection: Option<BufReader<TcpStream>> },
}

/// What an application says to Redis.
#[derive(Clone, Copy, Debug)]
pub enum Verb {
    /// To a channel of Pub/Sub.
    Publish,
    /// To a stream.
    Append,
}

impl Inlet {
    /// A pod's API.
    pub fn api(pod: SocketAddr) -> Self {
        Self::Api { pod, http: http(), once: false }
    }

    /// A pod's API, under a key for each number: what was not accepted is to be said again.
    pub fn api_once(pod: SocketAddr) -> Self {
        Self::Api { pod, http: http(), once: true }
    }

    /// Whether what was not accepted is to be said again.
    pub fn insists(&self) -> bool {
        matches!(self, Self::Api { once: true, .. })
    }

    /// A channel or stream of Redis.
    pub fn redis(redis: SocketAddr, verb: Verb) -> Self {
        Self::Redis { redis, verb, connection: None }
    }

    /// Says `number` to the channel and what became of it: [`ACCEPTED`], or why not. May be dropped while it waits.
    pub async fn say(&mut self, channel: &str, number: u64) -> String {
        match self {
            Self::Api { pod, http, once } => post(http, *pod, channel, number, *once).await,
            Self::Redis { redis, verb, connection } => {
                // Taken out, so that one that was dropped half-way is not used again.
                let open = match connection.take() {
                    Some(open) => Ok(open),
                    None => TcpStream::connect(*redis).await.map(BufReader::new),
                };
                let Ok(mut open) = open else { return "no connection".to_owned() };
                match command(&mut open, *verb, channel, number).await {
                    Ok(answer) => {
                        *connection = Some(open);
                        answer
                    }
                    Err(_) => "no answer".to_owned(),
                }
            }
        }
    }
}

/// [`ACCEPTED`], the status, or why there is none.
async fn post(http: &Http, pod: SocketAddr, channel: &str, number: u64, once: bool) -> String {
    let mut body = json!({"channel": channel, "event": "number", "data": {"n": number}});
    if once {
        body["idempotencyKey"] = number.to_string().into();
    }
    let request = ::http::Request::post(format!("http://{pod}/v1/publish"))
        .header("content-type", "application/json")
        .body(Full::from(body.to_string()))
        .unwrap();
    match http.request(request).await {
        Ok(answer) => {
            let status = answer.status();
            // Read to its end, so that the connection serves the next one.
            drop(answer.into_body().collect().await);
            if status.is_success() { ACCEPTED.to_owned() } else { status.as_u16().to_string() }
        }
        Err(_) => "no connection".to_owned(),
    }
}

async fn command(
    open: &mut BufReader<TcpStream>,
    verb: Verb,
    channel: &str,
    number: u64,
) -> std::io::Result<String> {
    let message = json!({"n": number}).to_string();
    let words = match verb {
        Verb::Publish => vec!["PUBLISH", channel, &message],
        Verb::Append => vec!["XADD", channel, "*", "data", &message],
    };
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes += &format!("${}\r\n{word}\r\n", word.len());
    }
    open.get_mut().write_all(bytes.as_bytes()).await?;
    let mut line = String::new();
    if open.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    if let Some(length) = line.strip_prefix('$') {
        let length: usize = length.trim().parse().map_err(std::io::Error::other)?;
        open.read_exact(&mut vec![0; length + 2]).await?;
    }
    Ok(if line.starts_with('-') { line.trim().to_owned() } else { ACCEPTED.to_owned() })
}
