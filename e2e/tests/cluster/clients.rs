//! WebSocket clients of a gateway, and a backend that publishes to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::http;
use crate::kubectl::until;

/// What has happened to clients so far.
#[derive(Default)]
struct Tally {
    subscribed: usize,
    /// How each one ended that has.
    closed: Vec<String>,
    /// How many have heard a text.
    heard: HashMap<String, usize>,
}

/// Clients that listen to one channel and never come back when they are closed, so that every close is seen.
pub(crate) struct Clients {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    tally: Arc<Mutex<Tally>>,
    number: usize,
}

impl Clients {
    /// Connects so many, and waits until all of them are subscribed.
    pub(crate) fn connect(url: &str, channel: &str, number: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tally = Arc::<Mutex<Tally>>::default();
        for _ in 0..number {
            let (url, channel, tally) = (url.to_owned(), channel.to_owned(), Arc::clone(&tally));
            runtime.spawn(async move {
                let how = listen(&url, &channel, &tally).await;
                tally.lock().unwrap().closed.push(how);
            });
        }
        let clients = Self { runtime: Some(runtime), tally, number };
        until("clients are subscribed", || {
            assert_eq!(clients.closed(), [""; 0], "no client is refused");
            clients.tally.lock().unwrap().subscribed == number
        });
        clients
    }

    /// How each client ended that is no longer connected.
    pub(crate) fn closed(&self) -> Vec<String> {
        self.tally.lock().unwrap().closed.clone()
    }

    /// Every client is connected as at first.
    pub(crate) fn all_stay(&self) {
        assert_eq!(self.closed(), [""; 0], "no socket is closed");
    }

    /// Whether every client that is still connected has heard `text`.
    pub(crate) fn have_heard(&self, text: &str) -> bool {
        let tally = self.tally.lock().unwrap();
        tally.heard.get(text).copied().unwrap_or(0) >= self.number - tally.closed.len()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn listen(url: &str, channel: &str, tally: &Mutex<Tally>) -> String {
    let mut socket = match connect_async(url).await {
        Ok((socket, _)) => socket,
        Err(error) => return format!("refused: {error}"),
    };
    let subscribe = json!({"type": "subscribe", "data": {"channel": channel}}).to_string();
    if let Err(error) = socket.send(Message::text(subscribe)).await {
        return error.to_string();
    }
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => hear(&text, tally),
            Some(Ok(Message::Close(Some(frame)))) => {
                return format!("{} {}", u16::from(frame.code), frame.reason);
            }
            Some(Ok(Message::Close(None))) | None => return "closed without a code".into(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.to_string(),
        }
    }
}

fn hear(text: &str, tally: &Mutex<Tally>) {
    let message: Value = serde_json::from_str(text).unwrap();
    let mut tally = tally.lock().unwrap();
    match message["type"].as_str() {
        Some("subscribed") => tally.subscribed += 1,
        Some("note") => {
            let text = message["data"]["text"].as_str().unwrap().to_owned();
            *tally.heard.entry(text).or_default() += 1;
        }
        _ => {}
    }
}

/// Publishes a note with `text` through the API at `address`; the status of the answer, or why there was none.
///
/// # Errors
/// The connection fails.
pub(crate) fn publish(address: &str, key: &str, channel: &str, text: &str) -> std::io::Result<u16> {
    let body = json!({"channel": channel, "event": "note", "data": {"text": text}}).to_string();
    let length = body.len();
    let head = format!(
        "Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    );
    Ok(http::ask(address, "POST", "/v1/publish", &head, &body)?.0)
}
