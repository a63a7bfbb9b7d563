//! What is generated from this crate's code is the same as what is committed. `RTGW_GENERATE=1` rewrites it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn the_reference_of_metrics_is_up_to_date() {
    compare("metrics.md", &rtgw::metrics::reference());
}

#[test]
fn the_description_of_the_api_is_up_to_date() {
    compare("openapi.json", &rtgw::http::openapi());
}

#[track_caller]
fn compare(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if std::env::var_os("RTGW_GENERATE").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, generated, "run `make generate`");
}
