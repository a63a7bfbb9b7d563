//! Credentials over reloads: published keys that go on, and a client that has not said yet who it is.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde_json::{Value, json};

use crate::stage::{KEY, Manifest, change, manifest, token, with_keys};
use crate::support::gateway::Gateway;
use crate::support::socket::Socket;

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

/// A token signed with the Ed25519 key of the vectors.
fn published(kid: &str) -> String {
    let key = PrivateKeyDer::from_pem_file(vector("keys/ed.key")).unwrap();
    let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
    let claims = json!({"sub": "ann", "exp": jsonwebtoken::get_current_timestamp() + 600});
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(key.secret_der())).unwrap()
}

/// Publishes that key's public half as `a`, for as long as it is not down; one request per connection.
struct Provider {
    port: u16,
    requests: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl Provider {
    fn start() -> Self {
        let key = SubjectPublicKeyInfoDer::from_pem_file(vector("keys/ed.pub")).unwrap();
        let x = URL_SAFE_NO_PAD.encode(&key[key.len() - 32..]);
        let set =
            json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "a", "x": x}]}).to_string();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, down) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, silent) = (Arc::clone(&requests), Arc::clone(&down));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                if silent.load(Ordering::SeqCst) {
                    continue;
                }
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{set}",
                    set.len()
                );
            }
        });
        Self { port, requests, down }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn issuer(&self, refresh: &str) -> String {
        format!(
            "{{name: id, algorithms: [EdDSA], jwks: {{url: 'http://127.0.0.1:{}/jwks.json', refresh: {refresh}}}}}",
            self.port
        )
    }
}

async fn enters(gateway: &Gateway, token: &str) -> Result<Socket, u16> {
    let url = format!("{}?token={token}", gateway.url("/ws"));
    Socket::try_open(&url, &[]).await.map_err(|answer| answer.status().as_u16())
}

