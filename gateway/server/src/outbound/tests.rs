//! Against a server that answers as it is told.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// What a [`Server`] was sent: head and body of each request.
pub(crate) type Seen = Arc<Mutex<Vec<(String, Vec<u8>)>>>;
type Reply = Arc<dyn Fn(usize, &str, &[u8]) -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

/// A server on loopback; ends when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Seen,
    /// Connections that were made.
    pub(crate) connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A whole answer.
pub(crate) fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Server {
    /// Answers with what `reply` gives for the number of the request, its head and its body.
    pub(crate) async fn start<F>(reply: impl Fn(usize, &str, &[u8]) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = String> + Send + 'static,
    {
        Self::open(None, reply).await
    }

    async fn open<F>(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(usize, &str, &[u8]) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = String> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Seen::default(), Arc::new(Mutex::new(0)));
        let reply: Reply = Arc::new(move |count, head, body| Box::pin(reply(count, head, body)));
        let (seen_here, counted) = (Arc::clone(&seen), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *counted.lock() += 1;
                let (seen, reply, tls) = (Arc::clone(&seen_here), Arc::clone(&reply), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &seen, &reply).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &seen, &reply).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen, connections, task }
    }

    pub(crate) fn url(&self, path: &str) -> HttpUrl {
        HttpUrl::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.lock().len()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Seen, reply: &Reply) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = bytes[end..end + length].to_vec();
        bytes.drain(..end + length);
        let count = {
            let mut seen = seen.lock();
            seen.push((head.clone(), body.clone()));
            seen.len()
        };
        let text = reply(count, &head, &body).await;
        if text.is_empty() || stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn answers_come_and_connections_are_kept() {
    let server =
        Server::start(|count, _, _| async move { answer("200 OK", &format!("{{\"n\":{count}}}")) }).await;
    let (outbound, target) = (Outbound::new(), Target::new(&server.url("/a?b=c"), 4));
    assert_eq!(outbound.get(&target, SOON, 100).await.unwrap(), r#"{"n":1}"#);
    let body = Bytes::from_static(b"{}");
    assert_eq!(outbound.post_json(&target, body, SOON, None).await.unwrap(), r#"{"n":2}"#);
    assert_eq!(*server.connections.lock(), 1, "kept");
    let seen = server.seen.lock();
    assert!(seen[0].0.starts_with("get /a?b=c http/1.1\r\n") && seen[0].0.contains("user-agent: rtgw/"));
    assert!(seen[1].0.starts_with("post ") && seen[1].0.contains("content-type: application/json\r\n"));
    assert!(!seen[1].0.contains("x-rtgw"), "no secret, no signature");
    assert_eq!(seen[1].1, b"{}");
}

/// Not our code: Python's, as a receiver would write it.
#[tokio::test]
async fn a_receiver_can_verify_the_signature() {
    let server = Server::start(|_, _, _| async { answer("200 OK", "{}") }).await;
    let (outbound, target) = (Outbound::new(), Target::new(&server.url("/"), 4));
    let body = Bytes::from_static("{\"text\":\"ü\"}".as_bytes());
    outbound.post_json(&target, body.clone(), SOON, Some(b"a secret")).await.unwrap();
    let (head, sent) = server.seen.lock()[0].clone();
    assert_eq!(sent, body);
    let header = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned).unwrap()
    };
    let at = header("x-rtgw-timestamp");
    assert!((at.parse::<i64>().unwrap() - crate::clock::unix_seconds()).abs() < 60);
    let code = "import hashlib,hmac,sys\n\
                print(hmac.new(b'a secret', sys.argv[1].encode()+b'.'+sys.argv[2].encode(), hashlib.sha256).hexdigest())";
    let text = std::str::from_utf8(&sent).unwrap();
    let output = std::process::Command::new("python3").args(["-c", code, &at, text]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), header("x-rtgw-signature-256"));
}

