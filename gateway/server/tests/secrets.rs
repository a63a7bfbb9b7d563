//! What an outsider makes of credentials in odd places, and where secrets must never show, on the program as it is started.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use support::gateway::Gateway;
use support::http;
use support::socket::Socket;

const SIGNING: &str = "signs-tokens-0123456789abcdef-SIGNING";
const PREVIOUS: &str = "signed-tokens-0123456789abcdef-PREVIOUS";
const API_KEY: &str = "opens-the-api-0123456789abcdef-APIKEY";
const HOOK: &str = "signs-questions-0123456789abcdef-HOOK";
const SECRETS: [&str; 4] = [SIGNING, PREVIOUS, API_KEY, HOOK];

const MANIFEST: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: secrets}
spec:
  endpoints:
  - {name: ws, path: /ws, auth: {tokenFrom: [Header, Query, Subprotocol, ApiKeyHeader]}}
  - {name: header, path: /header, auth: {tokenFrom: [Header]}}
  - {name: query, path: /query, auth: {tokenFrom: [Query]}}
  - {name: page, path: /page, auth: {tokenFrom: ['Cookie:session'], allowedOrigins: ['https://app.test']}}
  auth:
    issuers: [{name: app, algorithms: [HS256], secretRef: {name: keys, key: jwt}, previousSecretRef: {name: keys, key: old}}]
    apiKeys: [{name: backend, secretRef: {name: keys, key: api}, scopes: [connect, read]}]
  channels:
  - {pattern: 'user:{id}', subscribe: id == user && claims.level > 3}
  commands:
    ask: {webhook: {url: 'http://127.0.0.1:1/rt', timeout: 200ms, secretRef: {name: keys, key: hook}}}
  observability: {logLevel: Debug}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData:
";

fn serve(name: &str) -> Gateway {
    let path = std::env::temp_dir().join(format!("rtgw-secrets-{name}-{}.yaml", std::process::id()));
    let keys = format!("  jwt: {SIGNING}\n  old: {PREVIOUS}\n  api: {API_KEY}\n  hook: {HOOK}\n");
    std::fs::write(&path, format!("{MANIFEST}{keys}")).unwrap();
    let gateway = Gateway::serve(&path, &["--log-format", "json"]);
    std::fs::remove_file(path).unwrap();
    gateway
}

fn token(key: &str, sub: &str) -> String {
    let claims =
        json!({"sub": sub, "exp": jsonwebtoken::get_current_timestamp() + 600, "note": "PRIVATE-CLAIM"});
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(key.as_bytes()))
        .unwrap()
}

