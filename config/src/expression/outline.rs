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
    /// Dots, calls and indexes of the operand being read, and what is in their brackets.
    members: usize,
    /// Highest operand since the last `&&`, `||`, `?` or `:`.
    operand: usize,
    /// Binary and unary operators since then.
    operators: usize,
    /// Highest of what those separate, since the last comma.
    part: usize,
    /// Ternaries since the last comma: each stands in the last part of the one before.
    ternaries: usize,
    logic: bool,
    /// Highest item that a comma ended.
    highest: usize,
}

impl Level {
    fn end_operand(&mut self) {
        self.operand = self.operand.max(std::mem::take(&mut self.members));
    }

    fn end_part(&mut self) {
        self.end_operand();
        let part = std::mem::take(&mut self.operators) + std::mem::take(&mut self.operand);
        self.part = self.part.max(part);
    }

    fn end_item(&mut self) {
        self.end_part();
        let logic = if std::mem::take(&mut self.logic) { LOGIC_HEIGHT } else { 0 };
        let item = std::mem::take(&mut self.part) + std::mem::take(&mut self.ternaries) + logic;
        self.highest = self.highest.max(item);
    }

    fn height(mut self) -> usize {
        self.end_item();
        self.highest + 1
    }
}

/// A height that the tree of `text` cannot exceed, whether or not it parses.
pub(super) fn height_at_most(text: &str) -> usize {
    let mut open: Vec<Level> = Vec::new();
    let mut level = Level::default();
    let bytes = text.as_bytes();
    // Where a string ends depends on its escapes, and a quoted identifier may look like a comment. To be sure without a
    // lexer, texts that have either are counted with all that is in their strings and comments.
    let plain = !text.contains(['\\', '`']);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        match (byte, next) {
            (b'/', Some(b'/')) if plain => at = line_end(bytes, at),
            (b'"' | b'\'', _) if plain => at = string_end(bytes, at),
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
                level.end_item();
                at += 1;
            }
            (b'?' | b':', _) => {
                level.end_part();
                level.ternaries += usize::from(byte == b'?');
                at += 1;
            }
            (b'.', _) => {
                level.members += 1;
                at += 1;
            }
            (b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!', _) => {
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

/// Behind the string that begins at `from`, in a text without backslashes. Of one that is not closed only what the lexer
/// skips too is skipped (two quotes of three are an empty string), so whatever the parser makes of the rest is counted.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let quote = bytes[from];
    if bytes[from..].starts_with(&[quote; 3]) {
        let rest = &bytes[from + 3..];
        let end = rest.windows(3).position(|window| window == [quote; 3]);
        return end.map_or(from + 2, |length| from + 3 + length + 3);
    }
    let rest = &bytes[from + 1..];
    match rest.iter().position(|byte| *byte == quote || matches!(byte, b'\n' | b'\r')) {
        Some(length) if rest[length] == quote => from + 1 + length + 1,
        _ => from + 1,
    }
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
        for link in ["1+", "1-", "1*", "!", "-", "a ? b : ", "a.", "a<", "a==", "a in ", "a?b:c&&", "a&&b?c:"]
        {
            assert!(height_at_most(&format!("{}a", link.repeat(120))) > 120, "{link}");
        }
        assert!(height_at_most(&format!("a{}", "[0]".repeat(120))) > 120);
        assert!(height_at_most(&format!("a{}", ".f()".repeat(120))) > 120);
    }

    #[test]
    fn nothing_hides_behind_a_quote() {
        let tower = "(".repeat(120);
        for before in
            ["'\\z' ", "'a\\", "bar'\\''", "1r'\\'", "'''x' ", "`a//b` ", "'\n", "\"\"\"", "'//' + ", "'a' "]
        {
            assert!(height_at_most(&format!("{before}{tower}")) > 120, "{before}");
            assert!(height_at_most(&format!("{before}{tower}'")) > 120, "{before}, and a quote behind it");
        }
    }

    #[test]
    fn a_long_conjunction_is_low() {
        let text = vec!["a.b==1"; 128].join("&&");
        assert!(height_at_most(&text) < 20);
    }
}
