//! `kubectl` as a person would use it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What it prints.
///
/// # Errors
/// What it complains of.
pub(crate) fn run(args: &[&str], input: Option<&Value>) -> Result<String, String> {
    run_in(Path::new("."), args, input)
}

/// The same, among the files of `folder`.
pub(crate) fn run_in(folder: &Path, args: &[&str], input: Option<&Value>) -> Result<String, String> {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "needs KUBECONFIG, and changes what it names: make e2e-api"
    );
    let program = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if let Some(input) = input {
        stdin.write_all(input.to_string().as_bytes()).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// What it prints; it has to succeed.
pub(crate) fn kubectl(args: &[&str]) -> String {
    run(args, None).unwrap_or_else(|told| panic!("kubectl {}: {told}", args.join(" ")))
}

/// What it complains of; it has to fail.
pub(crate) fn refused(args: &[&str], input: Option<&Value>) -> String {
    match run(args, input) {
        Ok(done) => panic!("kubectl {}: {done}", args.join(" ")),
        Err(told) => told,
    }
}

/// Stores `object` in `namespace`.
pub(crate) fn apply(namespace: &str, object: &Value) {
    run(&["-n", namespace, "apply", "-f", "-"], Some(object))
        .unwrap_or_else(|told| panic!("{told}\n{object}"));
}

/// A namespace for one test, empty of what an earlier run left.
pub(crate) fn namespace(name: &str) -> String {
    let name = format!("rtgw-api-{name}");
    existing(&name);
    kubectl(&["-n", &name, "delete", "rtgw", "--all", "--wait=true"]);
    name
}

/// Makes a namespace where there is none.
pub(crate) fn existing(name: &str) {
    if run(&["get", "namespace", name], None).is_err() {
        kubectl(&["create", "namespace", name]);
    }
}

/// Waits until `holds`.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
