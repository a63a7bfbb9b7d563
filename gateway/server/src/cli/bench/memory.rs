//! What a connection costs that does nothing: memory and heartbeats.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use rtgw_config::checked::Algorithm;
use serde_json::{Value, json};

use super::Bench;
use super::child::{Floor, Gateway};
use super::receivers::Request;
use super::report::Report;

/// For this benchmark only; nothing else accepts it.
pub(super) const KEY: &str = "benchmark-benchmark-benchmark-benchmark";

pub(super) const MANIFEST: &str = r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: bench}
spec:
  auth:
    anonymous: Allow
    issuers: [{name: bench, algorithms: [HS256], secretRef: {name: bench, key: jwt}}]
  endpoints:
  - {name: engine, path: /engine, protocol: Echo, heartbeat: {interval: 25s, timeout: 60s}}
  - {name: shared, path: /shared, autoSubscribe: [{channel: news}, {channel: alerts}], heartbeat: {interval: 25s, timeout: 60s}}
  - {name: own, path: /own, autoSubscribe: [{channel: news}, {channel: "user:{claims.sub}", when: user != ''}], heartbeat: {interval: 25s, timeout: 60s}}
  channels:
  - {pattern: news}
  - {pattern: alerts}
  - {pattern: "user:{id}"}
---
apiVersion: v1
kind: Secret
metadata: {name: bench}
stringData: {jwt: benchmark-benchmark-benchmark-benchmark}
"#;

/// About 200 bytes of claims of user `number`.
pub(super) fn claims(number: usize) -> Value {
    json!({
        "sub": format!("user-{number:06}"),
        "exp": 4_102_444_800_u64,
        "name": "A person of some name",
        "roles": ["member", "editor"],
        "workspace_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "email": format!("user-{number:06}@example.com"),
    })
}

/// A token with these claims.
pub(super) fn token(number: usize) -> Result<String> {
    crate::auth::sign(Algorithm::Hs256, KEY.as_bytes(), &claims(number).to_string()).context("HS256 is HMAC")
}

/// Opens `count` connections, tokens made in advance.
pub(super) fn open(request: &Request<'_>, tokens: Option<&[String]>, count: usize) -> Result<Vec<TcpStream>> {
    let one = |at: usize| Request { token: tokens.map(|tokens| tokens[at].as_str()), ..*request }.open();
    (0..count).map(one).collect()
}

/// Bytes per connection that a server holds for connections opened by `open`.
fn per_connection(
    memory: impl Fn() -> Result<u64>,
    count: usize,
    open: impl FnOnce() -> Result<Vec<TcpStream>>,
) -> Result<(f64, Vec<TcpStream>)> {
    let before = memory()?;
    let streams = open()?;
    // The allocator gives pages back ten seconds late; what a connection costs is what stays.
    std::thread::sleep(Duration::from_secs(12));
    let held = memory()?.saturating_sub(before) as f64 / count as f64 / 1024.0;
    Ok((held, streams))
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let count = bench.connections;
    let tokens = (0..count).map(token).collect::<Result<Vec<_>>>()?;
    let (floor, _) = {
        let mut floor = Floor::start()?;
        floor.order("accept", count)?;
        let request = Request { address: floor.server.address, path: "/", token: None };
        per_connection(|| floor.server.memory(), count, || open(&request, None, count))?
    };
    let rows = [
        ("memory per idle connection, engine alone", "/engine", "0.15 KiB"),
        ("memory per idle connection, claims and two shared channels", "/shared", "1 KiB"),
        ("memory per idle connection, claims, one shared channel and one of its own", "/own", "1.5 KiB"),
    ];
    for (what, path, target) in rows {
        let gateway = Gateway::start(MANIFEST, 2)?;
        let request = Request { address: gateway.server.address, path, token: None };
        // A first few connections, so that what exists once is not counted as theirs.
        let warm = open(&request, Some(&tokens), 100.min(count))?;
        drop(warm);
        std::thread::sleep(Duration::from_millis(500));
        let signed = (path != "/engine").then_some(tokens.as_slice());
        let (held, streams) =
            per_connection(|| gateway.server.memory(), count, || open(&request, signed, count))?;
        report.compared(what, "KiB", held, floor, held / floor, target);
        if path == "/shared" {
            idle_cpu(report, &gateway, count)?;
        }
        drop(streams);
    }
    Ok(())
}

/// CPU of connections that only answer heartbeats. Nobody answers here, so it lasts less than their timeout.
fn idle_cpu(report: &mut Report, gateway: &Gateway, count: usize) -> Result<()> {
    let length = Duration::from_secs(30);
    let before = gateway.server.cpu_time()?;
    std::thread::sleep(length);
    let cpu = gateway.server.cpu_time()? - before;
    let figure = cpu.as_secs_f64() * 1e6 / length.as_secs_f64() / count as f64;
    report.alone("idle CPU at 25 s heartbeats, per second and connection", "us", figure, "1 us");
    Ok(())
}
