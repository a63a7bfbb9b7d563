//! Whether a template can ever name a channel that a pattern fits. A value in a template never holds a `:`, because
//! templates percent-encode it, so segments can be compared one by one.

use crate::pattern::{Pattern, Segment};
use crate::template::{Part, Template};

/// A segment of a template: texts, with any value between two of them.
type Pieces<'t> = Vec<&'t str>;

fn segments(template: &Template) -> Vec<Pieces<'_>> {
    let mut segments: Vec<Pieces<'_>> = vec![vec![""]];
    for part in &template.parts {
        match part {
            Part::Expression(_) => {
                if let Some(pieces) = segments.last_mut() {
                    pieces.push("");
                }
            }
            Part::Text(text) => {
                for (at, text) in text.split(':').enumerate() {
                    if at > 0 {
                        segments.push(vec![""]);
                    }
                    // Texts never follow each other, so the last piece is still empty.
                    if let Some(piece) = segments.last_mut().and_then(|pieces| pieces.last_mut()) {
                        *piece = text;
                    }
                }
            }
        }
    }
    segments
}

/// Refuses templates that give no channel name whatever the values are.
pub(super) fn check(template: &Template) -> Result<(), &'static str> {
    for pieces in segments(template) {
        if pieces == [""] {
            return Err("has an empty segment: two `:` in a row, or one at an end");
        }
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() > crate::pattern::SEGMENT_BYTES {
            return Err("has a segment longer than 128 bytes");
        }
    }
    let texts = template.parts.iter().map(|part| match part {
        Part::Text(text) => text.len(),
        Part::Expression(_) => 1,
    });
    if texts.sum::<usize>() > crate::pattern::PATTERN_BYTES {
        Err("is longer than 255 bytes")
    } else {
        Ok(())
    }
}

/// Whether some values make `template` a channel that `pattern` fits.
pub(super) fn may_fit(template: &Template, pattern: &Pattern) -> bool {
    let segments = segments(template);
    let mut ours = segments.iter();
    for theirs in pattern.segments() {
        let Some(pieces) = ours.next() else { return false };
        match theirs {
            Segment::Rest(_) => return true,
            Segment::Capture(_) => {}
            Segment::Literal(literal) => {
                if !may_equal(pieces, literal) {
                    return false;
                }
            }
        }
    }
    ours.next().is_none()
}

/// Whether `pattern` fits whatever the values are.
fn always_fits(template: &Template, pattern: &Pattern) -> bool {
    let segments = segments(template);
    let mut ours = segments.iter();
    for theirs in pattern.segments() {
        let Some(pieces) = ours.next() else { return false };
        match theirs {
            Segment::Rest(_) => return true,
            Segment::Capture(_) => {}
            Segment::Literal(literal) if *pieces == [literal.as_str()] => {}
            Segment::Literal(_) => return false,
        }
    }
    ours.next().is_none()
}

/// The patterns that can be the first to fit a name of `template`, by their places.
pub(super) fn may_reach<'p>(
    template: &Template,
    patterns: impl Iterator<Item = &'p Pattern>,
) -> std::vec::IntoIter<usize> {
    let mut decided = false;
    let mut reached = Vec::new();
    for (at, pattern) in patterns.enumerate() {
        if !decided && may_fit(template, pattern) {
            decided = always_fits(template, pattern);
            reached.push(at);
        }
    }
    reached.into_iter()
}

/// Whether `literal` is the texts in order with something between them.
fn may_equal(pieces: &[&str], literal: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return pieces == [literal] };
    let Some(rest) = literal.strip_prefix(first) else { return false };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    for piece in middle {
        let Some((_, tail)) = rest.split_once(piece) else { return false };
        rest = tail;
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn literal_parts_must_fit() {
        let fits = |template: &str, pattern: &str| {
            may_fit(&Template::parse(template).unwrap(), &Pattern::parse(pattern).unwrap())
        };
        let yes = [
            ("jobs", "jobs"),
            ("user:{x}", "user:{id}"),
            ("user:{x}", "{rest*}"),
            ("{x}", "jobs"),
            ("a:{x}:b", "a:{r*}"),
            ("a{x}c", "abc"),
            ("a{x}c{y}e", "abcde"),
            ("{a}{b}", "x"),
        ];
        for (template, pattern) in yes {
            assert!(fits(template, pattern), "{template} {pattern}");
        }
        let no = [
            ("jobs", "job"),
            ("user:{x}", "users:{id}"),
            ("user:{x}", "user"),
            ("user:{x}", "user:{a}:{b}"),
            ("a{x}c", "abd"),
            ("a", "a:{r*}"),
            ("a:b:c", "a:{b}"),
            ("ab{x}ba", "aba"),
        ];
        for (template, pattern) in no {
            assert!(!fits(template, pattern), "{template} {pattern}");
        }
    }

    #[test]
    fn the_first_pattern_that_fits_for_certain_is_the_last_that_is_reached() {
        let reach = |template: &str, patterns: &[&str]| -> Vec<usize> {
            let patterns: Vec<Pattern> = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
            may_reach(&Template::parse(template).unwrap(), patterns.iter()).collect()
        };
        assert_eq!(reach("jobs", &["news", "jobs", "{any}"]), [1]);
        assert_eq!(reach("a:{x}", &["a:b", "a:{id}", "{rest*}"]), [0, 1]);
        assert_eq!(reach("a:{x}:c", &["a:{id}", "a:{rest*}", "{rest*}"]), [1]);
        assert_eq!(reach("{x}", &["jobs", "news"]), [0, 1]);
    }

    #[test]
    fn names_that_never_are_one_are_told() {
        let check = |template: &str| check(&Template::parse(template).unwrap());
        assert_eq!(check("a:{b}"), Ok(()));
        assert!(check("a::{b}").is_err());
        assert!(check("a:").is_err());
        assert!(check(&"a".repeat(129)).is_err());
        assert!(check(&["a"; 130].join(":")).is_err());
    }
}
