//! One object, one operator, and the API server between them.

use std::sync::Arc;

use kube::core::DynamicObject;
use rtgw_config::pod::{ConfigReport, Cpu, Phase, PodReport, SecretsReport};
use rtgw_crds::cluster::PullPolicy;
use rtgw_crds::status::ConditionStatus;
use rtgw_operator::api::Kubernetes;
use rtgw_operator::apply::Failure;
use rtgw_operator::gateway::{Gateway, Identity};
use rtgw_operator::kinds::Kind;
use rtgw_operator::lease::Term;
use rtgw_operator::notices::Notices;
use rtgw_operator::observe::memory::Key;
use rtgw_operator::observe::{Heard, Memory};
use rtgw_operator::reconcile::{Again, Context, reconcile};
use rtgw_operator::settings::Settings;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fake::Fake;

pub(crate) const GATEWAY: &str = "/apis/realtime-gateway.dev/v1alpha1/namespaces/shop/realtimegateways/chat";
pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/chat-gateway";
pub(crate) const CONFIG: &str = "/api/v1/namespaces/shop/configmaps/chat-gateway";

pub(crate) struct World {
    pub(crate) api: Fake,
    pub(crate) context: Context,
    pub(crate) object: Value,
}

pub(crate) fn settings() -> Settings {
    Settings {
        namespace: "rtgw-system".into(),
        gateway_image: "ghcr.io/realtime-gateway/rtgw:0.1.0".into(),
        redis_image: "docker.io/library/redis:8".into(),
        pull_policy: PullPolicy::IfNotPresent,
        allowed_overrides: Vec::new(),
        allowed_images: Vec::new(),
        keys: Vec::new(),
    }
}

/// A spec with a managed Redis and two pods.
pub(crate) fn spec() -> Value {
    json!({
        "replicas": 2,
        "endpoints": [{"name": "ws", "path": "/ws"}],
        "auth": {"issuers": [{"name": "app", "algorithms": ["HS256"], "secretRef": {"name": "chat-auth", "key": "jwt"}}]},
        "channels": [{"pattern": "room:{room}"}],
        "redis": {"managed": {}},
    })
}

impl World {
    pub(crate) fn new(spec: &Value) -> Self {
        let object = json!({
            "apiVersion": "realtime-gateway.dev/v1alpha1",
            "kind": "RealtimeGateway",
            "metadata": {"name": "chat", "namespace": "shop", "uid": "object-1", "generation": 1},
            "spec": spec,
        });
        let api = Fake::default();
        api.put(GATEWAY, object.clone());
        let context = context(&api, settings(), Arc::default(), Term::endless());
        Self { api, context, object }
    }

