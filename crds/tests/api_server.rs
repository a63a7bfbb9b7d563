//! The definition on a real API server: what it refuses, in which words, and what `kubectl` shows. Needs a kubeconfig and changes the
//! cluster it names: `make e2e-api` brings one up for it.
//!
//! `UPDATE=1` writes anew what the API server says of each manifest; read the difference before committing it.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "api_server/kubectl.rs"]
mod kubectl;
#[path = "api_server/largest.rs"]
mod largest;
#[path = "api_server/verdicts.rs"]
mod verdicts;

use std::path::Path;
use std::sync::OnceLock;

use kubectl::{apply, kubectl, namespace, refused, until};
use serde_json::{Value, json};

/// A smallest gateway with more in its spec.
fn gateway(name: &str, spec: &Value) -> Value {
    let mut gateway = json!({
        "apiVersion": "realtime-gateway.dev/v1alpha1",
        "kind": "RealtimeGateway",
        "metadata": {"name": name},
        "spec": {
            "endpoints": [{"name": "ws", "path": "/ws"}],
            "auth": {"anonymous": "Allow"},
        },
    });
    for (field, value) in spec.as_object().unwrap() {
        gateway["spec"][field] = value.clone();
    }
    gateway
}

/// Installs the definition once. That the server takes it means that it is structural and that no rule costs too much.
fn installed() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated/realtimegateways.yaml");
        kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()]);
        let name = "crd/realtimegateways.realtime-gateway.dev";
        kubectl(&["wait", "--for=condition=Established", "--timeout=60s", name]);
        // An older definition's schema is served for a moment after the new one is stored.
        until("the schema is served", || {
            kubectl::run(&["explain", "rtgw.spec.drain.jitterPercent"], None).is_ok()
        });
        until("the kind is served", || kubectl::run(&["get", "rtgw", "-A"], None).is_ok());
    });
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn manifests_get_the_verdict_of_rtgw_check() {
    installed();
    verdicts::compare();
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn the_definition_is_structural_and_established() {
    installed();
    let text = kubectl(&["get", "crd/realtimegateways.realtime-gateway.dev", "-o", "json"]);
    let definition: Value = serde_json::from_str(&text).unwrap();
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let holds = |kind: &str| conditions.iter().any(|one| one["type"] == kind && one["status"] == "True");
    assert!(holds("Established") && holds("NamesAccepted"), "{conditions:?}");
    assert!(!holds("NonStructuralSchema"), "{conditions:?}");
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn explain_says_what_a_field_is_its_default_and_what_a_change_takes() {
    installed();
    let explained = |path: &str| kubectl(&["explain", path]);
    let interval = explained("realtimegateway.spec.endpoints.heartbeat.interval");
    for words in [
        "FIELD: interval <string>",
        "A ping goes out after so much silence. 1s to 1h.",
        "Default: 25s",
        "A change: hot, running pods take it.",
    ] {
        assert!(interval.contains(words), "{interval}");
    }
    assert!(explained("rtgw.spec.image.tag").contains("A change: restart"));
    assert!(explained("rtgw.spec.drain.timeout").contains("A change: deferred"));
    assert!(explained("rtgw.spec.exposure.service.port").contains("A change: children"));
    assert!(explained("rtgw.spec.tls").contains("Not in this version."));
    let envelope = explained("rtgw.spec.endpoints.envelope");
    assert!(envelope.contains("ENUM:") && envelope.contains("`Raw`: DATA itself."), "{envelope}");
    let conditions = explained("rtgw.status.conditions");
    assert!(conditions.contains("observedGeneration"), "{conditions}");
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn scale_reads_the_default_and_obeys_the_rules() {
    installed();
    let space = namespace("scale");
    apply(&space, &gateway("alone", &json!({})));
    // An autoscaler begins with this request, and it fails on an object that stores no replicas.
    let scale = kubectl(&[
        "-n",
        &space,
        "get",
        "rtgw/alone",
        "--subresource=scale",
        "-o",
        "jsonpath={.spec.replicas}",
    ]);
    assert_eq!(scale, "1");
    let told = refused(&["-n", &space, "scale", "rtgw/alone", "--replicas=3"], None);
    assert!(told.contains("several replicas need a Redis"), "{told}");
    apply(&space, &gateway("shared", &json!({"redis": {"managed": {}}})));
    kubectl(&["-n", &space, "scale", "rtgw/shared", "--replicas=3"]);
    let replicas = kubectl(&["-n", &space, "get", "rtgw/shared", "-o", "jsonpath={.spec.replicas}"]);
    assert_eq!(replicas, "3");
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn columns_show_the_status() {
    installed();
    let space = namespace("columns");
    apply(&space, &gateway("chat", &json!({"redis": {"managed": {}}})));
    let status = json!({"status": {
        "observedGeneration": 1,
        "replicas": 3,
        "readyReplicas": 3,
        "selector": "realtime-gateway.dev/gateway=chat,realtime-gateway.dev/component=gateway",
        "connections": {"current": 18234, "capacity": 30000, "percent": 61},
        "redis": {"kind": "Managed", "ready": true},
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Serving", "message": "", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
        }],
    }});
    let status = status.to_string();
    kubectl(&["-n", &space, "patch", "rtgw/chat", "--subresource=status", "--type=merge", "-p", &status]);
    // By its category, as people list everything of a product.
    let table = kubectl(&["-n", &space, "get", "realtime"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "READY", "CONNECTIONS", "LOAD", "REPLICAS", "REDIS", "AGE"]);
    assert_eq!(rows[1][..6], ["chat", "True", "18234", "61", "3", "Managed"]);
    let scale = ["-n", &space, "get", "rtgw/chat", "--subresource=scale", "-o", "jsonpath={.status}"];
    let scale: Value = serde_json::from_str(&kubectl(&scale)).unwrap();
    assert_eq!((&scale["replicas"], scale["selector"].as_str().is_some()), (&json!(3), true));
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn the_spec_cannot_be_written_by_status_nor_status_by_the_spec() {
    installed();
    let space = namespace("subresources");
    let mut object = gateway("chat", &json!({}));
    object["status"] = json!({"replicas": 7});
    apply(&space, &object);
    assert_eq!(kubectl(&["-n", &space, "get", "rtgw/chat", "-o", "jsonpath={.status}"]), "");
    let patch = r#"{"spec": {"replicas": 0}, "status": {"replicas": 2}}"#;
    kubectl(&["-n", &space, "patch", "rtgw/chat", "--subresource=status", "--type=merge", "-p", patch]);
    let both =
        kubectl(&["-n", &space, "get", "rtgw/chat", "-o", "jsonpath={.spec.replicas} {.status.replicas}"]);
    assert_eq!(both, "1 2");
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn two_managers_share_endpoints_and_not_the_order_of_channels() {
    installed();
    let space = namespace("managers");
    let mut theirs = gateway("chat", &json!({"channels": [{"pattern": "a:{x}"}, {"pattern": "{any*}"}]}));
    kubectl::run(&["-n", &space, "apply", "--server-side", "--field-manager=git", "-f", "-"], Some(&theirs))
        .unwrap();
    // A rule that was appended behind `{any*}` would never be reached, so nobody may append.
    theirs["spec"] = json!({"endpoints": [], "channels": [{"pattern": "secret:{x}", "subscribe": "false"}]});
    let told =
        refused(&["-n", &space, "apply", "--server-side", "--field-manager=team", "-f", "-"], Some(&theirs));
    assert!(told.contains("conflict with \"git\": .spec.channels"), "{told}");
    theirs["spec"] = json!({"endpoints": [{"name": "admin", "path": "/admin"}]});
    kubectl::run(&["-n", &space, "apply", "--server-side", "--field-manager=team", "-f", "-"], Some(&theirs))
        .unwrap();
    let names = kubectl(&["-n", &space, "get", "rtgw/chat", "-o", "jsonpath={.spec.endpoints[*].name}"]);
    assert_eq!(names, "ws admin");
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn a_misspelled_redis_is_refused_where_unknown_fields_are_dropped() {
    installed();
    let space = namespace("misspelled");
    let object = gateway("chat", &json!({"redis": {"sentinal": {"master": "m"}}}));
    let told = refused(&["-n", &space, "create", "--validate=ignore", "-f", "-"], Some(&object));
    assert!(
        told.contains("spec.redis: Invalid value") && told.contains("says nothing: add managed"),
        "{told}"
    );
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn a_volume_grows_and_does_not_shrink() {
    installed();
    let space = namespace("volumes");
    let sized =
        |size: Value| gateway("chat", &json!({"redis": {"managed": {"persistence": {"size": size}}}}));
    apply(&space, &sized(json!("1Gi")));
    apply(&space, &sized(json!("2Gi")));
    apply(&space, &sized(json!(3_u64 << 30)));
    let told = refused(&["-n", &space, "apply", "-f", "-"], Some(&sized(json!("2Gi"))));
    assert!(told.contains("cannot shrink: volumes only grow"), "{told}");
}

#[test]
#[ignore = "needs a kubeconfig: make e2e-api"]
fn an_object_with_every_list_at_its_bound_is_accepted() {
    installed();
    let space = namespace("large");
    let large = gateway("large", &largest::spec());
    kubectl::run(&["-n", &space, "create", "--dry-run=server", "-f", "-"], Some(&large)).unwrap();
}