fn keys_spec(issuers: &str, channel: usize) -> String {
    manifest(&format!(
        "auth: {{issuers: [{issuers}]}}\nendpoints: [{{name: ws, path: /ws}}]\nchannels: [{{pattern: 'c{channel}'}}]"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_keys_go_on_over_reloads_and_are_not_fetched_for_them() {
    let provider = Provider::start();
    let issuer = provider.issuer("1h");
    let file = Manifest::new("jwks", &keys_spec(&issuer, 0));
    let gateway = file.serve(&[]);
    crate::support::eventually("the keys are fetched", || (provider.requests() == 1).then_some(()));
    let ann = published("a");
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while enters(&gateway, &ann).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "{}", gateway.process.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Whoever publishes them is away from now on.
    provider.down.store(true, Ordering::SeqCst);
    for channel in 1..=20 {
        change(&file, &gateway, &keys_spec(&issuer, channel));
        assert!(enters(&gateway, &ann).await.is_ok(), "{channel}: {}", gateway.process.stderr());
    }
    let other = "{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}";
    for issuers in [format!("{other}, {issuer}"), issuer.clone()] {
        change(&file, &gateway, &keys_spec(&issuers, 0));
        assert!(enters(&gateway, &ann).await.is_ok(), "beside another issuer and alone again");
    }
    assert_eq!(provider.requests(), 1, "22 reloads");
    // Another interval is other settings: they are fetched anew, and nobody knows them until then.
    change(&file, &gateway, &keys_spec(&provider.issuer("2h"), 0));
    assert_eq!(enters(&gateway, &ann).await.err(), Some(503));
    provider.down.store(false, Ordering::SeqCst);
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while enters(&gateway, &ann).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "{}", gateway.process.stderr());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // An issuer that is gone takes its keys with it.
    change(&file, &gateway, &keys_spec(other, 0));
    assert_eq!(enters(&gateway, &ann).await.err(), Some(401));
}

fn waiting_spec(key: &str, endpoints: &str) -> String {
    with_keys(
        &format!(
            "auth:\n  tokenFrom: [Header, Query, FirstMessage]\n  \
             issuers: [{{name: app, algorithms: [HS256], secretRef: {{name: auth, key: jwt}}}}]\n\
             endpoints: [{endpoints}]\nchannels: [{{pattern: 'room:{{id}}'}}]"
        ),
        &[("jwt", key)],
    )
}

fn auth(key: &str) -> Value {
    json!({"type": "auth", "data": {"token": token(key, json!({"sub": "ann"}))}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_with_its_first_message_is_judged_by_what_holds_when_it_comes() {
    let other = "abcdefabcdefabcdefabcdefabcdefab";
    let (ws, side) = ("{name: ws, path: /ws}", "{name: side, path: /side}");
    let file = Manifest::new("waiting", &waiting_spec(KEY, &format!("{ws}, {side}")));
    let gateway = file.serve(&[]);
    let mut by_old = Socket::open(&gateway.url("/ws")).await;
    let mut by_new = Socket::open(&gateway.url("/ws")).await;
    let mut of_side = Socket::open(&gateway.url("/side")).await;
    let mut silent = Socket::open(&gateway.url("/ws")).await;
    // Another key, another path and place of its endpoint, another rule for who is let in, and one endpoint less.
    let moved = "{name: first, path: /first}, {name: ws, path: /moved, envelope: Event, compression: {mode: Shared}, admit: \"user != 'banned'\"}";
    change(&file, &gateway, &waiting_spec(other, moved));

    by_old.send(&auth(KEY)).await;
    let close = by_old.closed().await.unwrap();
    assert_eq!((u16::from(close.code), &*close.reason), (4401, "token_invalid"));
    of_side.send(&auth(other)).await;
    let close = of_side.closed().await.unwrap();
    assert_eq!((u16::from(close.code), &*close.reason), (4403, "not_found"), "its endpoint is gone");

    by_new.send(&auth(other)).await;
    let greeting = by_new.json().await;
    assert_eq!((&greeting["event"], &greeting["user"]), (&json!("connected"), &json!("ann")), "{greeting}");
    by_new.send(&json!({"type": "subscribe", "data": {"channel": "room:1"}})).await;
    assert_eq!(by_new.json().await["event"], "subscribed");
    crate::stage::publish(gateway.admin, "room:1", 7);
    let heard = by_new.json().await;
    assert_eq!((&heard["event"], &heard["data"]), (&json!("n"), &json!(7)));
    assert_eq!(gateway.metric("rtgw_handshakes_total", "endpoint=\"ws\",result=\"accepted\""), 1.0);

    // It does not wait longer for the reload: five seconds from its upgrade on.
    let close = silent.closed().await.unwrap();
    assert_eq!((u16::from(close.code), &*close.reason), (4401, "auth_timeout"));
}

/// Clients that say who they are while the file changes all the time: each is let in and hears what it asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_messages_in_the_middle_of_reloads_are_all_let_in() {
    let spec = |number: usize| {
        waiting_spec(
            KEY,
            &format!(
                "{{name: ws, path: /ws, metadata: {}}}, {{name: e{number}, path: /e{number}}}",
                number.is_multiple_of(2)
            ),
        )
    };
    let file = Manifest::new("middle", &spec(0));
    let gateway = file.serve(&[]);
    let (done, end) = tokio::sync::watch::channel(false);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (url, mut end) = (gateway.url("/ws"), end.clone());
            tokio::spawn(async move {
                let mut let_in = 0;
                while !*end.borrow_and_update() {
                    let mut socket = Socket::open(&url).await;
                    socket.send(&auth(KEY)).await;
                    socket.send(&json!({"type": "subscribe", "data": {"channel": "room:1"}})).await;
                    assert_eq!(socket.json_of_type("subscribed").await["data"]["channel"], "room:1");
                    let_in += 1;
                }
                let_in
            })
        })
        .collect();
    for number in 1..=15 {
        change(&file, &gateway, &spec(number));
    }
    done.send(true).unwrap();
    let mut let_in = 0;
    for client in clients {
        let_in += client.await.unwrap();
    }
    eprintln!("{let_in} clients during 15 reloads");
    assert!(let_in > 15, "{let_in}");
}
