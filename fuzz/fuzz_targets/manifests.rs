//! Any text as a manifest: reading ends, panics never, and a refusal says why.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtgw_crds::{Manifests, Text};

fuzz_target!(|content: &str| {
    let texts = [Text { name: "file.yaml".into(), content: content.to_owned() }];
    match Manifests::read(&texts).check(None) {
        Ok(accepted) => {
            assert!(!accepted.checked.endpoints.is_empty());
            assert!(accepted.warnings.iter().all(|warning| !warning.is_error()));
        }
        Err(problems) => {
            assert!(problems.iter().any(|problem| problem.is_error()));
            for problem in &problems {
                assert!(!problem.message.starts_with("could not be read"), "{problem}");
                assert!(problem.to_string().len() < 16 * 1024, "a problem repeats too much");
            }
        }
    }
});
