//! How `rtgw serve` starts, refuses to start, and ends; what its clients are told at the end is tested by `drain.rs`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;
use support::gateway::{Gateway, rtgw};
use support::socket::Socket;
use support::{eventually, free_port, http};

const MANIFEST: &str = "examples/quickstart/gateway.yaml";

/// A manifest of its own, removed with the value.
struct Manifest(PathBuf);

impl Manifest {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rtgw-serve-{}-{name}.yaml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Manifest {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Runs `rtgw serve` on two ports to its end, which must come by itself.
fn serve(manifest: &str, public: u16, admin: u16) -> Output {
    let mut command = rtgw();
    command.args(["serve", "-f", manifest]).current_dir(support::root());
    command.args(["--listen", &format!("127.0.0.1:{public}"), "--admin", &format!("127.0.0.1:{admin}")]);
    command.output().unwrap()
}

/// Opens `count` connections.
async fn crowd(gateway: &Gateway, count: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let mut socket = Socket::open(&gateway.url("/ws")).await;
        socket.json_of_type("connected").await;
        sockets.push(socket);
    }
    sockets
}

#[tokio::test]
async fn without_clients_sigterm_and_sigint_end_at_once() {
    for signal in ["TERM", "INT"] {
        let mut gateway = Gateway::serve(MANIFEST, &[]);
        gateway.process.signal(signal);
        let signalled = Instant::now();
        assert_eq!(gateway.process.ended().code(), Some(0), "{}", gateway.process.stderr());
        assert!(signalled.elapsed() < Duration::from_secs(2), "ended after {:?}", signalled.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_answer_do_not_hold_up_the_end() {
    let mut gateway = Gateway::serve(MANIFEST, &[]);
    // Nobody reads these, so nobody answers their close.
    let sockets = crowd(&gateway, 50).await;
    // An answered request whose connection stays open, one that is never finished, and one that never began.
    let mut waiting: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(gateway.public).unwrap()).collect();
    waiting[0].write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    waiting[0].read_exact(&mut [0; 12]).unwrap();
    waiting[1].write_all(b"GET /ws HTTP/1.1\r\nHost:").unwrap();
    gateway.process.signal("TERM");
    let signalled = Instant::now();
    assert_eq!(gateway.process.ended().code(), Some(0), "{}", gateway.process.stderr());
    // A request under way has five seconds to be finished.
    assert!(signalled.elapsed() < Duration::from_secs(8), "ended after {:?}", signalled.elapsed());
    drop((sockets, waiting));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readers_of_stdout_and_of_the_log_may_go_away() {
    let (public, admin) = (free_port(), free_port());
    let mut command = rtgw();
    // With a source that has no Redis, so that there is something to log all the time.
    let manifest = "examples/job-updates/gateway.yaml";
    command.args(["serve", "-f", manifest, "--redis", "redis://127.0.0.1:1"]).current_dir(support::root());
    command.args(["--listen", &format!("127.0.0.1:{public}"), "--admin", &format!("127.0.0.1:{admin}")]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    drop(command);
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, admin));
    // Not ready: that Redis is its broker's too.
    eventually("the gateway lives", || {
        assert!(child.try_wait().unwrap().is_none(), "the gateway ended");
        http::try_get(admin, "/livez").filter(|answer| answer.status == 200)
    });
    let mut socket = Socket::open(&format!("ws://127.0.0.1:{public}/ws")).await;
    socket.send(&json!({"type": "ping"})).await;
    assert_eq!(socket.json().await["type"], "pong");
    eventually("the source goes on trying", || {
        let text = http::get(admin, "/metrics").body;
        let tried = text
            .lines()
            .find(|line| line.starts_with("rtgw_source_errors_total{") && line.contains("connect"))?;
        tried.rsplit(' ').next()?.parse::<f64>().ok().filter(|tries| *tries >= 4.0)
    });
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let close = socket.closed().await.expect("a close with a code");
    assert_eq!(u16::from(close.code), 1012);
    assert_eq!(eventually("the gateway ends", || child.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn the_password_of_a_redis_is_never_shown() {
    let mut gateway = Gateway::begin(
        "examples/job-updates/gateway.yaml",
        &["--redis", "redis://user:hunter2-secret@127.0.0.1:1/0"],
    );
    eventually("the source is named", || {
        http::get(gateway.admin, "/readyz").body.contains("source:jobs").then_some(())
    });
    for path in ["/readyz", "/metrics", "/v1/info", "/config"] {
        let answer = http::get(gateway.admin, path);
        assert!(!answer.body.contains("hunter2"), "{path}: {}", answer.body);
    }
    gateway.process.signal("TERM");
    gateway.process.ended();
    let said = gateway.process.stderr();
    assert!(said.contains("127.0.0.1:1") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_refused_manifest_names_every_error_and_binds_nothing() {
    let manifest = Manifest::new(
        "bad",
        "apiVersion: realtime-gateway.dev/v1alpha1\n\
         kind: RealtimeGateway\n\
         metadata: {name: bad}\n\
         spec:\n\
         \x20 endpoints:\n\
         \x20 - {name: ws, path: ws, colour: red}\n\
         \x20 channels:\n\
         \x20 - {pattern: \"a:{b\"}\n\
         \x20 - {pattern: c, subscribe: \"1 +\"}\n\
         \x20 limits: {connection: {messageBytes: 1}}\n",
    );
    let (public, admin) = (free_port(), free_port());
    // Taken ports show that nothing is bound before the manifest is judged: the answer is 64 and not 1.
    let taken = [public, admin].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
    let output = serve(manifest.0.to_str().unwrap(), public, admin);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(output.stdout.is_empty(), "results only go to stdout");
    for path in [
        "spec.endpoints[0].path",
        "spec.endpoints[0].colour",
        "spec.channels[0].pattern",
        "spec.channels[1].subscribe",
        "spec.limits.connection.messageBytes",
    ] {
        assert!(said.contains(path), "{path} is missing in:\n{said}");
    }
    drop(taken);
}

#[test]
fn a_manifest_that_is_not_there_is_refused() {
    let output = serve("/nowhere/gateway.yaml", free_port(), free_port());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{said}");
    assert!(said.contains("/nowhere/gateway.yaml"), "{said}");
}

#[test]
fn a_wrong_command_line_is_refused() {
    for arguments in [
        &["dance"][..],
        &[],
        &["serve"],
        &["serve", "-f", MANIFEST, "--listen", "nowhere"],
        &["serve", "-f", MANIFEST, "--redis", "http://127.0.0.1:6379"],
        &["serve", "-f", MANIFEST, "--shards", "0"],
        &["check"],
    ] {
        let output = rtgw().args(arguments).current_dir(support::root()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{arguments:?}: {said}");
        assert!(!said.trim().is_empty(), "{arguments:?} says why");
    }
}

#[test]
fn a_taken_port_is_named_and_fails_the_start() {
    for taken in 0..2 {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let mut ports = [free_port(), free_port()];
        ports[taken] = port;
        let output = serve(MANIFEST, ports[0], ports[1]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
        assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
        // The other port was given back.
        TcpListener::bind((Ipv4Addr::LOCALHOST, ports[1 - taken])).unwrap();
    }
}

#[test]
fn help_and_version_are_answers() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["check", "--help"]] {
        let output = rtgw().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{arguments:?}");
    }
}
