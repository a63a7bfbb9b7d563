//! Secrets are compared in a time that says nothing of them, by construction: a test of clocks would be a guess.

use tidy::{code_of, files, shipped};

use crate::assert_none;

/// Types that hold a secret, or what a client takes for one.
const TYPES: &[&str] = &["Secret", "ApiKey", "Credential"];
/// Names of what is secret, or made of it.
const NAMES: &[&str] = &["secret", "digest", "signature", "mac", "hmac", "password", "presented", "api_key"];

/// Code that ships, by its file.
fn sources() -> Vec<(String, String)> {
    let mut found = files();
    found.retain(|file| {
        file.has_extension("rs")
            && !file.is_test()
            // Manifests as they are written name Secrets and hold none.
            && !file.path.starts_with("config/src/raw/")
            && ["config/src/", "gateway/"].iter().any(|folder| file.path.starts_with(folder))
    });
    assert!(found.len() > 50, "the sources were read");
    found.into_iter().map(|file| (file.path, shipped(&code_of(&file.text)))).collect()
}

/// Types of [`TYPES`] in `code` that a derived `==` would compare byte by byte, up to the first difference.
fn derived(code: &str) -> Vec<String> {
    let mut offenders = Vec::new();
    for (at, _) in code.match_indices("struct ") {
        let name: String =
            code[at + 7..].chars().take_while(|next| next.is_alphanumeric() || *next == '_').collect();
        // Its attributes begin behind the item in front of it.
        let attributes = code[..at].rfind([';', '}']).map_or(&code[..at], |end| &code[end..at]);
        let compared = ["PartialEq", "PartialOrd", "Hash"].iter().any(|way| attributes.contains(way));
        if TYPES.contains(&name.as_str()) && compared {
            offenders.push(name);
        }
    }
    offenders
}

/// Comparisons in `code` with an operand that is called like a secret.
fn compared(code: &str) -> Vec<String> {
    let is_operand = |c: &char| c.is_alphanumeric() || "_.&*()[]:".contains(*c);
    let mut offenders = Vec::new();
    for (at, sign) in code.match_indices("==").chain(code.match_indices("!=")) {
        let left: Vec<char> = code[..at].trim_end().chars().rev().take_while(is_operand).collect();
        let left: String = left.into_iter().rev().collect();
        let right: String = code[at + sign.len()..].trim_start().chars().take_while(is_operand).collect();
        let is_secret = |operand: &str| {
            let bytes = !operand.contains("len()");
            bytes
                && operand.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| NAMES.contains(&word))
        };
        if is_secret(&left) || is_secret(&right) {
            offenders.push(format!("{left} {sign} {right}"));
        }
    }
    offenders
}

#[test]
fn secrets_are_never_compared_byte_by_byte() {
    let mut offenders = Vec::new();
    for (path, code) in sources() {
        offenders.extend(derived(&code).into_iter().map(|name| format!("{path}: {name} derives it")));
        offenders.extend(compared(&code).into_iter().map(|what| format!("{path}: {what}")));
    }
    assert_none(&offenders, "compare secrets with `subtle::ConstantTimeEq`, or verify them with `ring`");
}

#[test]
fn keys_and_secrets_compare_by_subtle() {
    let code = |path: &str| sources().into_iter().find(|(found, _)| found == path).map(|(_, code)| code);
    for path in ["config/src/checked.rs", "gateway/server/src/auth/api_keys.rs"] {
        assert!(code(path).is_some_and(|code| code.contains(".ct_eq(&")), "{path}");
    }
    let key = code("gateway/server/src/auth/key.rs").unwrap();
    assert!(key.contains("hmac::verify("), "tags of tokens are verified in constant time");
}

#[test]
fn the_rule_finds_what_it_looks_for() {
    assert_eq!(derived("struct A; #[derive(Clone, PartialEq)] pub struct Secret(Vec<u8>);"), ["Secret"]);
    assert_eq!(derived("#[derive(PartialEq)] struct A; #[derive(Clone)] struct Secret(Vec<u8>);"), [""; 0]);
    let bad = "if key.digest == digest_of(x) { } if *signature!=given { } if a.0 == self.secret.0 { }";
    assert_eq!(compared(bad).len(), 3);
    let good = "if secret.len() == 0 { } if digests == 1 { } let signature = 1; x.digest.ct_eq(&y)";
    assert_eq!(compared(good), [""; 0]);
}
