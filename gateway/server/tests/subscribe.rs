//! `rtgw subscribe` over the loss of its gateway: what was published meanwhile is printed, or said to be missing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use serde_json::{Value, json};
use support::gateway::{Gateway, rtgw};
use support::process::Process;
use support::redis::Redis;
use support::{eventually, http};

const MANIFEST: &str = r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: subscribe}
spec:
  endpoints:
  - {name: ws, path: /ws, metadata: true}
  - {name: auto, path: /auto, metadata: true, autoSubscribe: [{channel: "feed:a"}]}
  - {name: bare, path: /bare}
  auth: {anonymous: Allow}
  channels:
  - {pattern: "feed:{x}", subscribe: "true", history: {mode: Stream, size: 100, ttl: 1h}}
  - {pattern: "short:{x}", subscribe: "true", history: {mode: Stream, size: 2, ttl: 1h}}
  - {pattern: "plain:{x}", subscribe: "true"}
"#;

struct World {
    _redis: Redis,
    manifest: std::path::PathBuf,
    url: String,
    /// Clients are here, and it is killed.
    here: Gateway,
    /// Publishes.
    there: Gateway,
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.manifest));
    }
}

impl World {
    fn start(name: &str) -> Self {
        let redis = Redis::start();
        let manifest =
            std::env::temp_dir().join(format!("rtgw-subscribe-{name}-{}.yaml", std::process::id()));
        std::fs::write(&manifest, MANIFEST).unwrap();
        let url = redis.url();
        let [here, there] = [0, 1].map(|_| Gateway::serve(&manifest, &["--redis", &url]));
        Self { _redis: redis, manifest, url, here, there }
    }

    fn subscribe(&self, path: &str, channels: &[&str]) -> Process {
        Process::start(rtgw().arg("subscribe").arg(self.here.url(path)).args(channels))
    }

    fn publish(&self, channel: &str, n: u64) {
        let body = json!({"channel": channel, "event": "e", "data": {"n": n}});
        assert_eq!(http::post(self.there.admin, "/v1/publish", &body).status, 200);
    }

    /// Kills the gateway of the clients, has `meanwhile` done, and starts another in its place.
    fn away(&mut self, meanwhile: impl FnOnce(&Self)) {
        self.here.process.signal("KILL");
        self.here.process.ended();
        meanwhile(self);
        self.here = Gateway::serve_at(self.here.public, &self.manifest, &["--redis", &self.url]);
    }
}

#[track_caller]
fn next(client: &mut Process, wanted: impl Fn(&Value) -> bool) -> Value {
    let line = client.wait_for("message", |line| wanted(&serde_json::from_str(line).unwrap()));
    serde_json::from_str(&line).unwrap()
}

#[track_caller]
fn subscribed(client: &mut Process, channel: &str) -> Value {
    next(client, |message| message["type"] == "subscribed" && message["data"]["channel"] == channel)
}

/// The numbers of the next publications, whatever stands between them.
#[track_caller]
fn numbers(client: &mut Process, count: usize) -> Vec<u64> {
    (0..count)
        .map(|_| next(client, |message| message["type"] == "e")["data"]["n"].as_u64().unwrap())
        .collect()
}

#[track_caller]
fn says(client: &Process, words: &str) {
    eventually(words, || client.stderr().contains(words).then_some(()));
}

#[test]
fn what_was_missed_is_printed_once_and_in_order() {
    let mut world = World::start("missed");
    let mut client = world.subscribe("/ws", &["feed:a"]);
    let mut auto = world.subscribe("/auto", &[]);
    assert_eq!(subscribed(&mut client, "feed:a")["data"].get("recovered"), None);
    next(&mut auto, |message| message["type"] == "connected");
    for n in 1..=3 {
        world.publish("feed:a", n);
    }
    assert_eq!(numbers(&mut client, 3), [1, 2, 3]);
    assert_eq!(numbers(&mut auto, 3), [1, 2, 3]);
    world.away(|world| (4..=8).for_each(|n| world.publish("feed:a", n)));
    for client in [&mut client, &mut auto] {
        assert_eq!(subscribed(client, "feed:a")["data"]["recovered"], true);
        assert_eq!(numbers(client, 5), [4, 5, 6, 7, 8]);
    }
    // And from there again.
    world.away(|world| world.publish("feed:a", 9));
    world.publish("feed:a", 10);
    assert_eq!(numbers(&mut client, 2), [9, 10]);
    assert!(!client.stderr().contains("missing"), "{}", client.stderr());
}

#[test]
fn what_cannot_be_given_is_said() {
    let mut world = World::start("cannot");
    let mut client = world.subscribe("/ws", &["short:a", "plain:a"]);
    let mut bare = world.subscribe("/bare", &["feed:a"]);
    for channel in ["short:a", "plain:a"] {
        subscribed(&mut client, channel);
    }
    subscribed(&mut bare, "feed:a");
    world.publish("feed:a", 1);
    assert_eq!(numbers(&mut bare, 1), [1]);
    world.away(|world| (1..=5).for_each(|n| world.publish("short:a", n)));
    assert_eq!(subscribed(&mut client, "short:a")["data"]["recovered"], false);
    says(&client, "short:a: what was published meanwhile is missing; the gateway cannot say what it was");
    says(&client, "plain:a: what was published meanwhile is missing; it keeps no history");
    says(
        &bare,
        "feed:a: what was published meanwhile is missing; the endpoint's publications say no positions",
    );
    world.publish("short:a", 6);
    assert_eq!(numbers(&mut client, 1), [6], "it goes on from where it is now");
}
