//! What every Rust file keeps.

use std::collections::BTreeSet;

use tidy::{File, code_of, files, modules_declared, shipped, test_modules};

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
    let mut named: BTreeSet<String> = BTreeSet::new();
    for file in &files {
        for module in modules_declared(&code_of(&file.text)) {
            named.extend(file.places_of(&module));
        }
        for path in file.text.split("#[path = \"").skip(1).filter_map(|rest| rest.split('"').next()) {
            named.insert(normalized(file.folder(), path));
        }
    }
    let offenders: Vec<String> = files
        .iter()
        .filter(|file| !file.is_root() && !named.contains(&file.path))
        .map(|file| file.path.clone())
        .collect();
    assert_none(&offenders, "no `mod` names these files, so nothing compiles them");
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
    let files = rust_files();
    let tests: BTreeSet<String> = files
        .iter()
        .flat_map(|file| {
            test_modules(&code_of(&file.text)).into_iter().flat_map(|name| file.places_of(&name))
        })
        .collect();
    // What stands in a test module's folder is a part of it.
    let inside = |path: &str| {
        tests
            .iter()
            .filter_map(|test| test.strip_suffix(".rs"))
            .any(|test| path.starts_with(&format!("{test}/")))
    };
    let ships = |file: &File| !file.is_test() && !tests.contains(&file.path) && !inside(&file.path);
    for file in files.into_iter().filter(ships) {
        let shipped = shipped(&code_of(&file.text));
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
