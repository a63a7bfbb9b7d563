//! Frames of every kind as a client reads them: numbering of variants, compression, control frames, echoes.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress};
use rtgw_model::{
    ChannelName, Close, CloseCode, Encoder, Event, Message, Micros, Outgoing, Publication, Timestamp, Variant,
};
use rtgw_protocol::json::Envelope;
use rtgw_protocol::websocket::close::parse_payload;
use rtgw_protocol::websocket::deflate::Window;
use rtgw_protocol::wires::{Compression, Protocol, TooManyVariants, VARIANTS, VariantSpec, Wires};

const PLAIN: VariantSpec = VariantSpec {
    protocol: Protocol::Json,
    envelope: Envelope::Typed,
    metadata: false,
    seq: false,
    compression: None,
};

fn compressed(min_bytes: usize) -> Option<Compression> {
    Some(Compression { window: Window::Bits12, min_bytes })
}

fn single(spec: VariantSpec) -> (Wires, Variant) {
    let wires = Wires::new();
    let variant = wires.intern(spec).unwrap();
    (wires, variant)
}

fn publication(data: String) -> Publication {
    Publication {
        channels: std::iter::once(ChannelName::parse("jobs").unwrap()).collect(),
        event: "e".into(),
        data: data.into(),
        timestamp: Timestamp(0),
        tags: Default::default(),
        id: None,
        priority: None,
        positions: Default::default(),
        except: None,
    }
}

fn echo(payload: &[u8], binary: bool) -> Message {
    let event = Event::Echo { binary, payload: Bytes::copy_from_slice(payload) };
    Message { reply_to: None, timestamp: Timestamp(0), event }
}

/// First byte and payload of a frame below 64 KiB.
fn open(frame: &[u8]) -> (u8, &[u8]) {
    let header = if frame[1] == 126 { 4 } else { 2 };
    (frame[0], &frame[header..])
}

fn inflate(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let input = [body, &[0, 0, 0xFF, 0xFF]].concat();
    Decompress::new(false).decompress_vec(&input, &mut out, FlushDecompress::Sync).unwrap();
    out
}

#[test]
fn equal_bytes_have_one_number() {
    let wires = Wires::new();
    let plain = wires.intern(PLAIN).unwrap();
    let raw = wires.intern(VariantSpec { envelope: Envelope::Raw, ..PLAIN }).unwrap();
    assert_ne!(plain, raw);
    assert_eq!(wires.intern(PLAIN), Ok(plain));
    let dressed = VariantSpec { envelope: Envelope::Raw, metadata: true, seq: true, ..PLAIN };
    assert_eq!(wires.intern(dressed), Ok(raw));
    assert_eq!(wires.find(dressed), Some(raw));
    assert_eq!(wires.find(VariantSpec { metadata: true, ..PLAIN }), None);
    assert_eq!(wires.variants(), 2);
}

#[test]
fn a_number_too_many_is_refused_and_the_known_stay() {
    let wires = Wires::new();
    let spec = |at: usize| VariantSpec { compression: compressed(at), ..PLAIN };
    // The first brings the plain one with it, for what may not be compressed.
    for at in 1..VARIANTS {
        assert_eq!(wires.intern(spec(at)), Ok(Variant(u8::try_from(at).unwrap())));
    }
    assert_eq!(wires.intern(PLAIN), Ok(Variant(0)));
    assert_eq!(wires.intern(spec(VARIANTS)), Err(TooManyVariants));
    assert_eq!(wires.intern(spec(7)), Ok(Variant(7)));
    assert_eq!(wires.variants(), VARIANTS);
}

#[test]
fn what_a_variant_says_of_itself() {
    let of = |spec| {
        let (wires, variant) = single(spec);
        (wires.shows_channel(variant), wires.numbers(variant))
    };
    assert_eq!(of(PLAIN), (false, false));
    assert_eq!(of(VariantSpec { metadata: true, seq: true, ..PLAIN }), (true, true));
    assert_eq!(
        of(VariantSpec { metadata: true, seq: true, compression: compressed(0), ..PLAIN }),
        (true, false)
    );
    assert_eq!(
        of(VariantSpec { metadata: true, seq: true, envelope: Envelope::Raw, ..PLAIN }),
        (false, false)
    );
}

