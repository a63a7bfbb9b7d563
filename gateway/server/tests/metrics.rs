//! Numbers that an engineer on call acts on: how long publications take, and why connections end.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::SinkExt;
use serde_json::json;
use support::gateway::Gateway;
use support::redis::Redis;
use support::socket::Socket;
use support::{eventually, http};
use tokio_tungstenite::tungstenite::Message;

const TIMES: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: times}
spec:
  endpoints: [{name: ws, path: /ws, autoSubscribe: [{channel: a}, {channel: b}]}]
  auth: {anonymous: Allow}
  channels: [{pattern: a, subscribe: 'true'}, {pattern: b, subscribe: 'true'}]
  sources:
  - name: clocked
    redisPubSub: {channels: [clocked]}
    publish: [{channels: [b], event: \"'e'\", data: '1', timestamp: msg.at}]
";

const ENDS: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: ends}
spec:
  endpoints:
  - {name: ws, path: /ws, heartbeat: {interval: 25s, timeout: 60s}}
  - {name: silent, path: /silent, heartbeat: {interval: 1s, timeout: 2s}}
  - {name: idle, path: /idle, heartbeat: {interval: 25s, timeout: 60s, idle: 1s}}
  auth: {anonymous: Allow}
  channels: [{pattern: a, subscribe: 'true'}]
  limits: {connection: {messageBytes: 128, messagesPerSecond: 1, burst: 2}}
";

fn serve(name: &str, manifest: &str, arguments: &[&str]) -> Gateway {
    let path: PathBuf = std::env::temp_dir().join(format!("rtgw-{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, manifest).unwrap();
    let gateway = Gateway::serve(&path, arguments);
    std::fs::remove_file(path).unwrap();
    gateway
}

/// The buckets of a histogram, `(le, count)` in the order of the page, and its count and sum.
fn histogram(gateway: &Gateway, name: &str, label: &str) -> (Vec<(f64, f64)>, f64, f64) {
    let page = http::get(gateway.admin, "/metrics").body;
    let bucket = format!("{name}_bucket{{");
    let buckets = page.lines().filter(|line| line.starts_with(&bucket) && line.contains(label)).map(|line| {
        let (labels, count) = line.rsplit_once(' ').unwrap();
        let le = labels.split("le=\"").nth(1).unwrap().split('"').next().unwrap();
        (if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() }, count.parse().unwrap())
    });
    let buckets = buckets.collect();
    let whole = |what: &str| gateway.metric(&format!("{name}_{what}"), label);
    (buckets, whole("count"), whole("sum"))
}

fn check_buckets(buckets: &[(f64, f64)], count: f64) {
    assert_eq!(buckets.len(), 14, "{buckets:?}");
    assert!(buckets.is_sorted_by(|one, next| one.0 < next.0), "{buckets:?}");
    assert!(buckets.is_sorted_by(|one, next| one.1 <= next.1), "not cumulative: {buckets:?}");
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)));
}

/// How many observations are at most `bound`.
fn below(buckets: &[(f64, f64)], bound: f64) -> f64 {
    buckets.iter().find(|(le, _)| *le == bound).unwrap_or_else(|| panic!("{bound} in {buckets:?}")).1
}

#[tokio::test]
async fn fan_out_is_timed_by_pattern_in_cumulative_buckets() {
    let gateway = serve("fan-out", TIMES, &["--shards", "1"]);
    let (buckets, count, sum) = histogram(&gateway, "rtgw_fanout_seconds", "pattern=\"a\"");
    check_buckets(&buckets, 0.0);
    assert_eq!((count, sum), (0.0, 0.0));
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    socket.json_of_type("connected").await;
    const PUBLICATIONS: u32 = 20;
    for number in 0..PUBLICATIONS {
        let body = json!({"channel": "a", "event": "e", "data": number});
        assert_eq!(http::post(gateway.admin, "/v1/publish", &body).status, 200);
        assert_eq!(socket.json_of_type("e").await["data"], number);
    }
    let name = "rtgw_fanout_seconds";
    let all = f64::from(PUBLICATIONS);
    eventually("every fan-out is counted", || {
        (histogram(&gateway, name, "pattern=\"a\"").1 == all).then_some(())
    });
    let (buckets, count, sum) = histogram(&gateway, name, "pattern=\"a\"");
    check_buckets(&buckets, count);
    // A write to a socket takes microseconds: a clock of milliseconds would put most of them at zero.
    assert_eq!(below(&buckets, 10.0), all);
    assert!(below(&buckets, 0.000_01) < all, "all within 10 us: {buckets:?}");
    assert!(sum > 0.0 && sum < 10.0 * all, "{sum}");
    assert_eq!(histogram(&gateway, name, "pattern=\"b\"").1, 0.0, "the other pattern heard nothing");
    assert_eq!(histogram(&gateway, "rtgw_end_to_end_seconds", "source=\"api\"").1, all);
    // Without a subscriber nothing is fanned out.
    drop(socket);
    eventually("the socket is gone", || (gateway.metric("rtgw_connections", "") == 0.0).then_some(()));
    http::post(gateway.admin, "/v1/publish", &json!({"channel": "a", "event": "e", "data": 0}));
    assert_eq!(histogram(&gateway, name, "pattern=\"a\"").1, all);
}

