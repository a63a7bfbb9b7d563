//! Which crate may know which, and what may be linked at all.

use tidy::{Metadata, root};

use crate::assert_none;

/// Complete: a crate of ours that is missing here does not pass.
const ALLOWED: &[(&str, &[&str])] = &[
    ("rtgw-model", &[]),
    ("rtgw-config", &[]),
    ("rtgw-hub", &["rtgw-model"]),
    ("rtgw-protocol", &["rtgw-model"]),
    ("rtgw-crds", &["rtgw-config"]),
    ("rtgw", &["rtgw-hub", "rtgw-protocol", "rtgw-model", "rtgw-config", "rtgw-crds"]),
    ("rtgw-operator", &["rtgw-config", "rtgw-crds"]),
    // It knows what users know: manifests, kubectl, the wire.
    ("rtgw-e2e", &[]),
    ("tidy", &[]),
];

/// The pure crates: no runtime, no sockets, no clients of anything.
const PURE: &[&str] = &["rtgw-model", "rtgw-config", "rtgw-hub", "rtgw-protocol", "rtgw-crds"];
const IMPURE: &[&str] =
    &["tokio", "mio", "hyper", "axum", "redis", "socket2", "tracing-subscriber", "rand", "getrandom"];

#[test]
fn crates_know_only_what_architecture_allows() {
    let metadata = Metadata::read().unwrap();
    let mut offenders = Vec::new();
    for package in metadata.own() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
            offenders.push(format!("{} is not in the list", package.name));
            continue;
        };
        let ours = |name: &&String| ALLOWED.iter().any(|(own, _)| own == name);
        for used in package.uses.iter().chain(&package.uses_in_tests).filter(ours) {
            if !allowed.contains(&used.as_str()) {
                offenders.push(format!("{} -> {used}", package.name));
            }
        }
    }
    assert_none(&offenders, "dependencies between crates are those of ARCHITECTURE.md");
}

#[test]
fn pure_crates_do_no_input_or_output() {
    let metadata = Metadata::read().unwrap();
    let mut offenders = Vec::new();
    for package in metadata.own().filter(|package| PURE.contains(&package.name.as_str())) {
        offenders.extend(
            IMPURE
                .iter()
                .filter(|name| package.uses.contains(**name))
                .map(|name| format!("{} -> {name}", package.name)),
        );
    }
    assert_none(&offenders, "the pure crates use no runtime, socket or source of chance");
}

#[test]
fn the_gateway_links_no_kubernetes_client() {
    let metadata = Metadata::read().unwrap();
    let linked = metadata.linked_with("rtgw");
    assert!(linked.contains("rtgw-hub"), "the graph was read");
    let offenders: Vec<_> = linked
        .iter()
        .filter(|name| name.starts_with("kube") || name.starts_with("k8s-"))
        .map(|&n| n.to_owned())
        .collect();
    assert_none(&offenders, "the gateway never links a Kubernetes client");
}

#[test]
fn what_is_linked_is_allowed_by_deny_toml() {
    let deny = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let licenses = quoted(between(&deny, "[licenses]", "]"));
    let banned: Vec<&str> =
        deny.split("crate = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let registries = quoted(between(&deny, "allow-registry", "]"));
    assert!(licenses.len() > 3 && banned.len() > 3 && registries.len() == 1, "deny.toml was read");

    let metadata = Metadata::read().unwrap();
    let mut offenders = Vec::new();
    for package in metadata.packages.values() {
        let Some(source) = &package.source else { continue };
        let named = format!("{} {}", package.name, package.version);
        if !license_allowed(&package.license, &licenses) {
            offenders.push(format!("{named}: licence {:?}", package.license));
        }
        if banned.contains(&package.name.as_str()) {
            offenders.push(format!("{named}: banned"));
        }
        if !registries.iter().any(|registry| source == &format!("registry+{registry}")) {
            offenders.push(format!("{named}: source {source}"));
        }
    }
    assert_none(&offenders, "deny.toml");
}

#[test]
fn every_crate_follows_the_workspace() {
    let mut offenders = Vec::new();
    for file in tidy::files().iter().filter(|file| file.name() == "Cargo.toml" && file.path != "Cargo.toml") {
        // A fuzz crate stands outside the workspace and is built by its own tool.
        if file.path.starts_with("fuzz/") {
            continue;
        }
        for line in ["version.workspace = true", "[lints]\nworkspace = true", "license.workspace = true"] {
            if !file.text.contains(line) {
                offenders.push(format!("{}: no {line:?}", file.path));
            }
        }
    }
    assert_none(&offenders, "crates take version, licence and lints from the workspace");
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let section = &text[text.find(start).unwrap()..];
    let list = &section[section.find("= [").map_or(0, |at| at + 2)..];
    &list[..list.find(end).unwrap()]
}

fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// Whether an SPDX expression can be satisfied. `AND` binds closer than `OR`; `/` is how old crates write `OR`.
fn license_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced =
        expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    !tokens.is_empty() && any_of(&tokens, &mut at, allowed) && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut result = all_of(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        result |= all_of(tokens, at, allowed);
    }
    result
}

fn all_of(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let mut result = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        result &= one(tokens, at, allowed);
    }
    result
}

fn one(tokens: &[&str], at: &mut usize, allowed: &[&str]) -> bool {
    let token = tokens.get(*at).copied().unwrap_or_default();
    *at += 1;
    if token == "(" {
        let result = any_of(tokens, at, allowed);
        *at += 1;
        return result;
    }
    allowed.contains(&token.replace("+WITH+", " WITH ").as_str())
}

#[test]
fn license_expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-3.0",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(license_allowed(good, &allowed), "{good}");
    }
    for bad in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "GPL-3.0 WITH LLVM-exception"]
    {
        assert!(!license_allowed(bad, &allowed), "{bad}");
    }
}
