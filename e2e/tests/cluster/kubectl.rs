//! `kubectl` as a person would use it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take on a busy machine. The kubelet alone takes more than a minute to see a Secret's new content.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// What it prints.
///
/// # Errors
/// What it complains of.
pub(crate) fn run(args: &[&str], input: Option<&Value>) -> Result<String, String> {
    program("KUBECTL", "kubectl", args, input)
}

/// What the program that the variable names prints, or the one of that name.
///
/// # Errors
/// What it complains of.
pub(crate) fn program(
    variable: &str,
    name: &str,
    args: &[&str],
    input: Option<&Value>,
) -> Result<String, String> {
    assert!(
        std::env::var_os("KUBECONFIG").is_some(),
        "needs KUBECONFIG, and changes what it names: make e2e"
    );
    let program = std::env::var(variable).unwrap_or_else(|_| name.to_owned());
    let mut child = Command::new(program)
        .args(args)
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

/// An object or a list of them, if it is there.
pub(crate) fn find(args: &[&str]) -> Option<Value> {
    let text = run(&[&["get", "-o", "json"], args].concat(), None).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// Stores `object` in `namespace`.
pub(crate) fn apply(namespace: &str, object: &Value) {
    run(&["-n", namespace, "apply", "-f", "-"], Some(object))
        .unwrap_or_else(|told| panic!("{told}\n{object}"));
}

/// Changes fields of `what` in `namespace` by hand.
pub(crate) fn patch(namespace: &str, what: &str, change: &Value) {
    kubectl(&["-n", namespace, "patch", what, "--type=merge", "-p", &change.to_string()]);
}

/// Waits until `holds`, and says how long that took.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    began.elapsed()
}
