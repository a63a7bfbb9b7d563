//! `rtgw check` as a shell sees it: exit codes, results on stdout, problems on stderr.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn check(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rtgw"))
        .arg("check")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments may be gone before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn gateway(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: {name}}}\nspec:\n  \
         endpoints: [{{name: ws, path: /ws}}]\n  auth: {{anonymous: Allow}}\n{spec}\n"
    )
}

#[test]
fn a_good_manifest_is_said_to_be_good() {
    let (code, out, err) = check(&["-f", "-"], &gateway("chat", ""));
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(0), "default/chat: 1 endpoint, 0 channels, 0 sources: ok\n", "")
    );
}

#[test]
fn warnings_refuse_nothing() {
    let (code, out, err) = check(&["-f", "-"], &gateway("chat", "  replicas: 1"));
    assert_eq!((code, err.as_str()), (Some(0), "warning: spec: ignored outside a cluster: replicas\n"));
    assert!(out.ends_with(": ok\n"));
}

#[test]
fn no_example_has_warnings() {
    let examples = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")).unwrap();
    let manifests: Vec<_> =
        examples.map(|one| one.unwrap().path().join("gateway.yaml")).filter(|path| path.exists()).collect();
    assert!(manifests.len() >= 5, "{manifests:?}");
    for manifest in manifests {
        let (code, out, err) = check(&["-f", manifest.to_str().unwrap()], "");
        assert_eq!((code, err.as_str()), (Some(0), ""), "{}", manifest.display());
        assert!(out.ends_with(": ok\n"), "{out}");
    }
}

#[test]
fn a_refused_manifest_names_everything_and_exits_64() {
    let (code, out, err) = check(&["-f", "-"], &gateway("Chat", "  tls: {}\n  channels: [{pattern: a b}]"));
    assert_eq!((code, out.as_str()), (Some(64), ""));
    let places: Vec<&str> = err.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    let begin = ["metadata.name: ", "spec.channels[0].pattern: ", "spec.tls: "];
    assert!(
        places.len() == 3 && places.iter().zip(begin).all(|(place, begin)| place.starts_with(begin)),
        "{err}"
    );
}

#[test]
fn every_gateway_of_the_files_is_checked_unless_one_is_named() {
    let both = format!("{}---\n{}", gateway("good", ""), gateway("bad", "  tls: {}"));
    let (code, out, err) = check(&["-f", "-"], &both);
    assert!(
        code == Some(64) && out.starts_with("default/good: ") && err.starts_with("bad:\nerror: spec.tls: "),
        "{out}{err}"
    );
    assert_eq!(check(&["-f", "-", "--name", "good"], &both).0, Some(0));
    let (code, _, err) = check(&["-f", "-", "--name", "none"], &both);
    assert!(code == Some(64) && err.contains("one of: good, bad"), "{err}");
}

#[test]
fn a_wrong_command_line_exits_64() {
    assert_eq!(check(&[], "").0, Some(64));
    assert_eq!(check(&["-f", "/does/not/exist.yaml"], "").0, Some(64));
}
