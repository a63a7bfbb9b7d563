//! A victim and attackers on one gateway, and what crossed between them.

use std::path::PathBuf;

use futures_util::{SinkExt, StreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use crate::support::PATIENCE;
use crate::support::gateway::Gateway;
use crate::support::socket::Socket;

/// What only the victim may hear stands in every message that is meant for it.
pub const SECRET: &str = "of-the-victim";
/// Stands in everything that attackers send.
pub const FORGED: &str = "by-an-attacker";

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Json,
    Batches,
    MessagePack,
}

pub const WIRES: [Wire; 3] = [Wire::Json, Wire::Batches, Wire::MessagePack];

impl Wire {
    fn subprotocol(self) -> &'static str {
        match self {
            Self::Json | Self::Batches => "rtgw.json.v1",
            Self::MessagePack => "rtgw.msgpack.v1",
        }
    }

    fn query(self) -> &'static str {
        if self == Self::Batches { "&batch=1" } else { "" }
    }
}

/// A token with any claims, signed with `key`; it ends in an hour.
pub fn signed(key: &str, claims: &Value) -> String {
    signed_with(&Header::new(Algorithm::HS256), key, claims)
}

pub fn signed_with(header: &Header, key: &str, claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["exp"] = json!(jsonwebtoken::get_current_timestamp() + 3600);
    jsonwebtoken::encode(header, &claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

/// A gateway that serves a manifest of this test's own, on one shard: what the victim has heard was given to everybody.
pub fn serve(manifest: &str, name: &str, arguments: &[&str]) -> Gateway {
    let file = format!("rtgw-crossings-{name}-{}.yaml", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(file);
    std::fs::write(&path, manifest).unwrap();
    let gateway = Gateway::serve(&path, &[&["--shards", "1"], arguments].concat());
    std::fs::remove_file(path).unwrap();
    gateway
}

/// A connection and everything that it was told.
pub struct Client {
    pub name: String,
    socket: Socket,
    waiting: Vec<Value>,
    pub heard: Vec<String>,
    pings: u32,
    closed: Option<Option<CloseFrame>>,
}

impl Client {
    /// Opens `/ws?QUERY`.
    ///
    /// # Errors
    /// The HTTP status, or the close code, of the refusal.
    pub async fn open(gateway: &Gateway, name: &str, wire: Wire, query: &str) -> Result<Self, u16> {
        let url = gateway.url(&format!("/ws?{query}{}", wire.query()));
        let offered = [("sec-websocket-protocol", wire.subprotocol())];
        let socket = Socket::try_open(&url, &offered).await.map_err(|answer| answer.status().as_u16())?;
        let name = format!("{name} ({wire:?})");
        let mut client =
            Self { name, socket, waiting: Vec::new(), heard: Vec::new(), pings: 0, closed: None };
        // The greeting, or the close that says why not.
        let greeting = client.next().await;
        match (greeting, client.closed.take()) {
            (Some(greeting), _) => {
                client.waiting.insert(0, greeting);
                Ok(client)
            }
            (None, closed) => Err(closed.flatten().map_or(0, |frame| frame.code.into())),
        }
    }

    /// Sends a command as this wire writes it.
    pub async fn send(&mut self, command: &Value) {
        let message = if self.name.ends_with("(MessagePack)") {
            Message::binary(rmp_serde::to_vec_named(command).unwrap())
        } else {
            Message::text(command.to_string())
        };
        self.send_message(message).await;
    }

    pub async fn send_message(&mut self, message: Message) {
        // Who was closed for what it said before says nothing more.
        drop(self.socket.0.send(message).await);
    }

    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        while self.waiting.is_empty() {
            let message = tokio::time::timeout(PATIENCE, self.socket.0.next()).await;
            let told: Value = match message.unwrap_or_else(|_| panic!("{}: nothing came", self.name)) {
                Some(Ok(Message::Text(text))) => serde_json::from_str(text.as_str()).unwrap(),
                Some(Ok(Message::Binary(bytes))) => rmp_serde::from_slice(&bytes).unwrap(),
                Some(Ok(Message::Close(frame))) => {
                    self.closed = Some(frame);
                    return None;
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return None,
            };
            match told {
                Value::Array(several) => self.waiting.extend(several),
                one => self.waiting.push(one),
            }
        }
        let next = self.waiting.remove(0);
        self.heard.push(next.to_string());
        Some(next)
    }

    /// Hears everything that was on its way to it.
    pub async fn catch_up(&mut self) {
        self.pings += 1;
        let id = format!("ping-{}", self.pings);
        self.send(&json!({"type": "ping", "id": id})).await;
        while let Some(told) = self.next().await {
            if told["id"] == id.as_str() {
                return;
            }
        }
    }

    /// What it is answered: the code of an error, else the name of the message.
    pub async fn ask(&mut self, command: &Value) -> String {
        self.catch_up().await;
        self.send(command).await;
        let Some(answer) = self.next().await else { return "closed".to_owned() };
        let kind = answer.get("type").or_else(|| answer.get("event")).and_then(Value::as_str);
        match kind {
            Some("error") => answer["data"]["code"].as_str().unwrap_or("?").to_owned(),
            kind => kind.unwrap_or("?").to_owned(),
        }
    }

    fn heard_any(&self, what: &str) -> bool {
        self.heard.iter().any(|text| text.contains(what))
    }
}

/// Who heard what was not meant for it: attackers the victim's secrets, or the victim what attackers sent.
pub async fn crossed(victim: &mut Client, attackers: &mut [Client]) -> Vec<String> {
    victim.catch_up().await;
    let mut crossings = Vec::new();
    for attacker in attackers {
        attacker.catch_up().await;
        if attacker.heard_any(SECRET) {
            crossings.push(format!("heard by {}", attacker.name));
        }
    }
    victim.catch_up().await;
    for told in victim.heard.iter().filter(|told| told.contains(FORGED)) {
        crossings.push(format!("told to the victim: {told}"));
    }
    crossings
}

/// Waits until the victim has heard `marker`.
pub async fn until_heard(victim: &mut Client, marker: &str) {
    while !victim.heard_any(marker) {
        victim.next().await.unwrap_or_else(|| panic!("{} ended", victim.name));
    }
}
