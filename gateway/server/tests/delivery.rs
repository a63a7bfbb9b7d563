//! Policies of delivery, on a running gateway and real sockets.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::gateway::Gateway;
use support::socket::Socket;
use support::{PATIENCE, eventually, http};

/// What `5/s` and `1/200ms` say.
const INTERVAL: Duration = Duration::from_millis(200);
const MANIFEST: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: delivery}
spec:
  endpoints:
  - {name: ws, path: /ws, greeting: {disabled: true}}
  - {name: packed, path: /packed, greeting: {disabled: true}, compression: {mode: Shared, minBytes: 64}}
  auth: {anonymous: Allow}
  channels:
  - pattern: dashboard:admins
    subscribe: 'true'
    delivery: {maxRate: 5/s, events: [dashboard-stats-update, system-metrics-update]}
  - {pattern: jobs, subscribe: 'true', filters: {job_ids: job_id}, delivery: {maxRate: 1/200ms, conflate: step}}
  - {pattern: feed, subscribe: 'true', delivery: {batch: 1s}}
  - {pattern: alarms, subscribe: 'true', delivery: {priority: High}}
  - {pattern: history, subscribe: 'true', delivery: {priority: Low}}
  - {pattern: secrets, subscribe: 'true', delivery: {sensitive: true}}
  - {pattern: 'plain:{x}', subscribe: 'true'}
  limits: {connection: {queueBytes: 64Mi, queueMessages: 10000}}
";

