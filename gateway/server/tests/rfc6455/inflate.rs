//! An inflater that is strict about the window: a reference further back than the client agreed to is an error, even where the
//! bytes are still at hand. Libraries forgive that, small clients cannot.

/// Inflates a message's payload (RFC 7692 section 7.2.2) with a window of `1 << bits` bytes.
pub fn inflate(payload: &[u8], bits: u8) -> Result<Vec<u8>, String> {
    let mut input = payload.to_vec();
    // The message's end, then an empty final block, which tells it from a message that was cut short.
    input.extend([0x00, 0x00, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF, 0xFF]);
    let mut bits_in = Bits { input: &input, at: 0 };
    let mut out = Vec::new();
    loop {
        let last = bits_in.take(1)? == 1;
        match bits_in.take(2)? {
            0 => stored(&mut bits_in, &mut out)?,
            1 => {
                let lengths: Vec<u8> = (0..288)
                    .map(|n| match n {
                        0..144 => 8,
                        144..256 => 9,
                        256..280 => 7,
                        _ => 8,
                    })
                    .collect();
                codes(&mut bits_in, &mut out, &Tree::new(&lengths)?, &Tree::new(&[5; 30])?, bits)?;
            }
            2 => {
                let (literals, distances) = trees(&mut bits_in)?;
                codes(&mut bits_in, &mut out, &literals, &distances, bits)?;
            }
            _ => return Err("a block of type 3".to_owned()),
        }
        if last {
            let rest = input.len() - bits_in.at.div_ceil(8);
            return if rest == 0 { Ok(out) } else { Err(format!("{rest} bytes behind the final block")) };
        }
    }
}

struct Bits<'a> {
    input: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, String> {
        let mut value = 0;
        for n in 0..count {
            let byte = self.input.get(self.at / 8).ok_or("the message is cut short")?;
            value |= usize::from(byte >> (self.at % 8) & 1) << n;
            self.at += 1;
        }
        Ok(value)
    }
}

/// A canonical Huffman code (RFC 1951 section 3.2.2).
struct Tree {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Tree {
    fn new(lengths: &[u8]) -> Result<Self, String> {
        let mut counts = [0; 16];
        lengths.iter().for_each(|len| counts[usize::from(*len)] += 1);
        counts[0] = 0;
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|n| lengths[*n] != 0).collect();
        symbols.sort_by_key(|n| lengths[*n]);
        let used: usize = (1..16).map(|len| counts[len] << (15 - len)).sum();
        if used > 1 << 15 { Err("an over-full code".to_owned()) } else { Ok(Self { counts, symbols }) }
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<usize, String> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code |= bits.take(1)?;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err("a code that stands for nothing".to_owned())
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    bits.at = bits.at.next_multiple_of(8);
    let len = bits.take(16)?;
    if bits.take(16)? != len ^ 0xFFFF {
        return Err("a stored block whose lengths differ".to_owned());
    }
    for _ in 0..len {
        out.push(bits.take(8)? as u8);
    }
    Ok(())
}

/// RFC 1951 section 3.2.7.
fn trees(bits: &mut Bits<'_>) -> Result<(Tree, Tree), String> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, lengths) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    let mut code = [0; 19];
    for n in &ORDER[..lengths] {
        code[*n] = bits.take(3)? as u8;
    }
    let code = Tree::new(&code)?;
    let mut all: Vec<u8> = Vec::new();
    while all.len() < literals + distances {
        let (len, repeat) = match code.read(bits)? {
            16 => (*all.last().ok_or("a repetition of nothing")?, 3 + bits.take(2)?),
            17 => (0, 3 + bits.take(3)?),
            18 => (0, 11 + bits.take(7)?),
            len => (len as u8, 1),
        };
        all.extend(std::iter::repeat_n(len, repeat));
    }
    if all.len() > literals + distances {
        return Err("code lengths beyond their number".to_owned());
    }
    Ok((Tree::new(&all[..literals])?, Tree::new(&all[literals..])?))
}

fn codes(
    bits: &mut Bits<'_>,
    out: &mut Vec<u8>,
    literals: &Tree,
    distances: &Tree,
    window: u8,
) -> Result<(), String> {
    loop {
        let len = match literals.read(bits)? {
            literal @ 0..256 => {
                out.push(literal as u8);
                continue;
            }
            256 => return Ok(()),
            symbol @ 257..265 => symbol - 254,
            symbol @ 265..285 => {
                let extra = (symbol - 261) / 4;
                3 + ((4 + (symbol - 265) % 4) << extra) + bits.take(extra)?
            }
            285 => 258,
            symbol => return Err(format!("length symbol {symbol}")),
        };
        let distance = match distances.read(bits)? {
            symbol @ 0..4 => symbol + 1,
            symbol @ 4..30 => {
                let extra = symbol / 2 - 1;
                1 + ((2 + symbol % 2) << extra) + bits.take(extra)?
            }
            symbol => return Err(format!("distance symbol {symbol}")),
        };
        if distance > out.len() || distance > 1 << window {
            return Err(format!(
                "a reference {distance} bytes back, with a window of {window} bits at {}",
                out.len()
            ));
        }
        for _ in 0..len {
            out.push(out[out.len() - distance]);
        }
    }
}

/// Proves on streams of another author (RFC 7692 section 7.2.3, and what flate2 makes) that this inflater can be trusted.
pub fn prove() {
    for body in [
        b"\xf2\x48\xcd\xc9\xc9\x07\x00".as_slice(),
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
    ] {
        assert_eq!(inflate(body, 9).as_deref(), Ok(b"Hello".as_slice()));
    }
    // Noise, then the same again: only a reference 2,000 bytes back compresses it.
    let noise: Vec<u8> = (0..2_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let text = noise.repeat(2);
    let far = super::script::deflated(&text);
    assert_eq!(inflate(&far, 15).as_deref(), Ok(text.as_slice()));
    assert!(inflate(&far, 9).is_err_and(|error| error.contains("bytes back")), "the window is looked at");
    assert!(inflate(&far[..far.len() / 2], 15).is_err());
}
