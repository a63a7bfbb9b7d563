//! What is generated from this crate's code is the same as what is committed. `RTGW_GENERATE=1` rewrites it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn the_reference_of_metrics_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let generated = rtgw::metrics::reference();
    if std::env::var_os("RTGW_GENERATE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, generated, "run `make generate`");
}
