//! UTF-8 that arrives in pieces: refused at the first byte that no continuation could make valid (RFC 6455 section 8.1).

/// How far a growing text has been checked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checked {
    /// Everything before this index is whole, valid characters.
    valid: usize,
}

/// The text can no longer become UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

impl Checked {
    /// Checks what `text` gained since the last call. A character cut short at the end is left for the next call.
    pub(super) fn check(&mut self, text: &[u8]) -> Result<(), Broken> {
        match simdutf8::compat::from_utf8(&text[self.valid..]) {
            Ok(_) => self.valid = text.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Broken),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of bytes after which the text is refused, fed byte by byte.
    fn refused_after(text: &[u8]) -> Option<usize> {
        let mut checked = Checked::default();
        (1..=text.len()).find(|end| checked.check(&text[..*end]).is_err())
    }

    #[test]
    fn refuses_at_the_first_hopeless_byte() {
        for (text, after) in [
            ("κόσμε, 💡 und ende".as_bytes(), None),
            (b"\xCE\xBA\xE1\xBD", None),
            (b"\xCE\xBA\xF4\x90\x80\x80", Some(4)),
            (b"\xED\xA0\x80", Some(2)),
            (b"\xC0\xAF", Some(1)),
            (b"\xE0\x80", Some(2)),
            (b"\xF5", Some(1)),
            (b"ab\x80", Some(3)),
        ] {
            assert_eq!(refused_after(text), after, "{text:x?}");
        }
    }

    #[test]
    fn pieces_of_any_size_agree() {
        let text = "añb€c💡".repeat(40).into_bytes();
        for step in 1..70 {
            let mut checked = Checked::default();
            for end in (0..text.len()).step_by(step).chain([text.len()]) {
                assert_eq!(checked.check(&text[..end]), Ok(()));
            }
            assert_eq!(checked.valid, text.len());
        }
    }
}
