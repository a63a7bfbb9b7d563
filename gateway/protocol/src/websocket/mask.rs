//! Masking of client frames (RFC 6455 section 5.3).

/// XORs `payload` with the mask, whose first byte belongs to the payload's first byte.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// The mask as it stands after `taken` bytes of the payload.
pub(super) fn advance(mut mask: [u8; 4], taken: usize) -> [u8; 4] {
    mask.rotate_left(taken % 4);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_equals_the_rfc_formula() {
        let mask = [0x12, 0x34, 0x56, 0x78];
        for len in 0..40usize {
            let plain: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let masked: Vec<u8> = plain.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            for split in 0..=len {
                let mut bytes = masked.clone();
                let (head, tail) = bytes.split_at_mut(split);
                unmask(head, mask);
                unmask(tail, advance(mask, split));
                assert_eq!(bytes, plain, "{len} {split}");
            }
        }
    }
}