/// The whole answer to a handshake with these header lines.
fn handshake(to: SocketAddr, path: &str, lines: &[String]) -> (u16, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    while !text.contains("\r\n\r\n") {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    if status != 101 {
        // The head may have come alone.
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        while !text.ends_with('}') {
            match stream.read(&mut chunk) {
                Ok(read @ 1..) => text.push_str(&String::from_utf8_lossy(&chunk[..read])),
                _ => break,
            }
        }
    }
    (status, text)
}

/// Attempts: name, path, header lines and the status. GOOD and OTHER are tokens, OLD is one of the key before.
const TRIES: &[(&str, &str, &[&str], u16)] = &[
    ("one", "/ws", &["Authorization: Bearer GOOD"], 101),
    ("of the key before", "/ws", &["Authorization: Bearer OLD"], 101),
    ("two headers", "/ws", &["Authorization: Bearer GOOD", "Authorization: Bearer OTHER"], 400),
    ("the same twice", "/ws", &["Authorization: Bearer GOOD", "Authorization: Bearer GOOD"], 400),
    ("of different case", "/ws", &["Authorization: Bearer GOOD", "AUTHORIZATION: bearer OTHER"], 400),
    ("two in one header", "/ws", &["Authorization: Bearer GOOD, Bearer OTHER"], 401),
    ("twice in one header", "/ws", &["Authorization: Bearer GOOD GOOD"], 401),
    ("a folded header", "/ws", &["Authorization: Bearer", " GOOD"], 400),
    ("two API keys", "/ws", &["X-API-Key: KEY", "X-API-Key: KEY"], 400),
    ("an API key", "/ws", &["X-API-Key: KEY"], 101),
    ("an API key in the query", "/ws?token=KEY", &[], 401),
    ("an API key among subprotocols", "/ws", &["Sec-WebSocket-Protocol: bearer, KEY"], 401),
    ("two in the query", "/ws?token=GOOD&token=GOOD", &[], 400),
    ("two names in the query", "/ws?token=GOOD&access_token=GOOD", &[], 400),
    ("two subprotocols", "/ws", &["Sec-WebSocket-Protocol: bearer, GOOD, access_token, OTHER"], 400),
    // The first place of the endpoint's order decides, and a later one does not help.
    ("bad header, good query", "/ws?token=GOOD", &["Authorization: Bearer a.b.c"], 401),
    ("empty header, good query", "/ws?token=GOOD", &["Authorization: Bearer "], 401),
    ("good header, bad query", "/ws?token=a.b.c", &["Authorization: Bearer GOOD"], 101),
    ("good header, bad API key", "/ws", &["Authorization: Bearer GOOD", "X-API-Key: wrong"], 101),
    // Places that are not the endpoint's do not count.
    ("query where headers count", "/header?token=GOOD", &[], 401),
    ("API key header where it does not count", "/header", &["X-API-Key: KEY"], 401),
    ("header where the query counts", "/query", &["Authorization: Bearer GOOD"], 401),
    ("cookie where headers count", "/header", &["Cookie: session=GOOD; token=GOOD"], 401),
    ("behind a semicolon", "/query?x=1;token=GOOD", &[], 401),
    ("in the path", "/query/GOOD", &[], 404),
    ("cookie", "/page", &["Cookie: session=GOOD", PAGE], 101),
    ("cookie of nobody's page", "/page", &["Cookie: session=GOOD"], 403),
    ("cookie of a foreign page", "/page", &["Cookie: session=GOOD", "Origin: https://app.test.evil"], 403),
    ("two origins", "/page", &["Cookie: session=GOOD", PAGE, "Origin: https://evil"], 400),
    ("two cookies", "/page", &["Cookie: session=GOOD; session=OTHER", PAGE], 400),
    ("two cookie headers", "/page", &["Cookie: session=GOOD", "Cookie: session=OTHER", PAGE], 400),
    ("cookie of another name", "/page", &["Cookie: Session=GOOD; xsession=GOOD", PAGE], 401),
];
const PAGE: &str = "Origin: https://app.test";

#[test]
fn one_credential_in_one_place_or_none() {
    let gateway = serve("places");
    let (good, other) = (token(SIGNING, "ann"), token(SIGNING, "bob"));
    let old = token(PREVIOUS, "ann");
    let filled = |text: &str| {
        // The key first: a token may contain its placeholder.
        text.replace("=KEY", &format!("={API_KEY}"))
            .replace(" KEY", &format!(" {API_KEY}"))
            .replace("GOOD", &good)
            .replace("OTHER", &other)
            .replace("OLD", &old)
    };
    let mut wrong = Vec::new();
    for (name, path, lines, expected) in TRIES {
        let lines: Vec<String> = lines.iter().map(|line| filled(line)).collect();
        let (status, answer) = handshake(gateway.public, &filled(path), &lines);
        if status != *expected {
            wrong.push(format!("{name}: {status}"));
        }
        for hidden in [good.as_str(), &other, "PRIVATE-CLAIM"].iter().chain(&SECRETS) {
            assert!(!answer.contains(hidden), "{name} repeats {hidden}: {answer}");
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[tokio::test]
async fn secrets_and_credentials_show_nowhere() {
    let mut gateway = serve("nowhere");
    let (good, bad) = (token(SIGNING, "ann"), token("not-a-key-of-ours-0123456789abcdef", "ann"));
    let url = |path: &str| gateway.url(path);
    let bearer = format!("Bearer {good}");
    let mut socket = Socket::try_open(&url("/ws"), &[("authorization", &bearer)]).await.unwrap();
    let mut heard = socket.text().await;
    // Rules that fail over the claims, an application that cannot be asked, nonsense, and a refresh with what is nobody's.
    for command in [
        json!({"type": "subscribe", "data": {"channel": "user:ann"}}),
        json!({"type": "ask", "data": {"is": "PRIVATE-DATA"}}),
        json!({"type": "refresh", "data": {"token": bad}}),
        json!({"type": "refresh", "data": {"token": API_KEY}}),
        json!({"type": "nonsense", "data": {"token": good}}),
    ] {
        socket.send(&command).await;
        heard.push_str(&socket.text().await);
    }
    let mut told = heard;
    for (path, header) in [
        ("/ws".to_owned(), format!("Authorization: Bearer {bad}")),
        (format!("/ws?token={bad}"), "X: y".to_owned()),
        (format!("/ws?token={good}&token={good}"), "X: y".to_owned()),
        ("/ws".to_owned(), format!("Sec-WebSocket-Protocol: bearer, {bad}")),
        ("/ws".to_owned(), format!("X-API-Key: {API_KEY}x")),
        ("/page".to_owned(), format!("Cookie: session={good}")),
        (format!("/nowhere?token={good}"), "X: y".to_owned()),
    ] {
        told.push_str(&handshake(gateway.public, &path, &[header]).1);
    }
    for path in ["/metrics", "/config", "/v1/info", "/v1/connections", "/readyz", "/livez", "/nowhere"] {
        told.push_str(&http::try_get(gateway.admin, path).map_or_else(String::new, |answer| answer.body));
        told.push_str(&with_key(gateway.admin, path));
    }
    told.push_str(&std::fs::read_to_string(format!("/proc/{}/cmdline", gateway.process.id())).unwrap());
    gateway.process.signal("TERM");
    drop(socket);
    gateway.process.ended();
    let log = gateway.process.stderr();
    assert!(log.contains("DEBUG"), "the log was written at debug level: {log}");
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let payload = |token: &str| token.split('.').nth(1).unwrap().to_owned();
    let tokens = [signature(&good), signature(&bad), payload(&good), payload(&bad)];
    let hidden = tokens.iter().map(String::as_str).chain(SECRETS).chain(["PRIVATE-CLAIM"]);
    for hidden in hidden.chain(["PRIVATE-DATA"]) {
        assert!(!told.contains(hidden), "told: {hidden} in {told}");
        assert!(!log.contains(hidden), "logged: {hidden} in {log}");
    }
}

/// `GET path` with the API key, everything that came.
fn with_key(to: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer {API_KEY}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.starts_with("HTTP/1.1 "), "{text}");
    text
}
