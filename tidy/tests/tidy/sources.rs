//! What every Rust file keeps.

use std::collections::BTreeSet;

use tidy::{File, code_of, files, modules_declared};

use crate::assert_none;

const LINES: usize = 600;
const LINES_WISHED: usize = 400;
const VAGUE_NAMES: &[&str] = &["util", "utils", "common", "manager", "helper", "helpers", "misc"];

fn rust_files() -> Vec<File> {
    let mut found = files();
    found.retain(|file| file.has_extension("rs"));
    assert!(found.len() > 20, "the repository was read");
    found
}

#[test]
fn every_file_says_what_it_is_for() {
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|file| {
            let first = file.text.lines().next().unwrap_or_default();
            first.strip_prefix("//!").is_none_or(|rest| rest.trim().len() < 10)
        })
        .map(|file| file.path)
        .collect();
    assert_none(&offenders, "a file begins with `//!` and the one thing it does");
}

#[test]
fn files_are_small() {
    let mut offenders = Vec::new();
    for file in rust_files() {
        let lines = file.text.lines().count();
        if lines > LINES {
            offenders.push(format!("{}: {lines} lines", file.path));
        } else if lines > LINES_WISHED {
            println!("warning: {} has {lines} lines, {LINES_WISHED} are enough for one job", file.path);
        }
    }
    assert_none(&offenders, "a file has at most 600 lines");
}

#[test]
fn no_module_has_a_vague_name() {
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .map(|file| file.path)
        .filter(|path| path.trim_end_matches(".rs").split('/').any(|part| VAGUE_NAMES.contains(&part)))
        .collect();
    assert_none(&offenders, "modules are named by their job");
}

#[test]
fn no_file_is_orphaned() {
    let files = rust_files();
    let all: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for file in &files {
        let code = code_of(&file.text);
        let stem = file.name().trim_end_matches(".rs");
        // Children of `mod.rs` and of crate roots stand beside it, those of any other file in a folder of its name.
        let beside = matches!(stem, "mod" | "lib" | "main") || is_root(&file.path);
        let folder = if beside { file.folder().to_owned() } else { format!("{}/{stem}", file.folder()) };
        for module in modules_declared(&code) {
            named.insert(format!("{folder}/{module}.rs"));
            named.insert(format!("{folder}/{module}/mod.rs"));
            // `mod support;` of a module inside an inline `mod tests {` stands one level deeper.
            named.insert(format!("{folder}/tests/{module}.rs"));
        }
        for path in file.text.split("#[path = \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            named.insert(normalized(file.folder(), path));
        }
    }
    let offenders: Vec<String> = all
        .iter()
        .filter(|path| !is_root(path) && !named.contains(**path))
        .map(|path| (*path).to_owned())
        .collect();
    assert_none(&offenders, "no `mod` names these files, so nothing compiles them");
}

/// Files that cargo finds by itself.
fn is_root(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = folder.rsplit('/').next().unwrap_or_default();
    let grandparent = folder.rsplit('/').nth(1).unwrap_or_default();
    let cargo_folder = |name: &str| matches!(name, "tests" | "benches" | "examples" | "bin" | "fuzz_targets");
    (parent == "src" && matches!(name, "lib.rs" | "main.rs"))
        || name == "build.rs"
        || (cargo_folder(parent) && !folder.contains("src/") || parent == "bin")
        || (cargo_folder(grandparent) && name == "main.rs")
}

fn normalized(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn nothing_is_unsafe() {
    let offenders: Vec<String> = rust_files()
        .into_iter()
        .filter(|file| {
            code_of(&file.text).split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
        })
        .map(|file| file.path)
        .collect();
    assert_none(&offenders, "no unsafe code");
}

#[test]
fn only_tests_may_panic() {
    let mut offenders = Vec::new();
    for file in rust_files().into_iter().filter(|file| !file.is_test()) {
        let code = code_of(&file.text);
        let shipped = code.split("#[cfg(test)]").next().unwrap_or_default();
        for word in
            [".unwrap()", "panic!(", "todo!(", "unimplemented!(", "clippy::unwrap_used", "clippy::panic"]
        {
            if shipped.contains(word) {
                offenders.push(format!("{}: {word}", file.path));
            }
        }
    }
    assert_none(&offenders, "what ships does not panic on purpose");
}
