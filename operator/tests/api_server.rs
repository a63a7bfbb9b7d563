//! The operator on a real API server, without nodes: what it makes is accepted, a restart writes nothing, a stranger's hand is put right.
//! `make e2e-api` runs it; it needs KUBECONFIG, and changes what that names.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use rtgw_crds::cluster::PullPolicy;
use rtgw_operator::controller::{self, Options};
use rtgw_operator::gateway::Gateway;
use rtgw_operator::probes::Health;
use rtgw_operator::settings::Settings;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);

struct Operator {
    health: Health,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Operator {
    fn start(client: &Client, namespace: &str, instance: &str) -> Self {
        let options = Options {
            namespaces: vec![namespace.to_owned()],
            instance: instance.to_owned(),
            settings: Settings {
                namespace: namespace.to_owned(),
                gateway_image: "ghcr.io/realtime-gateway/rtgw:0.1.0".into(),
                redis_image: "docker.io/library/redis:8".into(),
                pull_policy: PullPolicy::IfNotPresent,
                allowed_overrides: Vec::new(),
                allowed_images: Vec::new(),
                keys: Vec::new(),
            },
        };
        let (health, stop) = (Health::default(), CancellationToken::new());
        let running = tokio::spawn(controller::run(client.clone(), options, health.clone(), stop.clone()));
        Self { health, stop, running }
    }

    fn number(&self, metric: &str) -> u64 {
        let text = self.health.metrics.text();
        let lines = text.lines().filter(|line| line.starts_with(metric));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

/// Waits until `holds`.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}

async fn define(client: &Client) {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
    let how = PatchParams::apply("test").force();
    let definition = rtgw_crds::definition::definition();
    api.patch("realtimegateways.realtime-gateway.dev", &how, &Patch::Apply(&definition)).await.unwrap();
    let objects: Api<Gateway> = Api::all(client.clone());
    until("the kind is served", async || objects.list(&kube::api::ListParams::default()).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an API server: make e2e-api"]
async fn what_is_made_is_accepted_and_made_once_and_put_right() {
    let client = controller::connect().await.unwrap();
    define(&client).await;
    let namespace = format!("operator-{:08x}", fastrand::u32(..));
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let metadata = ObjectMeta { name: Some(namespace.clone()), ..ObjectMeta::default() };
    namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await.unwrap();
    let objects: Api<Gateway> = Api::namespaced(client.clone(), &namespace);
    let object = json!({
        "apiVersion": "realtime-gateway.dev/v1alpha1", "kind": "RealtimeGateway", "metadata": {"name": "chat"},
        "spec": {
            "replicas": 2,
            "endpoints": [{"name": "ws", "path": "/ws"}],
            "auth": {"issuers": [{"name": "app", "algorithms": ["HS256"], "secretRef": {"name": "chat-auth", "key": "jwt"}}]},
            "channels": [{"pattern": "room:{room}"}],
            "redis": {"managed": {"memory": "1024Mi", "persistence": {"size": "1Gi"}}},
            "resources": {"requests": {"cpu": "1000m"}},
            "networkPolicy": {"clientsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        },
    });
    let how = PatchParams::apply("test");
    objects.patch("chat", &how, &Patch::Apply(&object)).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let replicas =
        async || deployments.get_opt("chat-gateway").await.unwrap().and_then(|one| one.spec?.replicas);

    let operator = Operator::start(&client, &namespace, "a");
    until("everything is made", async || replicas().await == Some(2)).await;
    until("and said", async || objects.get("chat").await.unwrap().status.observed_generation == Some(1))
        .await;
    assert_eq!(objects.get("chat").await.unwrap().status.conditions[2].reason, "Working");
    operator.end().await;

    let operator = Operator::start(&client, &namespace, "b");
    until("it was looked at", async || operator.number("rtgw_operator_reconciliations_total") > 0).await;
    assert_eq!(operator.number("rtgw_operator_writes_total"), 0, "a restart compares");

    let merge = PatchParams::default();
    deployments.patch("chat-gateway", &merge, &Patch::Merge(json!({"spec": {"replicas": 7}}))).await.unwrap();
    until("replicas are put right", async || replicas().await == Some(2)).await;
    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let ports = json!({"spec": {"ports": [{"name": "public", "port": 81, "targetPort": "public"}]}});
    services.patch("chat", &merge, &Patch::Merge(ports)).await.unwrap();
    until("the port is put right", async || {
        let ports = services.get("chat").await.unwrap().spec.unwrap().ports.unwrap_or_default();
        ports.iter().map(|port| port.port).eq([80])
    })
    .await;
    operator.end().await;
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
}
