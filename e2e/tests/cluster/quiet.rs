//! What must not be written, and whom nothing may disturb.

use std::time::Duration;

use serde_json::json;

use crate::audit::{Since, quiet};
use crate::gateway::{Gateway, NAME, two_pods};
use crate::{kubectl, operator};

const PAUSE: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_reconciliation_that_changes_nothing_writes_nothing_and_closes_no_socket() {
    let gateway = Gateway::served("noop", &two_pods());
    let clients = gateway.clients(20);
    gateway.delivers(&clients, "before");
    counted(&gateway, 20);
    quiet(gateway.space(), PAUSE);
    let (since, reconciled) = (Since::now(), operator::reconciliations());
    for round in 0..10 {
        // Each wakes the operator, and none of it is its business.
        kubectl::patch(
            gateway.space(),
            &format!("rtgw/{NAME}"),
            &json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}}),
        );
        std::thread::sleep(Duration::from_secs(2));
    }
    let writes = since.writes(gateway.space());
    assert_eq!(writes, [""; 0], "nothing is written");
    let reconciled = operator::reconciliations() - reconciled;
    assert!(reconciled > 0, "it was looked at again");
    gateway.delivers(&clients, "after");
    clients.all_stay();
    println!("  {reconciled} reconciliations in 20 s: 0 writes, 0 of 20 sockets closed");
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_operator_that_starts_again_writes_no_child_and_closes_no_socket() {
    let gateway = Gateway::served("restart", &two_pods());
    let clients = gateway.clients(20);
    gateway.delivers(&clients, "before");
    counted(&gateway, 20);
    quiet(gateway.space(), PAUSE);
    let (since, pods) = (Since::now(), gateway.pods());
    operator::restart();
    // The new one works: it takes an edit, and only what that edit is about is written.
    std::thread::sleep(PAUSE);
    let children: Vec<String> = since
        .writes(gateway.space())
        .into_iter()
        .filter(|write| !write.contains("realtimegateways/status"))
        .collect();
    assert_eq!(children, [""; 0], "nothing but the status is written");
    let channels =
        json!([{"pattern": "room:{room}", "subscribe": "true"}, {"pattern": "new:{x}", "subscribe": "true"}]);
    gateway.edit(&json!({ "channels": channels }));
    gateway.settled();
    gateway.delivers(&clients, "after");
    clients.all_stay();
    assert_eq!(gateway.pods(), pods, "pods stay");
    println!("  operator started again: 0 writes to children, 0 of 20 sockets closed");
}

/// Waits until the status tells of so many clients, which is its last write for now.
fn counted(gateway: &Gateway, number: i64) {
    kubectl::until("the status counts the clients", || {
        gateway.object().is_some_and(|object| object["status"]["connections"]["current"] == number)
    });
}
