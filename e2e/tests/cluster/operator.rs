//! The operator that the chart installed.

use serde_json::{Value, json};

use crate::http;
use crate::kubectl::{find, kubectl, until};

/// Its namespace.
pub(crate) const SPACE: &str = "realtime";
const SELECTED: &str = "app.kubernetes.io/component=operator";

/// The UIDs of its pods.
fn pods() -> Vec<Value> {
    let list = find(&["-n", SPACE, "pods", "-l", SELECTED]).unwrap();
    list["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["uid"].clone()).collect()
}

/// Who holds the Lease.
fn leader() -> Value {
    find(&["-n", SPACE, "lease", "rtgw-operator"])
        .map_or(json!(null), |lease| lease["spec"]["holderIdentity"].clone())
}

/// Deletes every pod of it and waits until another one leads.
pub(crate) fn restart() {
    let (before, led) = (pods(), leader());
    kubectl(&["-n", SPACE, "delete", "pods", "-l", SELECTED, "--wait=false"]);
    until("the former pods of the operator are gone", || pods().iter().all(|pod| !before.contains(pod)));
    installed();
    until("another pod leads", || leader().as_str().is_some_and(|name| !name.is_empty()) && leader() != led);
}

/// Reconciliations that its pods have ended, whichever way.
pub(crate) fn reconciliations() -> u64 {
    let list = find(&["-n", SPACE, "pods", "-l", SELECTED]).unwrap();
    let addresses =
        list["items"].as_array().unwrap().iter().filter_map(|pod| pod["status"]["podIP"].as_str());
    addresses.map(|address| counted(&http::get(&format!("{address}:9090"), "/metrics").unwrap().1)).sum()
}

fn counted(metrics: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with("rtgw_operator_reconciliations_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Waits until its pods are ready.
pub(crate) fn installed() {
    kubectl(&["-n", SPACE, "wait", "deployment", "--all", "--for=condition=Available", "--timeout=240s"]);
}
