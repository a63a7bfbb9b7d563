//! Globs as Redis matches them for `PSUBSCRIBE`: `*`, `?`, `[a-z]`, `[^a]` and `\` before a literal.

/// Whether `text` fits `glob`. Takes time in the product of both lengths at most.
pub(super) fn fits(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    // Where to go on when the rest does not fit: the last star takes one byte more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if glob.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, position));
            continue;
        }
        match (glob.get(at), text.get(position)) {
            (None, None) => return true,
            (Some(_), Some(&byte)) => {
                let (fits, length) = one(&glob[at..], byte);
                if fits {
                    at += length;
                    position += 1;
                    continue;
                }
            }
            _ => {}
        }
        match &mut star {
            Some((after, taken)) if *taken < text.len() => {
                *taken += 1;
                (at, position) = (*after, *taken);
            }
            _ => return false,
        }
    }
}

/// Whether `byte` fits the first element of `glob`, and how long that element is.
fn one(glob: &[u8], byte: u8) -> (bool, usize) {
    match glob {
        [b'?', ..] => (true, 1),
        [b'[', rest @ ..] => {
            let (fits, length) = class(rest, byte);
            (fits, length + 1)
        }
        [b'\\', literal, ..] => (*literal == byte, 2),
        [literal, ..] => (*literal == byte, 1),
        [] => (false, 0),
    }
}

/// The class behind a `[`; one that is never closed ends with the glob, as in Redis.
fn class(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let (mut at, mut found) = (usize::from(negated), false);
    loop {
        match &class[at.min(class.len())..] {
            [] => return (found != negated, class.len()),
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                at += 2;
            }
            [b']', ..] => return (found != negated, at + 1),
            [from, b'-', to, ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn globs_match_as_in_redis() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything:at all", true),
            ("job:*", "job:", true),
            ("job:*", "job:1:2", true),
            ("job:*", "jobs:1", false),
            ("*:updates", "botrix:jobs:updates", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("h[\\]]llo", "h]llo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a[bc", "ab", true),
            ("a[", "a", false),
            ("a\\", "a\\", true),
        ];
        for (glob, text, expected) in cases {
            assert_eq!(fits(glob.as_bytes(), text.as_bytes()), expected, "{glob} {text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(glob in prop::collection::vec(prop::sample::select(b"*?[]^-\\ab".to_vec()), 0..12),
                                  text in prop::collection::vec(prop::sample::select(b"ab]-".to_vec()), 0..12)) {
            fits(&glob, &text);
        }

        #[test]
        fn a_literal_fits_itself_between_stars(text in "[a-z:]{0,20}", around in "[a-z]{0,5}") {
            let surrounded = format!("{around}{text}{around}");
            prop_assert!(fits(text.as_bytes(), text.as_bytes()));
            let starred = format!("*{text}*");
            prop_assert!(fits(starred.as_bytes(), surrounded.as_bytes()));
        }
    }
}
