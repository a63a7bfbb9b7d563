//! What the decoder shows depends on the bytes alone: not on reads, not on pauses.

use proptest::prelude::*;
use rtgw_protocol::websocket::{Decoder, Flow, Progress, Rules};

use crate::{
    client::{Frame, said},
    observe::{Seen, observe},
};

/// Two empty texts and the beginning of a third, a pause behind each text, and one `resume` too many.
#[test]
fn going_on_without_a_pause_does_nothing() {
    let text = Frame { fin: true, rsv: 0, opcode: 1, mask: Some([0; 4]), payload: Vec::new() };
    let mut wire = Vec::new();
    text.write(&mut wire);
    text.write(&mut wire);
    wire.extend([0x01, 0x80]);
    let (first, rest) = wire.split_at_mut(6);
    let rules = Rules { deflate: false, message_bytes: 0 };
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(&rules, first, &mut |_| Flow::Pause), Ok(Progress::Paused));
    assert_eq!(decoder.decode(&rules, rest, &mut |_| Flow::Pause), Ok(Progress::Paused));
    assert_eq!(decoder.resume(&rules, &mut |_| Flow::Pause), Ok(Progress::Paused));
    for _ in 0..2 {
        assert_eq!(decoder.resume(&rules, &mut |_| Flow::Pause), Ok(Progress::Drained));
    }
}

/// Lengths of reads, of the sizes that matter: parts of headers, frames, whole buffers.
fn reads() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..4usize, 1..200usize, 1..70_000usize], 1..60)
}

/// A frame that may break any rule.
fn wild_frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        "[aé💡]{0,40}".prop_map(String::into_bytes),
        (1000..1020u16).prop_map(|code| code.to_be_bytes().to_vec()),
    ];
    let opcode = prop_oneof![9 => prop::sample::select(vec![0u8, 1, 2, 8, 9, 10]), 1 => 0..16u8];
    let rsv = prop_oneof![8 => Just(0u8), 1 => Just(4u8), 1 => 0..8u8];
    (any::<bool>(), rsv, opcode, prop::option::weighted(0.95, any::<[u8; 4]>()), payload)
        .prop_map(|(fin, rsv, opcode, mask, payload)| Frame { fin, rsv, opcode, mask, payload })
}

proptest! {
    #[test]
    fn valid_messages_arrive_whole_and_in_order(
        messages in prop::collection::vec(said(), 0..6),
        reads in reads(),
        pauses in prop::collection::vec(any::<bool>(), 1..20),
        deflate in any::<bool>(),
    ) {
        let (mut wire, mut expected) = (Vec::new(), Vec::new());
        for message in &messages {
            let (frames, seen) = message.frames(deflate);
            frames.iter().for_each(|frame| frame.write(&mut wire));
            expected.extend(seen);
        }
        let rules = Rules { deflate, message_bytes: 70_000 };
        let mut pauses = pauses.into_iter().cycle();
        let observed = observe(rules, &wire, reads.into_iter().chain([wire.len()]), &mut || pauses.next().unwrap());
        prop_assert_eq!(&observed.seen, &expected);
        prop_assert_eq!(observed.decoder.kept_bytes(), 0);
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_arrive(
        frames in prop::collection::vec(wild_frame(), 0..8),
        tail in prop::collection::vec(any::<u8>(), 0..30),
        reads in reads(),
        pauses in prop::collection::vec(any::<bool>(), 1..20),
        deflate in any::<bool>(),
        limit in 0..200usize,
    ) {
        let mut wire = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut wire));
        wire.extend(tail);
        let rules = Rules { deflate, message_bytes: limit };
        let whole = observe(rules, &wire, [wire.len()], &mut || false);
        let mut pauses = pauses.into_iter().cycle();
        let pieces = observe(rules, &wire, reads.into_iter().chain([wire.len()]), &mut || pauses.next().unwrap());
        prop_assert_eq!(&pieces.seen, &whole.seen);
        // At most a message with its slack, a control frame, and the bookkeeping.
        prop_assert!(pieces.decoder.kept_bytes() <= limit + limit / 8 + 64 + 256 + 256);
        for seen in &whole.seen {
            prop_assert!(!matches!(seen, Seen::Binary(bytes) if bytes.len() > limit));
            prop_assert!(!matches!(seen, Seen::Text(text) if text.len() > limit));
        }
    }
}
