//! Clients that stop reading: the most that is held for them beside the pod's budget, and the age of what the others hear.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::SockRef;

use super::Bench;
use super::child::Gateway;
use super::floods::Quiet;
use super::publisher::Publisher;
use super::receivers::Request;
use super::report::{Report, median};

/// What the stuck ones are sent: more than a socket takes at once, and numbered, so that each has a copy of its own of what its socket
/// has the beginning of.
const BYTES: usize = 32 << 10;
const EVERY: Duration = Duration::from_millis(50);
/// Longest wait for full sockets, in half seconds.
const FILLING: usize = 60;
/// As little as a kernel gives: what it takes is no concern of the gateway's budget.
const CLIENT_BUFFER: usize = 4_096;

const MANIFEST: &str = r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: bench}
spec:
  auth: {anonymous: Allow}
  endpoints:
  - {name: heard, path: /heard, envelope: Raw, autoSubscribe: [{channel: news}], heartbeat: {interval: 5m, timeout: 10m}}
  - {name: stuck, path: /stuck, seq: true, autoSubscribe: [{channel: films}], heartbeat: {interval: 5m, timeout: 10m}}
  channels:
  - {pattern: news, subscribe: "true"}
  - {pattern: films, subscribe: "true", delivery: {slowConsumer: DropOldest}}
  limits: {pod: {outboundMemoryPercent: 1}}
"#;

/// Publishes to those who do not read until it is dropped.
struct Films {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<Result<()>>>,
}

impl Films {
    fn start(gateway: &Gateway) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut publisher = Publisher::connect(gateway.admin)?;
        let work = move || {
            let data = format!("\"{}\"", "x".repeat(BYTES));
            while !stopped.load(Ordering::Relaxed) {
                publisher.publish_data(["films"], || data.clone())?;
                std::thread::sleep(EVERY);
            }
            Ok(())
        };
        Ok(Self { stop, thread: Some(std::thread::spawn(work)) })
    }

    fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it ends once")?;
        thread.join().unwrap_or_else(|_| anyhow::bail!("the publisher failed"))
    }
}

fn readers(gateway: &Gateway, count: usize) -> Result<Vec<TcpStream>> {
    let request = Request { address: gateway.server.address, path: "/stuck", token: None };
    let open = |_| {
        let stream = request.open()?;
        SockRef::from(&stream).set_recv_buffer_size(CLIENT_BUFFER)?;
        Ok(stream)
    };
    (0..count).map(open).collect()
}

/// Waits until the sockets of those who do not read are full: until then they are clients like any other, who get all they are sent.
fn filled(gateway: &Gateway) -> Result<()> {
    let written = || gateway.metric("rtgw_bytes_total{direction=\"out\",endpoint=\"stuck\"}");
    let mut before = written()?;
    for _ in 0..FILLING {
        std::thread::sleep(Duration::from_millis(500));
        let now = written()?;
        if now > 0.0 && now - before < BYTES as f64 {
            return Ok(());
        }
        before = now;
    }
    anyhow::bail!("the sockets of clients that do not read were not full after {} s", FILLING / 2)
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let gateway = Gateway::start(MANIFEST, 2)?;
    let length = Duration::from_secs_f64(bench.seconds);
    let mut quiet = Quiet::start(&gateway)?;
    quiet.p99(Duration::from_millis(500))?;
    let (mut calm, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        calm.push(quiet.p99(length)?);
        let stuck = readers(&gateway, bench.connections)?;
        let films = Films::start(&gateway)?;
        filled(&gateway)?;
        beside.push(quiet.p99(length)?);
        films.end()?;
        drop(stuck);
        // Those that are left are found out.
        std::thread::sleep(Duration::from_millis(500));
    }
    let mebibytes = |name| Ok::<f64, anyhow::Error>(gateway.metric(name)? / f64::from(1 << 20));
    let (peak, budget) = (mebibytes("rtgw_outbound_peak_bytes")?, mebibytes("rtgw_outbound_budget_bytes")?);
    let what = format!("most memory held for {} that stopped reading, beside the budget", bench.connections);
    report.compared(&what, "MiB", peak, budget, peak / budget, "1x");
    let ratio = median(&beside.iter().zip(&calm).map(|(beside, calm)| beside / calm).collect::<Vec<_>>());
    report.compared("p99 of those who read beside them", "ms", median(&beside), median(&calm), ratio, "2x");
    let closes =
        gateway.metric("rtgw_closes_total{endpoint=\"stuck\",code=\"1013\",reason=\"overloaded\"}")?;
    report.alone("connections shed a round", "", closes / bench.rounds as f64, "printed");
    Ok(())
}
