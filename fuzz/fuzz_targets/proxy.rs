//! Any bytes as a PROXY header: read or refused within its bounds, and what is read is the source address as it was written.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use rtgw_protocol::address::proxy::{BLOCK_BYTES, HEAD_BYTES, Head};

fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<HEAD_BYTES>() else { return };
    let Ok(parsed) = Head::parse(head) else { return };
    assert!(parsed.block_bytes() <= BLOCK_BYTES);
    let Some(block) = rest.get(..parsed.block_bytes()) else {
        assert!(parsed.client(rest).is_err(), "half a header names nobody");
        return;
    };
    let client = parsed.client(block).expect("a whole block is readable");
    // What stands behind it is the client's, and changes nothing.
    assert_eq!(parsed.client(rest), Ok(client));
    let written: Option<IpAddr> = match (head[12], head[13] >> 4) {
        (0x21, 1) => block.first_chunk::<4>().map(|octets| (*octets).into()),
        (0x21, 2) => block.first_chunk::<16>().map(|octets| (*octets).into()),
        _ => None,
    };
    assert_eq!(client, written.map(|address| address.to_canonical()));
});
