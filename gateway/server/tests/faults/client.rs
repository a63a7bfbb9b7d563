//! A client as a good library would be: remembers its positions, comes back, recovers, and keeps a diary of all it heard.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::ledger::{Heard, Note};
use crate::rig::CACHE;

/// A connection that is not there within this is tried elsewhere.
const CONNECTS_WITHIN: Duration = Duration::from_secs(2);
/// A subscribe that was refused for now is tried again after this.
const ASKS_AGAIN: Duration = Duration::from_millis(100);

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a client does when it is told of a gap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AfterGap {
    /// Loads the state anew and goes on.
    Reload,
    /// Subscribes again with its position from before the gap, where it has one.
    Recover,
}

/// How a client lives.
#[derive(Clone, Debug)]
pub struct Habits {
    /// For people.
    pub name: String,
    /// What it subscribes to.
    pub channels: Vec<String>,
    /// Public listeners: its own first, then where it goes when that is not there.
    pub pods: Vec<SocketAddr>,
    /// Without a frame for so long it looks for another connection; the gateway pings every second.
    pub silence: Duration,
    /// What it does when it is told of a gap.
    pub after_gap: AfterGap,
    /// Drops its connection every second or so and comes back to any pod.
    pub roams: bool,
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub struct End {
    /// The pod.
    pub pod: SocketAddr,
    /// In the client's words.
    pub how: String,
}

/// What a client heard and what befell it.
#[derive(Default)]
pub struct Diary {
    /// By channel.
    pub notes: BTreeMap<String, Vec<Note>>,
    /// Connections that others ended.
    pub ends: Vec<End>,
    /// Answers that no client should get.
    pub complaints: Vec<String>,
    /// Reasons of gaps, and answers to wishes to recover, by how often.
    pub told: BTreeMap<String, u64>,
}

/// What a client is told to do.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// As its habits say.
    Live,
    /// Not be connected.
    Away,
    /// Keep its connection.
    Stay,
}

/// A client at work; ends with its value.
pub struct Client {
    /// How it lives.
    pub habits: Habits,
    /// What it heard.
    pub diary: Arc<Mutex<Diary>>,
    orders: watch::Sender<Order>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Opens its connection and goes on until it is dropped.
    pub fn start(habits: Habits, begin: Instant) -> Self {
        let diary = Arc::<Mutex<Diary>>::default();
        let (orders, watched) = watch::channel(Order::Live);
        let life = Life {
            positions: BTreeMap::new(),
            asked: BTreeMap::new(),
            again: Vec::new(),
            random: fastrand::Rng::with_seed(habits.name.bytes().map(u64::from).sum()),
            habits: habits.clone(),
            diary: Arc::clone(&diary),
            begin,
        };
        let task = tokio::spawn(life.live(watched));
        Self { habits, diary, orders, task }
    }

    /// Drops the connection and stays away until [`Client::back`].
    pub fn leave(&self) {
        self.orders.send_replace(Order::Away);
    }

    /// Comes back.
    pub fn back(&self) {
        self.orders.send_replace(Order::Live);
    }

    /// Drops no connection any more, and comes back if it is away.
    pub fn stay(&self) {
        self.orders.send_replace(Order::Stay);
    }
}

#[derive(Clone, Debug)]
struct Position {
    offset: u64,
    epoch: String,
}

struct Life {
    habits: Habits,
    diary: Arc<Mutex<Diary>>,
    begin: Instant,
    random: fastrand::Rng,
    positions: BTreeMap<String, Position>,
    /// Subscribes on their way, and whether they asked to recover.
    asked: BTreeMap<String, bool>,
    /// Channels to ask for again, and when.
    again: Vec<(Instant, String)>,
}

impl Life {
    async fn live(mut self, mut orders: watch::Receiver<Order>) {
        let mut at = 0;
        loop {
            if orders.wait_for(|order| *order != Order::Away).await.is_err() {
                return;
            }
            let pod = self.habits.pods[at % self.habits.pods.len()];
            let url = format!("ws://{pod}/ws");
            let opened = tokio::time::timeout(CONNECTS_WITHIN, tokio_tungstenite::connect_async(url)).await;
            if let Ok(Ok((stream, _))) = opened {
                if let Err(how) = self.hold(stream, &mut orders).await {
                    self.diary.lock().ends.push(End { pod, how });
                    // Home may be back; if not, connecting says so.
                    at = 0;
                }
                if self.habits.roams {
                    at = self.random.usize(0..self.habits.pods.len());
                }
            } else {
                at += 1;
            }
            let pause = if self.habits.roams { 100..500 } else { 20..200 };
            tokio::time::sleep(Duration::from_millis(self.random.u64(pause))).await;
        }
    }