#[tokio::test]
async fn the_age_of_a_message_is_measured_from_its_own_clock_whatever_that_says() {
    let redis = Redis::start();
    let gateway = serve("ages", TIMES, &["--redis", &redis.url()]);
    redis.wait_for_subscriber("clocked");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let ages = || histogram(&gateway, "rtgw_end_to_end_seconds", "source=\"clocked\"");
    let after = |messages: f64| {
        eventually("the messages are counted", || (ages().1 == messages).then_some(()));
        let (buckets, count, sum) = ages();
        check_buckets(&buckets, count);
        (buckets, sum)
    };
    redis.cli(&["PUBLISH", "clocked", &json!({"at": now - 20_000}).to_string()]);
    let (buckets, sum) = after(1.0);
    assert_eq!((below(&buckets, 10.0), below(&buckets, 100.0)), (0.0, 1.0));
    assert!((20.0..60.0).contains(&sum), "{sum}");
    // From a clock that runs ahead: no age below zero.
    redis.cli(&["PUBLISH", "clocked", &json!({"at": now + 3_600_000}).to_string()]);
    let (buckets, sum) = after(2.0);
    assert_eq!(below(&buckets, 0.001), 1.0);
    assert!((20.0..60.0).contains(&sum), "{sum}");
    // Of the year 2001: above every bucket, and no more than an hour in the sum.
    redis.cli(&["PUBLISH", "clocked", &json!({"at": 1_000_000_000_000_i64}).to_string()]);
    let (buckets, sum) = after(3.0);
    assert_eq!(below(&buckets, 1000.0), 2.0);
    assert!((3_620.0..3_660.0).contains(&sum), "{sum}");
    // Without a time of its own: from when it was heard.
    redis.cli(&["PUBLISH", "clocked", "{}"]);
    let (buckets, _) = after(4.0);
    assert_eq!(below(&buckets, 10.0), 2.0);
}

#[tokio::test]
async fn every_end_of_a_connection_says_why() {
    let gateway = serve("ends", ENDS, &[]);
    let count = |labels: &str| gateway.metric("rtgw_closes_total", labels);
    let counted = |endpoint: &str, code: u16, reason: &str| {
        let labels = format!("endpoint=\"{endpoint}\",code=\"{code}\",reason=\"{reason}\"");
        eventually(&labels, || (count(&labels) == 1.0).then_some(()));
    };
    let silent = Socket::open(&gateway.url("/silent")).await;
    let mut idle = Socket::open(&gateway.url("/idle")).await;

    let mut polite = Socket::open(&gateway.url("/ws")).await;
    polite.0.close(None).await.unwrap();
    counted("ws", 1005, "client");
    drop(Socket::open(&gateway.url("/ws")).await);
    counted("ws", 0, "lost");
    let mut large = Socket::open(&gateway.url("/ws")).await;
    large.0.send(Message::text("x".repeat(129))).await.unwrap();
    large.closed().await;
    counted("ws", 1009, "too_big");
    let mut binary = Socket::open(&gateway.url("/ws")).await;
    binary.0.send(Message::binary(vec![0])).await.unwrap();
    binary.closed().await;
    counted("ws", 1003, "protocol_error");
    let mut hasty = Socket::open(&gateway.url("/ws")).await;
    for _ in 0..20 {
        // The gateway may have closed by now.
        drop(hasty.0.send(Message::text("ping")).await);
    }
    counted("ws", 4429, "rate");
    idle.closed().await;
    counted("idle", 4408, "idle");
    // It never reads, so it never answers a ping.
    counted("silent", 4408, "heartbeat");
    drop(silent);
}

