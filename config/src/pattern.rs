//! Channel patterns: `{x}` captures one segment, `{x*}` the rest.

/// Longest pattern in bytes, as for channel names.
pub const PATTERN_BYTES: usize = 255;
/// Longest segment in bytes, as for channel names.
pub const SEGMENT_BYTES: usize = 128;
/// Names that expressions already use for something else.
pub const RESERVED: &[&str] =
    &["claims", "user", "tenant", "connection", "now", "params", "channel", "event", "data", "args", "msg"];

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    source: String,
    segments: Vec<Segment>,
}

/// A segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Equal to this.
    Literal(String),
    /// Any one segment.
    Capture(String),
    /// All remaining segments, at least one; only last.
    Rest(String),
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// No text.
    #[error("is empty: a pattern of channel names is expected")]
    Empty,
    /// More than [`PATTERN_BYTES`].
    #[error("is longer than {PATTERN_BYTES} bytes")]
    TooLong,
    /// Two colons in a row, or one at an end.
    #[error("has an empty segment: two `:` in a row, or one at an end")]
    EmptySegment,
    /// A segment of more than [`SEGMENT_BYTES`].
    #[error("has a segment longer than {SEGMENT_BYTES} bytes")]
    SegmentTooLong,
    /// A byte that no channel name has.
    #[error("has the character `{0}`, which channel names do not have")]
    Character(char),
    /// `a{b}` and the like.
    #[error("has the segment `{0}`: a capture is a whole segment, `{{name}}` or `{{name*}}`")]
    PartialCapture(String),
    /// A capture that expressions could not name.
    #[error("has the capture `{0}`: a capture is a letter or `_`, then letters, digits and `_`")]
    CaptureName(String),
    /// One of [`RESERVED`].
    #[error("calls a capture `{0}`, a name that expressions already use")]
    Reserved(String),
    /// A word of CEL's grammar.
    #[error("calls a capture `{0}`, a word that CEL keeps for itself")]
    Keyword(String),
    /// The same name twice.
    #[error("has two captures called `{0}`")]
    Repeated(String),
    /// `{x*}` before the end.
    #[error("has `{{{0}*}}` before its end: only the last segment can take the rest")]
    RestNotLast(String),
}

impl PatternError {
    /// What to do about it, where that is not plain.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Reserved(name) | Self::Keyword(name) => Some(format!("for example `{{{name}_id}}`")),
            Self::PartialCapture(_) => Some("separate it with `:`, for example `room:{room}`".into()),
            Self::Character('*') => Some("`{rest*}` as the last segment takes all remaining segments".into()),
            Self::Character(_) => {
                Some("segments of A-Z a-z 0-9 _ . ~ @ = + , $ ! % - or `{name}`, joined by `:`".into())
            }
            _ => None,
        }
    }
}

/// Whether `byte` may stand in a segment of a channel name.
pub fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'_' | b'.' | b'~' | b'@' | b'=' | b'+' | b',' | b'$' | b'!' | b'%' | b'-')
}

impl Pattern {
    /// Checks `text`.
    ///
    /// # Errors
    /// The first rule of patterns that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES {
            return Err(PatternError::TooLong);
        }
        let mut segments: Vec<Segment> = Vec::new();
        for part in text.split(':') {
            if let Some(Segment::Rest(name)) = segments.last() {
                return Err(PatternError::RestNotLast(name.clone()));
            }
            let segment = parse_segment(part)?;
            if let Segment::Capture(name) | Segment::Rest(name) = &segment
                && segments.iter().any(|earlier| earlier.name() == Some(name))
            {
                return Err(PatternError::Repeated(name.clone()));
            }
            segments.push(segment);
        }
        Ok(Self { source: text.to_owned(), segments })
    }

    /// Names of the captures, in order.
    pub fn captures(&self) -> Vec<String> {
        self.segments.iter().filter_map(Segment::name).map(str::to_owned).collect()
    }

    /// Whether its last segment takes all the rest of a name.
    pub fn takes_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(_)))
    }

    /// Whether every channel that fits `other` fits this one too: where this one comes first, `other` is never reached.
    pub fn covers(&self, other: &Self) -> bool {
        let mut theirs = other.segments.iter();
        for ours in &self.segments {
            let Some(their) = theirs.next() else { return false };
            match (ours, their) {
                (Segment::Rest(_), _) => return true,
                (_, Segment::Rest(_)) => return false,
                (Segment::Capture(_), _) => {}
                (Segment::Literal(a), Segment::Literal(b)) if a == b => {}
                (Segment::Literal(_), _) => return false,
            }
        }
        theirs.next().is_none()
    }

    /// As the manifest writes it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The segments.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Captures by name when `channel` fits, in the pattern's order.
    pub fn matches<'a>(&'a self, channel: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut captures = Vec::new();
        let mut rest = Some(channel);
        for segment in &self.segments {
            let text = rest?;
            if let Segment::Rest(name) = segment {
                captures.push((name.as_str(), text));
                return Some(captures);
            }
            let (head, tail) = text.split_once(':').map_or((text, None), |(head, tail)| (head, Some(tail)));
            match segment {
                Segment::Literal(literal) if literal == head => {}
                Segment::Literal(_) => return None,
                Segment::Capture(name) => captures.push((name.as_str(), head)),
                Segment::Rest(_) => return None,
            }
            rest = tail;
        }
        rest.is_none().then_some(captures)
    }
}