    /// Holds a connection; `Ok` when it left by its own wish.
    async fn hold(&mut self, mut stream: Stream, orders: &mut watch::Receiver<Order>) -> Result<(), String> {
        self.asked.clear();
        self.again.clear();
        for channel in self.habits.channels.clone() {
            self.subscribe(&mut stream, &channel).await?;
        }
        let stays = Duration::from_millis(self.random.u64(500..2000));
        let leaves = tokio::time::Instant::now() + stays;
        loop {
            let roams = self.habits.roams && *orders.borrow() != Order::Stay;
            let next = self.again.iter().map(|(at, _)| *at).min();
            let again = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                biased;
                () = sent_away(orders) => return Ok(()),
                () = tokio::time::sleep_until(leaves), if roams => return Ok(()),
                () = tokio::time::sleep_until(again.into()), if next.is_some() => {
                    let now = Instant::now();
                    let (due, later) = std::mem::take(&mut self.again).into_iter().partition(|(at, _)| *at <= now);
                    self.again = later;
                    let due: Vec<(Instant, String)> = due;
                    for (_, channel) in due {
                        self.subscribe(&mut stream, &channel).await?;
                    }
                }
                message = tokio::time::timeout(self.habits.silence, stream.next()) => {
                    match message {
                        Err(_) => return Err(format!("silent for {:?}", self.habits.silence)),
                        Ok(Some(Ok(Message::Text(text)))) => self.hear(&mut stream, text.as_str()).await?,
                        Ok(Some(Ok(Message::Close(frame)))) => return Err(format!("closed: {frame:?}")),
                        Ok(Some(Ok(_))) => {}
                        Ok(Some(Err(error))) => return Err(format!("ended: {error}")),
                        Ok(None) => return Err("ended".to_owned()),
                    }
                }
            }
        }
    }

    async fn subscribe(&mut self, stream: &mut Stream, channel: &str) -> Result<(), String> {
        let mut data = json!({"channel": channel});
        let position = self.positions.get(channel);
        if let Some(Position { offset, epoch }) = position {
            data["recover"] = json!({"offset": offset, "epoch": epoch});
        }
        self.asked.insert(channel.to_owned(), position.is_some());
        let command = json!({"type": "subscribe", "id": channel, "data": data});
        send(stream, &command).await
    }

    fn note(&self, channel: &str, heard: Heard) {
        let at = self.begin.elapsed();
        self.diary.lock().notes.entry(channel.to_owned()).or_default().push(Note { at, heard });
    }

    fn told(&self, what: &str) {
        *self.diary.lock().told.entry(what.to_owned()).or_default() += 1;
    }

    fn complain(&self, message: &Value) {
        self.diary.lock().complaints.push(message.to_string());
    }

    async fn hear(&mut self, stream: &mut Stream, text: &str) -> Result<(), String> {
        let message: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let data = &message["data"];
        match message["type"].as_str() {
            Some("connected" | "pong" | "unsubscribed") => {}
            Some("number") => self.publication(&message),
            Some("subscribed") => self.subscribed(&message),
            Some("gap") => {
                let channel = data["channel"].as_str().unwrap_or_default().to_owned();
                return self.gap(stream, &channel, data["reason"].as_str().unwrap_or_default()).await;
            }
            Some("error") if data["temporary"] == true && message["id"].is_string() => {
                let channel = message["id"].as_str().unwrap_or_default().to_owned();
                self.told(&format!("refused: {}", data["code"].as_str().unwrap_or_default()));
                self.again.push((Instant::now() + ASKS_AGAIN, channel));
            }
            _ => self.complain(&message),
        }
        Ok(())
    }

    fn publication(&mut self, message: &Value) {
        let (Some(channel), Some(number)) = (message["channel"].as_str(), message["data"]["n"].as_u64())
        else {
            return self.complain(message);
        };
        if self.asked.contains_key(channel) {
            // Brought while the client waits to recover: it will come again.
            return;
        }
        if let Some(place) = position(message) {
            self.positions.insert(channel.to_owned(), place);
        }
        self.note(channel, Heard::Publication(number));
    }

    fn subscribed(&mut self, message: &Value) {
        let data = &message["data"];
        let Some(channel) = data["channel"].as_str() else { return self.complain(message) };
        let asked = self.asked.remove(channel);
        let first = !self.diary.lock().notes.contains_key(channel);
        let recovered = data["recovered"].as_bool();
        match (asked, recovered) {
            (Some(true), Some(recovered)) => self.told(&format!("recovered: {recovered}")),
            (Some(false), None) => {}
            _ => self.complain(message),
        }
        self.note(
            channel,
            match recovered {
                _ if first => Heard::Joined,
                // Of values, only the newest comes back: what lay between is known to be gone.
                Some(true) if channel != CACHE => Heard::Recovered,
                _ => Heard::Restarted,
            },
        );
        match position(data) {
            Some(place) => self.positions.insert(channel.to_owned(), place),
            None => self.positions.remove(channel),
        };
    }

    async fn gap(&mut self, stream: &mut Stream, channel: &str, reason: &str) -> Result<(), String> {
        self.told(&format!("gap: {reason}"));
        self.note(channel, Heard::Announced);
        let waits = self.asked.contains_key(channel);
        if self.habits.after_gap == AfterGap::Recover && self.positions.contains_key(channel) && !waits {
            send(stream, &json!({"type": "unsubscribe", "data": {"channel": channel}})).await?;
            self.subscribe(stream, channel).await?;
        }
        Ok(())
    }
}

/// Where a message says that its channel stands.
fn position(object: &Value) -> Option<Position> {
    let (offset, epoch) = (object["offset"].as_u64()?, object["epoch"].as_str()?);
    Some(Position { offset, epoch: epoch.to_owned() })
}

async fn sent_away(orders: &mut watch::Receiver<Order>) {
    drop(orders.wait_for(|order| *order == Order::Away).await);
}

async fn send(stream: &mut Stream, command: &Value) -> Result<(), String> {
    stream.send(Message::text(command.to_string())).await.map_err(|error| format!("ended: {error}"))
}
