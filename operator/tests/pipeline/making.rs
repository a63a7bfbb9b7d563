//! What is made of an object, in which order, and that it is made once.

use rtgw_crds::status::ConditionStatus::{False, True};
use serde_json::json;

use crate::world::{CONFIG, DEPLOYMENT, World, settings, spec};

#[tokio::test]
async fn an_object_becomes_its_children_configuration_first_and_workloads_last() {
    let world = World::new(&spec());
    world.reconcile().await;
    let mut written = world.api.writes();
    let revision = written.iter().position(|one| one.contains("controllerrevisions/chat-gateway-")).unwrap();
    written[revision] = "PATCH controllerrevisions/…".into();
    let secret = written.remove(0);
    assert_eq!(secret, "POST secrets");
    assert_eq!(
        written,
        [
            "PATCH configmaps/chat-gateway",
            "PATCH serviceaccounts/chat-gateway",
            "PATCH services/chat",
            "PATCH services/chat-gateway-api",
            "PATCH services/chat-gateway-peers",
            "PATCH networkpolicies/chat-gateway",
            "PATCH networkpolicies/chat-gateway-redis",
            "PATCH services/chat-gateway-redis",
            "PATCH statefulsets/chat-gateway-redis",
            "PATCH controllerrevisions/…",
            "PATCH poddisruptionbudgets/chat-gateway",
            "PATCH deployments/chat-gateway",
            "PUT deployments/chat-gateway/scale",
            "PATCH realtimegateways/chat/status",
        ]
    );
    let deployment = world.api.object(DEPLOYMENT).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 2);
    let owned = &deployment["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert!(owned["f:template"].is_object() && owned["f:replicas"].is_null(), "{owned}");
    for object in world
        .api
        .objects()
        .iter()
        .filter(|object| object["kind"] != "RealtimeGateway" && object["kind"] != "Event")
    {
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "object-1", "{object}");
    }
}

#[tokio::test]
async fn what_is_as_it_should_be_costs_no_request() {
    let mut world = World::new(&spec());
    world.settle().await;
    world.api.requests();
    for _ in 0..3 {
        world.reconcile().await;
    }
    assert_eq!(world.api.requests(), Vec::<String>::new());
    world.restart(settings());
    world.reconcile().await;
    assert_eq!(world.api.requests(), Vec::<String>::new(), "a restart compares");
}

#[tokio::test]
async fn pods_read_the_configuration_of_the_object_and_whom_to_answer() {
    let world = World::new(&spec());
    world.settle().await;
    let config = world.config();
    assert_eq!(config["version"], 1);
    assert_eq!(config["generation"], 1);
    assert_eq!(config["operator"]["audience"], "object-1");
    assert_eq!(config["spec"]["channels"], spec()["channels"]);
    assert_eq!(config["spec"]["drain"], json!({}), "its absence would mean that there is no cluster");
    let redis = &config["spec"]["redis"]["external"];
    assert_eq!(redis["url"], "redis://chat-gateway-redis.shop.svc:6379");
    let secret = redis["passwordRef"]["name"].as_str().unwrap();
    let made = world.api.object(&format!("/api/v1/namespaces/shop/secrets/{secret}")).unwrap();
    let password = made["stringData"]["password"].as_str().unwrap();
    assert_eq!(password.len(), 64);
    let everything: Vec<String> =
        world.api.objects().iter().filter(|one| one["kind"] != "Secret").map(ToString::to_string).collect();
    assert!(
        everything.iter().all(|text| !text.contains(password)),
        "the password stands in its Secret alone"
    );
    let annotations = &world.api.object(CONFIG).unwrap()["metadata"]["annotations"];
    assert_eq!(annotations["realtime-gateway.dev/config-revision"], config["revision"]);
}

#[tokio::test]
async fn the_secret_is_made_once_and_never_read() {
    let mut world = World::new(&spec());
    let mut requests = world.settle().await;
    world.restart(settings());
    world.edit(|object| object["spec"]["channels"][0]["publish"] = "user != ''".into());
    requests.extend(world.settle().await);
    requests.extend(world.api.requests());
    let secrets: Vec<&String> = requests.iter().filter(|request| request.contains("secrets")).collect();
    assert_eq!(secrets, ["POST secrets"]);
}

#[tokio::test]
async fn status_says_what_is() {
    let world = World::new(&spec());
    world.settle().await;
    assert_eq!(world.condition("Ready").unwrap().0, False);
    assert_eq!(world.condition("Reconciling").unwrap().0, True);
    assert_eq!(world.condition("Stalled").unwrap().0, False);
    let revision = world.config()["revision"].as_str().unwrap().to_owned();
    world.api.edit(DEPLOYMENT, |deployment| {
        deployment["status"] = json!({
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        });
    });
    world.pod("a", &revision, 1);
    world.pod("b", "older", 1);
    world.settle().await;
    let (_, reason, _) = world.condition("ConfigApplied").unwrap();
    assert_eq!(reason, "NotAcknowledged");
    assert_eq!(world.status()["config"]["lagging"][0]["pod"], "b");
    world.pod("b", &revision, 1);
    world.settle().await;
    assert_eq!(world.condition("ConfigApplied").unwrap().0, True);
    assert_eq!(
        world.condition("Ready").map(|(status, reason, _)| (status, reason)),
        Some((True, "Serving".into()))
    );
    assert_eq!(world.condition("Reconciling").unwrap().0, False);
    assert_eq!(world.condition("PodsReachable").unwrap().0, True);
    let status = world.status();
    assert_eq!(status["image"], "ghcr.io/realtime-gateway/rtgw:0.1.0");
    assert_eq!(status["config"]["acknowledged"], 2);
    assert_eq!(status["connections"]["capacity"], 20_000);
    assert_eq!(status["endpoints"], json!([{"name": "ws", "url": "ws://chat.shop.svc/ws"}]));
    assert_eq!(
        status["selector"],
        "realtime-gateway.dev/gateway=chat,realtime-gateway.dev/component=gateway"
    );
}
