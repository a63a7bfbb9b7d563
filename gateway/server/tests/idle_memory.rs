//! What an idle connection holds on the heap, byte by byte and by who asked for it. Exact, so it may be asserted:
//! `cargo test -p rtgw --test idle_memory -- --nocapture` prints the table of docs/performance.md.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use rtgw::wiring::{Options, bind};
use serde_json::Value;
use support::{eventually, http};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// A power of two: tables that double have no room in reserve then, which would be bytes nobody touched.
const CONNECTIONS: usize = 256;
/// Most bytes of an anonymous connection to an `Echo` endpoint.
const MOST: usize = 400;

const MANIFEST: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: idle}
spec:
  endpoints: [{name: engine, path: /engine, protocol: Echo, heartbeat: {interval: 25s, timeout: 60s}}]
  auth: {anonymous: Allow}
  channels: [{pattern: a}]
";

fn open(public: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(public).unwrap();
    let request = format!(
        "GET /engine HTTP/1.1\r\nHost: {public}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 512];
    let read = stream.read(&mut head).unwrap();
    assert!(head[..read].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head[..read]));
    stream
}

/// The first function of ours in a call stack, outermost detail cut off.
fn owner(stack: &[&str]) -> String {
    let ours = stack
        .iter()
        .find(|frame| ["rtgw::", "rtgw_hub::", "rtgw_model::"].iter().any(|own| frame.contains(own)));
    let frame = ours.or(stack.last()).copied().unwrap_or_default();
    frame.split_once(": ").map_or(frame, |(_, rest)| rest).split(" (").next().unwrap_or_default().to_owned()
}

/// Bytes and blocks that live at the end of a profile, by who asked for them.
fn by_owner(path: &Path) -> BTreeMap<String, (u64, u64)> {
    let profile: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let frames = profile["ftbl"].as_array().unwrap();
    let mut owners = BTreeMap::<String, (u64, u64)>::new();
    for point in profile["pps"].as_array().unwrap() {
        let stack = point["fs"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|frame| frames.get(frame.as_u64()? as usize)?.as_str());
        let held = owners.entry(owner(&stack.collect::<Vec<_>>())).or_default();
        held.0 += point["eb"].as_u64().unwrap();
        held.1 += point["ebk"].as_u64().unwrap();
    }
    owners
}

#[test]
fn an_idle_connection_holds_few_bytes() {
    let checked = rtgw_crds::Manifests::read(&[rtgw_crds::Text {
        name: "idle.yaml".into(),
        content: MANIFEST.to_owned(),
    }]);
    let checked = checked.check(None).unwrap_or_else(|problems| panic!("{problems:?}")).checked;
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options =
        Options { listen: any, admin: any, redis: None, shards: Some(1), demo: false, pod_uid: None };
    let bound = bind(checked, options).unwrap();
    let (public, admin) = (bound.public().unwrap(), bound.internal().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stop = CancellationToken::new();
    let serving = runtime.spawn(bound.serve(stop.clone(), |_| {}));
    eventually("the gateway is ready", || {
        http::try_get(admin, "/readyz").filter(|answer| answer.status == 200)
    });
    // What exists once comes with the first.
    drop(open(public));
    std::thread::sleep(Duration::from_millis(500));

    let path = std::env::temp_dir().join(format!("rtgw-idle-{}.json", std::process::id()));
    let profiler = dhat::Profiler::builder().file_name(&path).trim_backtraces(None).build();
    let streams: Vec<TcpStream> = (0..CONNECTIONS).map(|_| open(public)).collect();
    eventually("all are adopted", || {
        let page = http::get(admin, "/metrics").body;
        page.contains(&format!("rtgw_connections{{endpoint=\"engine\"}} {CONNECTIONS}")).then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    drop(profiler);
    let mut owners: Vec<(String, (u64, u64))> = by_owner(&path).into_iter().collect();
    std::fs::remove_file(path).unwrap();
    owners.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
    let each = |bytes: u64| bytes as f64 / CONNECTIONS as f64;
    println!("| bytes per connection | blocks per connection | asked for by |\n|---|---|---|");
    for (owner, (bytes, blocks)) in owners.iter().filter(|(_, (bytes, _))| *bytes >= CONNECTIONS as u64) {
        println!("| {:.1} | {:.2} | `{owner}` |", each(*bytes), each(*blocks));
    }
    let bytes: u64 = owners.iter().map(|(_, (bytes, _))| bytes).sum();
    println!(
        "| {:.1} | {:.2} | all |",
        each(bytes),
        each(owners.iter().map(|(_, (_, blocks))| blocks).sum())
    );
    assert!(bytes as usize <= MOST * CONNECTIONS, "{:.1} bytes, at most {MOST} are wanted", each(bytes));
    drop(streams);
    stop.cancel();
    runtime.block_on(serving).unwrap().unwrap();
}
