//! The end of a running gateway: what its clients are told, and how the process exits.
#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;
mod support;

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http_support::Client;
use support::gateway::Gateway;

const CLIENTS: usize = 300;

fn crowd(gateway: &Gateway) -> Vec<Client> {
    let open = |_| {
        let mut client = Client::connect(gateway.public);
        assert_eq!(client.shake("/ws", &[]).answer().status, 101);
        client
    };
    (0..CLIENTS).map(open).collect()
}

#[test]
fn a_signal_closes_everybody_at_a_rate_and_says_when_to_come_back() {
    let mut gateway = Gateway::serve("examples/quickstart/gateway.yaml", &[]);
    let clients = crowd(&gateway);
    let start = Instant::now();
    gateway.process.signal("TERM");
    support::eventually("readiness goes off", || {
        support::http::try_get(gateway.admin, "/readyz").filter(|answer| answer.status == 503)
    });
    support::eventually("new clients are refused", || {
        TcpStream::connect(gateway.public).is_err().then_some(())
    });
    assert!(gateway.process.running(), "while the others are still being closed");
    let mut delays = BTreeSet::new();
    for mut client in clients {
        let (code, reason) = client.close();
        assert_eq!(code, 1012);
        let after: u64 = reason.strip_prefix("reconnect;after=").unwrap().parse().unwrap();
        assert!(after <= 5000, "{after}");
        delays.insert(after);
    }
    // At 200 a second this takes 1.5 s; the last closes are what bounds it from below.
    assert!(start.elapsed() > Duration::from_millis(1200), "{:?}", start.elapsed());
    assert!(delays.len() > CLIENTS / 2, "clients would come back together: {delays:?}");
    assert!(gateway.process.ended().success());
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut gateway = Gateway::serve("examples/quickstart/gateway.yaml", &[]);
    let _clients = crowd(&gateway);
    gateway.process.signal("TERM");
    support::eventually("the drain begins", || gateway.process.stderr().contains("draining").then_some(()));
    let start = Instant::now();
    gateway.process.signal("INT");
    assert_eq!(gateway.process.ended().code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
