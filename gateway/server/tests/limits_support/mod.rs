//! Clients from chosen addresses, with whatever stands before and in their handshakes, of a gateway with chosen limits.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, handshake::client::Request};

use crate::support::gateway::Gateway;
use crate::support::socket::Socket;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A gateway whose endpoint tells every client its own address; `limits` and what else a `spec` has.
#[track_caller]
pub fn serve(name: &str, spec: &str) -> Gateway {
    run(name, "", spec, |path| Gateway::serve(path, &[]))
}

/// The same with more lines in its `auth`, and without waiting until it is ready.
#[track_caller]
pub fn begin(name: &str, auth: &str, spec: &str) -> Gateway {
    run(name, auth, spec, |path| Gateway::begin(path, &[]))
}

#[track_caller]
fn run(name: &str, auth: &str, spec: &str, start: impl FnOnce(&std::path::Path) -> Gateway) -> Gateway {
    let manifest = format!(
        "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {{name: limits}}
spec:
  endpoints:
  - name: ws
    path: /ws
    greeting: {{message: \"{{'type': 'hello', 'ip': connection.ip, 'user': user}}\"}}
    stats: {{paths: [/ws/stats], public: true}}
    admit: \"!has(claims.banned)\"
  auth:
    anonymous: Allow
    issuers: [{{name: app, algorithms: [HS256], secretRef: {{name: auth, key: jwt}}}}]
    identity: {{tenant: claims.tenant}}
{auth}  channels: [{{pattern: 'room:{{room}}', subscribe: 'true', publish: 'true'}}]
{spec}
---
apiVersion: v1
kind: Secret
metadata: {{name: auth}}
stringData: {{jwt: {KEY}}}
"
    );
    let path = std::env::temp_dir().join(format!("rtgw-{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, manifest).unwrap();
    let gateway = start(&path);
    std::fs::remove_file(path).unwrap();
    gateway
}

/// How a client comes.
#[derive(Clone, Default)]
pub struct Caller {
    from: Option<Ipv4Addr>,
    /// Sent before the request.
    before: Vec<u8>,
    headers: Vec<(&'static str, String)>,
}

/// A handshake that was refused.
#[derive(Debug)]
pub struct Refused {
    /// 0 where the connection ended without an answer.
    pub status: u16,
    pub code: String,
    pub retry_after: Option<u32>,
}

impl Caller {
    pub fn anyone() -> Self {
        Self::default()
    }

    /// The bearer of a token for `user` of `tenant`.
    pub fn user(user: &str, tenant: &str) -> Self {
        Self::with_claims(json!({"sub": user, "tenant": tenant}))
    }

    pub fn with_claims(mut claims: Value) -> Self {
        claims["exp"] = json!(4_000_000_000_u64);
        let key = EncodingKey::from_secret(KEY.as_bytes());
        let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
        Self::default().header("authorization", &format!("Bearer {token}"))
    }

    /// From this address of the loopback network.
    pub fn from(self, last: u8) -> Self {
        Self { from: Some(Ipv4Addr::new(127, 0, 0, last)), ..self }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn after(self, before: &[u8]) -> Self {
        Self { before: before.to_vec(), ..self }
    }

    pub async fn connect(&self, to: SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(from) = self.from {
            socket.bind((from, 0).into()).unwrap();
        }
        socket.connect(to).await.unwrap()
    }

    /// Shakes hands at `/ws`.
    pub async fn enter(&self, gateway: &Gateway) -> Result<Socket, Refused> {
        let mut stream = self.connect(gateway.public).await;
        if !self.before.is_empty() {
            // The other side may have closed already.
            let _ = stream.write_all(&self.before).await;
        }
        let shaking = tokio_tungstenite::client_async(self.request(gateway), MaybeTlsStream::Plain(stream));
        match tokio::time::timeout(crate::support::PATIENCE, shaking).await.unwrap() {
            Ok((stream, _)) => Ok(Socket(stream)),
            Err(Error::Http(answer)) => {
                let body: Value =
                    serde_json::from_slice(answer.body().as_deref().unwrap_or_default()).unwrap_or_default();
                Err(Refused {
                    status: answer.status().as_u16(),
                    code: body["error"]["code"].as_str().unwrap_or_default().to_owned(),
                    retry_after: answer
                        .headers()
                        .get("retry-after")
                        .and_then(|value| value.to_str().ok()?.parse().ok()),
                })
            }
            Err(Error::Io(_) | Error::Protocol(_) | Error::ConnectionClosed) => {
                Err(Refused { status: 0, code: String::new(), retry_after: None })
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Shakes hands, and reads the greeting.
    #[track_caller]
    pub fn enters(&self, gateway: &Gateway) -> impl Future<Output = (Socket, Value)> {
        let place = std::panic::Location::caller();
        async move {
            let mut socket =
                self.enter(gateway).await.unwrap_or_else(|refused| panic!("{place}: {refused:?}"));
            let greeting = socket.json().await;
            (socket, greeting)
        }
    }

    /// Is refused with this status and code.
    #[track_caller]
    pub fn refused(&self, gateway: &Gateway, status: u16, code: &str) -> impl Future<Output = Refused> {
        let place = std::panic::Location::caller();
        async move {
            let Err(refused) = self.enter(gateway).await else { panic!("{place}: was let in") };
            assert_eq!((refused.status, refused.code.as_str()), (status, code), "{place}: {refused:?}");
            refused
        }
    }

    fn request(&self, gateway: &Gateway) -> Request {
        let mut request = gateway.url("/ws").into_client_request().unwrap();
        for (name, value) in &self.headers {
            request
                .headers_mut()
                .append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        request
    }
}

/// Tries until a place has come back; what ends a connection and what frees its place are not one moment.
pub async fn let_in(caller: &Caller, gateway: &Gateway) -> Socket {
    let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
    loop {
        match caller.enter(gateway).await {
            Ok(socket) => return socket,
            Err(refused) => assert!(tokio::time::Instant::now() < deadline, "{refused:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