const ROOM: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: room}
spec:
  endpoints:
  - {name: ws, path: /ws, greeting: {disabled: true}}
  - {name: own, path: /own, greeting: {disabled: true}, autoSubscribe: [{channel: 'room:{connection.query.n}'}]}
  auth: {anonymous: Allow}
  channels: [{pattern: 'room:{n}', subscribe: 'true'}]
  limits: {pod: {channels: 3}}
";

#[tokio::test]
async fn a_pod_carries_so_many_channels_and_no_more() {
    let gateway = serve("room", ROOM, &["--shards", "2"]);
    let held = |channels: f64| {
        eventually("the channels are counted", || {
            (gateway.metric("rtgw_channels", "") == channels).then_some(())
        });
    };
    assert_eq!(gateway.metric("rtgw_channel_capacity", ""), 3.0);
    let subscribe = |room: u32| json!({"type": "subscribe", "channel": format!("room:{room}")});
    let own = Socket::open(&gateway.url("/own?n=0")).await;
    held(1.0);
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    for room in 1..3 {
        socket.send(&subscribe(room)).await;
        assert_eq!(socket.json().await["type"], "subscribed");
    }
    held(3.0);
    socket.send(&subscribe(3)).await;
    let answer = socket.json().await;
    assert_eq!(
        (&answer["type"], &answer["data"]["code"]),
        (&json!("error"), &json!("not_available")),
        "{answer}"
    );
    assert_eq!(answer["data"]["temporary"], true);
    assert!(answer["data"]["message"].as_str().unwrap().contains("channels"), "{answer}");
    // A page may be 200 ms old.
    let refused = "type=\"subscribe\",result=\"not_available\"";
    eventually("the refusal is counted", || {
        (gateway.metric("rtgw_commands_total", refused) == 1.0).then_some(())
    });
    // A channel that the pod carries costs nothing more, on whichever shard.
    socket.send(&subscribe(0)).await;
    assert_eq!(socket.json().await["type"], "subscribed");
    let _known = Socket::open(&gateway.url("/own?n=1")).await;
    let answer = Socket::try_open(&gateway.url("/own?n=9"), &[]).await.err().expect("a refusal");
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let body = String::from_utf8(answer.into_body().unwrap()).unwrap();
    assert!(body.contains("channels_full"), "{body}");
    assert_eq!(gateway.metric("rtgw_handshakes_total", "endpoint=\"own\",result=\"channels_full\""), 1.0);
    eventually("the refused one holds no place", || {
        (gateway.metric("rtgw_connections", "") == 3.0).then_some(())
    });
    // Whoever leaves makes room.
    socket.send(&json!({"type": "unsubscribe", "channel": "room:2"})).await;
    assert_eq!(socket.json().await["type"], "unsubscribed");
    held(2.0);
    socket.send(&subscribe(3)).await;
    assert_eq!(socket.json().await["type"], "subscribed");
    drop(own);
}

const KEEPS: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: keeps}
spec:
  endpoints: [{name: ws, path: /ws, autoSubscribe: [{channel: kept}]}]
  auth: {anonymous: Allow}
  channels: [{pattern: kept, subscribe: 'true', history: {mode: Stream, size: 10, ttl: 1m}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_in_doubt_after_redis_has_forgotten_are_counted() {
    let redis = Redis::start();
    let gateway = serve("keeps", KEEPS, &["--redis", &redis.url()]);
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    let publish = |number: u32| {
        let body = json!({"channels": ["kept"], "event": "n", "data": number});
        eventually("the publication is taken", || {
            (http::post(gateway.admin, "/v1/publish", &body).status == 200).then_some(())
        });
    };
    publish(1);
    socket.json_of_type("n").await;
    let page = http::get(gateway.admin, "/metrics").body;
    assert!(page.contains("rtgw_broker_reset_channels_total{shard=\"0\"} 0"), "{page}");
    redis.cli(&["FLUSHALL"]);
    publish(2);
    let gap = socket.json_of_type("gap").await;
    assert_eq!(gap["data"], json!({"channel": "kept", "reason": "broker_reset"}));
    assert_eq!(gateway.metric("rtgw_broker_reset_channels_total", "shard=\"0\"") as u64, 1);
    let topics = redis.cli(&["PUBSUB", "CHANNELS", "*{kept}*"]);
    redis.cli(&["PUBLISH", topics.lines().next().unwrap(), "nonsense"]);
    eventually("what cannot be read is counted", || {
        (gateway.metric("rtgw_broker_malformed_total", "") as u64 == 1).then_some(())
    });
}
