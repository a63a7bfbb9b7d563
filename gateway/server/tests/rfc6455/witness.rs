//! A well-behaved subscriber that hears everything while others misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::support::socket::Socket;
use crate::support::{PATIENCE, http};

/// The pause between two publications.
const EVERY: Duration = Duration::from_millis(5);

/// A subscriber and a publisher, each with a thread.
pub struct Witness {
    stop: Arc<AtomicBool>,
    published: Arc<AtomicU64>,
    publisher: JoinHandle<()>,
    subscriber: JoinHandle<Result<u64, String>>,
}

impl Witness {
    /// Subscribes, then publishes numbers until [`Witness::end`].
    pub fn start(public: SocketAddr, admin: SocketAddr) -> Self {
        let (stop, published) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (subscribed, begin) = std::sync::mpsc::channel();
        let done = Arc::clone(&stop);
        let subscriber = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut socket = Socket::open(&format!("ws://{public}/json")).await;
                socket.send(&json!({"type": "subscribe", "data": {"channel": "c:witness"}})).await;
                socket.json_of_type("subscribed").await;
                subscribed.send(()).unwrap();
                let mut expected = 1;
                loop {
                    let heard = socket.json().await;
                    if heard["data"] == json!("end") {
                        return Ok(expected - 1);
                    }
                    if heard["type"] != "number" || heard["data"] != json!(expected) {
                        return Err(format!("expected {expected}, heard {heard}"));
                    }
                    expected += 1;
                }
            })
        });
        begin.recv_timeout(PATIENCE).unwrap();
        let counted = Arc::clone(&published);
        let publisher = std::thread::spawn(move || {
            let mut next = 1u64;
            while !done.load(Ordering::SeqCst) {
                publish(admin, &json!(next));
                counted.store(next, Ordering::SeqCst);
                next += 1;
                std::thread::sleep(EVERY);
            }
            publish(admin, &json!("end"));
        });
        Self { stop, published, publisher, subscriber }
    }

    /// Publishes the last one, and says how many were heard if that was each of them, once and in order.
    pub fn end(self) -> Result<u64, String> {
        self.stop.store(true, Ordering::SeqCst);
        let panicked = |_| "the witness panicked".to_owned();
        self.publisher.join().map_err(panicked)?;
        let heard = self.subscriber.join().map_err(panicked)??;
        match self.published.load(Ordering::SeqCst) {
            published if published == heard && heard > 0 => Ok(heard),
            published => Err(format!("{published} were published, {heard} heard")),
        }
    }
}

fn publish(admin: SocketAddr, number: &serde_json::Value) {
    let body = json!({"channel": "c:witness", "event": "number", "data": number});
    let answer = http::post(admin, "/v1/publish", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}