impl Segment {
    /// The capture's name.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Capture(name) | Self::Rest(name) => Some(name),
        }
    }
}

fn parse_segment(text: &str) -> Result<Segment, PatternError> {
    if text.is_empty() {
        return Err(PatternError::EmptySegment);
    }
    if text.len() > SEGMENT_BYTES {
        return Err(PatternError::SegmentTooLong);
    }
    if let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return match inner.strip_suffix('*') {
            Some(name) => check_name(name).map(Segment::Rest),
            None => check_name(inner).map(Segment::Capture),
        };
    }
    if text.contains(['{', '}']) {
        return Err(PatternError::PartialCapture(text.to_owned()));
    }
    match text.chars().find(|char| !u8::try_from(*char).is_ok_and(is_segment_byte)) {
        Some(bad) => Err(PatternError::Character(bad)),
        None => Ok(Segment::Literal(text.to_owned())),
    }
}

/// Words of the CEL specification that are no identifiers.
const KEYWORDS: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

fn check_name(name: &str) -> Result<String, PatternError> {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(PatternError::CaptureName(name.to_owned()));
    }
    if RESERVED.contains(&name) {
        return Err(PatternError::Reserved(name.to_owned()));
    }
    if KEYWORDS.contains(&name) {
        return Err(PatternError::Keyword(name.to_owned()));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_follow_the_rules() {
        for good in ["jobs", "room:{room}", "a:{b}:{c*}", "{all*}", "dashboard:admins"] {
            assert_eq!(Pattern::parse(good).unwrap().source(), good);
        }
        let cases = [
            ("", PatternError::Empty),
            ("a::b", PatternError::EmptySegment),
            ("a:", PatternError::EmptySegment),
            ("a b", PatternError::Character(' ')),
            ("room:*", PatternError::Character('*')),
            ("ro{x}", PatternError::PartialCapture("ro{x}".into())),
            ("a:{}", PatternError::CaptureName(String::new())),
            ("a:{1x}", PatternError::CaptureName("1x".into())),
            ("a:{user}", PatternError::Reserved("user".into())),
            ("a:{in}", PatternError::Keyword("in".into())),
            ("{x}:{x}", PatternError::Repeated("x".into())),
            ("{x*}:a", PatternError::RestNotLast("x".into())),
        ];
        for (bad, why) in cases {
            assert_eq!(Pattern::parse(bad), Err(why), "{bad}");
        }
        assert_eq!(Pattern::parse(&"a".repeat(256)), Err(PatternError::TooLong));
        assert_eq!(Pattern::parse(&"a".repeat(129)), Err(PatternError::SegmentTooLong));
    }

    #[test]
    fn a_channel_binds_its_captures() {
        let pattern = Pattern::parse("a:{b}:{c*}").unwrap();
        assert_eq!(pattern.matches("a:1:2:3"), Some(vec![("b", "1"), ("c", "2:3")]));
        assert_eq!(pattern.matches("a:1"), None);
        assert_eq!(pattern.captures(), ["b", "c"]);
        assert_eq!(Pattern::parse("a").unwrap().matches("a:b"), None);
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        let covers =
            |wide: &str, narrow: &str| Pattern::parse(wide).unwrap().covers(&Pattern::parse(narrow).unwrap());
        for (wide, narrow) in
            [("{a}", "jobs"), ("a:{b}", "a:c"), ("{r*}", "a:b:{c*}"), ("a:{r*}", "a:{b}:{c}"), ("x", "x")]
        {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("jobs", "{a}"),
            ("{a}", "{b*}"),
            ("a:{b}", "a"),
            ("a:{r*}", "a"),
            ("a", "a:b"),
            ("a:{b}", "b:{b}"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }
}
