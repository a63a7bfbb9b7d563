//! Just enough reading of Rust to see which modules a file declares and uses.

/// The source without comments and without the content of string literals.
pub fn code_of(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest) {
            length
        } else if first == '"' {
            string(rest)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
        // A character literal of a quote would open a string: `'"'` ends here instead.
        if code.ends_with("' ") && rest.starts_with('\'') {
            rest = &rest[1..];
        }
    }
    code
}

/// Length of the string literal that `text` begins with.
fn string(text: &str) -> usize {
    if text.starts_with("\"'") {
        return 1;
    }
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of the raw string literal that `text` begins with.
fn raw_string(text: &str) -> Option<usize> {
    let opened = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = opened.len() - opened.trim_start_matches('#').len();
    let body = opened[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let prefix = text.len() - body.len();
    Some(prefix + body.find(&end).map_or(body.len(), |at| at + end.len()))
}

/// Code given by [`code_of`] without its items under `#[cfg(test)]`.
pub fn shipped(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(TEST_ONLY) {
        kept.push_str(&rest[..at]);
        rest = &rest[at + TEST_ONLY.len()..];
        rest = &rest[end_of_item(rest)..];
    }
    kept.push_str(rest);
    kept
}

/// Names of the modules in code given by [`code_of`] that are compiled only for tests.
pub fn test_modules(code: &str) -> Vec<String> {
    code.split(TEST_ONLY)
        .skip(1)
        .flat_map(|rest| modules_declared(&rest[..end_of_item(rest)]).into_iter().take(1))
        .collect()
}

const TEST_ONLY: &str = "#[cfg(test)]";

/// Where the item that `text` begins with ends: at its semicolon, or at the brace that closes its body.
fn end_of_item(text: &str) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Names of `mod NAME;` in code given by [`code_of`], and of inline modules `mod NAME {`.
pub fn modules_declared(code: &str) -> Vec<String> {
    let words: Vec<&str> = code.split_whitespace().collect();
    words
        .windows(2)
        .filter(|pair| pair[0] == "mod")
        .map(|pair| pair[1].trim_end_matches([';', '{', '}']).trim_start_matches("r#").to_owned())
        .collect()
}

/// First segments of every `crate::…` path in code given by [`code_of`], groups included.
pub fn modules_used(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let path = &code[at + "crate::".len()..];
        match path.strip_prefix('{') {
            Some(group) => used.extend(group_heads(group)),
            None => used.push(identifier(path)),
        }
    }
    used.sort();
    used.dedup();
    used
}

/// Heads of `a::b, c::{d, e}}`: `a`, `c`.
fn group_heads(group: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut head) = (0, String::new());
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(identifier(std::mem::take(&mut head).trim())),
            _ => head.push(character),
        }
    }
    heads.push(identifier(head.trim()));
    heads.retain(|name| !name.is_empty());
    heads
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[cfg(test)]
mod tests {
    use super::{code_of, modules_declared, modules_used, shipped, test_modules};

    #[test]
    fn comments_and_strings_are_no_code() {
        let source = "use crate::a; // crate::b\n/* crate::c */ let x = \"crate::d \\\" crate::e\"; \
                      r#\"crate::f \" crate::g\"# '\"' crate::h::i";
        assert_eq!(modules_used(&code_of(source)), ["a", "h"]);
    }

    #[test]
    fn groups_are_opened() {
        assert_eq!(modules_used("use crate::{a::{b, c}, d, e::f}; $crate::g"), ["a", "d", "e"]);
    }

    #[test]
    fn test_items_are_told_from_what_ships() {
        let code = "#[cfg(test)] mod a; use b; #[cfg(test)] #[path = \"\"] mod c { fn d() { e } } fn f() {}";
        assert_eq!(shipped(code).split_whitespace().collect::<Vec<_>>(), ["use", "b;", "fn", "f()", "{}"]);
        assert_eq!(test_modules(code), ["a", "c"]);
    }

    #[test]
    fn declarations_are_found() {
        assert_eq!(modules_declared("pub mod a; mod b; #[cfg(test)] mod tests { }"), ["a", "b", "tests"]);
    }
}
