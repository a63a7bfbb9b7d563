//! What is refused, by whom, in which words, and that what runs keeps running.

use serde_json::{Value, json};

use crate::gateway::{Gateway, NAME, Namespace, condition, manifest, says, two_pods};
use crate::kubectl::{apply, find, kubectl, run, until};

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_object_of_a_stranger_is_not_touched_and_the_gateway_says_which_it_is() {
    let space = Namespace::new("conflict");
    let stranger = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
        "spec": {"selector": {"app": "somebody-elses"}, "ports": [{"port": 1234}]},
    });
    apply(&space.0, &stranger);
    let before = find(&["-n", &space.0, "service", NAME]).unwrap();
    apply(&space.0, &manifest(&json!({})));
    let object = stalled(&space.0, "NameConflict");
    let told = condition(&object, "Stalled").unwrap()["message"].as_str().unwrap();
    assert!(told.contains("Service `chat`"), "{told}");
    assert_eq!(find(&["-n", &space.0, "service", NAME]).unwrap(), before, "the stranger's is as it was");
    let children = find(&[
        "-n",
        &space.0,
        "deployments,configmaps,pdb,networkpolicies",
        "-l",
        "realtime-gateway.dev/gateway",
    ]);
    assert_eq!(children.unwrap()["items"], json!([]), "nothing is made");
    kubectl(&["-n", &space.0, "delete", "service", NAME]);
    let took = until("the gateway is served once the name is free", || {
        find(&["-n", &space.0, "rtgw", NAME]).is_some_and(|object| says(&object, "Ready", "True", None))
    });
    println!("  {told}; served {:.1} s after the name was free", took.as_secs_f64());
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_spec_that_only_the_operator_can_judge_leaves_pods_and_sockets_alone() {
    let gateway = Gateway::served("invalid", &two_pods());
    let clients = gateway.clients(20);
    gateway.delivers(&clients, "before");
    let pods = gateway.pods();
    gateway.edit(&json!({"channels": [{"pattern": "room:{room}", "subscribe": "user =="}]}));
    let object = stalled(gateway.space(), "InvalidSpec");
    let told = condition(&object, "Stalled").unwrap()["message"].as_str().unwrap();
    assert!(told.contains("spec.channels[0].subscribe"), "{told}");
    gateway.edit(&json!({"channels": manifest(&json!({}))["spec"]["channels"], "podTemplate": {"spec": {"hostNetwork": true}}}));
    let object = stalled(gateway.space(), "OverrideNotAllowed");
    let told_too = condition(&object, "Stalled").unwrap()["message"].as_str().unwrap();
    assert!(told_too.contains("spec.podTemplate.spec.hostNetwork"), "{told_too}");
    gateway.delivers(&clients, "meanwhile");
    gateway.edit(&json!({"podTemplate": null}));
    gateway.settled();
    gateway.delivers(&clients, "after");
    clients.all_stay();
    assert_eq!(gateway.pods(), pods, "pods stay");
    println!("  {told}\n  {told_too}\n  2 pods stay, 0 of 20 sockets closed");
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_typo_in_redis_is_refused_by_the_api_server() {
    let space = Namespace::new("typo");
    let typo = manifest(&json!({"redis": {"manged": {}}}));
    let strict = run(&["-n", &space.0, "apply", "-f", "-"], Some(&typo)).unwrap_err();
    assert!(strict.contains("spec.redis.manged"), "{strict}");
    // Without kubectl's wish for strictness the field is dropped, and what is left says nothing.
    let lenient = run(&["-n", &space.0, "apply", "--validate=false", "-f", "-"], Some(&typo)).unwrap_err();
    assert!(lenient.contains("spec.redis"), "{lenient}");
    assert!(find(&["-n", &space.0, "rtgw", NAME]).is_none(), "nothing is stored");
    println!("  {}\n  {}", strict.trim(), lenient.trim());
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_second_manager_of_channels_is_told_of_the_first() {
    let space = Namespace::new("managers");
    let server_side = |manager: &str, object: &Value, force: bool| {
        let manager = format!("--field-manager={manager}");
        let force = format!("--force-conflicts={force}");
        run(&["-n", &space.0, "apply", "--server-side", &manager, &force, "-f", "-"], Some(object))
    };
    server_side("team-a", &manifest(&json!({})), false).unwrap();
    let mut other = json!({"apiVersion": "realtime-gateway.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": NAME}});
    other["spec"] = json!({"channels": [{"pattern": "mine:{x}"}]});
    let told = server_side("team-b", &other, false).unwrap_err();
    assert!(told.contains("team-a") && told.contains(".spec.channels"), "{told}");
    server_side("team-b", &other, true).unwrap();
    let stored = find(&["-n", &space.0, "rtgw", NAME]).unwrap();
    let patterns: Vec<_> =
        stored["spec"]["channels"].as_array().unwrap().iter().map(|rule| &rule["pattern"]).collect();
    assert_eq!(patterns, ["mine:{x}"], "the list is one whole, never a mixture of two");
    println!("  {}", told.lines().next().unwrap_or_default());
}

/// The object, once it is stalled for `reason`.
fn stalled(space: &str, reason: &str) -> Value {
    let mut found = None;
    until(reason, || {
        found =
            find(&["-n", space, "rtgw", NAME]).filter(|object| says(object, "Stalled", "True", Some(reason)));
        found.is_some()
    });
    found.unwrap()
}
