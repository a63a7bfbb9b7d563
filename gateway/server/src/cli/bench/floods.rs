//! What a flood costs those who behave: the age of what they hear, in quiet and in flooded rounds in turn.
//!
//! Who floods works on the same processors. So each flood is also sent to a second gateway beside the one that is measured: what that
//! does to the figure is the machine's doing, and only what is above it is the gateway's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::child::Gateway;
use super::flooder::{Flood, Flooder};
use super::issuer::{Outside, Signer};
use super::publisher::Publisher;
use super::receivers::{Receivers, Request};
use super::report::{Report, median, percentile};

/// Connections that behave: each hears every publication.
const CONNECTIONS: usize = 100;
/// Publications a second.
const RATE: f64 = 100.0;

fn manifest(keys: SocketAddr) -> String {
    format!(
        r#"
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {{name: bench}}
spec:
  auth:
    anonymous: Allow
    issuers:
    - {{name: own, algorithms: [HS256], secretRef: {{name: bench, key: jwt}}}}
    - {{name: idp, algorithms: [RS256], jwks: {{url: "http://{keys}/keys"}}}}
  endpoints:
  - {{name: heard, path: /heard, envelope: Raw, autoSubscribe: [{{channel: news}}], heartbeat: {{interval: 5m, timeout: 10m}}}}
  - {{name: flooded, path: /flooded, heartbeat: {{interval: 5m, timeout: 10m}}}}
  channels:
  - {{pattern: news, subscribe: "true"}}
  - {{pattern: "room:{{room}}", subscribe: user != '' && room.startsWith('r')}}
  commands:
    costly: {{reply: {{event: "'costly'", data: "data.l.filter(x, !(2 in data.l))"}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bench}}
stringData: {{jwt: benchmark-benchmark-benchmark-benchmark}}
"#
    )
}

/// Those who behave, and what they hear.
pub(super) struct Quiet {
    publisher: Publisher,
    receivers: Receivers,
}

impl Quiet {
    pub(super) fn start(gateway: &Gateway) -> Result<Self> {
        let request = Request { address: gateway.server.address, path: "/heard", token: None };
        let streams = (0..CONNECTIONS).map(|_| request.open()).collect::<Result<Vec<_>>>()?;
        Ok(Self { publisher: Publisher::connect(gateway.admin)?, receivers: Receivers::start(streams) })
    }

    /// The 99th percentile of ages in milliseconds, over `length`.
    pub(super) fn p99(&mut self, length: Duration) -> Result<f64> {
        let pause = Duration::from_secs_f64(1.0 / RATE);
        let expected = self.receivers.messages();
        self.receivers.take_ages();
        let mut sent = 0;
        let mut due = Instant::now();
        let end = due + length;
        while due < end {
            self.publisher.publish(["news"])?;
            sent += CONNECTIONS as u64;
            due += pause;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        self.receivers.wait_for(expected + sent)?;
        let ages: Vec<f64> = self.receivers.take_ages().into_iter().map(f64::from).collect();
        Ok(percentile(&ages, 99.0) / 1000.0)
    }
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let outside = Outside::start(Signer::new()?.key_set(&["one"]))?;
    let manifest = manifest(outside.address);
    let (gateway, beside) = (Gateway::start(&manifest, 2)?, Gateway::start(&manifest, 2)?);
    let length = Duration::from_secs_f64(bench.seconds);
    let mut quiet = Quiet::start(&gateway)?;
    quiet.p99(Duration::from_millis(500))?;
    for flood in Flood::ALL {
        let (mut calm, mut flooded, mut machine) = (Vec::new(), Vec::new(), Vec::new());
        let mut attempts = 0;
        for _ in 0..bench.rounds {
            calm.push(quiet.p99(length)?);
            for (target, figures) in [(&gateway, &mut flooded), (&beside, &mut machine)] {
                let flooder = Flooder::start(flood, target.server.address)?;
                // It has begun, and what it opens at first is open.
                std::thread::sleep(Duration::from_millis(200));
                figures.push(quiet.p99(length)?);
                attempts += flooder.end();
            }
            // What it left behind is tidied up.
            std::thread::sleep(Duration::from_millis(300));
        }
        let ratio = |figures: &[f64]| {
            median(&figures.iter().zip(&calm).map(|(figure, calm)| figure / calm).collect::<Vec<_>>())
        };
        let per_second = attempts as f64 / (2.0 * bench.rounds as f64 * (bench.seconds + 0.2));
        let what = format!("p99 beside {per_second:.0} {} a second", flood.name());
        report.compared(&what, "ms", median(&flooded), median(&calm), ratio(&flooded), "2x");
        let what = format!("the same {} at another process", flood.name());
        report.compared(&what, "ms", median(&machine), median(&calm), ratio(&machine), "printed");
    }
    Ok(())
}
