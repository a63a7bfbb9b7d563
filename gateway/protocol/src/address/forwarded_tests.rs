//! Chains of proxies: the client's address is found, and never one of its own choice.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::forwarded::{ForwardedError, client};

/// 10.0.0.0/8 and fd00::/8 are proxies.
fn trusted(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.octets()[0] == 0xFD,
    }
}

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn of(peer: IpAddr, x_forwarded_for: &[&str], forwarded: &[&str]) -> Result<String, ForwardedError> {
    let bytes = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
    let (entries, elements) = (bytes(x_forwarded_for), bytes(forwarded));
    client(peer, entries.iter().map(Vec::as_slice), elements.iter().map(Vec::as_slice), trusted)
        .map(|address| address.to_string())
}

#[track_caller]
fn entries(value: &str, expected: &str) {
    assert_eq!(of(PROXY, &[value], &[]).as_deref(), Ok(expected), "{value}");
}

#[track_caller]
fn elements(value: &str, expected: &str) {
    assert_eq!(of(PROXY, &[], &[value]).as_deref(), Ok(expected), "{value}");
}

#[test]
fn who_is_not_trusted_is_not_believed() {
    let stranger: IpAddr = "203.0.113.5".parse().unwrap();
    assert_eq!(of(stranger, &["192.0.2.1"], &["for=192.0.2.2"]).as_deref(), Ok("203.0.113.5"));
    // Not even where it would be refused of somebody trusted.
    assert_eq!(of(stranger, &["nonsense"], &["=;,\""]).as_deref(), Ok("203.0.113.5"));
    assert_eq!(of(PROXY, &[], &[]).as_deref(), Ok("10.0.0.1"));
}

#[test]
fn entries_are_read_from_the_last_back() {
    entries("192.0.2.1", "192.0.2.1");
    entries("198.51.100.9, 192.0.2.1", "192.0.2.1");
    entries("198.51.100.9, 192.0.2.1, 10.1.1.1,10.2.2.2", "192.0.2.1");
    entries("garbage, \"', 192.0.2.1,\t10.1.1.1", "192.0.2.1");
    entries("10.3.3.3, 10.2.2.2", "10.3.3.3");
    entries(" , 192.0.2.1 , ,", "192.0.2.1");
    entries("", "10.0.0.1");
    entries("192.0.2.1:4711", "192.0.2.1");
    entries("2001:db8::1", "2001:db8::1");
    entries("[2001:db8::1]", "2001:db8::1");
    entries("[2001:db8::1]:443, fd00::1", "2001:db8::1");
    entries("::ffff:192.0.2.1", "192.0.2.1");
    entries("192.0.2.1, ::ffff:10.9.9.9", "192.0.2.1");
    // The proxy that does not say whom it heard stands for its clients.
    entries("unknown", "10.0.0.1");
    entries("192.0.2.1, _hidden, 10.7.7.7", "10.7.7.7");
    // Several fields are one list.
    assert_eq!(of(PROXY, &["198.51.100.9", "192.0.2.1", "10.1.1.1"], &[]).as_deref(), Ok("192.0.2.1"));
    for bad in [
        "client",
        "192.0.2",
        "192.0.2.1:",
        "192.0.2.1:x",
        "192.0.2.1:123456",
        "[::1",
        "[::1]x",
        "fe80::1%1",
        "é",
    ] {
        assert_eq!(of(PROXY, &[bad], &[]), Err(ForwardedError::NoAddress), "{bad}");
        assert_eq!(of(PROXY, &[&format!("192.0.2.1, {bad}, 10.1.1.1")], &[]), Err(ForwardedError::NoAddress));
    }
}

#[test]
fn elements_follow_the_rfc() {
    elements("for=192.0.2.43", "192.0.2.43");
    elements("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17");
    elements("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60");
    elements("for=198.51.100.17, for=192.0.2.43", "192.0.2.43");
    elements("for=192.0.2.43, for=10.1.1.1;by=10.2.2.2 , for=\"10.3.3.3:80\"", "192.0.2.43");
    elements("by=10.2.2.2; FOR=192.0.2.43", "192.0.2.43");
    elements("host=\"a, for=198.51.100.1\\\"\";for=192.0.2.43", "192.0.2.43");
    elements(", for=192.0.2.43;; proto=https ,,", "192.0.2.43");
    elements("for=192.0.2.43:80", "192.0.2.43");
    elements("for=[2001:db8::1]:80", "2001:db8::1");
    elements("for=\"192.0.2.43:_port\"", "192.0.2.43");
    elements("for=192.0.2.1, for=unknown", "10.0.0.1");
    elements("for=192.0.2.1, for=_SEVKISEK, for=10.7.7.7", "10.7.7.7");
    elements("for=192.0.2.1, proto=https", "10.0.0.1");
    elements("", "10.0.0.1");
    for bad in [
        "for",
        "for=",
        "=a",
        "for=a",
        "for=\"192.0.2.1",
        "for=\"192.0.2.1\\",
        "for=\"192.0.2.1\"x",
        "for=192.0.2.1 for=192.0.2.2",
        "for=192.0.2.1;for=192.0.2.2",
        "for =192.0.2.1",
        "for= 192.0.2.1",
        "for=2001:db8::1",
        "for=\"2001:db8::1\"",
        "for=[192.0.2.1]",
        "for=\"[fe80::1%1]\"",
        "for=\"\x01\"",
        "nonsense, for=192.0.2.1",
    ] {
        assert_eq!(of(PROXY, &[], &[bad]), Err(ForwardedError::Malformed), "{bad}");
    }
}

