//! Headers as balancers write them, and as nobody should.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;

use proptest::prelude::*;

use super::proxy::{BLOCK_BYTES, HEAD_BYTES, Head, ProxyError};

fn header(version: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[version, family][..], &length, block].concat()
}

fn read(header: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
    let (head, rest) = header.split_first_chunk::<HEAD_BYTES>().ok_or(ProxyError::Missing)?;
    let head = Head::parse(head)?;
    head.client(&rest[..head.block_bytes().min(rest.len())])
}

fn v4(client: [u8; 4]) -> Vec<u8> {
    [&client[..], &[10, 0, 0, 1], &[0x12, 0x34, 0x01, 0xBB]].concat()
}

#[test]
fn the_client_is_the_source_address() {
    assert_eq!(read(&header(0x21, 0x11, &v4([192, 0, 2, 7]))), Ok(Some([192, 0, 2, 7].into())));
    assert_eq!(read(&header(0x21, 0x12, &v4([192, 0, 2, 7]))), Ok(Some([192, 0, 2, 7].into())));
    let client: IpAddr = "2001:db8::7".parse().unwrap();
    let mut block = [0; 36];
    block[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(read(&header(0x21, 0x21, &block)), Ok(Some(client)));
    // An IPv4 client of a socket for both is that IPv4 client.
    block[..16].copy_from_slice(&std::net::Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets());
    assert_eq!(read(&header(0x21, 0x22, &block)), Ok(Some([192, 0, 2, 7].into())));
    // What follows the addresses, such as the endpoint's id of a network load balancer, is passed over.
    let more = [v4([192, 0, 2, 7]), b"\xEA\x00\x03\x01vpce".to_vec()].concat();
    assert_eq!(read(&header(0x21, 0x11, &more)), Ok(Some([192, 0, 2, 7].into())));
}

#[test]
fn who_has_no_address_is_the_peer() {
    // LOCAL, whatever else it says: a balancer's own health check.
    assert_eq!(read(&header(0x20, 0x00, &[])), Ok(None));
    assert_eq!(read(&header(0x20, 0x11, &v4([192, 0, 2, 7]))), Ok(None));
    assert_eq!(read(&header(0x20, 0xFF, &[1, 2, 3])), Ok(None));
    assert_eq!(read(&header(0x21, 0x00, &[])), Ok(None));
    assert_eq!(read(&header(0x21, 0x31, &[0; 216])), Ok(None));
}

#[test]
fn everything_else_is_named() {
    assert_eq!(read(b"GET /ws HTTP/1.1\r\n"), Err(ProxyError::Missing));
    assert_eq!(read(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"), Err(ProxyError::Version1));
    assert_eq!(read(&header(0x11, 0x11, &v4([1; 4]))), Err(ProxyError::Version));
    assert_eq!(read(&header(0x31, 0x11, &v4([1; 4]))), Err(ProxyError::Version));
    assert_eq!(read(&header(0x22, 0x11, &v4([1; 4]))), Err(ProxyError::Command));
    for family in [0x01, 0x10, 0x13, 0x41, 0xFF] {
        assert_eq!(read(&header(0x21, family, &[0; 216])), Err(ProxyError::Family), "{family:x}");
    }
    assert_eq!(read(&header(0x21, 0x11, &[0; 11])), Err(ProxyError::Short));
    assert_eq!(read(&header(0x21, 0x21, &[0; 35])), Err(ProxyError::Short));
    assert_eq!(read(&header(0x21, 0x11, &vec![0; BLOCK_BYTES + 1])), Err(ProxyError::Long));
    assert!(read(&header(0x21, 0x11, &vec![0; BLOCK_BYTES])).is_ok());
    // Cut off within its variable part.
    let whole = header(0x21, 0x11, &v4([1; 4]));
    assert_eq!(read(&whole[..whole.len() - 1]), Err(ProxyError::Short));
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = read(&bytes);
    }

    #[test]
    fn any_header_is_judged_and_only_its_source_is_an_address(
        version in any::<u8>(), family in any::<u8>(), block in prop::collection::vec(any::<u8>(), 0..80)
    ) {
        if let Ok(Some(client)) = read(&header(version, family, &block)) {
            prop_assert_eq!(version, 0x21);
            let expected: IpAddr = match family >> 4 {
                1 => <[u8; 4]>::try_from(&block[..4]).unwrap().into(),
                _ => <[u8; 16]>::try_from(&block[..16]).unwrap().into(),
            };
            prop_assert_eq!(client, expected.to_canonical());
        }
    }
}
