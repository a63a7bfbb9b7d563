//! Any bytes as what a client says of its own address: a proxy that adds the true one is believed, or the request is refused.
//!
//! Input: flags (1: one field instead of two, 2: the proxy's element is quoted, 4: another trusted proxy behind it), then what the client
//! sends.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use rtgw_protocol::address::forwarded::{self, ForwardedError};

const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fuzz_target!(|data: &[u8]| {
    let [flags, invented @ ..] = data else { return };
    let (one_field, quoted, two_proxies) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0);
    let (entry, element) = match (quoted, two_proxies) {
        (false, false) => ("192.0.2.1", "for=192.0.2.1"),
        (true, false) => ("192.0.2.1:80", "for=\"192.0.2.1:80\";proto=https"),
        (false, true) => ("192.0.2.1, 10.0.0.2", "for=192.0.2.1, for=10.0.0.2"),
        (true, true) => ("192.0.2.1,10.0.0.2:80", "proto=https;for=\"192.0.2.1\",for=\"10.0.0.2:80\""),
    };
    assert_eq!(client(&fields(invented, entry, one_field), &[]), Ok(CLIENT));
    match client(&[], &fields(invented, element, one_field)) {
        Ok(address) => assert_eq!(address, CLIENT),
        Err(error) => assert_eq!(error, ForwardedError::Malformed),
    }
    // The field that the proxy does not write.
    for found in [client(&[entry.into()], &[invented.into()]), client(&[invented.into()], &[element.into()])].into_iter().flatten() {
        assert_eq!(found, CLIENT);
    }
    let _ = client(&[invented.into()], &[]);
});

fn fields(invented: &[u8], said: &str, one_field: bool) -> Vec<Vec<u8>> {
    if one_field { vec![[invented, b", ", said.as_bytes()].concat()] } else { vec![invented.into(), said.into()] }
}

fn client(entries: &[Vec<u8>], elements: &[Vec<u8>]) -> Result<IpAddr, ForwardedError> {
    let trusted = |address| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10);
    forwarded::client(PROXY, entries.iter().map(Vec::as_slice), elements.iter().map(Vec::as_slice), trusted)
}
