//! The bounds of each connection and of the pod's door, one test for each: what is refused, with which words, and who else notices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod limits_support;
mod support;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use limits_support::{Caller, let_in, serve};
use serde_json::{Value, json};
use support::gateway::Gateway;
use support::http;
use support::socket::Socket;
use tokio::net::TcpSocket;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

async fn enter(gateway: &Gateway) -> Socket {
    Caller::anyone().enters(gateway).await.0
}

fn subscribe(channel: &str) -> Value {
    json!({"type": "subscribe", "id": channel, "data": {"channel": channel}})
}

#[tokio::test]
async fn connection_subscriptions() {
    let gateway = serve("subscriptions", "  limits: {connection: {subscriptions: 3}}");
    let mut socket = enter(&gateway).await;
    for room in ["room:1", "room:2", "room:3", "room:3"] {
        socket.send(&subscribe(room)).await;
        assert_eq!(socket.json().await["type"], "subscribed", "{room}");
    }
    socket.send(&subscribe("room:4")).await;
    let error = socket.json().await;
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("room:4")));
    assert_eq!(error["data"]["code"], "too_many_subscriptions");
    assert_eq!(error["data"]["temporary"], false);
    // It lives, what it left makes room, and what it was refused it does not hear.
    socket.send(&json!({"type": "unsubscribe", "data": {"channel": "room:1"}})).await;
    assert_eq!(socket.json().await["type"], "unsubscribed");
    socket.send(&subscribe("room:5")).await;
    assert_eq!(socket.json().await["type"], "subscribed");
    for channel in ["room:4", "room:5"] {
        http::post(gateway.admin, "/v1/publish", &json!({"channel": channel, "event": channel, "data": 1}));
    }
    assert_eq!(socket.json().await["type"], "room:5");
}

#[tokio::test]
async fn connection_message_bytes() {
    let gateway = serve("message-bytes", "  limits: {connection: {messageBytes: 256}}");
    let padded = |bytes: usize| {
        let frame = json!({"type": "ping", "pad": ""}).to_string().len();
        Message::text(json!({"type": "ping", "pad": "x".repeat(bytes - frame)}).to_string())
    };
    let (mut other, mut socket) = (enter(&gateway).await, enter(&gateway).await);
    futures_util::SinkExt::send(&mut socket.0, padded(256)).await.unwrap();
    assert_eq!(socket.json().await["type"], "pong");
    futures_util::SinkExt::send(&mut socket.0, padded(257)).await.unwrap();
    assert_eq!(u16::from(socket.closed().await.unwrap().code), 1009);
    assert_eq!(gateway.metric("rtgw_closes_total", "code=\"1009\",reason=\"too_big\""), 1.0);
    other.send(&json!({"type": "ping"})).await;
    assert_eq!(other.json().await["type"], "pong");
}

/// A client that reads nothing, through a small window.
async fn deaf(gateway: &Gateway) -> Socket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(gateway.public).await.unwrap();
    let (stream, _) =
        tokio_tungstenite::client_async(gateway.url("/ws"), MaybeTlsStream::Plain(stream)).await.unwrap();
    let mut socket = Socket(stream);
    assert_eq!(socket.json().await["type"], "hello");
    socket.send(&subscribe("room:busy")).await;
    assert_eq!(socket.json().await["type"], "subscribed");
    socket
}

/// Publishes until somebody is closed for reading slowly, and gives how many publications that took.
fn publish_until_one_is_slow(gateway: &Gateway, data: &str) -> u64 {
    let deadline = Instant::now() + support::PATIENCE;
    let mut published = 0;
    while gateway.metric("rtgw_closes_total", "code=\"4430\"") == 0.0 {
        assert!(Instant::now() < deadline, "nobody is slow after {published}");
        let publications: Vec<Value> = (published..published + 10)
            .map(|number| json!({"channel": "room:busy", "event": "busy", "data": {"number": number, "pad": data}}))
            .collect();
        let answer = http::post(gateway.admin, "/v1/batch", &json!({"publications": publications}));
        assert_eq!(answer.status, 200, "{answer:?}");
        published += 10;
    }
    published
}

