//! What is left alone: strangers' objects, what runs while the object is wrong, everything while another process leads.

use std::sync::Arc;

use rtgw_crds::status::ConditionStatus::True;
use rtgw_operator::lease::Term;
use serde_json::json;

use crate::world::{CONFIG, DEPLOYMENT, World, context, settings, spec};

#[tokio::test]
async fn what_somebody_else_made_is_never_taken_over() {
    let world = World::new(&spec());
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "chat-gateway", "namespace": "shop"}, "data": {"a": "b"}});
    world.api.put(CONFIG, theirs);
    let before = world.api.object(CONFIG);
    world.reconcile().await;
    assert_eq!(world.api.writes(), ["PATCH realtimegateways/chat/status"], "not one child");
    let (status, reason, message) = world.condition("Stalled").unwrap();
    assert_eq!((status, reason.as_str()), (True, "NameConflict"));
    assert!(message.contains("ConfigMap `chat-gateway`"), "{message}");
    assert_eq!(world.api.object(CONFIG), before);
}

#[tokio::test]
async fn what_an_object_of_the_same_name_left_behind_is_waited_for() {
    let world = World::new(&spec());
    let owner = json!([{"apiVersion": "realtime-gateway.dev/v1alpha1", "kind": "RealtimeGateway", "name": "chat", "uid": "object-0", "controller": true}]);
    world.api.put(CONFIG, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "chat-gateway", "namespace": "shop", "ownerReferences": owner}}));
    let again = world.try_reconcile().await.unwrap();
    assert_eq!(world.api.writes(), ["PATCH realtimegateways/chat/status"]);
    assert_eq!(world.condition("Reconciling").unwrap().1, "Retrying");
    assert!(again.0.as_secs() <= 2, "it is looked at again soon: {again:?}");
}

#[tokio::test]
async fn an_object_that_is_wrong_leaves_what_runs_alone() {
    let mut world = World::new(&spec());
    world.settle().await;
    let before = (world.api.object(CONFIG), world.api.object(DEPLOYMENT));
    world.edit(|object| object["spec"]["channels"][0]["subscribe"] = "claims.".into());
    assert_eq!(world.settle().await, ["PATCH realtimegateways/chat/status"]);
    let (status, reason, message) = world.condition("Stalled").unwrap();
    assert_eq!((status, reason.as_str()), (True, "InvalidSpec"));
    assert!(message.starts_with("spec.channels[0].subscribe: "), "{message}");
    assert_eq!((world.api.object(CONFIG), world.api.object(DEPLOYMENT)), before);
    assert_eq!(world.status()["config"]["generation"], 1, "what runs is still told");
    world.edit(|object| object["spec"] = spec());
    world.settle().await;
    assert_eq!(world.condition("Stalled").unwrap().1, "Working");
}

#[tokio::test]
async fn an_override_that_is_not_allowed_is_named() {
    let mut world = World::new(&spec());
    world.settle().await;
    world.edit(|object| object["spec"]["podTemplate"] = json!({"spec": {"hostNetwork": true}}));
    assert_eq!(world.settle().await, ["PATCH realtimegateways/chat/status"]);
    let (_, reason, message) = world.condition("Stalled").unwrap();
    assert_eq!(reason, "OverrideNotAllowed");
    assert!(message.contains("spec.podTemplate.spec.hostNetwork"), "{message}");
}

#[tokio::test]
async fn a_process_that_does_not_lead_writes_nothing() {
    let mut world = World::new(&spec());
    world.context = context(&world.api, settings(), Arc::default(), Term::default());
    assert!(world.try_reconcile().await.is_err());
    assert_eq!(world.api.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn while_paused_only_the_status_is_written() {
    let mut world = World::new(&spec());
    world.settle().await;
    world.edit(|object| {
        object["metadata"]["annotations"] = json!({"realtime-gateway.dev/paused": "true"});
        object["spec"]["channels"] = json!([{"pattern": "other:{id}"}]);
    });
    assert_eq!(world.settle().await, ["PATCH realtimegateways/chat/status"]);
    assert_eq!(world.condition("Paused").unwrap().0, True);
    world.edit(|object| object["metadata"]["annotations"] = json!({}));
    assert!(world.settle().await.contains(&"PATCH configmaps/chat-gateway".to_owned()));
    assert_eq!(world.condition("Paused"), None);
}

#[tokio::test]
async fn the_memory_of_one_pod_is_not_left_without_a_confirmation() {
    let mut world = World::new(&spec());
    world.settle().await;
    world.edit(|object| {
        object["spec"]["replicas"] = 1.into();
        object["spec"]["redis"] = json!({"embedded": {}});
    });
    assert_eq!(world.settle().await, ["PATCH realtimegateways/chat/status"]);
    assert_eq!(world.condition("Stalled").unwrap().1, "BrokerChange");
    world.edit(|object| {
        object["metadata"]["annotations"] = json!({"realtime-gateway.dev/broker-change": "embedded"});
    });
    let written = world.settle().await;
    assert!(written.contains(&"PATCH deployments/chat-gateway".to_owned()), "{written:?}");
    assert!(written.contains(&"DELETE statefulsets/chat-gateway-redis".to_owned()), "{written:?}");
    assert_eq!(world.api.object(DEPLOYMENT).unwrap()["spec"]["strategy"]["type"], "Recreate");
}
