//! Manifests that are right and manifests that are wrong, each wrong one with every problem it must be told, word for word.
//!
//! `UPDATE=1` writes the expected texts anew; read the difference before committing it. The `.api` beside some is what a real API server
//! says by our rules; the test `api_server` writes it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use rtgw_config::{Accepted, Problem};
use rtgw_crds::{Manifests, Text};

fn check(file: &Path) -> Result<Accepted, Vec<Problem>> {
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let content = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
    Manifests::read(&[Text { name, content }]).check(None)
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Compares with the text beside the file; a missing one is an empty one.
fn compare(file: &Path, found: &str) -> Option<String> {
    let beside = file.with_extension("expected");
    if std::env::var_os("UPDATE").is_some() {
        if found.is_empty() {
            let _ = fs::remove_file(&beside);
        } else {
            fs::write(&beside, found).unwrap();
        }
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    (found != expected).then(|| format!("{}:\n--- expected\n{expected}--- found\n{found}", file.display()))
}

#[test]
fn good_manifests_pass_with_exactly_their_warnings() {
    let mut failures = Vec::new();
    for file in files("good") {
        match check(&file) {
            Ok(accepted) => failures.extend(compare(&file, &lines(&accepted.warnings))),
            Err(problems) => failures.push(format!("{}:\n{}", file.display(), lines(&problems))),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn bad_manifests_are_told_everything_that_is_wrong() {
    let mut failures = Vec::new();
    for file in files("bad") {
        match check(&file) {
            Ok(_) => failures.push(format!("{} passes", file.display())),
            Err(problems) => failures.extend(compare(&file, &lines(&problems))),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_examples_pass_without_warnings() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for folder in fs::read_dir(examples).unwrap() {
        let file = folder.unwrap().path().join("gateway.yaml");
        if !file.exists() {
            continue;
        }
        seen += 1;
        match check(&file) {
            Ok(accepted) => assert_eq!(lines(&accepted.warnings), "", "{}", file.display()),
            Err(problems) => panic!("{}:\n{}", file.display(), lines(&problems)),
        }
    }
    assert!(seen > 0);
}