#[tokio::test]
async fn bad_answers_are_told_apart() {
    let server = Server::start(|_, head: &str, _| {
        let path = head.split(' ').nth(1).unwrap().to_owned();
        async move {
            match path.as_str() {
                "/redirect" => {
                    "HTTP/1.1 302 Found\r\nlocation: /else\r\ncontent-length: 0\r\n\r\n".to_owned()
                }
                "/refused" => answer("401 Unauthorized", "{}"),
                "/long" => answer("200 OK", &"x".repeat(101)),
                "/endless" => format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n80\r\n{}\r\n",
                    "x".repeat(128)
                ),
                "/head" => format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES)),
                "/silent" => std::future::pending().await,
                "/half" => "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx".to_owned(),
                "/odd" => "hello\r\n\r\n".to_owned(),
                _ => String::new(),
            }
        }
    })
    .await;
    let outbound = Outbound::new();
    let get = async |path: &str, within| outbound.get(&Target::new(&server.url(path), 4), within, 100).await;
    assert_eq!(get("/redirect", SOON).await, Err(OutboundError::Status(302)));
    assert_eq!(get("/refused", SOON).await, Err(OutboundError::Status(401)));
    assert_eq!(get("/long", SOON).await, Err(OutboundError::TooLarge(100)));
    assert_eq!(get("/endless", SOON).await, Err(OutboundError::TooLarge(100)));
    let short = Duration::from_millis(300);
    for path in ["/silent", "/half"] {
        assert_eq!(get(path, short).await, Err(OutboundError::Timeout(short)), "{path}");
    }
    for path in ["/head", "/odd", "/closed"] {
        let got = get(path, SOON).await;
        assert!(matches!(got, Err(OutboundError::Broken(_))), "{path}: {got:?}");
    }
    assert!(!server.seen.lock().iter().any(|(head, _)| head.contains("/else")), "no redirect is followed");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let nobody = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let nobody = Target::new(&HttpUrl::parse(&nobody).unwrap(), 4);
    assert!(matches!(outbound.get(&nobody, SOON, 100).await, Err(OutboundError::Connect(_))));
}

#[tokio::test]
async fn what_is_too_much_is_refused_at_once() {
    let server = Server::start(|_, _, _| std::future::pending()).await;
    let (outbound, target) = (Outbound::new(), Target::new(&server.url("/"), 2));
    let short = Duration::from_millis(500);
    let all = futures_util::future::join_all((0..20).map(|_| outbound.get(&target, short, 100))).await;
    let busy = all.iter().filter(|answer| **answer == Err(OutboundError::Busy)).count();
    assert_eq!((busy, server.requests()), (10, 2), "two ask, eight wait");
    assert!(!all.contains(&Err(OutboundError::Timeout(Duration::ZERO))));
}

#[expect(clippy::needless_pass_by_value, reason = "as the system's own is called")]
fn of_the_test(host: String) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>> {
    let ip: Vec<IpAddr> = match host.as_str() {
        "id.example.com" => vec!["169.254.169.254".parse().unwrap(), "::1".parse().unwrap()],
        "metadata" => vec!["fe80::1".parse().unwrap()],
        // The first does not answer.
        "localhost" => vec![Ipv4Addr::new(127, 255, 0, 9).into(), Ipv4Addr::LOCALHOST.into()],
        _ => vec![],
    };
    Box::pin(async move { Ok(ip) })
}

fn vector(name: &str) -> String {
    format!("{}/tests/vectors/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn trusting_the_test() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(vector("ca.pem")).unwrap()).unwrap();
    roots
}

#[tokio::test]
async fn names_that_point_where_they_must_not_are_refused() {
    let outbound = Outbound::over(Connector::of(of_the_test, trusting_the_test()));
    for url in ["https://id.example.com/", "http://metadata/computeMetadata", "http://nowhere/"] {
        let target = Target::new(&HttpUrl::parse(url).unwrap(), 1);
        assert_eq!(outbound.get(&target, SOON, 100).await, Err(OutboundError::Forbidden), "{url}");
    }
}

#[tokio::test]
async fn tls_is_checked() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificate = CertificateDer::from_pem_file(vector("localhost.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(vector("localhost.key")).unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let server = Server::open(Some(acceptor), |_, _, _| async { answer("200 OK", "{}") }).await;
    let port = server.address.port();
    let target = |host: &str| Target::new(&HttpUrl::parse(&format!("https://{host}:{port}/")).unwrap(), 1);
    let outbound = Outbound::over(Connector::of(of_the_test, trusting_the_test()));
    assert_eq!(outbound.get(&target("localhost"), SOON, 100).await.unwrap(), "{}");
    let other_name = outbound.get(&target("127.0.0.1"), SOON, 100).await;
    assert!(matches!(other_name, Err(OutboundError::Connect(_))), "{other_name:?}");
    let stranger = Outbound::new().get(&target("localhost"), SOON, 100).await;
    assert!(matches!(stranger, Err(OutboundError::Connect(_))), "{stranger:?}");
    assert_eq!(server.requests(), 1);
}
