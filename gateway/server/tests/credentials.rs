//! Tokens of published keys, API keys and the application's own credentials, at the program as it is started.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use support::gateway::Gateway;
use support::http;
use support::socket::Socket;
use support::{eventually, free_port};

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)
}

/// A token signed with the Ed25519 key of the vectors.
fn token(kid: &str, sub: &str) -> String {
    let key = PrivateKeyDer::from_pem_file(vector("keys/ed.key")).unwrap();
    let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
    let claims = json!({"sub": sub, "exp": jsonwebtoken::get_current_timestamp() + 600});
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(key.secret_der())).unwrap()
}

/// That key's public half under these names.
fn key_set(kids: &[&str]) -> String {
    let key = SubjectPublicKeyInfoDer::from_pem_file(vector("keys/ed.pub")).unwrap();
    let x = URL_SAFE_NO_PAD.encode(&key[key.len() - 32..]);
    let key = |kid: &&str| json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": x});
    json!({"keys": kids.iter().map(key).collect::<Vec<_>>()}).to_string()
}

type Reply = Arc<dyn Fn(&str, &str) -> (u16, String) + Send + Sync>;

/// An application and an identity provider; one request per connection.
struct Application {
    requests: Arc<AtomicUsize>,
}

impl Application {
    /// Answers with what `reply` gives for head and body.
    fn start(
        port: u16,
        tls: bool,
        reply: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (counted, reply): (_, Reply) = (Arc::clone(&requests), Arc::new(reply));
        std::thread::spawn(move || {
            let tls = tls.then(tls_settings);
            for stream in listener.incoming().map_while(Result::ok) {
                let (counted, reply, tls) = (Arc::clone(&counted), Arc::clone(&reply), tls.clone());
                std::thread::spawn(move || match tls {
                    None => answer(stream, &counted, &reply),
                    Some(settings) => {
                        let connection = ServerConnection::new(settings).unwrap();
                        answer(StreamOwned::new(connection, stream), &counted, &reply);
                    }
                });
            }
        });
        Self { requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn tls_settings() -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = CertificateDer::from_pem_file(vector("tls/localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(vector("tls/localhost.key")).unwrap();
    Arc::new(settings.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
}

fn answer(mut stream: impl Read + Write, requests: &AtomicUsize, reply: &Reply) {
    let mut text = String::new();
    let mut chunk = [0; 4096];
    let (head, body) = loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break (head, body.to_owned());
            }
        }
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => text.push_str(std::str::from_utf8(&chunk[..read]).unwrap()),
            _ => return,
        }
    };
    requests.fetch_add(1, Ordering::SeqCst);
    let (status, body) = reply(&head, &body);
    let length = body.len();
    let _ =
        write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    let _ = stream.flush();
}

const SERVICE_KEY: &str = "api-key-static-0123456789abcdef";
const SIGNING: &str = "signs-webhooks-0123456789abcdef";

/// Serves a gateway with these lines of `auth`.
fn gateway(name: &str, auth: &str) -> Gateway {
    gateway_in(&[], name, auth)
}

fn gateway_in(environment: &[(&str, &Path)], name: &str, auth: &str) -> Gateway {
    let path = std::env::temp_dir().join(format!("rtgw-credentials-{name}-{}.yaml", std::process::id()));
    let manifest = format!(
        "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: credentials}}\nspec:\n  \
         endpoints:\n  - {{name: ws, path: /ws}}\n  auth:\n{auth}  channels:\n  - {{pattern: 'user:{{id}}', subscribe: id == user}}\n  \
         observability: {{logLevel: Debug}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\nstringData:\n  \
         service: {SERVICE_KEY}\n  signing: {SIGNING}\n"
    );
    std::fs::write(&path, manifest).unwrap();
    let gateway = Gateway::serve_in(environment, &path, &[]);
    std::fs::remove_file(path).unwrap();
    gateway
}

async fn refused(gateway: &Gateway, headers: &[(&'static str, &str)]) -> (u16, Value) {
    match Socket::try_open(&gateway.url("/ws"), headers).await {
        Ok(_) => panic!("let in"),
        Err(answer) => {
            let body: Value = serde_json::from_slice(answer.body().as_deref().unwrap_or_default()).unwrap();
            (answer.status().as_u16(), body["error"]["code"].clone())
        }
    }
}

/// The user that the greeting names.
async fn user(gateway: &Gateway, headers: &[(&'static str, &str)]) -> String {
    let mut socket = Socket::try_open(&gateway.url("/ws"), headers).await.unwrap();
    socket.json_of_type("connected").await["data"]["user"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn published_keys_are_waited_for_found_and_rotated() {
    let port = free_port();
    let gateway = gateway(
        "jwks",
        &format!(
            "    issuers: [{{name: id, algorithms: [EdDSA], jwks: {{url: 'http://127.0.0.1:{port}/jwks.json'}}}}]\n"
        ),
    );
    let bearer = format!("Bearer {}", token("first", "ann"));
    let credential = [("authorization", bearer.as_str())];
    // Nobody knows whether the token is good: that is no 401, after which clients would stop or ask for another.
    assert_eq!(refused(&gateway, &credential).await, (503, json!("auth_unavailable")));
    let browser = [credential[0], ("sec-websocket-protocol", "rtgw.json.v1")];
    let close = Socket::try_open(&gateway.url("/ws"), &browser).await.unwrap().closed().await.unwrap();
    assert!(u16::from(close.code) == 1013 && close.reason.starts_with("after="), "{close:?}");

    let keys = Arc::new(Mutex::new(key_set(&["first"])));
    let said = Arc::clone(&keys);
    let application = Application::start(port, false, move |_, _| (200, said.lock().unwrap().clone()));
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while Socket::try_open(&gateway.url("/ws"), &credential).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "{}", gateway.process.stderr());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(user(&gateway, &credential).await, "ann");
    // A flood of tokens with other keys asks for none of them: there was a fetch a moment ago.
    let fetched = application.requests();
    *keys.lock().unwrap() = key_set(&["second"]);
    for kid in ["second", "../../etc/passwd", "' OR 1=1 --", &"x".repeat(4000)] {
        let bearer = format!("Bearer {}", token(kid, "ann"));
        assert_eq!(refused(&gateway, &[("authorization", &bearer)]).await, (401, json!("token_invalid")));
    }
    assert_eq!(application.requests(), fetched);
}

#[tokio::test]
async fn keys_are_fetched_over_tls_from_those_that_the_system_trusts() {
    let port = free_port();
    let application = Application::start(port, true, |head, _| {
        if head.starts_with("get /jwks.json ") { (200, key_set(&["a"])) } else { (404, String::new()) }
    });
    let auth = format!(
        "    issuers: [{{name: id, algorithms: [EdDSA], jwks: {{url: 'https://localhost:{port}/jwks.json'}}}}]\n"
    );
    let bearer = format!("Bearer {}", token("a", "ann"));
    let untrusting = gateway("untrusting", &auth);
    eventually("the fetch fails", || untrusting.process.stderr().contains("cannot be fetched").then_some(()));
    assert_eq!(refused(&untrusting, &[("authorization", &bearer)]).await.0, 503);
    assert_eq!(application.requests(), 0, "nothing is asked of a stranger");
    drop(untrusting);
    let trusting = gateway_in(&[("SSL_CERT_FILE", &vector("tls/ca.pem"))], "trusting", &auth);
    let deadline = std::time::Instant::now() + support::PATIENCE;
    while Socket::try_open(&trusting.url("/ws"), &[("authorization", &bearer)]).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "{}", trusting.process.stderr());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn keys_of_programs_and_of_the_application_connect() {
    let port = free_port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let application = Application::start(port, false, move |head, body| {
        kept.lock().unwrap().push((head.to_owned(), body.to_owned()));
        let question: Value = serde_json::from_str(body).unwrap();
        match question["credential"].as_str().unwrap() {
            "api-key-of-ann" => (200, json!({"sub": "ann", "claims": {"role": "user"}}).to_string()),
            "api-key-of-nobody" => (200, "{}".into()),
            "api-key-breaks" => (500, "api-key-breaks".into()),
            _ => (401, "{}".into()),
        }
    });
    let gateway = gateway(
        "keys",
        &format!(
            "    apiKeys:\n    - {{name: service, secretRef: {{name: keys, key: service}}, scopes: [connect]}}\n    \
             webhook: {{url: 'http://127.0.0.1:{port}/rt/auth', secretRef: {{name: keys, key: signing}}}}\n"
        ),
    );
    assert_eq!(user(&gateway, &[("x-api-key", SERVICE_KEY)]).await, "service");
    assert_eq!(application.requests(), 0);
    for _ in 0..3 {
        assert_eq!(user(&gateway, &[("x-api-key", "api-key-of-ann")]).await, "ann");
    }
    assert_eq!(application.requests(), 1, "remembered");
    let question: Value = serde_json::from_str(&seen.lock().unwrap()[0].1).unwrap();
    assert_eq!((&question["place"], &question["endpoint"]), (&json!("apiKeyHeader"), &json!("ws")));
    assert!(seen.lock().unwrap()[0].0.contains("x-rtgw-signature-256: "));
    assert_eq!(refused(&gateway, &[("x-api-key", "api-key-stolen")]).await, (401, json!("token_invalid")));
    assert_eq!(refused(&gateway, &[("x-api-key", "api-key-of-nobody")]).await, (401, json!("token_invalid")));
    assert_eq!(refused(&gateway, &[("x-api-key", "api-key-breaks")]).await, (503, json!("auth_unavailable")));
    // Nothing of a credential is left anywhere.
    let told = format!("{}{}", gateway.process.stderr(), http::get(gateway.admin, "/metrics").body);
    for secret in ["api-key-", SIGNING] {
        assert!(!told.contains(secret), "{told}");
    }
    assert!(told.contains("gives no verdict"), "the failure is logged: {told}");
}
