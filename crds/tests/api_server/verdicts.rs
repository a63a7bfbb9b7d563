//! The corpus through the API server: the verdicts of `rtgw check`, and beside each refused manifest which rules refused what in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rtgw_crds::definition;

use crate::kubectl::{existing, run_in};

/// Accepted by `rtgw check` and nothing for an API server: what the operator writes for pods, and a Deployment that says nothing.
const FOR_FILES: &[&str] = &["config-file.yaml", "other-kinds.yaml"];

/// The words that begin a manifest which only the operator refuses.
const OPERATOR_ONLY: &str = "# operator only: ";

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    assert!(files.len() > 10);
    files
}

fn create(file: &Path) -> Result<String, String> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let args = ["create", "--dry-run=server", "--validate=strict", "-f", name];
    run_in(file.parent().unwrap(), &args, None)
}

/// Compares every manifest's verdict, and what our own rules say of it.
pub(crate) fn compare() {
    for namespace in ["other", "shop", "web"] {
        existing(namespace);
    }
    let mut failures = Vec::new();
    for file in files("good") {
        let skipped = FOR_FILES.iter().any(|name| file.ends_with(name));
        if let (false, Err(told)) = (skipped, create(&file)) {
            failures.push(format!("{} is refused:\n{told}", file.display()));
        }
    }
    for file in files("bad") {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        match (create(&file), text.starts_with(OPERATOR_ONLY)) {
            (Err(told), false) => failures.extend(compare_words(&file, &told)),
            (Ok(_), true) => {}
            (Ok(_), false) => failures.push(format!(
                "{} is accepted, and `rtgw check` refuses it: add a rule, or begin it with {OPERATOR_ONLY:?} and say why",
                file.display()
            )),
            (Err(told), true) => failures.push(format!("{} is refused after all:\n{told}", file.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Compares what our rules said with the text beside the file. What the schema said by itself is in the words of Kubernetes' release.
fn compare_words(file: &Path, told: &str) -> Option<String> {
    let found: String = ours(told).into_iter().map(|line| format!("{line}\n")).collect();
    let beside = file.with_extension("api");
    if std::env::var_os("UPDATE").is_some() {
        if found.is_empty() {
            let _ = fs::remove_file(&beside);
        } else {
            fs::write(&beside, &found).unwrap();
        }
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    (found != expected).then(|| format!("{}:\n--- expected\n{expected}--- found\n{found}", file.display()))
}

/// `PATH: MESSAGE` of each refusal by one of our rules.
fn ours(told: &str) -> BTreeSet<String> {
    let messages = definition::messages();
    let mut found = BTreeSet::new();
    for line in told.lines() {
        let known = messages.iter().find(|message| line.ends_with(&format!(": {message}")));
        let (Some(message), Some((before, _))) = (known, line.split_once(": Invalid value: ")) else {
            continue;
        };
        let path = before.rsplit(' ').next().unwrap_or_default();
        found.insert(format!("{path}: {message}"));
    }
    found
}
