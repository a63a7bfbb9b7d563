//! Admission on the running program: a first message and what follows it, and floods of those who never finish.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use support::gateway::{Gateway, rtgw};
use support::socket::Socket;
use support::{eventually, http};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const MANIFEST: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: admission}
spec:
  endpoints:
  - {name: ws, path: /ws, autoSubscribe: [{channel: 'user:{user}'}]}
  - name: page
    path: /page
    envelope: Event
    auth: {tokenFrom: ['Cookie:session'], allowedOrigins: ['https://app.test']}
  auth:
    tokenFrom: [Header, Query, Subprotocol, ApiKeyHeader, FirstMessage]
    issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]
  channels:
  - {pattern: 'room:{room}', publish: user != ''}
  - {pattern: 'user:{id}', subscribe: id == user}
---
apiVersion: v1
kind: Secret
metadata: {name: auth}
stringData: {jwt: 0123456789abcdef0123456789abcdef}
";

/// A gateway and its manifest, which is removed with it.
struct Served {
    gateway: Gateway,
    manifest: PathBuf,
}

impl Served {
    fn new(name: &str) -> Self {
        let manifest =
            std::env::temp_dir().join(format!("rtgw-admission-{name}-{}.yaml", std::process::id()));
        std::fs::write(&manifest, MANIFEST).unwrap();
        Self { gateway: Gateway::serve(&manifest, &[]), manifest }
    }

    /// As a user makes one.
    fn token(&self, sub: &str) -> String {
        let output = rtgw().arg("token").arg("-f").arg(&self.manifest).args(["--sub", sub]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn auth(&self, sub: &str) -> serde_json::Value {
        json!({"type": "auth", "data": {"token": self.token(sub)}})
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A file that cannot be removed is left in the system's own folder for such.
        let _ = std::fs::remove_file(&self.manifest);
    }
}

fn code(close: Result<serde_json::Value, Option<CloseFrame>>) -> u16 {
    close.unwrap_err().expect("a close with a code").code.into()
}

#[tokio::test]
async fn the_answer_to_auth_is_the_greeting_and_commands_may_follow_at_once() {
    let served = Served::new("greeting");
    let mut socket = Socket::open(&served.gateway.url("/ws")).await;
    socket.send(&served.auth("ann")).await;
    socket.send(&json!({"type": "subscribe", "id": 1, "data": {"channel": "room:a"}})).await;
    socket
        .send(&json!({"type": "publish", "id": 2, "data": {"channel": "room:a", "event": "e", "data": 1}}))
        .await;
    let greeting = socket.json().await;
    assert_eq!((&greeting["type"], &greeting["data"]["user"]), (&json!("connected"), &json!("ann")));
    let subscribed = socket.json().await;
    assert_eq!((&subscribed["type"], &subscribed["id"]), (&json!("subscribed"), &json!(1)));
    assert_eq!(socket.json_of_type("e").await["data"], 1);
    // The connection is a session now: a second `auth` is a command that does not exist.
    socket.send(&served.auth("bob")).await;
    assert_eq!(socket.json_of_type("error").await["data"]["code"], "unknown_type");
    // And it hears its own channel, that of the token.
    let body = json!({"channels": ["user:ann"], "event": "hello", "data": {}});
    assert_eq!(http::post(served.gateway.admin, "/v1/publish", &body).status, 200);
    socket.json_of_type("hello").await;

    let mut wrong = Socket::open(&served.gateway.url("/ws")).await;
    wrong.send(&json!({"type": "ping"})).await;
    assert_eq!(code(wrong.json_or_close().await), 4401);
    let mut late = Socket::open(&served.gateway.url("/ws")).await;
    assert_eq!(code(late.json_or_close().await), 4401, "who says nothing");
}

#[tokio::test]
async fn a_page_comes_in_by_its_cookie() {
    let served = Served::new("cookie");
    let cookie = format!("theme=dark; session={}", served.token("ann"));
    let url = served.gateway.url("/page");
    let mut socket = Socket::try_open(&url, &[("origin", "https://app.test"), ("cookie", &cookie)])
        .await
        .unwrap_or_else(|_| panic!("refused"));
    let greeting = socket.json().await;
    assert_eq!((&greeting["event"], &greeting["user"]), (&json!("connected"), &json!("ann")));
    let refused = Socket::try_open(&url, &[("cookie", &cookie)]).await.err().unwrap();
    assert_eq!(refused.status(), 403);
}

#[test]
fn the_command_line_puts_its_token_into_every_place() {
    let served = Served::new("cli");
    for (path, from, origin) in [
        ("/ws", "Header", None),
        ("/ws", "Query", None),
        ("/ws", "Subprotocol", None),
        ("/ws", "ApiKeyHeader", None),
        ("/ws", "FirstMessage", None),
        ("/page", "Cookie:session", Some("https://app.test")),
    ] {
        let mut command = rtgw();
        command.arg("subscribe").arg(served.gateway.url(path)).args(["--count", "1", "--token-from", from]);
        command
            .args(origin.iter().flat_map(|origin| ["--origin", origin]))
            .env("RTGW_TOKEN", served.token("ann"));
        let output = command.output().unwrap();
        let greeting = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && greeting.contains("\"ann\""), "{from}: {greeting}");
    }
    let mut command = rtgw();
    command.arg("subscribe").arg(served.gateway.url("/page")).args([
        "--count",
        "1",
        "--token-from",
        "Cookie:session",
    ]);
    let output = command.env("RTGW_TOKEN", served.token("ann")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("4403: origin_needed"), "{said}");
}

/// Opens `count` connections that say `bytes` and nothing more.
fn flood(to: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    (0..count).map(open).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_that_never_finish_leave_admission_to_others() {
    let served = Served::new("flood");
    let (public, admin) = (served.gateway.public, served.gateway.admin);
    let handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    let halves = flood(public, 400, b"GET /ws HTTP/1.1\r\nHost: a\r\n");
    let waiting = flood(public, 400, format!("{handshake}\r\n").as_bytes());
    let bad = flood(public, 400, format!("{handshake}Authorization: Bearer a.b.c\r\n\r\n").as_bytes());
    let (auth, bearer) = (served.auth("ann"), format!("Bearer {}", served.token("ann")));
    let start = Instant::now();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let url = served.gateway.url("/ws");
        let mut socket = Socket::open(&url).await;
        socket.send(&auth).await;
        assert_eq!(socket.json().await["type"], "connected");
        sockets.push(socket);
        let mut socket =
            Socket::try_open(&url, &[("authorization", &bearer)]).await.unwrap_or_else(|_| panic!("refused"));
        assert_eq!(socket.json().await["type"], "connected");
        sockets.push(socket);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(4), "forty admissions took {took:?} beside the floods");
    // Who gave a bad token was told so; who says nothing is let go, with its code where it was upgraded.
    for mut stream in bad {
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 401");
    }
    let metric = |labels: &str| served.gateway.metric("rtgw_handshakes_total", labels);
    eventually("the waiting ones are let go", || (metric(r#"result="auth_timeout""#) >= 400.0).then_some(()));
    assert_eq!(metric(r#"result="accepted""#), 40.0);
    drop((halves, waiting));
    let stats = http::get(admin, "/metrics").body;
    assert!(stats.contains("rtgw_connections"), "{stats}");
    for socket in &mut sockets {
        socket.send(&json!({"type": "ping"})).await;
        assert_eq!(socket.json().await["type"], "pong");
    }
}