async fn ends_slow(socket: &mut Socket) {
    let mut next = 0;
    loop {
        match socket.json_or_close().await {
            Ok(message) => {
                assert_eq!(message["data"]["number"], next, "no hole before the close");
                next += 1;
            }
            Err(close) => {
                assert_eq!(u16::from(close.unwrap().code), 4430);
                return;
            }
        }
    }
}

#[tokio::test]
async fn connection_queue_bytes() {
    let gateway = serve("queue-bytes", "  limits: {connection: {queueBytes: 64Ki, queueMessages: 1000000}}");
    let mut slow = deaf(&gateway).await;
    let mut quick = enter(&gateway).await;
    quick.send(&subscribe("room:busy")).await;
    quick.json_of_type("subscribed").await;
    let reading = tokio::spawn(async move {
        let mut heard = 0_u64;
        while heard == 0 || quick.json().await["data"]["number"] != json!(-1) {
            heard += 1;
        }
        heard
    });
    let data = "x".repeat(500);
    let gateway = tokio::task::spawn_blocking(move || {
        publish_until_one_is_slow(&gateway, &data);
        gateway
    })
    .await
    .unwrap();
    http::post(
        gateway.admin,
        "/v1/publish",
        &json!({"channel": "room:busy", "event": "busy", "data": {"number": -1}}),
    );
    reading.await.unwrap();
    ends_slow(&mut slow).await;
    assert_eq!(gateway.metric("rtgw_closes_total", "code=\"4430\""), 1.0);
}

#[tokio::test]
async fn connection_queue_messages() {
    // Far fewer bytes than the queue may hold.
    let gateway = serve("queue-messages", "  limits: {connection: {queueBytes: 1Gi, queueMessages: 10}}");
    let mut slow = deaf(&gateway).await;
    let gateway = tokio::task::spawn_blocking(move || {
        publish_until_one_is_slow(&gateway, &"x".repeat(500));
        gateway
    })
    .await
    .unwrap();
    ends_slow(&mut slow).await;
    drop(gateway);
}

#[tokio::test]
async fn pod_connections() {
    let gateway = serve("pod", "  limits: {pod: {connections: 3}}");
    let anyone = Caller::anyone();
    let tried = join_all((0..30).map(|_| anyone.enter(&gateway))).await;
    let (held, refused): (Vec<_>, Vec<_>) = tried.into_iter().partition(Result::is_ok);
    assert_eq!(held.len(), 3);
    for refusal in refused.into_iter().filter_map(Result::err) {
        assert_eq!((refusal.status, refusal.code.as_str()), (503, "full"));
        assert!((1..=5).contains(&refusal.retry_after.unwrap()));
    }
    let ours = anyone.clone().header("sec-websocket-protocol", "rtgw.json.v1");
    let close = ours.enter(&gateway).await.unwrap().closed().await.unwrap();
    assert_eq!(u16::from(close.code), 1013);
    assert!(close.reason.starts_with("after="), "{close:?}");
    assert_eq!(gateway.metric("rtgw_handshakes_total", "result=\"full\""), 28.0);
    // Full is not unready: who is connected needs this pod.
    assert_eq!(http::get(gateway.admin, "/readyz").status, 200);
    drop(held);
    join_all((0..3).map(|_| let_in(&anyone, &gateway))).await;
}

#[tokio::test]
async fn pod_handshakes_per_second() {
    let gateway = serve("handshakes", "  limits: {pod: {handshakesPerSecond: 10}}");
    let anyone = Caller::anyone();
    let start = Instant::now();
    let tried = join_all((0..100).map(|_| anyone.enter(&gateway))).await;
    let earned = start.elapsed().as_secs() as usize * 10 + 10;
    let (held, refused): (Vec<_>, Vec<_>) = tried.into_iter().partition(Result::is_ok);
    assert!((10..=10 + earned).contains(&held.len()), "{} in {:?}", held.len(), start.elapsed());
    let refused: Vec<_> = refused.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty());
    for refusal in &refused {
        assert_eq!((refusal.status, refusal.code.as_str()), (503, "busy"));
        assert!((1..=5).contains(&refusal.retry_after.unwrap()));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let_in(&anyone, &gateway).await;
}
