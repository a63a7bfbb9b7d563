//! Channel patterns: `{x}` captures one segment, `{x*}` the rest.

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

impl Pattern {
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
