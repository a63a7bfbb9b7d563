//! CPU, writes and latency per delivery, against a bare loop of `send`, round by round in the same run.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::child::{Floor, Gateway, Server};
use super::publisher::Publisher;
use super::receivers::{Receivers, Request};
use super::report::{Report, median, percentile};

/// Connections that hear each publication.
const FAN_OUT: usize = 1_000;
/// Turns of publishing a second.
const TURNS: f64 = 20.0;

const MANIFEST: &str = r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: bench}
spec:
  auth: {anonymous: Allow}
  endpoints:
  - {name: shared, path: /shared, envelope: Raw, autoSubscribe: [{channel: shared}], heartbeat: {interval: 5m, timeout: 10m}}
  - {name: filtered, path: /filtered, envelope: Raw, autoSubscribe: [{channel: filtered}], heartbeat: {interval: 5m, timeout: 10m}}
  - {name: own, path: /own, envelope: Raw, autoSubscribe: [{channel: "own:{connection.query.n}"}], heartbeat: {interval: 5m, timeout: 10m}}
  channels:
  - {pattern: shared, subscribe: "true"}
  - {pattern: filtered, subscribe: "true", filters: {ks: k}}
  - {pattern: "own:{n}", subscribe: "true"}
  limits: {connection: {queueBytes: 16Mi, queueMessages: 65536}}
"#;

/// A masked text frame, as a client sends it (RFC 6455 section 5.3); the mask is zero.
pub(super) fn client_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Something that delivers.
trait Subject {
    fn server(&self) -> &Server;
    fn receivers(&self) -> &Receivers;
    /// Publishes so that `deliveries` messages go out.
    fn turn(&mut self) -> Result<u64>;
    /// Waits until an asynchronous turn is over.
    fn rest(&mut self) -> Result<()> {
        Ok(())
    }
}

struct BareLoop {
    floor: Floor,
    receivers: Receivers,
    verb: &'static str,
    count: usize,
    open: usize,
}

impl BareLoop {
    fn start(verb: &'static str, count: usize) -> Result<Self> {
        let mut floor = Floor::start()?;
        floor.order("accept", FAN_OUT)?;
        let request = Request { address: floor.server.address, path: "/", token: None };
        let streams = (0..FAN_OUT).map(|_| request.open()).collect::<Result<Vec<_>>>()?;
        floor.done()?;
        Ok(Self { floor, receivers: Receivers::start(streams), verb, count, open: 0 })
    }
}

impl Subject for BareLoop {
    fn server(&self) -> &Server {
        &self.floor.server
    }

    fn receivers(&self) -> &Receivers {
        &self.receivers
    }

    fn turn(&mut self) -> Result<u64> {
        self.floor.order(self.verb, self.count)?;
        self.open += 1;
        Ok(if self.verb == "fan" { self.count * FAN_OUT } else { self.count } as u64)
    }

    fn rest(&mut self) -> Result<()> {
        for _ in 0..std::mem::take(&mut self.open) {
            self.floor.done()?;
        }
        Ok(())
    }
}

struct Served {
    gateway: Gateway,
    publisher: Publisher,
    receivers: Receivers,
    channels: Vec<String>,
    /// Publications of a turn.
    count: usize,
    next: usize,
    shared: bool,
}

impl Served {
    fn start(shards: usize, endpoint: &'static str, count: usize) -> Result<Self> {
        let gateway = Gateway::start(MANIFEST, shards)?;
        let own = endpoint == "own";
        let streams = (0..FAN_OUT).map(|n| {
            let path = if own { format!("/own?n={n}") } else { format!("/{endpoint}") };
            let mut stream = Request { address: gateway.server.address, path: &path, token: None }.open()?;
            if endpoint == "filtered" {
                narrow(&mut stream)?;
            }
            Ok(stream)
        });
        let streams = streams.collect::<Result<Vec<_>>>()?;
        let channels =
            if own { (0..FAN_OUT).map(|n| format!("own:{n}")).collect() } else { vec![endpoint.to_owned()] };
        let publisher = Publisher::connect(gateway.admin)?;
        Ok(Self {
            gateway,
            publisher,
            receivers: Receivers::start(streams),
            channels,
            count,
            next: 0,
            shared: !own,
        })
    }
}

