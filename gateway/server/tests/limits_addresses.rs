//! Whose address a client has: the peer's, or what trusted proxies say, in headers or before the first byte.
#![allow(clippy::unwrap_used, clippy::panic)]

mod limits_support;
mod support;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use limits_support::{Caller, serve};
use support::gateway::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn address(caller: &Caller, gateway: &Gateway) -> String {
    caller.enters(gateway).await.1["ip"].as_str().unwrap().to_owned()
}

fn forwarded(value: &str) -> Caller {
    Caller::anyone().header("x-forwarded-for", value)
}

#[tokio::test]
async fn headers_of_trusted_proxies_say_who_the_client_is() {
    let gateway = serve("forwarded", "  limits: {ip: {trustedProxies: [127.0.0.1/32, 10.0.0.0/8]}}");
    assert_eq!(address(&Caller::anyone(), &gateway).await, "127.0.0.1");
    assert_eq!(address(&forwarded("192.0.2.1"), &gateway).await, "192.0.2.1");
    assert_eq!(address(&forwarded("203.0.113.66, 192.0.2.1, 10.3.2.1"), &gateway).await, "192.0.2.1");
    let several = forwarded("203.0.113.66")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-forwarded-for", "10.3.2.1");
    assert_eq!(address(&several, &gateway).await, "192.0.2.1");
    let element = Caller::anyone()
        .header("forwarded", "for=203.0.113.66, for=\"[2001:db8::1]:443\";proto=https, for=10.3.2.1");
    assert_eq!(address(&element, &gateway).await, "2001:db8::1");
    let both = forwarded("192.0.2.1").header("forwarded", "for=192.0.2.1");
    assert_eq!(address(&both, &gateway).await, "192.0.2.1");
    forwarded("192.0.2.1").header("forwarded", "for=192.0.2.2").refused(&gateway, 400, "bad_request").await;
    forwarded("client").refused(&gateway, 400, "bad_request").await;
    Caller::anyone().header("forwarded", "for=\"").refused(&gateway, 400, "bad_request").await;
    // Another peer is believed nothing, not even what would be refused of a proxy.
    assert_eq!(address(&forwarded("192.0.2.1").from(2), &gateway).await, "127.0.0.2");
    assert_eq!(address(&forwarded("client").header("forwarded", "=").from(2), &gateway).await, "127.0.0.2");
}

#[tokio::test]
async fn without_trusted_proxies_headers_say_nothing() {
    let gateway = serve("untrusted", "  limits: {ip: {connections: 2}}");
    let mut held = Vec::new();
    for spoofed in ["192.0.2.1", "192.0.2.2"] {
        let (socket, greeting) =
            forwarded(spoofed).header("forwarded", "for=192.0.2.9").enters(&gateway).await;
        assert_eq!(greeting["ip"], "127.0.0.1");
        held.push(socket);
    }
    forwarded("192.0.2.3").refused(&gateway, 429, "ip_limit").await;
    forwarded("192.0.2.1").from(2).enters(&gateway).await;
}

#[tokio::test]
async fn behind_a_proxy_each_client_is_counted_and_ipv6_by_its_network() {
    let gateway = serve("counted", "  limits: {ip: {connections: 2, trustedProxies: [127.0.0.1/32]}}");
    let mut held = Vec::new();
    for number in 0..30 {
        for _ in 0..2 {
            held.push(forwarded(&format!("192.0.2.{number}")).enters(&gateway).await);
        }
    }
    forwarded("192.0.2.7").refused(&gateway, 429, "ip_limit").await;
    for address in ["2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "2001:db8:1:2::1"] {
        held.push(forwarded(address).enters(&gateway).await);
    }
    forwarded("2001:db8:1:1:abcd::3").refused(&gateway, 429, "ip_limit").await;
    forwarded("2001:db8:1:2::9").enters(&gateway).await;
    // An IPv4 address is itself, however it is written.
    forwarded("::ffff:192.0.2.7").refused(&gateway, 429, "ip_limit").await;
}

/// A header of version 2 for a client with this address.
fn header(client: IpAddr, more: &[u8]) -> Vec<u8> {
    let (family, addresses) = match client {
        IpAddr::V4(client) => (0x11, [&client.octets()[..], &[10, 0, 0, 1, 0, 1, 0, 2]].concat()),
        IpAddr::V6(client) => {
            (0x21, [&client.octets()[..], &Ipv6Addr::LOCALHOST.octets(), &[0, 1, 0, 2]].concat())
        }
    };
    raw_header(0x21, family, &[&addresses, more].concat())
}

fn raw_header(version: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[version, family][..], &length, block].concat()
}

fn proxied(client: &str) -> Caller {
    Caller::anyone().after(&header(client.parse().unwrap(), &[]))
}

const PROXIED: &str = "  limits: {ip: {connections: 3, trustedProxies: [127.0.0.1/32], proxyProtocol: true}}";

