//! Any bytes as a MessagePack command, and any text as JSON to be written as MessagePack: both end, panic never and keep their
//! bounds, and what can be read is written and read again unchanged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtgw_model::CommandNames;
use rtgw_protocol::json::ID_BYTES;
use rtgw_protocol::msgpack;

const LIMIT: usize = 8 << 10;

fuzz_target!(|bytes: &[u8]| {
    if let Err(rejection) = msgpack::decode(bytes, LIMIT, &CommandNames::default()) {
        assert!(rejection.denied.message.len() < 600, "an error repeats too much");
        assert!(rejection.id.is_none_or(|id| id.len() <= ID_BYTES));
    }
    let mut packed = Vec::new();
    msgpack::from_json(bytes, &mut packed);
    assert!(packed.len() <= 9 * bytes.len(), "a digit becomes at most a float");
    let Ok(json) = msgpack::to_json(bytes, LIMIT) else { return };
    assert!(json.len() <= LIMIT);
    packed.clear();
    msgpack::from_json(json.as_bytes(), &mut packed);
    assert!(packed.len() <= bytes.len() + 4 * bytes.len(), "only 32-bit floats grow");
    assert_eq!(msgpack::to_json(&packed, LIMIT).as_ref(), Ok(&json), "the way there and back");
});