    /// Edits the object as its user would.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        let generation = self.object["metadata"]["generation"].as_i64().unwrap();
        edit(&mut self.object);
        self.object["metadata"]["generation"] = (generation + 1).into();
    }

    pub(crate) fn gateway(&self) -> Gateway {
        let mut object = self.object.clone();
        object["status"] = self.api.object(GATEWAY).unwrap()["status"].clone();
        serde_json::from_value(object).unwrap()
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::of(&self.gateway())
    }

    pub(crate) async fn try_reconcile(&self) -> Result<Again, Failure> {
        self.learn();
        reconcile(&self.gateway(), &self.context).await
    }

    pub(crate) async fn reconcile(&self) {
        self.try_reconcile().await.unwrap();
    }

    /// Reconciles until nothing is written any more; what was written.
    pub(crate) async fn settle(&self) -> Vec<String> {
        let mut written = Vec::new();
        for _ in 0..10 {
            self.reconcile().await;
            let more = self.api.writes();
            if more.is_empty() {
                return written;
            }
            written.extend(more);
        }
        panic!("it never settles: {written:?}");
    }

    /// What watches would have told by now.
    pub(crate) fn learn(&self) {
        for kind in Kind::ALL {
            let all = self.api.objects();
            let of_kind = all.iter().filter(|object| object["kind"] == kind.name());
            let listed =
                of_kind.map(|object| object["metadata"]["uid"].as_str().unwrap().to_owned()).collect();
            self.context.memory.keep_children(kind, None, &listed);
        }
        for object in self.api.objects() {
            let kind = Kind::ALL.into_iter().find(|kind| object["kind"] == kind.name());
            if let Some(kind) = kind {
                let object: DynamicObject = serde_json::from_value(object).unwrap();
                self.context.memory.child(kind, &object);
            }
        }
    }

    /// Another process with the same cluster: nothing remembered but what watches tell.
    pub(crate) fn restart(&mut self, settings: Settings) {
        self.context = context(&self.api, settings, Arc::default(), Term::endless());
    }

    /// A pod of the Deployment that runs and was heard to run `revision`.
    pub(crate) fn pod(&self, name: &str, revision: &str, generation: u64) {
        self.run_pod(name);
        let mut report = report(name);
        report.config.generation = Some(generation);
        report.config.revision = Some(revision.to_owned());
        self.hear(name, report);
    }

    pub(crate) fn run_pod(&self, name: &str) {
        let deployment = self.api.object(DEPLOYMENT).unwrap()["metadata"]["uid"].clone();
        let owner = |kind: &str, uid: &Value| json!([{"apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": uid, "controller": true}]);
        let labels =
            json!({"realtime-gateway.dev/gateway": "chat", "realtime-gateway.dev/component": "gateway"});
        let set = json!({
            "metadata": {"name": "set", "namespace": "shop", "uid": "set", "labels": labels, "ownerReferences": owner("Deployment", &deployment)},
        });
        let set: kube::core::PartialObjectMeta<k8s_openapi::api::apps::v1::ReplicaSet> =
            serde_json::from_value(set).unwrap();
        self.context.memory.replica_set(&set);
        let path = format!("/api/v1/namespaces/shop/pods/{name}");
        if self.api.object(&path).is_none() {
            let pod = json!({
                "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": labels, "ownerReferences": owner("ReplicaSet", &"set".into())},
                "status": {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
            });
            self.api.put(&path, pod);
        }
        let pod = serde_json::from_value(self.api.object(&path).unwrap()).unwrap();
        self.context.memory.pod(&pod);
    }

    pub(crate) fn hear(&self, name: &str, report: PodReport) {
        let key = Key::of(&self.identity());
        self.context.memory.heard(&key, name, Some(Heard::of(report, Instant::now())));
    }

    pub(crate) fn status(&self) -> Value {
        self.api.object(GATEWAY).unwrap()["status"].clone()
    }

    /// Status and reason of a condition.
    pub(crate) fn condition(&self, kind: &str) -> Option<(ConditionStatus, String, String)> {
        let status = self.gateway().status;
        let found = status.conditions.into_iter().find(|one| one.kind == kind)?;
        assert_eq!(found.observed_generation, self.object["metadata"]["generation"].as_i64());
        Some((found.status, found.reason, found.message))
    }

    pub(crate) fn config(&self) -> Value {
        let map = self.api.object(CONFIG).unwrap();
        serde_json::from_str(map["data"]["config.yaml"].as_str().unwrap()).unwrap()
    }
}

pub(crate) fn context(api: &Fake, settings: Settings, memory: Arc<Memory>, term: Term) -> Context {
    Context {
        api: Kubernetes::new(api.client(), term),
        memory,
        settings,
        notices: Notices::new(api.client(), "test"),
        metrics: Arc::default(),
    }
}

pub(crate) fn report(uid: &str) -> PodReport {
    PodReport {
        uid: Some(uid.to_owned()),
        boot_id: "1".into(),
        version: "0.1.0".into(),
        config: ConfigReport { versions: vec![1], ..ConfigReport::default() },
        secrets: SecretsReport::default(),
        capacity: 10_000,
        connections: 0,
        handshakes_per_second: 0.0,
        outbound_bytes: 0,
        cpu: Cpu::default(),
        delivering: true,
        phase: Phase::Serving,
        terminating: false,
        remaining: 0,
    }
}
