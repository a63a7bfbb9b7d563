//! Every example is runnable as it stands, explained, and tested.

use tidy::{files, root};

use crate::assert_none;

#[test]
fn every_example_has_a_manifest_a_text_and_a_test() {
    let tests: Vec<_> =
        files().into_iter().filter(|file| file.has_extension("rs") && file.is_test()).collect();
    let mut offenders = Vec::new();
    let mut count = 0;
    for entry in
        std::fs::read_dir(root().join("examples")).unwrap().flatten().filter(|entry| entry.path().is_dir())
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        count += 1;
        for file in ["gateway.yaml", "README.md"] {
            if !entry.path().join(file).exists() {
                offenders.push(format!("examples/{name} has no {file}"));
            }
        }
        let manifest = format!("examples/{name}/gateway.yaml");
        if !tests.iter().any(|test| test.text.contains(&manifest)) {
            offenders.push(format!("no test names {manifest}"));
        }
    }
    assert!(count >= 2, "the examples were read");
    assert_none(&offenders, "an example has a manifest, a text and a test");
}
