//! Objects and what makes them come and go.

use serde_json::{Value, json};

use crate::gateway::{Gateway, NAME, Namespace, manifest, two_pods};
use crate::kubectl::{apply, find, kubectl, program, until};
use crate::operator;

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_object_deleted_and_made_again_at_once_has_children_of_its_own() {
    let gateway = Gateway::served("again", &json!({}));
    let before = uid(&gateway);
    kubectl(&["-n", gateway.space(), "delete", "rtgw", NAME, "--wait=false"]);
    until("the object can be made again", || {
        apply(gateway.space(), &manifest(&json!({})));
        gateway.object().is_some() && uid(&gateway) != before
    });
    let took = gateway.settled();
    let selected = "deployments,services,configmaps,pdb,networkpolicies,serviceaccounts";
    let children = find(&["-n", gateway.space(), selected, "-l", "realtime-gateway.dev/gateway"]).unwrap();
    let children = children["items"].as_array().unwrap();
    assert!(children.len() >= 7, "{} children", children.len());
    let now = uid(&gateway);
    for child in children {
        assert_eq!(child["metadata"]["ownerReferences"][0]["uid"], now, "{child}");
    }
    let clients = gateway.clients(5);
    gateway.delivers(&clients, "hello");
    println!("  served again after {:.1} s, {} children of the new one", took.as_secs_f64(), children.len());
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_namespace_with_a_gateway_in_it_goes_when_it_is_deleted() {
    let gateway = Gateway::served("namespace", &two_pods());
    let space = gateway.space().to_owned();
    kubectl(&["delete", "namespace", &space, "--wait=false"]);
    let took = until("the namespace is gone", || find(&["namespace", &space]).is_none());
    println!("  gone after {:.1} s", took.as_secs_f64());
    // The operator is none the worse for it.
    operator::installed();
    Gateway::made_in(Namespace::new("namespace-after"), &json!({}));
}

/// Uninstalls, and installs again in the end: other cases need the operator.
#[test]
#[ignore = "needs a cluster: make e2e"]
fn what_runs_is_served_on_while_the_operator_is_uninstalled() {
    let gateway = Gateway::served("uninstall", &two_pods());
    let clients = gateway.clients(20);
    gateway.delivers(&clients, "before");
    let (pods, object) = (gateway.pods(), uid(&gateway));
    let helm =
        |args: &[&str]| program("HELM", "helm", args, None).unwrap_or_else(|told| panic!("helm: {told}"));
    let values = helm(&["get", "values", "rtgw", "--namespace", operator::SPACE, "--output", "json"]);
    let values: Value = serde_json::from_str(&values).unwrap();
    helm(&["uninstall", "rtgw", "--namespace", operator::SPACE, "--wait"]);
    assert_eq!(uid(&gateway), object, "the definition and its objects stay");
    gateway.delivers(&clients, "without an operator");
    assert_eq!(gateway.pods(), pods, "pods stay");
    let more = gateway.clients(5);
    gateway.delivers(&more, "to new ones, too");
    clients.all_stay();
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/realtime-gateway");
    let install =
        ["upgrade", "--install", "rtgw", chart, "--namespace", operator::SPACE, "--wait", "--values", "-"];
    program("HELM", "helm", &install, Some(&values)).unwrap_or_else(|told| panic!("helm: {told}"));
    gateway.edit(
        &json!({"channels": [{"pattern": "room:{room}", "subscribe": "true"}, {"pattern": "new:{x}"}]}),
    );
    gateway.settled();
    assert_eq!(gateway.pods(), pods, "pods stay");
    clients.all_stay();
    println!("  uninstalled and installed again: 2 pods stay, 0 of 20 sockets closed");
}

fn uid(gateway: &Gateway) -> Value {
    gateway.object().map_or(json!(null), |object| object["metadata"]["uid"].clone())
}