fn serve(name: &str) -> Gateway {
    let path = std::env::temp_dir().join(format!("rtgw-delivery-{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, MANIFEST).unwrap();
    // One shard, so that its numbers are the gateway's.
    let gateway = Gateway::serve(&path, &["--shards", "1"]);
    std::fs::remove_file(path).unwrap();
    gateway
}

async fn subscriber(gateway: &Gateway, subscribe: &[Value]) -> Socket {
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    for data in subscribe {
        socket.send(&json!({"type": "subscribe", "data": data})).await;
        socket.json_of_type("subscribed").await;
    }
    socket
}

#[track_caller]
fn publish(gateway: &Gateway, channels: &[&str], event: &str, data: &Value, tags: &Value) {
    let body = json!({"channels": channels, "event": event, "data": data, "tags": tags});
    let answer = http::post(gateway.admin, "/v1/broadcast", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The numbers of each event in the order heard, until `last` of it came.
async fn numbers(socket: &mut Socket, until: &[(&str, u64)]) -> Vec<(String, u64)> {
    let mut heard: Vec<(String, u64)> = Vec::new();
    let came = |heard: &[(String, u64)], (event, number): &(&str, u64)| {
        heard.iter().any(|(known, at)| known == event && at == number)
    };
    while !until.iter().all(|one| came(&heard, one)) {
        let message = socket.json().await;
        heard.push((message["type"].as_str().unwrap().to_owned(), message["data"]["n"].as_u64().unwrap()));
    }
    heard
}

fn of(heard: &[(String, u64)], event: &str) -> Vec<u64> {
    heard.iter().filter(|(known, _)| known == event).map(|(_, number)| *number).collect()
}

#[tokio::test]
async fn a_dashboard_hears_its_numbers_at_a_rate_and_everything_else_at_once() {
    let gateway = serve("dashboard");
    let admins = [json!({"channel": "dashboard:admins"})];
    let mut clients = [subscriber(&gateway, &admins).await, subscriber(&gateway, &admins).await];
    let began = Instant::now();
    const ROUNDS: u64 = 150;
    for n in 0..ROUNDS {
        let data = json!({"n": n});
        for event in ["dashboard-stats-update", "system-metrics-update", "execution-started"] {
            publish(&gateway, &["dashboard:admins"], event, &data, &json!({}));
        }
    }
    let last = ROUNDS - 1;
    let until =
        [("dashboard-stats-update", last), ("system-metrics-update", last), ("execution-started", last)];
    let mut heard = Vec::new();
    for client in &mut clients {
        heard.push(numbers(client, &until).await);
    }
    let most = began.elapsed().as_millis() / INTERVAL.as_millis() + 1;
    assert_eq!(heard[0], heard[1], "members of one shard hear the same");
    assert_eq!(of(&heard[0], "execution-started"), (0..ROUNDS).collect::<Vec<_>>());
    let mut superseded = 0;
    for event in ["dashboard-stats-update", "system-metrics-update"] {
        let numbers = of(&heard[0], event);
        assert_eq!(numbers.first(), Some(&0), "{event}: the first goes at once");
        assert_eq!(numbers.last(), Some(&last), "{event}: the last always comes");
        assert!(numbers.is_sorted(), "{event}: {numbers:?}");
        assert!(numbers.len() as u128 <= most, "{event}: {} came where {most} may", numbers.len());
        superseded += ROUNDS - numbers.len() as u64;
    }
    assert!(superseded > 0, "nothing was throttled");
    let counted = gateway.metric("rtgw_superseded_total", r#"pattern="dashboard:admins""#);
    assert_eq!(counted, superseded as f64);
    assert_eq!(gateway.metric("rtgw_dropped_total", "") + gateway.metric("rtgw_gaps_total", ""), 0.0);
    assert_eq!(gateway.metric("rtgw_held_bytes", ""), 0.0);
}

#[tokio::test]
async fn filtered_clients_hear_the_last_of_what_they_asked_for() {
    let gateway = serve("filters");
    let mut all = subscriber(&gateway, &[json!({"channel": "jobs"})]).await;
    let mut one = subscriber(&gateway, &[json!({"channel": "jobs", "filters": {"job_ids": ["b"]}})]).await;
    for n in 0..40 {
        let tags = |job: &str| json!({"job_id": job, "step": "x", "host": n.to_string()});
        publish(&gateway, &["jobs"], "progress", &json!({"n": n}), &tags("b"));
        // Newer, and nothing that the second client wants.
        publish(&gateway, &["jobs"], "progress", &json!({"n": 100 + n}), &tags("a"));
        publish(
            &gateway,
            &["jobs"],
            "progress",
            &json!({"n": 200 + n}),
            &json!({"job_id": "b", "step": "y"}),
        );
    }
    let last = [("progress", 39), ("progress", 239)];
    let narrow = of(&numbers(&mut one, &last).await, "progress");
    let wide = of(&numbers(&mut all, &[last[0], last[1], ("progress", 139)]).await, "progress");
    assert!(narrow.iter().all(|n| !(100..200).contains(n)), "{narrow:?}");
    assert!(narrow.len() < 80 && wide.len() < 120, "nothing was throttled: {narrow:?} {wide:?}");
    assert!(narrow.contains(&0) && narrow.contains(&200));
}

#[tokio::test]
async fn batches_leave_together_and_hold_nobody_else_up() {
    let gateway = serve("batches");
    let channels = [json!({"channel": "feed"}), json!({"channel": "plain:x"})];
    let mut socket = subscriber(&gateway, &channels).await;
    let writes = || gateway.metric("rtgw_socket_writes_total", "");
    let began = Instant::now();
    for n in 0..5 {
        publish(&gateway, &["feed"], "item", &json!({"n": n}), &json!({}));
    }
    publish(&gateway, &["plain:x"], "other", &json!({"n": 0}), &json!({}));
    let first = socket.json().await;
    // Only where the machine was so slow that the window had closed before the sixth was published may the others be first.
    if began.elapsed() < Duration::from_millis(900) {
        assert_eq!(first["type"], "other", "{first}");
        let before = writes();
        let heard = numbers(&mut socket, &[("item", 4)]).await;
        assert_eq!(of(&heard, "item"), [0, 1, 2, 3, 4]);
        assert!(began.elapsed() >= Duration::from_millis(950), "came after {:?}", began.elapsed());
        // Figures may be 200 ms old.
        eventually("the write is counted", || (writes() > before).then_some(()));
        assert_eq!(writes() - before, 1.0, "five publications in one write");
    }
}

#[tokio::test]
async fn important_channels_pass_others_where_a_client_is_slow() {
    let gateway = serve("lanes");
    let channels = [json!({"channel": "history"}), json!({"channel": "alarms"})];
    let mut socket = subscriber(&gateway, &channels).await;
    // More than the kernel's buffers hold, while nobody reads.
    const PAGES: u64 = 400;
    let page = "x".repeat(64 * 1024);
    for n in 0..PAGES {
        publish(&gateway, &["history"], "page", &json!({"n": n, "page": page}), &json!({}));
    }
    eventually("the socket takes no more", || {
        (gateway.metric("rtgw_outbound_bytes", "") > 1_000_000.0).then_some(())
    });
    for n in 0..20 {
        publish(&gateway, &["alarms"], "alarm", &json!({"n": n}), &json!({}));
    }
    let heard = numbers(&mut socket, &[("page", PAGES - 1), ("alarm", 19)]).await;
    assert_eq!(of(&heard, "page"), (0..PAGES).collect::<Vec<_>>());
    assert_eq!(of(&heard, "alarm"), (0..20).collect::<Vec<_>>());
    let pages_after = heard.iter().rev().take_while(|(event, _)| event == "page").count();
    assert!(pages_after > 5, "alarms came behind {} of {PAGES} pages", PAGES - pages_after as u64);
    // A lower lane has its share all the same.
    let first = heard.iter().position(|(event, _)| event == "alarm").unwrap();
    let among = heard[first..heard.len() - pages_after].iter().filter(|(event, _)| event == "page").count();
    assert!((1..=4).contains(&among), "{among} pages among 20 alarms");
}

/// A socket that negotiated compression, to look at frames as they are.
struct Packed(TcpStream);

impl Packed {
    fn open(gateway: &Gateway, channels: &[&str]) -> Self {
        let mut stream = TcpStream::connect(gateway.public).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /packed HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
            gateway.public
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("permessage-deflate"), "{head}");
        let mut socket = Self(stream);
        for channel in channels {
            let command = json!({"type": "subscribe", "data": {"channel": channel}}).to_string();
            // Masked with zeros, which changes nothing.
            let mut frame = vec![0x81, 0x80 | u8::try_from(command.len()).unwrap(), 0, 0, 0, 0];
            frame.extend_from_slice(command.as_bytes());
            socket.0.write_all(&frame).unwrap();
            let (_, answer) = socket.frame();
            assert!(String::from_utf8_lossy(&answer).contains("subscribed"));
        }
        socket
    }

    /// Whether the next text frame is compressed, and its payload.
    fn frame(&mut self) -> (bool, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        assert_eq!(head[0] & 0x0f, 1, "a text frame");
        (head[0] & 0x40 != 0, payload)
    }
}

#[test]
fn what_a_sensitive_channel_carries_is_compressed_for_nobody() {
    let gateway = serve("sensitive");
    let mut hears_both = Packed::open(&gateway, &["secrets", "plain:x"]);
    let mut hears_plain = Packed::open(&gateway, &["plain:x"]);
    let data = json!({"text": "the same over and over ".repeat(20)});
    publish(&gateway, &["plain:x"], "e", &data, &json!({}));
    assert!(hears_both.frame().0 && hears_plain.frame().0, "compression is on");
    publish(&gateway, &["secrets"], "e", &data, &json!({}));
    let (compressed, payload) = hears_both.frame();
    assert!(!compressed && String::from_utf8(payload).unwrap().contains("over and over"));
    // Heard by a channel that is not sensitive, and not compressed all the same; nor where nobody hears the sensitive one.
    publish(&gateway, &["plain:x", "secrets"], "e", &data, &json!({}));
    assert!(!hears_both.frame().0 && !hears_plain.frame().0);
    drop(hears_both);
    eventually("the sensitive channel has no subscriber", || {
        (gateway.metric("rtgw_subscriptions", r#"pattern="secrets""#) == 0.0).then_some(())
    });
    publish(&gateway, &["plain:x", "secrets"], "e", &data, &json!({}));
    assert!(!hears_plain.frame().0);
    publish(&gateway, &["plain:x"], "e", &data, &json!({}));
    assert!(hears_plain.frame().0);
}
