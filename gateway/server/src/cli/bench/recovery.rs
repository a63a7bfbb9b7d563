//! A storm of clients that come back to one channel and recover it, beside as many that only subscribe, round by round in turn.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Bench;
use super::child::Gateway;
use super::deliveries::client_frame;
use super::memory;
use super::publisher::Publisher;
use super::receivers::{Receivers, Request};
use super::redis::Redis;
use super::report::{Report, median};

/// Publications that each of them has missed.
const MISSED: usize = 10;

fn manifest(redis: &str) -> String {
    format!(
        r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {{name: bench}}
spec:
  auth: {{anonymous: Allow}}
  endpoints:
  - {{name: ws, path: /ws, envelope: Raw, heartbeat: {{interval: 5m, timeout: 10m}}}}
  channels:
  - {{pattern: "feed:{{n}}", subscribe: "true", history: {{mode: Stream, size: 100, ttl: 1h}}}}
  redis: {{external: {{url: "{redis}"}}}}
"#
    )
}

/// A channel on which everybody has missed something.
struct Feed {
    name: String,
    epoch: String,
}

impl Feed {
    fn publish(gateway: &Gateway, publisher: &mut Publisher, n: usize) -> Result<Self> {
        // Of one length, so that all answers are.
        let name = format!("feed:{n:04}");
        for _ in 0..MISSED {
            publisher.publish([name.as_str()])?;
        }
        let answer = gateway.get(&format!("/v1/history/{name}?limit=0"))?;
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        let body: Value = serde_json::from_str(body).with_context(|| answer.clone())?;
        let epoch = body["epoch"].as_str().with_context(|| answer.clone())?.to_owned();
        Ok(Self { name, epoch })
    }

    /// The command of who only subscribes, or has missed everything.
    fn command(&self, recovers: bool) -> Vec<u8> {
        let mut data = json!({"channel": self.name});
        if recovers {
            data["recover"] = json!({"offset": 0, "epoch": self.epoch});
        }
        client_frame(&json!({"type": "subscribe", "data": data}).to_string())
    }
}

/// How many bytes one client is answered with, in `frames` frames.
fn answer_bytes(gateway: &Gateway, command: &[u8], frames: usize) -> Result<u64> {
    let mut stream = open(gateway, 1)?.pop().context("one was asked for")?;
    stream.write_all(command)?;
    (0..frames).map(|_| frame_bytes(&mut stream)).sum()
}

/// Reads a server's frame (RFC 6455 section 5.2); its length with its head.
fn frame_bytes(stream: &mut TcpStream) -> Result<u64> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let (head_bytes, length) = match head[1] {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long)?;
            (4, u16::from_be_bytes(long))
        }
        length @ 0..126 => (2, u16::from(length)),
        _ => bail!("a frame of more than 64 KiB"),
    };
    stream.read_exact(&mut vec![0; usize::from(length)])?;
    Ok(head_bytes + u64::from(length))
}

fn open(gateway: &Gateway, count: usize) -> Result<Vec<TcpStream>> {
    memory::open(&Request { address: gateway.server.address, path: "/ws", token: None }, None, count)
}

/// Seconds until everybody has been answered.
fn storm(gateway: &Gateway, count: usize, command: &[u8], bytes: u64) -> Result<f64> {
    let mut streams = open(gateway, count)?;
    let start = Instant::now();
    for stream in &mut streams {
        stream.write_all(command)?;
    }
    let receivers = Receivers::start(streams);
    receivers.wait_for_bytes(count as u64 * bytes)?;
    Ok(start.elapsed().as_secs_f64())
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let redis = Redis::start()?;
    let gateway = Gateway::start(&manifest(&redis.url()), 2)?;
    let mut publisher = Publisher::connect(gateway.admin)?;
    let feed = Feed::publish(&gateway, &mut publisher, 0)?;
    // In this order: what is read for the one may serve the other.
    let plain_bytes = answer_bytes(&gateway, &feed.command(false), 1)?;
    let bytes = answer_bytes(&gateway, &feed.command(true), 1 + MISSED)?;
    let (mut plain, mut recovered, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.rounds {
        let feeds = [1, 2].map(|more| Feed::publish(&gateway, &mut publisher, 2 * round + more));
        let [without, with] = feeds;
        plain.push(storm(&gateway, bench.connections, &without?.command(false), plain_bytes)?);
        let with = with?.command(true);
        let before = redis.history_reads()?;
        recovered.push(storm(&gateway, bench.connections, &with, bytes)?);
        reads.push(redis.history_reads()? - before);
    }
    let ratio =
        median(&recovered.iter().zip(&plain).map(|(with, without)| with / without).collect::<Vec<_>>());
    let count = bench.connections;
    let what =
        format!("{count} recover {MISSED} publications of one channel each, beside as many that subscribe");
    report.compared(&what, "s", median(&recovered), median(&plain), ratio, "printed");
    report.alone("reads of the history for all of them", "", median(&reads), "5");
    Ok(())
}
