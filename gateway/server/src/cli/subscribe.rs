//! `rtgw subscribe`: hears channels as a client would; one JSON line per message.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use rtgw_model::{CloseCode, Retry};

use super::credential::Credential;
use super::positions::Positions;
use super::{Failure, client_runtime, print_line, report};

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(20);

/// Subscribes and prints every message as one JSON line; reconnects when the close code says so, and has what it missed given from the
/// channels' histories. What cannot be given is said on stderr.
///
/// Example: rtgw subscribe ws://127.0.0.1:8080/ws demo:orders --filter regions=eu --count 3
#[derive(Debug, clap::Args)]
pub(super) struct Subscribe {
    /// The endpoint, ws://host:port/path.
    url: String,
    /// Channels to subscribe to; none to hear only what the endpoint subscribes by itself.
    channels: Vec<String>,
    #[command(flatten)]
    credential: Credential,
    /// The wire protocol of the endpoint.
    #[arg(long, default_value = "json", value_parser = ["json"])]
    protocol: String,
    /// End after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Only publications whose filter list K holds V; repeat for more.
    #[arg(long, value_name = "K=V", value_parser = filter)]
    filter: Vec<(String, String)>,
}

fn filter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be LIST=VALUE".to_owned()),
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How one connection ended.
enum End {
    /// Enough was heard.
    Counted,
    /// The server's word.
    Closed(Option<CloseFrame>),
}

impl Subscribe {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request = self
            .credential
            .request(&self.url)
            .map_err(|error| Failure::Refused(format!("error: {error:#}")))?;
        client_runtime()?.block_on(self.hear(&request))
    }

    async fn hear(&self, request: &Request) -> Result<(), Failure> {
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut delay = FIRST_DELAY;
        let mut positions = Positions::default();
        loop {
            match self.connection(request, &mut positions, &mut left, &mut delay).await {
                Ok(End::Counted) => return Ok(()),
                Ok(End::Closed(frame)) => match retry(frame.as_ref()) {
                    Some(after) => pause(frame.as_ref(), after, &mut delay).await,
                    None => return Err(closed(frame.as_ref()).into()),
                },
                Err(Error::Http(response)) => return Err(refused(&response).into()),
                Err(error @ (Error::Url(_) | Error::HttpFormat(_) | Error::Tls(_))) => {
                    return Err(error.into());
                }
                Err(error) => {
                    report(&format!("{error}; trying again in {} ms", delay.as_millis()));
                    pause(None, None, &mut delay).await;
                }
            }
        }
    }

    async fn connection(
        &self,
        request: &Request,
        positions: &mut Positions,
        left: &mut u64,
        delay: &mut Duration,
    ) -> Result<End, Error> {
        let (mut socket, _) = tokio_tungstenite::connect_async(request.clone()).await?;
        *delay = FIRST_DELAY;
        if let Some(auth) = self.credential.first_message() {
            socket.send(Message::text(auth.to_string())).await?;
        }
        for command in self.commands(positions) {
            socket.send(Message::text(command.to_string())).await?;
        }
        let end = self.messages(&mut socket, positions, left).await;
        positions.reconnected();
        end
    }

    /// The `subscribe` commands; without a channel, filters narrow what the endpoint subscribed by itself, and without these too, what was
    /// missed of it is asked for.
    fn commands(&self, positions: &Positions) -> Vec<Value> {
        let mut lists = Map::new();
        for (name, value) in &self.filter {
            if let Value::Array(values) = lists.entry(name.clone()).or_insert_with(|| json!([])) {
                values.push(json!(value));
            }
        }
        if self.channels.is_empty() {
            if !lists.is_empty() {
                return vec![json!({"type": "subscribe", "data": lists})];
            }
            let recover = |channel: &str| json!({"type": "subscribe", "data": {"channel": channel, "recover": positions.of(channel)}});
            return positions.channels().map(recover).collect();
        }
        let subscribe = |(number, channel): (usize, &String)| {
            let mut data = json!({"channel": channel, "filters": lists});
            if let Some(place) = positions.of(channel) {
                data["recover"] = place.clone();
            }
            json!({"type": "subscribe", "id": number + 1, "data": data})
        };
        self.channels.iter().enumerate().map(subscribe).collect()
    }

    async fn messages(
        &self,
        socket: &mut Socket,
        positions: &mut Positions,
        left: &mut u64,
    ) -> Result<End, Error> {
        while let Some(message) = socket.next().await {
            match message? {
                Message::Text(text) => {
                    // A failed write other than a closed pipe (which ends the program) has nobody to be told.
                    let _ = print_line(&text);
                    positions.hear(&text).iter().for_each(|told| report(told));
                    *left -= 1;
                    if *left == 0 {
                        socket.close(None).await?;
                        return Ok(End::Counted);
                    }
                }
                Message::Close(frame) => return Ok(End::Closed(frame)),
                _ => {}
            }
        }
        Ok(End::Closed(None))
    }
}

/// Whether to come back, and after how long at least: the table of close codes, shared with the server.
#[allow(clippy::option_option)]
fn retry(frame: Option<&CloseFrame>) -> Option<Option<Duration>> {
    let Some(frame) = frame else { return Some(None) };
    let code = u16::from(frame.code);
    match CloseCode::ALL.iter().find(|known| known.code() == code).map(|known| known.retry()) {
        Some(Retry::Reconnect | Retry::BackOff) => Some(after(&frame.reason)),
        Some(Retry::Stop | Retry::RefreshToken) | None => None,
    }
}

/// The `after=MS` of a reason.
fn after(reason: &str) -> Option<Duration> {
    let value = reason.split(';').find_map(|part| part.trim().strip_prefix("after="))?;
    value.parse().ok().map(Duration::from_millis)
}

async fn pause(frame: Option<&CloseFrame>, after: Option<Duration>, delay: &mut Duration) {
    if let Some(frame) = frame {
        report(&format!("closed with {} {}; coming back", u16::from(frame.code), frame.reason));
    }
    let jitter = delay.mul_f64(0.5 + fastrand::f64() / 2.0);
    tokio::time::sleep(after.unwrap_or(jitter)).await;
    *delay = (*delay * 2).min(LONGEST_DELAY);
}

fn closed(frame: Option<&CloseFrame>) -> anyhow::Error {
    match frame {
        Some(frame) => anyhow::anyhow!("the server closed with {}: {}", u16::from(frame.code), frame.reason),
        None => anyhow::anyhow!("the server closed"),
    }
}

fn refused(response: &Response<Option<Vec<u8>>>) -> anyhow::Error {
    let body = response.body().as_deref().unwrap_or_default();
    let answer: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let message = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given");
    anyhow::anyhow!("the server refused with HTTP {}: {message}", response.status().as_u16())
}