#[tokio::test]
async fn a_proxy_header_says_who_the_client_is() {
    let gateway = serve("proxy", PROXIED);
    assert_eq!(address(&proxied("192.0.2.1"), &gateway).await, "192.0.2.1");
    assert_eq!(address(&proxied("2001:db8::1"), &gateway).await, "2001:db8::1");
    assert_eq!(address(&proxied("::ffff:192.0.2.4"), &gateway).await, "192.0.2.4");
    let endpoint_id = header("192.0.2.1".parse().unwrap(), b"\xEA\x00\x06\x01vpce-\x03\x00\x04\0\0\0\0");
    assert_eq!(address(&Caller::anyone().after(&endpoint_id), &gateway).await, "192.0.2.1");
    let largest = header("192.0.2.1".parse().unwrap(), &vec![0; 4096 - 16 - 12]);
    assert_eq!(address(&Caller::anyone().after(&largest), &gateway).await, "192.0.2.1");
    // The balancer's own check, and clients without an address.
    for local in [raw_header(0x20, 0, &[]), raw_header(0x20, 0x11, &[7; 12]), raw_header(0x21, 0, &[])] {
        assert_eq!(address(&Caller::anyone().after(&local), &gateway).await, "127.0.0.1");
    }
    // The client's own headers say nothing, because the client is no proxy.
    let spoofing = proxied("192.0.2.1")
        .header("x-forwarded-for", "203.0.113.66")
        .header("forwarded", "for=203.0.113.66");
    assert_eq!(address(&spoofing, &gateway).await, "192.0.2.1");
    // Each client is counted.
    let held = join_all((0..3).map(|_| async { proxied("192.0.2.8").enters(&gateway).await })).await;
    proxied("192.0.2.8").refused(&gateway, 429, "ip_limit").await;
    proxied("192.0.2.9").enters(&gateway).await;
    drop(held);
}

#[tokio::test]
async fn a_proxy_header_may_come_in_pieces() {
    let gateway = serve("proxy-pieces", PROXIED);
    let mut stream = Caller::anyone().connect(gateway.public).await;
    stream.set_nodelay(true).unwrap();
    let header = header("192.0.2.1".parse().unwrap(), &[]);
    for byte in &header {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    // What follows is the client's, to the byte.
    stream.write_all(b"GET /ws/stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Everything until the end; a reset is an end.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match tokio::time::timeout(support::PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap() {
        Ok(_) => bytes,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes,
        Err(error) => panic!("{error}"),
    }
}

const REQUEST: &[u8] = b"GET /ws/stats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn without_a_good_proxy_header_a_connection_is_closed() {
    let gateway = serve("proxy-bad", PROXIED);
    let good = header("192.0.2.1".parse().unwrap(), &[]);
    let mut broken = good.clone();
    broken[3] = b'X';
    let cases: [(&str, Vec<u8>); 8] = [
        ("no header", Vec::new()),
        ("version 1", b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec()),
        ("a broken signature", broken),
        ("version 3", raw_header(0x31, 0x11, &[1; 12])),
        ("an unknown command", raw_header(0x22, 0x11, &[1; 12])),
        ("an unknown family", raw_header(0x21, 0x41, &[1; 36])),
        ("too short for its addresses", raw_header(0x21, 0x21, &[1; 12])),
        ("too long", header("192.0.2.1".parse().unwrap(), &vec![0; 4096])),
    ];
    for (name, before) in cases {
        let mut stream = Caller::anyone().connect(gateway.public).await;
        let start = Instant::now();
        stream.write_all(&[&before, REQUEST].concat()).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "{name}");
        assert!(start.elapsed() < Duration::from_secs(2), "{name}: {:?}", start.elapsed());
    }
    // A good one of somebody who is no balancer.
    let mut stream = Caller::anyone().from(2).connect(gateway.public).await;
    // The other side may have closed already.
    let _ = stream.write_all(&[&good[..], REQUEST].concat()).await;
    assert_eq!(rest(&mut stream).await, b"");
    // Two headers: the second is no request.
    let mut stream = Caller::anyone().connect(gateway.public).await;
    stream.write_all(&[&good[..], &good, REQUEST].concat()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    let said = gateway.process.stderr();
    assert!(said.contains("a connection is closed before it is served"), "{said}");
    assert!(said.contains("127.0.0.1"), "{said}");
}

#[tokio::test]
async fn connections_that_never_finish_their_proxy_header_end_soon_and_hinder_nobody() {
    let gateway = serve("proxy-slow", PROXIED);
    let start = Instant::now();
    let mut silent =
        join_all((0..300).map(|_| async { Caller::anyone().connect(gateway.public).await })).await;
    let half = header("192.0.2.1".parse().unwrap(), &[]);
    for stream in silent.iter_mut().take(100) {
        stream.write_all(&half[..20]).await.unwrap();
    }
    let drip = async {
        let mut stream = Caller::anyone().connect(gateway.public).await;
        let begun = Instant::now();
        for byte in raw_header(0x21, 0x11, &[0; 3000]) {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    };
    let others = async {
        let begun = Instant::now();
        for number in 0..10 {
            proxied(&format!("192.0.2.{number}")).enters(&gateway).await;
        }
        begun.elapsed()
    };
    let (drip, others) = tokio::join!(drip, others);
    assert!(others < Duration::from_secs(2), "{others:?}");
    assert!(drip > Duration::from_secs(1) && drip < Duration::from_secs(8), "{drip:?}");
    for stream in &mut silent {
        assert_eq!(rest(stream).await, b"");
    }
    assert!(start.elapsed() > Duration::from_secs(2) && start.elapsed() < Duration::from_secs(8));
}
