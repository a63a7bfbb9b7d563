//! What an edit, a stranger's hand or a new operator changes, and what it does not.

use rtgw_config::pod::{Fault, MissingSecret, Refused};
use rtgw_crds::status::ConditionStatus::{False, True};
use serde_json::{Value, json};

use crate::world::{CONFIG, DEPLOYMENT, World, report, settings, spec};

fn image(world: &World) -> Value {
    world.api.object(DEPLOYMENT).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

#[tokio::test]
async fn a_hot_edit_reaches_pods_through_the_configmap_and_their_annotation_alone() {
    let mut world = World::new(&spec());
    world.settle().await;
    let first = world.config();
    world.pod("a", first["revision"].as_str().unwrap(), 1);
    world.settle().await;
    world.edit(|object| object["spec"]["channels"][0]["publish"] = "user != ''".into());
    world.reconcile().await;
    assert_eq!(
        world.api.writes(),
        ["PATCH configmaps/chat-gateway", "PATCH pods/a", "PATCH realtimegateways/chat/status"]
    );
    let second = world.config();
    assert_eq!(second["generation"], 2);
    assert_ne!(second["revision"], first["revision"]);
    let pod = world.api.object("/api/v1/namespaces/shop/pods/a").unwrap();
    assert_eq!(pod["metadata"]["annotations"]["realtime-gateway.dev/config"], "2");
    let last_good = world.api.object(CONFIG).unwrap()["data"]["last-good.yaml"].clone();
    let last_good: Value = serde_json::from_str(last_good.as_str().unwrap()).unwrap();
    assert_eq!(last_good, first, "the newest that a pod has acknowledged");
    world.pod("a", second["revision"].as_str().unwrap(), 2);
    world.settle().await;
    let map = world.api.object(CONFIG).unwrap();
    assert_eq!(map["data"]["last-good.yaml"], map["data"]["config.yaml"]);
    assert_eq!(world.condition("ConfigApplied").unwrap().0, True);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_told_again_until_it_acknowledges_and_not_after_it_has_refused() {
    let mut world = World::new(&spec());
    world.settle().await;
    world.pod("a", "older", 1);
    world.reconcile().await;
    world.api.requests();
    let word = |world: &World| {
        world.api.object("/api/v1/namespaces/shop/pods/a").unwrap()["metadata"]["annotations"]["realtime-gateway.dev/config"].clone()
    };
    assert_eq!(word(&world), "1");
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    world.run_pod("a");
    world.reconcile().await;
    assert_eq!(word(&world), "1-2", "another word, or the kubelet would not look");
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let mut refusal = report("a");
    let problems = vec![Fault { path: "spec.auth".into(), message: "is odd".into() }];
    refusal.config.refused = Some(Refused { generation: Some(1), problems, more: 0 });
    world.hear("a", refusal);
    tokio::time::advance(std::time::Duration::from_secs(100)).await;
    world.run_pod("a");
    world.reconcile().await;
    assert_eq!(word(&world), "1-2");
    let (status, reason, message) = world.condition("ConfigApplied").unwrap();
    assert_eq!((status, reason.as_str()), (False, "Refused"));
    assert!(message.contains("spec.auth: is odd"), "{message}");
    world.edit(|object| object["spec"]["replicas"] = 1.into());
    world.reconcile().await;
    assert_eq!(word(&world), "1-2", "an edit of something else gives pods nothing to read");
}

#[tokio::test]
async fn a_secret_that_a_pod_misses_is_told_with_the_field_that_names_it() {
    let world = World::new(&spec());
    world.settle().await;
    world.run_pod("a");
    let mut waiting = report("a");
    let [path, name, key] = ["spec.auth.issuers[0].secretRef", "chat-auth", "jwt"].map(str::to_owned);
    waiting.secrets.missing = vec![MissingSecret { path, name, key }];
    world.hear("a", waiting);
    world.reconcile().await;
    let (status, reason, message) = world.condition("ConfigApplied").unwrap();
    assert_eq!((status, reason.as_str()), (False, "SecretMissing"));
    assert!(
        message.contains("spec.auth.issuers[0].secretRef") && message.contains("`chat-auth`"),
        "{message}"
    );
}

#[tokio::test]
async fn what_a_stranger_changed_is_put_back_and_nothing_else_is_touched() {
    let world = World::new(&spec());
    world.settle().await;
    let service = "/api/v1/namespaces/shop/services/chat";
    world.api.edit(service, |service| {
        service["spec"]["ports"][0]["port"] = 81.into();
        let fields = &mut service["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
        fields.as_object_mut().unwrap().remove("f:ports");
    });
    assert_eq!(world.settle().await, ["PATCH services/chat"]);
    assert_eq!(world.api.object(service).unwrap()["spec"]["ports"][0]["port"], 80);
    world.api.edit(service, |service| service["metadata"]["labels"]["theirs"] = "1".into());
    assert_eq!(world.settle().await, Vec::<String>::new(), "what we do not own is theirs");
}

#[tokio::test]
async fn a_new_image_replaces_pods_and_hold_rollout_holds_it() {
    let mut world = World::new(&spec());
    world.settle().await;
    world.edit(|object| {
        object["metadata"]["annotations"] = json!({"realtime-gateway.dev/hold-rollout": "true"});
        object["spec"]["image"] = json!({"tag": "0.2.0"});
    });
    assert_eq!(world.settle().await, ["PATCH realtimegateways/chat/status"]);
    assert_eq!(world.status()["template"]["pending"], json!(["spec.image"]));
    world.edit(|object| object["metadata"]["annotations"] = json!({}));
    let written = world.settle().await;
    assert!(written.contains(&"PATCH deployments/chat-gateway".to_owned()), "{written:?}");
    assert!(!written.iter().any(|one| one.contains("statefulsets")), "the Redis stays as it is: {written:?}");
    assert_eq!(image(&world), "ghcr.io/realtime-gateway/rtgw:0.2.0");
    assert!(world.status()["template"]["pending"].is_null());
}

#[tokio::test]
async fn a_change_that_may_wait_waits_for_the_next_rollout() {
    let mut world = World::new(&spec());
    world.settle().await;
    world.edit(|object| object["spec"]["drain"] = json!({"timeout": "10m"}));
    let written = world.settle().await;
    assert!(!written.iter().any(|one| one.contains("deployments")), "{written:?}");
    assert_eq!(world.status()["template"]["pending"], json!(["spec.drain.timeout"]));
    world.edit(|object| {
        object["metadata"]["annotations"] =
            json!({"realtime-gateway.dev/restart-at": "2026-01-01T00:00:00Z"});
    });
    world.settle().await;
    let deployment = world.api.object(DEPLOYMENT).unwrap();
    assert_eq!(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 620);
    assert!(world.status()["template"]["pending"].is_null());
    assert_eq!(world.settle().await, Vec::<String>::new(), "restart-at acts once");
}

#[tokio::test]
async fn a_new_operator_changes_no_pod_until_it_is_asked_to() {
    let mut world = World::new(&spec());
    world.settle().await;
    let mut newer = settings();
    newer.gateway_image = "ghcr.io/realtime-gateway/rtgw:0.2.0".into();
    newer.redis_image = "docker.io/library/redis:9".into();
    world.restart(newer);
    assert_eq!(world.settle().await, ["PATCH realtimegateways/chat/status"]);
    assert_eq!(image(&world), "ghcr.io/realtime-gateway/rtgw:0.1.0");
    let (_, _, message) = world.condition("UpdateAvailable").unwrap();
    assert!(message.contains("rtgw:0.2.0"), "{message}");
    world.edit(|object| object["spec"]["update"] = json!({"operatorChange": "Immediate"}));
    world.settle().await;
    assert_eq!(image(&world), "ghcr.io/realtime-gateway/rtgw:0.2.0");
    assert_eq!(world.condition("UpdateAvailable"), None);
    let redis = world.api.object("/apis/apps/v1/namespaces/shop/statefulsets/chat-gateway-redis").unwrap();
    assert_eq!(redis["spec"]["template"]["spec"]["containers"][0]["image"], "docker.io/library/redis:8");
}

#[tokio::test]
async fn another_redis_is_gone_to_in_three_stages_each_when_all_pods_run_the_one_before() {
    let mut spec = spec();
    spec["redis"] = json!({"external": {"url": "redis://old.shop.svc:6379"}});
    let mut world = World::new(&spec);
    world.settle().await;
    let pods = ["a", "b"];
    let follow = |world: &World, names: &[&str]| {
        let config = world.config();
        for name in names {
            world.pod(name, config["revision"].as_str().unwrap(), config["generation"].as_u64().unwrap());
        }
    };
    follow(&world, &pods);
    world.settle().await;
    world.edit(|object| object["spec"]["redis"]["external"]["url"] = "redis://new.shop.svc:6379".into());
    let (mut stages, mut written) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        written.extend(world.settle().await);
        let redis = world.config()["spec"]["redis"].clone();
        stages.push(redis.clone());
        follow(&world, &pods[..1]);
        written.extend(world.settle().await);
        assert_eq!(world.config()["spec"]["redis"], redis, "not before both of them");
        if redis["previous"].is_object() {
            assert_eq!(world.condition("ConfigApplied").unwrap().1, "BrokerSwitchWaiting");
        }
        follow(&world, &pods);
    }
    let new = json!({"url": "redis://new.shop.svc:6379"});
    let old = json!({"external": {"url": "redis://old.shop.svc:6379"}});
    assert_eq!(stages[0], json!({"external": new, "previous": old, "writeTo": "Previous"}));
    assert_eq!(stages[1], json!({"external": new, "previous": old, "writeTo": "Current"}));
    assert_eq!(stages[2..], [json!({"external": new}), json!({"external": new})]);
    assert!(!written.iter().any(|one| one.contains("deployments")), "no pod is replaced: {written:?}");
}

#[tokio::test]
async fn a_managed_redis_stays_until_no_pod_reads_it() {
    let mut world = World::new(&spec());
    world.settle().await;
    let follow = |world: &World| {
        let config = world.config();
        world.pod("a", config["revision"].as_str().unwrap(), config["generation"].as_u64().unwrap());
    };
    follow(&world);
    world.edit(|object| object["spec"]["redis"] = json!({"external": {"url": "redis://new.shop.svc:6379"}}));
    for _ in 0..2 {
        world.settle().await;
        assert!(world.config()["spec"]["redis"]["previous"].is_object());
        assert!(world.api.object("/apis/apps/v1/namespaces/shop/statefulsets/chat-gateway-redis").is_some());
        follow(&world);
    }
    let written = world.settle().await;
    assert!(written.contains(&"DELETE statefulsets/chat-gateway-redis".to_owned()), "{written:?}");
    assert!(!written.iter().any(|one| one.contains("deployments")), "{written:?}");
}

#[tokio::test]
async fn only_the_newest_three_revisions_are_kept() {
    let mut world = World::new(&spec());
    world.settle().await;
    for tag in ["1", "2", "3", "4", "5"] {
        world.edit(|object| object["spec"]["image"] = json!({"tag": tag}));
        world.settle().await;
    }
    let revisions: Vec<i64> = world
        .api
        .objects()
        .iter()
        .filter(|object| object["kind"] == "ControllerRevision")
        .map(|object| object["revision"].as_i64().unwrap())
        .collect();
    let mut sorted = revisions.clone();
    sorted.sort_unstable();
    assert!(sorted.len() <= 4 && sorted.ends_with(&[4, 5, 6]), "{sorted:?}");
}

#[tokio::test]
async fn replicas_go_through_scale_and_what_is_no_longer_wanted_goes() {
    let mut world = World::new(&spec());
    world.settle().await;
    world.edit(|object| {
        object["spec"]["replicas"] = 5.into();
        object["spec"]["networkPolicy"] = json!({"enabled": false});
    });
    let written = world.settle().await;
    assert_eq!(
        written,
        [
            "PUT deployments/chat-gateway/scale",
            "DELETE networkpolicies/chat-gateway",
            "DELETE networkpolicies/chat-gateway-redis",
            "PATCH realtimegateways/chat/status",
        ]
    );
    assert_eq!(world.api.object(DEPLOYMENT).unwrap()["spec"]["replicas"], 5);
}