/// Asks for a filter that every publication of the benchmark passes, and reads the answer.
fn narrow(stream: &mut std::net::TcpStream) -> Result<()> {
    use std::io::{Read, Write};
    stream.write_all(&client_frame(r#"{"type":"subscribe","ks":["a","b","v"]}"#))?;
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut answer = vec![0; usize::from(head[1])];
    Ok(stream.read_exact(&mut answer)?)
}

impl Subject for Served {
    fn server(&self) -> &Server {
        &self.gateway.server
    }

    fn receivers(&self) -> &Receivers {
        &self.receivers
    }

    fn turn(&mut self) -> Result<u64> {
        let total = self.channels.len();
        let first = self.next;
        self.next = (first + self.count) % total;
        let channels = (first..first + self.count).map(|at| self.channels[at * 617 % total].as_str());
        self.publisher.publish(channels)?;
        Ok(if self.shared { self.count * FAN_OUT } else { self.count } as u64)
    }
}

/// One round's figures.
struct Round {
    /// Microseconds of CPU per delivery.
    cpu: f64,
    /// Microseconds from publishing to reading.
    ages: Vec<u32>,
    deliveries: u64,
}

/// Publishes at an even pace for `length` and waits until everything has arrived.
fn round(subject: &mut dyn Subject, length: Duration) -> Result<Round> {
    let pause = Duration::from_secs_f64(1.0 / TURNS);
    let expected = subject.receivers().messages();
    subject.receivers().take_ages();
    let before = subject.server().cpu_time()?;
    let mut deliveries = 0;
    let mut due = Instant::now();
    let end = due + length;
    while due < end {
        deliveries += subject.turn()?;
        due += pause;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    subject.rest()?;
    subject.receivers().wait_for(expected + deliveries)?;
    let cpu = subject.server().cpu_time()? - before;
    let ages = subject.receivers().take_ages();
    Ok(Round { cpu: cpu.as_secs_f64() * 1e6 / deliveries as f64, ages, deliveries })
}

/// The figures of several rounds.
#[derive(Default)]
struct Rounds {
    cpu: Vec<f64>,
    p99: Vec<f64>,
    deliveries: u64,
}

impl Rounds {
    fn add(&mut self, round: Round) {
        let ages: Vec<f64> = round.ages.into_iter().map(f64::from).collect();
        self.cpu.push(round.cpu);
        self.p99.push(percentile(&ages, 99.0) / 1000.0);
        self.deliveries += round.deliveries;
    }
}

/// Plays the rounds of all subjects in turn, after one that does not count.
fn play(bench: &Bench, subjects: &mut [&mut dyn Subject]) -> Result<Vec<Rounds>> {
    let length = Duration::from_secs_f64(bench.seconds);
    let mut all: Vec<Rounds> = subjects.iter().map(|_| Rounds::default()).collect();
    for subject in subjects.iter_mut() {
        round(*subject, length.min(Duration::from_millis(500)))?;
    }
    for _ in 0..bench.rounds {
        for (subject, rounds) in subjects.iter_mut().zip(&mut all) {
            rounds.add(round(*subject, length)?);
        }
    }
    Ok(all)
}

/// The median of the ratios of rounds that were neighbours in time.
fn ratio(figures: &[f64], floor: &[f64]) -> f64 {
    let ratios: Vec<f64> = figures.iter().zip(floor).map(|(figure, floor)| figure / floor).collect();
    median(&ratios)
}

/// One channel that 1,000 connections hear.
pub(super) fn shared_channel(
    bench: &Bench,
    report: &mut Report,
    unbatched: bool,
    batched: bool,
) -> Result<()> {
    let mut floor = BareLoop::start("fan", 1)?;
    let mut one = Served::start(1, "shared", 1)?;
    let mut two = Served::start(2, "shared", 1)?;
    if unbatched {
        let sent = one.gateway.metric("rtgw_socket_writes_total")?;
        let heard = one.gateway.metric("rtgw_deliveries_total")?;
        let rounds = play(bench, &mut [&mut floor, &mut one, &mut two])?;
        let (bare, one_shard, two_shards) = (&rounds[0], &rounds[1], &rounds[2]);
        let mut line = |what: &str, rounds: &Rounds, target| {
            let (figure, floor) = (median(&rounds.cpu), median(&bare.cpu));
            report.compared(what, "us", figure, floor, ratio(&rounds.cpu, &bare.cpu), target);
        };
        line("CPU per delivery, fan-out 1,000, one shard", one_shard, "1.15x");
        line("CPU per delivery, fan-out 1,000, two shards", two_shards, "1.25x");
        let p99 = |rounds: &Rounds| median(&rounds.p99);
        let worst = ratio(&two_shards.p99, &bare.p99);
        report.compared("p99 at 20,000 deliveries a second", "ms", p99(two_shards), p99(bare), worst, "1x");
        let per_core = 1e6 / median(&one_shard.cpu);
        report.alone("deliveries per second of one core, unbatched", "/s", per_core, "200,000");
        let writes = one.gateway.metric("rtgw_socket_writes_total")? - sent;
        let deliveries = one.gateway.metric("rtgw_deliveries_total")? - heard;
        report.alone("system calls for writing per delivery, unbatched", "", writes / deliveries, "1.02");
    }
    if batched {
        one.count = 16;
        let mut filtered = Served::start(1, "filtered", 16)?;
        let rounds = play(bench, &mut [&mut floor, &mut one, &mut filtered])?;
        let (bare, plain, filtered) = (&rounds[0], &rounds[1], &rounds[2]);
        let mut line = |what: &str, rounds: &Rounds, target| {
            let (figure, floor) = (median(&rounds.cpu), median(&bare.cpu));
            report.compared(what, "us", figure, floor, ratio(&rounds.cpu, &bare.cpu), target);
        };
        line("CPU per delivery, 16 publications a turn", plain, "0.1x");
        line("the same through filters", filtered, "printed");
        let per_core = 1e6 / median(&plain.cpu);
        report.alone("deliveries per second of one core, 16 a turn", "/s", per_core, "2,000,000");
    }
    Ok(())
}

/// 1,000 channels of one connection each; every turn publishes to 100 of them.
pub(super) fn own_channels(bench: &Bench, report: &mut Report) -> Result<()> {
    let mut floor = BareLoop::start("each", 100)?;
    let mut own = Served::start(1, "own", 100)?;
    let rounds = play(bench, &mut [&mut floor, &mut own])?;
    let (bare, own) = (&rounds[0], &rounds[1]);
    let (figure, floor) = (median(&own.cpu), median(&bare.cpu));
    report.compared(
        "CPU per delivery, 1,000 connections on 1,000 channels",
        "us",
        figure,
        floor,
        ratio(&own.cpu, &bare.cpu),
        "1.3x",
    );
    Ok(())
}
