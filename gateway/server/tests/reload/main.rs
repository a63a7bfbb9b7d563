//! A gateway whose files change while it serves.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, unreachable_pub)]

mod auth;
mod commands;
mod limits;
mod redis;
mod sources;
mod stage;
mod stages;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use stage::{ISSUER, KEY, Manifest, manifest, publish, reloaded, reloads, revision, token, with_keys};
use support::gateway::Gateway;
use support::socket::Socket;
use support::{eventually, http};

/// How often files are looked at, and how long they have to rest.
const NOTICED: Duration = Duration::from_millis(600);

/// Publishes 0, 1, 2 and so on until it is told to end.
struct Publisher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Publisher {
    fn start(admin: SocketAddr, channel: &'static str, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !until.load(Ordering::Relaxed) {
                publish(admin, channel, sent);
                sent += 1;
                std::thread::sleep(pause);
            }
            sent
        });
        Self { stop, thread }
    }

    /// How many there were.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tightened_rule_takes_effect_within_a_second_and_nobody_else_notices() {
    const EACH: usize = 1_000;
    let spec = |rule: &str| {
        manifest(&format!(
            "{ISSUER}endpoints: [{{name: ws, path: /ws, greeting: {{disabled: true}}}}]\n\
             channels: [{{pattern: news, subscribe: \"{rule}\"}}]\n\
             limits: {{pod: {{handshakesPerSecond: 100000}}}}"
        ))
    };
    let file = Manifest::new("tightened", &spec("user != ''"));
    let gateway = file.serve(&[]);
    let open = async |role: &str| {
        let url = format!("{}?token={}", gateway.url("/ws"), token(KEY, json!({"sub": "u", "role": role})));
        let mut socket = Socket::open(&url).await;
        socket.send(&json!({"type": "subscribe", "channel": "news"})).await;
        socket.json_of_type("subscribed").await;
        socket
    };
    let (mut staff, mut others) = (Vec::new(), Vec::new());
    for _ in 0..EACH / 100 {
        staff.extend(join_all((0..100).map(|_| open("staff"))).await);
        others.extend(join_all((0..100).map(|_| open("other"))).await);
    }
    let publisher = Publisher::start(gateway.admin, "news", Duration::from_millis(20));
    let changed = Instant::now();
    file.write(&spec("claims.role == 'staff'"));
    let told = join_all(others.iter_mut().map(async |socket| {
        let told = &socket.json_of_type("unsubscribed").await["data"];
        assert_eq!((&told["channel"], &told["reason"]), (&json!("news"), &json!("permission_changed")));
        changed.elapsed()
    }))
    .await;
    let sent = publisher.end();
    join_all(staff.iter_mut().map(async |socket| {
        for next in 0..sent {
            let message = socket.json().await;
            assert_eq!(message["data"], json!(next), "in order, each once: {message}");
        }
    }))
    .await;
    let last = *told.iter().max().unwrap();
    eprintln!(
        "{} subscriptions ended, the last {last:?} after the file's change; {sent} publications meanwhile",
        told.len()
    );
    assert!(last < NOTICED + Duration::from_secs(1), "{last:?}");
    assert_eq!(gateway.metric("rtgw_connections", "") as usize, 2 * EACH, "no socket closes");
    // Who lost the channel hears nothing more of it, and is let in again when the rule says so.
    others[0].send(&json!({"type": "subscribe", "channel": "news"})).await;
    let refused = others[0].json_of_type("error").await;
    assert_eq!(refused["data"]["code"], "forbidden", "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_reloads_lose_no_publication_and_no_handshake() {
    const LAST: u64 = 1 << 40;
    let spec = |number: u32| {
        manifest(&format!(
            "{ISSUER}endpoints: [{{name: ws, path: /ws, envelope: {}, greeting: {{disabled: true}}, metadata: {}}}]\n\
             channels: [{{pattern: 'other:{{x{number}}}'}}, {{pattern: 'room:{{id}}', subscribe: \"user != ''\"}}]\n\
             limits: {{pod: {{handshakesPerSecond: 100000}}, connection: {{subscriptions: {}}}}}",
            if number.is_multiple_of(2) { "Typed" } else { "Event" },
            number.is_multiple_of(3),
            10 + number
        ))
    };
    let file = Manifest::new("twenty", &spec(0));
    let gateway = file.serve(&[]);
    let url = format!("{}?token={}", gateway.url("/ws"), token(KEY, json!({"sub": "u"})));
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut socket = Socket::open(&url).await;
        socket.send(&json!({"type": "subscribe", "channel": "room:1"})).await;
        socket.json_of_type("subscribed").await;
        readers.push(tokio::spawn(async move {
            for next in 0.. {
                let message = socket.json().await;
                assert_eq!(message["type"], "n", "dressed as it was admitted: {message}");
                if message["data"] == json!(LAST) {
                    return next;
                }
                assert_eq!(message["data"], json!(next), "in order, each once: {message}");
            }
            0
        }));
    }
    let publisher = Publisher::start(gateway.admin, "room:1", Duration::ZERO);
    let mut handshakes = 0;
    for number in 1..=20 {
        let before = reloads(&gateway, "accepted");
        file.write(&spec(number));
        gateway.process.signal("HUP");
        while reloads(&gateway, "accepted") == before {
            let mut socket = Socket::open(&url).await;
            socket.send(&json!({"type": "subscribe", "channel": "room:1"})).await;
            // Whatever dresses it: the confirmation names the channel.
            while socket.json().await["data"]["channel"] != "room:1" {}
            handshakes += 1;
        }
    }
    let sent = publisher.end();
    assert_eq!(reloads(&gateway, "refused"), 0, "{}", gateway.process.stderr());
    eprintln!("{sent} publications and {handshakes} handshakes during 20 reloads");
    assert!(sent > 100 && handshakes > 20);
    publish(gateway.admin, "room:1", LAST);
    for heard in join_all(readers).await {
        assert_eq!(heard.unwrap(), sent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_refused_whole_and_the_old_goes_on() {
    let good = "auth: {anonymous: Allow}\nendpoints: [{name: ws, path: /ws}]\nchannels: [{pattern: a, subscribe: 'true'}]";
    let file = Manifest::new("refused", &manifest(good));
    let gateway = file.serve(&[]);
    let before = revision(&gateway);
    let state = |path: &str| http::get(gateway.admin, path).json()["config"].clone();
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    let wrong = [
        manifest("endpoints: [{name: ws, path: ws}]\nchannels: [{pattern: 'a:{', subscribe: 'true'}]"),
        String::new(),
        "a: [".to_owned(),
        manifest(&format!("{good}\nredis: {{external: {{url: 'redis://127.0.0.1:1'}}}}")),
    ];
    for (number, content) in (1_u64..).zip(&wrong) {
        file.write(content);
        eventually("it is refused", || (reloads(&gateway, "refused") == number).then_some(()));
        assert_eq!((state("/readyz"), state("/v1/info")), (json!("refused"), json!("refused")));
        assert_eq!(revision(&gateway), before);
    }
    fs::remove_file(&file.0).unwrap();
    eventually("a missing file is refused", || (reloads(&gateway, "refused") == 5).then_some(()));
    let said = gateway.process.stderr();
    for part in
        ["spec.endpoints[0].path", "spec.channels[0].pattern", "is empty", "spec.redis", "no such file"]
    {
        assert!(said.contains(part), "{part} is missing in:\n{said}");
    }
    // The old one serves who was there and who comes.
    socket.send(&json!({"type": "subscribe", "channel": "a"})).await;
    socket.json_of_type("subscribed").await;
    Socket::open(&gateway.url("/ws")).await;
    file.write(&manifest(good));
    reloaded(&gateway, 0);
    assert_eq!((state("/readyz"), revision(&gateway)), (json!("accepted"), before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_come_and_go() {
    let spec = |endpoints: &str| {
        manifest(&format!(
            "auth: {{anonymous: Allow}}\nendpoints: [{endpoints}]\nchannels: [{{pattern: a, subscribe: 'true'}}]"
        ))
    };
    let (old, new) = (
        "{name: old, path: /old}",
        "{name: new, path: /new, greeting: {message: '{\"hello\": 1}'}, metadata: true}",
    );
    let file = Manifest::new("endpoints", &spec(&format!("{{name: ws, path: /ws}}, {old}")));
    let gateway = file.serve(&[]);
    let mut kept = Socket::open(&gateway.url("/ws")).await;
    let mut leaving = Socket::open(&gateway.url("/old")).await;
    assert_eq!(Socket::try_open(&gateway.url("/new"), &[]).await.err().unwrap().status(), 404);
    file.write(&spec(&format!("{new}, {{name: ws, path: /socket}}")));
    let close = leaving.closed().await.unwrap();
    assert_eq!(u16::from(close.code), 1012);
    assert!(close.reason.starts_with("reconnect;after="), "{close:?}");
    assert_eq!(Socket::try_open(&gateway.url("/old"), &[]).await.err().unwrap().status(), 404);
    assert_eq!(Socket::try_open(&gateway.url("/ws"), &[]).await.err().unwrap().status(), 404);
    let mut fresh = Socket::open(&gateway.url("/new")).await;
    assert_eq!(fresh.json().await, json!({"hello": 1}));
    Socket::open(&gateway.url("/socket")).await;
    for socket in [&mut kept, &mut fresh] {
        socket.send(&json!({"type": "subscribe", "channel": "a"})).await;
        socket.json_of_type("subscribed").await;
    }
    publish(gateway.admin, "a", 7);
    let (plain, rich) = (kept.json_of_type("n").await, fresh.json_of_type("n").await);
    assert_eq!((plain.get("channel"), &rich["channel"]), (None, &json!("a")));
    assert_eq!(gateway.metric("rtgw_handshakes_total", "endpoint=\"new\",result=\"accepted\""), 1.0);
    assert_eq!(gateway.metric("rtgw_connections", "endpoint=\"old\""), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_rotate_and_issuers_go() {
    let spec = |issuers: &str| {
        format!(
            "auth:\n  issuers: [{issuers}]\nendpoints: [{{name: ws, path: /ws}}]\nchannels: [{{pattern: a}}]"
        )
    };
    let (one, two) = (KEY, "abcdefabcdefabcdefabcdefabcdefab");
    let app = "name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}";
    let file = Manifest::new("keys", &with_keys(&spec(&format!("{{{app}}}")), &[("jwt", one)]));
    let gateway = file.serve(&[]);
    let enters = async |key: &str| {
        let url = format!("{}?token={}", gateway.url("/ws"), token(key, json!({"sub": "u"})));
        Socket::try_open(&url, &[]).await.map_err(|answer| answer.status().as_u16())
    };
    let mut live = enters(one).await.unwrap();
    assert_eq!(enters(two).await.err(), Some(401));
    let both = format!("{{{app}, previousSecretRef: {{name: auth, key: before}}}}");
    file.write(&with_keys(&spec(&both), &[("jwt", two), ("before", one)]));
    reloaded(&gateway, 0);
    assert!(enters(one).await.is_ok() && enters(two).await.is_ok());
    // Only the Secret changes, to a value of the same length.
    file.write(&with_keys(&spec(&both), &[("jwt", two), ("before", two)]));
    reloaded(&gateway, 1);
    assert_eq!(enters(one).await.err(), Some(401));
    assert!(enters(two).await.is_ok());
    file.write(&with_keys(&spec("{name: other, algorithms: [HS256], secretRef: {name: auth, key: jwt}, issuer: https://other.test}"), &[("jwt", two)]));
    reloaded(&gateway, 2);
    assert_eq!(enters(two).await.err(), Some(401));
    // Claims that were proven are kept.
    live.send(&json!({"type": "subscribe", "channel": "a"})).await;
    live.json_of_type("subscribed").await;
    let said = gateway.process.stderr();
    assert!(
        said.contains("Secret/auth.before") && said.contains("spec.auth.issuers[app] (removed)"),
        "{said}"
    );
    assert!(!said.contains(one) && !said.contains(two), "no secret is logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_generation_is_ignored_and_last_good_is_fallen_back_to() {
    let config = |generation: u64, channel: &str| {
        format!(
            "version: 1\ngeneration: {generation}\nname: test\nnamespace: default\nspec:\n  auth: {{anonymous: Allow}}\n  \
             endpoints: [{{name: ws, path: /ws}}]\n  channels: [{{pattern: {channel}, subscribe: 'true'}}]\n"
        )
    };
    let folder = std::env::temp_dir().join(format!("rtgw-generation-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (path, good) = (folder.join("config.yaml"), folder.join("last-good.yaml"));
    fs::write(&path, config(9, "'wrong:{'")).unwrap();
    fs::write(&good, config(8, "eight")).unwrap();
    let gateway = Gateway::serve(&path, &[]);
    let info = || http::get(gateway.admin, "/v1/info").json();
    assert_eq!((&info()["channels"], &info()["config"]), (&json!(["eight"]), &json!("refused")));
    fs::write(&path, config(10, "ten")).unwrap();
    reloaded(&gateway, 0);
    fs::write(&path, config(9, "nine")).unwrap();
    eventually("it is ignored", || (reloads(&gateway, "ignored") == 1).then_some(()));
    assert_eq!((&info()["channels"], &info()["config"]), (&json!(["ten"]), &json!("accepted")));
    fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_leave_nothing_behind() {
    let spec = |number: usize| {
        let channels: String = (0..128)
            .map(|at| {
                format!(
                    "- {{pattern: 'c{at}:{{id}}', subscribe: \"id in claims.list || user == 'u{number}'\"}}\n"
                )
            })
            .collect();
        manifest(&format!(
            "auth: {{anonymous: Allow}}\nendpoints: [{{name: ws, path: /ws}}]\nchannels:\n{channels}"
        ))
    };
    let file = Manifest::new("hundred", &spec(0));
    let gateway = file.serve(&[]);
    let _socket = Socket::open(&gateway.url("/ws")).await;
    let mut reload = |number: usize| {
        let before = reloads(&gateway, "accepted");
        file.write(&spec(number));
        gateway.process.signal("HUP");
        reloaded(&gateway, before);
    };
    let resident = || gateway.metric("process_resident_memory_bytes", "") / 1e6;
    (1..=20).for_each(&mut reload);
    let before = resident();
    (21..=120).for_each(&mut reload);
    let after = resident();
    eprintln!("resident after 20 reloads {before:.1} MB, after 120 {after:.1} MB");
    // Kept, a hundred snapshots of 128 rules would be more than a hundred megabytes.
    assert!(after - before < 40.0, "{before} -> {after}");
}
