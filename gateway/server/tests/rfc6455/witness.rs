//! Well-behaved subscribers that hear everything while others misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, masked, show};
use super::inflate::inflate;

use crate::support::socket::Socket;
use crate::support::{PATIENCE, http};

/// The pause between two publications.
const EVERY: Duration = Duration::from_millis(5);

/// Subscribers of another author's library; enough for every shard to have one.
const PLAIN: usize = 3;
/// What is published: long enough to be compressed for who agreed to it.
const PADDING: &str = "a well-behaved subscriber hears this, a well-behaved subscriber hears this, ";

/// Subscribers and a publisher, each with a thread.
pub struct Witness {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
    publisher: JoinHandle<()>,
    subscribers: Vec<JoinHandle<Result<u64, String>>>,
}

impl Witness {
    /// Subscribes, then publishes numbers until [`Witness::end`].
    pub fn start(public: SocketAddr, admin: SocketAddr) -> Self {
        let (stop, published) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (subscribed, begin) = std::sync::mpsc::channel();
        let mut subscribers = Vec::new();
        for _ in 0..PLAIN {
            let subscribed = subscribed.clone();
            subscribers.push(std::thread::spawn(move || plain(public, &subscribed)));
        }
        subscribers.push(std::thread::spawn(move || compressed(public, &subscribed)));
        for _ in &subscribers {
            begin.recv_timeout(PATIENCE).unwrap();
        }
        let (done, counted) = (Arc::clone(&stop), Arc::clone(&published));
        let publisher = std::thread::spawn(move || {
            let mut next = 1u64;
            while !done.load(Ordering::SeqCst) {
                publish(admin, &json!([next, PADDING]));
                counted.store(next, Ordering::SeqCst);
                next += 1;
                std::thread::sleep(EVERY);
            }
            publish(admin, &json!("end"));
        });
        Self { stop, published, publisher, subscribers }
    }

    /// Publishes the last one, and says how many were heard if that was each of them by everyone, once and in order.
    pub fn end(self) -> Result<u64, String> {
        self.stop.store(true, Ordering::SeqCst);
        let panicked = |_| "the witness panicked".to_owned();
        self.publisher.join().map_err(panicked)?;
        let published = self.published.load(Ordering::SeqCst);
        for subscriber in self.subscribers {
            let heard = subscriber.join().map_err(panicked)??;
            if published != heard || heard == 0 {
                return Err(format!("{published} were published, {heard} heard"));
            }
        }
        Ok(published)
    }
}

/// Counts what is heard; `Some` at the end.
fn count(heard: &Value, counted: &mut u64) -> Result<Option<u64>, String> {
    if heard["data"] == json!("end") {
        return Ok(Some(*counted));
    }
    *counted += 1;
    if heard["type"] == "number" && heard["data"] == json!([*counted, PADDING]) {
        return Ok(None);
    }
    Err(format!("expected {counted}, heard {heard}"))
}

fn plain(public: SocketAddr, subscribed: &Sender<()>) -> Result<u64, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut socket = Socket::open(&format!("ws://{public}/json")).await;
        socket.send(&json!({"type": "subscribe", "data": {"channel": "c:witness"}})).await;
        socket.json_of_type("subscribed").await;
        subscribed.send(()).unwrap();
        let mut counted = 0;
        loop {
            if let Some(all) = count(&socket.json().await, &mut counted)? {
                return Ok(all);
            }
        }
    })
}

fn compressed(public: SocketAddr, subscribed: &Sender<()>) -> Result<u64, String> {
    let mut client =
        Client::open(public, "/json", Some("permessage-deflate; server_max_window_bits=9"), b"")?;
    client.send(&masked(0x81, br#"{"type":"subscribe","channel":"c:witness"}"#));
    client.next()?;
    subscribed.send(()).unwrap();
    let (mut counted, mut inflated) = (0, 0);
    loop {
        let frame = client.next()?;
        let payload = match frame.first {
            0x81 => frame.payload,
            0xC1 => {
                inflated += 1;
                inflate(&frame.payload, 9)?
            }
            0x89 => {
                client.send(&masked(0x8A, &frame.payload));
                continue;
            }
            _ => return Err(show(&frame)),
        };
        let heard = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
        if let Some(all) = count(&heard, &mut counted)? {
            return if inflated == all {
                Ok(all)
            } else {
                Err(format!("{inflated} of {all} came compressed"))
            };
        }
    }
}

fn publish(admin: SocketAddr, number: &Value) {
    let body = json!({"channel": "c:witness", "event": "number", "data": number});
    let answer = http::post(admin, "/v1/publish", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}