#[test]
fn two_fields_must_agree() {
    let both = |entries, elements| of(PROXY, &[entries], &[elements]);
    assert_eq!(both("192.0.2.1", "for=192.0.2.1").as_deref(), Ok("192.0.2.1"));
    assert_eq!(both("9.9.9.9, 192.0.2.1", "for=192.0.2.1, for=10.1.1.1").as_deref(), Ok("192.0.2.1"));
    assert_eq!(both("192.0.2.1", "for=192.0.2.2"), Err(ForwardedError::Ambiguous));
    assert_eq!(both("192.0.2.1", "for=unknown"), Err(ForwardedError::Ambiguous));
    // An empty field says nothing.
    assert_eq!(both("192.0.2.1", "").as_deref(), Ok("192.0.2.1"));
    assert_eq!(both("", "for=192.0.2.2").as_deref(), Ok("192.0.2.2"));
}

fn stranger() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)));
    let v6 = any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical());
    prop_oneof![v4, v6].prop_filter("a client", |address| !trusted(*address))
}

/// What a client sends along: anything that a header field can hold, with a liking for what this grammar is made of.
fn invention() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "for=",
        "\"",
        "\\",
        ",",
        ";",
        " ",
        "=",
        "[",
        "]",
        ":",
        "192.0.2.66",
        "10.0.0.66",
        "unknown",
        "_x",
        "by=a",
        "for=192.0.2.66",
        "::1",
    ]);
    prop_oneof!["[\t -~]{0,40}", prop::collection::vec(words, 0..8).prop_map(|words| words.concat())]
}

/// As RFC 7239 asks for it.
fn element(address: IpAddr, port: Option<u16>) -> String {
    match (address, port) {
        (IpAddr::V4(address), None) => format!("for={address}"),
        (IpAddr::V6(address), None) => format!("for=\"[{address}]\""),
        (IpAddr::V4(address), Some(port)) => format!("for=\"{address}:{port}\";proto=https"),
        (IpAddr::V6(address), Some(port)) => format!("proto=https;for=\"[{address}]:{port}\""),
    }
}

proptest! {
    #[test]
    fn a_client_cannot_choose_its_address(
        client in stranger(), invented in invention(), hops in 0_u8..4, port in any::<Option<u16>>(), one_field in any::<bool>()
    ) {
        let proxies = (0..hops).map(|hop| IpAddr::from([10, 1, 1, hop]));
        let chain: Vec<IpAddr> = std::iter::once(client).chain(proxies).collect();
        let list: Vec<String> = chain.iter().map(IpAddr::to_string).collect();
        let list = list.join(", ");
        let said = if one_field { vec![format!("{invented}, {list}")] } else { vec![invented.clone(), list] };
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        prop_assert_eq!(of(PROXY, &said, &[]), Ok(client.to_string()));

        let list: Vec<String> = chain.iter().map(|hop| element(*hop, port)).collect();
        let list = list.join(", ");
        let said = if one_field { vec![format!("{invented}, {list}")] } else { vec![invented.clone(), list] };
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        match of(PROXY, &[], &said) {
            Ok(found) => prop_assert_eq!(found, client.to_string()),
            Err(error) => prop_assert_eq!(error, ForwardedError::Malformed),
        }
        // Nor by the field that its proxies do not write.
        let list: Vec<String> = chain.iter().map(IpAddr::to_string).collect();
        if let Ok(found) = of(PROXY, &[&list.join(",")], &[&invented]) {
            prop_assert_eq!(found, client.to_string());
        }
    }

    #[test]
    fn any_fields_are_judged(entries in ".{0,60}", elements in ".{0,60}") {
        let _ = of(PROXY, &[&entries], &[&elements]);
    }
}
