//! Bounds the height of the tree from the text alone, without recursion, before the parser (which recurses) sees it.
//!
//! The bound may be too high for odd mixes of operators, never too low: what passes here cannot overflow the parser's stack,
//! and the exact rule is applied to the tree afterwards.

/// Above the exact limit, because a chain of unlike operators is counted as if each stood on the one before.
pub(super) const HEIGHT_LIMIT: usize = 96;

/// Joined by `&&` or `||`, parts make a balanced tree: a kilobyte of them adds at most this.
const LOGIC_HEIGHT: usize = 10;

/// One pair of brackets, or the whole text.
#[derive(Default)]
struct Level {
    /// Binary, unary and ternary operators since the last comma.
    operators: usize,
    /// Dots, calls and indexes of the operand being read.
    members: usize,
    /// Highest operand since the last comma, with what is in its brackets.
    operand: usize,
    /// Highest part that a comma or `&&` ended.
    highest: usize,
    logic: bool,
}

impl Level {
    fn end_operand(&mut self) {
        self.operand = self.operand.max(self.members);
        self.members = 0;
    }

    fn end_part(&mut self) {
        self.end_operand();
        self.highest = self.highest.max(self.operators + self.operand);
        self.operators = 0;
        self.operand = 0;
    }

    fn height(mut self) -> usize {
        self.end_part();
        self.highest + 1 + if self.logic { LOGIC_HEIGHT } else { 0 }
    }
}

/// A height that the tree of `text` cannot exceed, whether or not it parses.
pub(super) fn height_at_most(text: &str) -> usize {
    let mut open: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        match (byte, next) {
            (b'/', Some(b'/')) => at = line_end(bytes, at),
            (b'"' | b'\'', _) => at = string_end(bytes, at),
            (b'(' | b'[' | b'{', _) => {
                open.push(std::mem::take(&mut level));
                at += 1;
            }
            (b')' | b']' | b'}', _) => {
                let inner = std::mem::replace(&mut level, open.pop().unwrap_or_default()).height();
                // What follows the bracket stands on top of it, and so does what was before it (`a.b(…)`).
                level.members += inner;
                at += 1;
            }
            (b'&', Some(b'&')) | (b'|', Some(b'|')) => {
                level.logic = true;
                level.end_part();
                at += 2;
            }
            (b',', _) => {
                level.end_part();
                at += 1;
            }
            (b'.', _) => {
                level.members += 1;
                at += 1;
            }
            (b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' | b'?' | b':', _) => {
                level.end_operand();
                level.operators += 1;
                at += 1 + usize::from(next == Some(b'='));
            }
            (b'a'..=b'z' | b'A'..=b'Z' | b'_', _) => {
                let end = word_end(bytes, at);
                if &bytes[at..end] == b"in" {
                    level.end_operand();
                    level.operators += 1;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    while let Some(outer) = open.pop() {
        let inner = std::mem::replace(&mut level, outer).height();
        level.members += inner;
    }
    level.height()
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |length| from + length + 1)
}

fn word_end(bytes: &[u8], from: usize) -> usize {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes[from..].iter().position(|byte| !word(byte)).map_or(bytes.len(), |length| from + length)
}

/// Behind the string that begins at `from`. Where the string is not closed the quote is skipped alone: whatever the parser
/// makes of the rest is then counted.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let quote = bytes[from];
    let triple = bytes[from..].starts_with(&[quote; 3]);
    // `r` before the quote: backslashes mean nothing. (`br` too; `rb` is not CEL.)
    let raw = from > 0 && matches!(bytes[from - 1], b'r' | b'R');
    let width = if triple { 3 } else { 1 };
    let mut at = from + width;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if !raw => at += 2,
            b'\n' | b'\r' if !triple => return from + 1,
            _ if byte == quote && (!triple || bytes[at..].starts_with(&[quote; 3])) => return at + width,
            _ => at += 1,
        }
    }
    from + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_rules_are_low() {
        let cases = [
            ("user", 1),
            ("claims.sub", 2),
            ("claims.workspace_id == workspace_id", 3),
            ("'member' in claims.roles", 3),
            ("has(msg.event) ? msg.event : 'job_update'", 6),
            ("f(a, b, c)", 3),
            ("'((((((((((' + \"[[[[\"", 2),
            ("r'\\' + '(((('", 2),
            ("'''a'b((('''", 1),
            ("a // (((((", 1),
        ];
        for (text, height) in cases {
            assert!(height_at_most(text) <= height + 1, "{text}: {}", height_at_most(text));
        }
    }

    #[test]
    fn every_kind_of_tower_is_seen() {
        for (open, close) in
            [("(", ")"), ("[", "]"), ("{1:", "}"), ("f(", ")"), ("a[", "]"), ("-(", ")"), ("a.f(", ")")]
        {
            let text = format!("{}1{}", open.repeat(120), close.repeat(120));
            assert!(height_at_most(&text) > 120, "{text}");
            assert!(height_at_most(&open.repeat(120)) > 120, "{open}, never closed");
        }
        for link in ["1+", "1-", "1*", "!", "-", "a ? b : ", "a.", "a<", "a==", "a in "] {
            assert!(height_at_most(&format!("{}a", link.repeat(120))) > 120, "{link}");
        }
        assert!(height_at_most(&format!("a{}", "[0]".repeat(120))) > 120);
        assert!(height_at_most(&format!("a{}", ".f()".repeat(120))) > 120);
    }

    #[test]
    fn a_long_conjunction_is_low() {
        let text = vec!["a.b==1"; 128].join("&&");
        assert!(height_at_most(&text) < 20);
    }
}
