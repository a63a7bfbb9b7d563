//! What readers are promised: links that lead somewhere, two set-up commands, numbered decisions.

use std::collections::BTreeSet;

use tidy::{File, files, root};

use crate::assert_none;

/// Traces of the machine that a file was written on.
const FOREIGN: &[&str] =
    &[concat!("/wo", "rk/"), concat!("arti", "factory"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

fn documents() -> Vec<File> {
    let mut found = files();
    found.retain(|file| file.has_extension("md"));
    assert!(found.len() > 5, "the documents were read");
    found
}

#[test]
fn links_resolve() {
    let mut offenders = Vec::new();
    for file in documents() {
        for target in links(&file.text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let folder = root().join(file.folder());
            let aim = if path.is_empty() { root().join(&file.path) } else { folder.join(path) };
            if !aim.exists() {
                offenders.push(format!("{}: {target}", file.path));
            } else if !anchor.is_empty()
                && !has_anchor(&std::fs::read_to_string(&aim).unwrap_or_default(), anchor)
            {
                offenders.push(format!("{}: {target} (no such heading)", file.path));
            }
        }
    }
    assert_none(&offenders, "links lead somewhere");
}

/// Targets of `[text](target)` outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let plain: String = line.split('`').step_by(2).collect();
        for rest in plain.split("](").skip(1) {
            if let Some((target, _)) = rest.split_once(')') {
                found.push(target.to_owned());
            }
        }
    }
    found
}

/// Lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn has_anchor(text: &str, anchor: &str) -> bool {
    prose(text).filter(|line| line.starts_with('#')).any(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let slug: String = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        slug == anchor
    })
}

#[test]
fn the_readme_sets_up_with_two_commands() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let commands: BTreeSet<&str> =
        readme.lines().filter(|line| line.starts_with("make ")).map(command).collect();
    assert_eq!(commands, BTreeSet::from(["make run", "make test"]));
}

fn command(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

#[test]
fn verbs_named_in_documents_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let exists = |verb: &str| makefile.lines().any(|line| line.starts_with(&format!("{verb}:")));
    let mut offenders = Vec::new();
    for file in documents() {
        for rest in file.text.split("`make ").skip(1) {
            let part = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-';
            let verb: String = rest.chars().take_while(part).collect();
            if !exists(&verb) {
                offenders.push(format!("{}: make {verb}", file.path));
            }
        }
    }
    assert_none(&offenders, "the Makefile has the verbs that documents name");
}

#[test]
fn decisions_are_numbered_and_listed() {
    let mut numbers = Vec::new();
    let mut offenders = Vec::new();
    let index = std::fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    for file in
        documents().iter().filter(|file| file.folder() == "docs/decisions" && file.name() != "README.md")
    {
        numbers
            .push(file.name().split('-').next().and_then(|number| number.parse::<usize>().ok()).unwrap_or(0));
        if !index.contains(&format!("({})", file.name())) {
            offenders.push(format!("{} is not in the index", file.path));
        }
        for heading in ["## Context", "## Decision", "## Consequences"] {
            if !file.text.contains(heading) {
                offenders.push(format!("{}: no {heading:?}", file.path));
            }
        }
    }
    assert_none(&offenders, "decisions");
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>(), "decisions count from 0001 without a gap");
}

#[test]
fn nothing_tells_where_it_was_written() {
    let mut offenders = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            if FOREIGN.iter().any(|word| line.contains(word)) {
                offenders.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    assert_none(&offenders, "the repository speaks of the product only");
}
