//! What is edited by hand.

use serde_json::json;

use crate::gateway::{Gateway, NAME, two_pods};
use crate::kubectl::{find, patch, until};

#[test]
#[ignore = "needs a cluster: make e2e"]
fn fields_of_children_that_somebody_edits_are_put_back_and_no_socket_is_closed() {
    let gateway = Gateway::served("drift", &two_pods());
    let clients = gateway.clients(20);
    gateway.delivers(&clients, "before");
    let pods = gateway.pods();
    let elsewhere = json!({"spec": {"selector": {"realtime-gateway.dev/gateway": "elsewhere"}}});
    for (what, change, field) in [
        (format!("service/{NAME}"), elsewhere, "/spec/selector/realtime-gateway.dev~1gateway"),
        (
            format!("deployment/{NAME}-gateway"),
            json!({"spec": {"minReadySeconds": 77}}),
            "/spec/minReadySeconds",
        ),
        (format!("deployment/{NAME}-gateway"), json!({"spec": {"replicas": 3}}), "/spec/replicas"),
        (format!("pdb/{NAME}-gateway"), json!({"spec": {"maxUnavailable": 2}}), "/spec/maxUnavailable"),
    ] {
        let read = || find(&["-n", gateway.space(), &what]).unwrap().pointer(field).cloned();
        let before = read();
        patch(gateway.space(), &what, &change);
        let took = until("the field is put back", || read() == before);
        println!("  {what} {field}: put back after {:.2} s", took.as_secs_f64());
    }
    gateway.settled();
    until("the third pod has gone, and it alone", || gateway.pods() == pods);
    gateway.delivers(&clients, "after");
    clients.all_stay();
}
