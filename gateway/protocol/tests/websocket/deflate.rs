//! What a client reads from our compressed messages, by a reader of DEFLATE that shares nothing with the writer, and measures
//! how far back the stream refers: the libraries do not check that against the window they were given.

use proptest::prelude::*;
use rtgw_protocol::websocket::deflate::{Window, compress};

/// RFC 1951 section 3.2.5: base and extra bits.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
/// The order of the code lengths of the code lengths (RFC 1951 section 3.2.7).
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A canonical Huffman code (RFC 1951 section 3.2.2).
struct Code {
    /// How many symbols have codes of 1, 2, … 15 bits.
    counts: [usize; 15],
    /// By length, then by value.
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let of =
            |length| (0..lengths.len()).filter(move |symbol| usize::from(lengths[*symbol]) == length + 1);
        Self {
            counts: std::array::from_fn(|length| of(length).count()),
            symbols: (0..15).flat_map(of).collect(),
        }
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u8) -> usize {
        (0..count).fold(0, |value, shift| {
            let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << shift
        })
    }

    fn symbol(&mut self, code: &Code) -> usize {
        let (mut found, mut first, mut index) = (0, 0, 0);
        for count in code.counts {
            found |= self.take(1);
            if found < first + count {
                return code.symbols[index + found - first];
            }
            index += count;
            first = (first + count) << 1;
            found <<= 1;
        }
        panic!("no such code")
    }

    /// The codes of a dynamic block: literals and lengths, distances.
    fn tables(&mut self) -> (Code, Code) {
        let (literals, distances, codes) = (self.take(5) + 257, self.take(5) + 1, self.take(4) + 4);
        let mut meta = [0; 19];
        ORDER[..codes].iter().for_each(|index| meta[*index] = self.take(3) as u8);
        let meta = Code::new(&meta);
        let mut lengths: Vec<u8> = Vec::new();
        while lengths.len() < literals + distances {
            match self.symbol(&meta) {
                16 => lengths.extend([*lengths.last().unwrap()].repeat(3 + self.take(2))),
                17 => lengths.extend([0].repeat(3 + self.take(3))),
                18 => lengths.extend([0].repeat(11 + self.take(7))),
                length => lengths.push(length as u8),
            }
        }
        let distances = lengths.split_off(literals);
        (Code::new(&lengths), Code::new(&distances))
    }
}

/// Inflates a message body; also returns the longest distance back.
fn read(body: &[u8]) -> (Vec<u8>, usize) {
    let wire = [body, &[0, 0, 0xFF, 0xFF]].concat();
    let mut bits = Bits { bytes: &wire, at: 0 };
    let (mut out, mut farthest) = (Vec::new(), 0);
    while bits.at < wire.len() * 8 {
        assert_eq!(bits.take(1), 0, "no final block");
        let (literals, distances) = match bits.take(2) {
            0 => {
                bits.at = bits.at.next_multiple_of(8);
                let length = bits.take(16);
                assert_eq!(length ^ bits.take(16), 0xFFFF);
                out.extend((0..length).map(|_| bits.take(8) as u8));
                continue;
            }
            1 => {
                let literals = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
                (Code::new(&literals), Code::new(&[5; 30]))
            }
            2 => bits.tables(),
            _ => panic!("reserved block"),
        };
        loop {
            match bits.symbol(&literals) {
                literal @ 0..256 => out.push(literal as u8),
                256 => break,
                symbol => {
                    let (base, extra) = LENGTHS[symbol - 257];
                    let length = usize::from(base) + bits.take(extra);
                    let symbol = bits.symbol(&distances);
                    let extra = (symbol / 2).saturating_sub(1) as u8;
                    let base = if symbol < 2 { symbol } else { (2 + symbol % 2) << extra };
                    let distance = 1 + base + bits.take(extra);
                    farthest = farthest.max(distance);
                    (0..length).for_each(|_| out.push(out[out.len() - distance]));
                }
            }
        }
    }
    (out, farthest)
}

fn check(payload: &[u8]) -> usize {
    let [wide, small] = [(Window::Bits12, 4096), (Window::Bits9, 512)].map(|(window, bytes)| {
        let (out, farthest) = read(&compress(window, payload));
        assert!(out == payload, "{window:?}: not what was compressed");
        assert!(farthest <= bytes, "{window:?}: refers {farthest} bytes back");
        farthest
    });
    wide.max(small)
}

#[test]
fn messages_of_every_kind_fit_the_window() {
    let rows: Vec<u8> =
        (0..3_000u32).flat_map(|row| format!("row {row} of many, {};", row * 7).into_bytes()).collect();
    let farthest = check(&rows);
    assert!(farthest > 512, "the larger window is used, so the smaller one is tested by this payload");
    check(b"");
    check(b"a");
    check(&vec![b'x'; 100_000]);
    let mut noise = 1u32;
    let random: Vec<u8> = (0..70_000)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .collect();
    check(&random);
    check(&[&random[..700], &random[..700]].concat());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_payload_fits_the_window(words in prop::collection::vec("[a-e]{1,6}|[{}\":,0-9]{1,3}|ä💡", 0..1_500), times in 1..4usize) {
        check(words.concat().repeat(times).as_bytes());
    }
}
