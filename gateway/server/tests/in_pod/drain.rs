//! How a pod goes.

use std::time::{Duration, Instant};

use rtgw_config::pod::Phase;

use crate::stage::{Mounts, ask, config, open, report, reported};
use crate::support::socket::Socket;

const CLIENTS: u32 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_told_to_end_cordons_itself_then_closes_at_half_the_gateways_rate() {
    let mounts = Mounts::new("drain");
    let spec = open("/ws");
    // Half of 20 a second is 10: 40 connections take about four seconds.
    let config = config(1, &spec).replace("drain: {}", "drain: {cordonDelay: 5s, maxPerSecond: 20}");
    mounts.config(&[("config.yaml", &config)]);
    let mut gateway = mounts.serve();
    let url = gateway.url("/ws");
    let mut sockets = Vec::new();
    for _ in 1..CLIENTS {
        sockets.push(Socket::open(&url).await);
    }
    let told = Instant::now();
    gateway.process.signal("TERM");
    let cordoned = reported(&gateway, "the pod cordons itself", |report| report.terminating);
    assert_eq!((cordoned.phase, cordoned.remaining), (Phase::Cordoned, CLIENTS - 1));
    assert_eq!(ask(&gateway, "/readyz", &[]).status, 503);
    // Balancers that have not noticed yet still find it open.
    sockets.push(Socket::open(&url).await);
    let evacuating = reported(&gateway, "it evacuates", |report| report.phase == Phase::Evacuating);
    assert!(told.elapsed() >= Duration::from_secs(5), "after the delay");
    assert!(evacuating.terminating && evacuating.remaining <= CLIENTS);
    reported(&gateway, "places come back", |report| report.remaining < CLIENTS);
    // The internal listener goes last.
    assert!(report(&gateway).delivering);
    for socket in &mut sockets {
        let frame = socket.closed().await.expect("a close frame");
        assert_eq!(u16::from(frame.code), 1012);
        assert!(frame.reason.starts_with("reconnect;after="), "{frame:?}");
    }
    assert!(told.elapsed() >= Duration::from_secs(5 + 3), "faster than the rate: {:?}", told.elapsed());
    assert_eq!(gateway.process.ended().code(), Some(0));
}