#[test]
fn publications_are_compressed_from_the_threshold_on_and_only_when_that_helps() {
    let raw = |min_bytes| {
        single(VariantSpec { envelope: Envelope::Raw, compression: compressed(min_bytes), ..PLAIN })
    };
    let long = format!("\"{}\"", "ab".repeat(200));
    let (wires, variant) = raw(long.len());
    let frame = wires.publication(variant, &publication(long.clone()), 0);
    let (first, body) = open(&frame);
    assert_eq!(first, 0xC1, "final, RSV1, text");
    assert!(body.len() < 40);
    assert_eq!(inflate(body), long.as_bytes());

    let (wires, variant) = raw(long.len() + 1);
    assert_eq!(open(&wires.publication(variant, &publication(long.clone()), 0)), (0x81, long.as_bytes()));
    let (wires, variant) = raw(0);
    assert_eq!(open(&wires.publication(variant, &publication("17".to_owned()), 0)), (0x81, &b"17"[..]));
}

#[test]
fn a_publication_is_compressed_once_for_each_window() {
    let wires = Wires::new();
    let of = |window| VariantSpec { compression: Some(Compression { window, min_bytes: 0 }), ..PLAIN };
    let variants = [
        wires.intern(of(Window::Bits12)).unwrap(),
        wires.intern(of(Window::Bits9)).unwrap(),
        wires.intern(PLAIN).unwrap(),
    ];
    let outgoing = Outgoing::new(publication("[0]".repeat(100)), variants.len(), Micros(0));
    for _ in 0..1_000 {
        for variant in variants {
            outgoing.frame(variant, 0, &wires);
        }
    }
    assert_eq!(wires.compressions(), 2);
}

#[test]
fn our_own_messages_go_plain() {
    let (wires, variant) = single(VariantSpec { compression: compressed(0), ..PLAIN });
    let greeting = Bytes::from("[\"".to_owned() + &"a".repeat(500) + "\"]");
    let message =
        Message { reply_to: None, timestamp: Timestamp(0), event: Event::Greeting(greeting.clone()) };
    assert_eq!(open(&wires.message(variant, &message)), (0x81, &greeting[..]));
}

#[test]
fn echoes_keep_their_kind_and_are_compressed_where_negotiated() {
    let (wires, variant) = single(VariantSpec { protocol: Protocol::Echo, ..PLAIN });
    assert_eq!(open(&wires.message(variant, &echo(b"\xFF\x00", true))), (0x82, &b"\xFF\x00"[..]));
    assert_eq!(open(&wires.message(variant, &echo(b"", false))), (0x81, &b""[..]));

    let spec = VariantSpec { protocol: Protocol::Echo, compression: compressed(10), ..PLAIN };
    let (wires, variant) = single(spec);
    let frame = wires.message(variant, &echo(&[7; 300], true));
    let (first, body) = open(&frame);
    assert_eq!((first, inflate(body)), (0xC2, vec![7; 300]));
    assert_eq!(open(&wires.message(variant, &echo(&[7; 9], true))), (0x82, &[7; 9][..]));
}

#[test]
fn control_frames() {
    let (wires, variant) = single(VariantSpec { compression: compressed(0), ..PLAIN });
    assert_eq!(&wires.ping(variant)[..], [0x89, 0]);
    assert_eq!(open(&wires.pong(variant, &[9; 125])), (0x8A, &[9; 125][..]));
    let frame = wires.close(variant, &Close::restart(1500));
    let (first, payload) = open(&frame);
    assert_eq!(first, 0x88);
    assert_eq!(parse_payload(payload), Ok(Some((1012, "reconnect;after=1500"))));
    let frame = wires.close(variant, &Close::new(CloseCode::SlowConsumer, ""));
    assert_eq!(parse_payload(open(&frame).1), Ok(Some((4430, ""))));
}

#[test]
fn a_variant_that_came_after_the_publication_gets_its_own_bytes() {
    let wires = Wires::new();
    let spec = |metadata, min_bytes| VariantSpec {
        protocol: Protocol::Json,
        envelope: Envelope::Typed,
        metadata,
        seq: false,
        compression: Some(Compression { window: Window::Bits12, min_bytes }),
    };
    let early = wires.intern(spec(true, 1 << 20)).unwrap();
    let mut two = publication("[1]".to_owned());
    two.channels.push(ChannelName::parse("second").unwrap());
    let outgoing = Outgoing::new(two, wires.variants(), Micros(0));
    let late = wires.intern(spec(false, 1 << 20)).unwrap();
    assert_eq!(wires.intern(spec(true, 1 << 20)).unwrap(), early, "numbers stay");
    let frames = [(early, 0), (late, 1), (early, 1), (late, 0)].map(|(variant, at)| {
        let frame = outgoing.frame(variant, at, &wires).bytes();
        assert_eq!(*frame, wires.publication(variant, outgoing.publication(), at));
        frame.as_ptr()
    });
    assert_eq!(frames[1], frames[3], "and shared");
}
