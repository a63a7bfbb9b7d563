//! The same spec gives the same bytes, in this release and the next: whatever changes them replaces pods, or asks them to read what says
//! nothing new. RTGW_GENERATE=1 writes what is made now; a change of a template has to raise `TEMPLATE_VERSION`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use proptest::prelude::*;
use rtgw_config::classes::{self, Class};
use rtgw_crds::cluster::PullPolicy;
use rtgw_operator::build;
use rtgw_operator::check::{Desired, check};
use rtgw_operator::gateway::Gateway;
use rtgw_operator::observe::Observed;
use rtgw_operator::plan::plan;
use rtgw_operator::settings::{Settings, TEMPLATE_VERSION};
use rtgw_operator::template::PodInputs;
use serde_json::{Map, Value, json};

fn settings() -> Settings {
    Settings {
        namespace: "rtgw-system".into(),
        gateway_image: "ghcr.io/realtime-gateway/rtgw:0.1.0".into(),
        redis_image: "docker.io/library/redis:8".into(),
        pull_policy: PullPolicy::IfNotPresent,
        allowed_overrides: Vec::new(),
        allowed_images: Vec::new(),
        keys: vec![rtgw_config::raw::OperatorKey { kid: "k-1".into(), x: "A".repeat(43) }],
    }
}

fn desired(spec: &Value) -> Desired {
    let object = json!({
        "metadata": {"name": "chat", "namespace": "shop", "uid": "6f2c", "generation": 7},
        "spec": spec,
    });
    let gateway: Gateway = serde_json::from_value(object).unwrap();
    check(&gateway, &settings()).unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

/// Every child, each a document of its own.
fn children(spec: &Value) -> String {
    let desired = desired(spec);
    let plan = plan(&desired, &Observed::default(), &settings(), Timestamp::UNIX_EPOCH).unwrap();
    let mut text = format!("# template version {TEMPLATE_VERSION}\n");
    for child in build::children(&desired, &plan, &settings()) {
        write!(text, "---\n{}\n", serde_json::to_string_pretty(&child.body).unwrap()).unwrap();
        if child.kind.name() == "ConfigMap" {
            write!(text, "# config.yaml\n{}", plan.config.text).unwrap();
        }
    }
    text
}

fn small() -> Value {
    json!({
        "endpoints": [{"name": "ws", "path": "/ws"}],
        "auth": {"anonymous": "Allow"},
        "channels": [{"pattern": "room:{room}"}],
    })
}

fn large() -> Value {
    json!({
        "replicas": 3,
        "image": {"repository": "registry.example.com/rtgw", "digest": format!("sha256:{}", "0".repeat(64))},
        "endpoints": [{"name": "ws", "path": "/ws"}],
        "auth": {
            "issuers": [{"name": "app", "algorithms": ["HS256"], "secretRef": {"name": "chat-auth", "key": "jwt"}}],
            "apiKeys": [{"name": "backend", "secretRef": {"name": "keys.example.com", "key": "a"}, "scopes": ["publish:*"]}],
        },
        "channels": [{"pattern": "room:{room}"}],
        "redis": {"managed": {"memory": "1024Mi", "persistence": {"size": "1Gi", "storageClassName": "fast"}}},
        "limits": {"pod": {"connections": 5000}},
        "drain": {"cordonDelay": "10s", "timeout": "2m", "maxPerSecond": 100},
        "exposure": {"service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}}},
        "networkPolicy": {"clientsFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "apiFrom": [{"podSelector": {"matchLabels": {"app": "shop"}}}]},
        "disruption": {"maxUnavailable": 2, "topologySpread": "Node"},
        "resources": {"requests": {"cpu": "1000m", "memory": "256Mi"}, "limits": {"memory": "1024Mi"}},
        "podTemplate": {"metadata": {"labels": {"team": "chat"}}, "spec": {"nodeSelector": {"disk": "ssd"}, "containers": [{"name": "proxy", "image": "envoy:1"}]}},
        "childMetadata": {"labels": {"owner": "chat"}, "annotations": {"note": "x"}},
    })
}

fn compare(name: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("RTGW_GENERATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, made).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == made,
        "{name} is made otherwise: raise TEMPLATE_VERSION if pods are, then make generate"
    );
}

#[test]
fn the_smallest_object_gives_the_bytes_it_always_gave() {
    compare("small.txt", &children(&small()));
}

#[test]
fn an_object_with_everything_gives_the_bytes_it_always_gave() {
    compare("large.txt", &children(&large()));
}

#[test]
fn the_deployment_never_says_how_many_pods() {
    for spec in [small(), large()] {
        let desired = desired(&spec);
        let plan = plan(&desired, &Observed::default(), &settings(), Timestamp::UNIX_EPOCH).unwrap();
        let all = build::children(&desired, &plan, &settings());
        let deployment = all.iter().find(|child| child.kind.name() == "Deployment").unwrap();
        assert!(
            deployment.body["spec"]["template"].is_object()
                && deployment.body["spec"].get("replicas").is_none()
        );
    }
}

/// A spec in which the leaf at `path` has another value than in [`large`].
fn changed(path: &str) -> Option<Value> {
    let other = match path {
        "image.digest" => json!(format!("sha256:{}", "1".repeat(64))),
        "image.repository" => json!("registry.example.com/other"),
        "image.tag" => return Some(with(&without(&large(), "image.digest"), path, json!("2"))),
        "image.pullPolicy" => json!("Always"),
        "podTemplate" => json!({"spec": {"priorityClassName": "high"}}),
        "resources.limits.cpu" | "resources.requests.cpu" => json!("3"),
        "resources.limits.memory" | "resources.requests.memory" => json!("768Mi"),
        "drain.cordonDelay" => json!("20s"),
        "drain.timeout" => json!("4m"),
        "drain.maxPerSecond" => json!(300),
        "drain.jitterPercent" => json!(30),
        "disruption.topologySpread" => json!("Zone"),
        "redis.embedded" => {
            return Some(with(&with(&large(), "redis", json!({"embedded": {}})), "replicas", json!(1)));
        }
        // A new name is a new mount, wherever it stands: lists are shown by one of them.
        path if path.ends_with("Ref.name") => {
            let mut spec = large();
            spec["auth"]["issuers"][0]["secretRef"]["name"] = "another".into();
            return Some(spec);
        }
        // The managed Redis has a template of its own.
        path if path.starts_with("redis.managed.") => return None,
        path => panic!("say how {path} is changed"),
    };
    Some(with(&large(), path, other))
}

fn with(spec: &Value, path: &str, value: Value) -> Value {
    let mut spec = spec.clone();
    let mut at = &mut spec;
    for part in path.split('.') {
        if !at[part].is_object() && !at[part].is_null() {
            at[part] = Value::Null;
        }
        at = &mut at[part];
    }
    *at = value;
    spec
}

fn without(spec: &Value, path: &str) -> Value {
    let mut spec = spec.clone();
    let (place, name) = path.rsplit_once('.').unwrap();
    let place = format!("/{}", place.replace('.', "/"));
    spec.pointer_mut(&place)
        .and_then(Value::as_object_mut)
        .and_then(|members: &mut Map<String, Value>| members.shift_remove(name));
    spec
}

#[test]
fn every_field_shapes_pods_as_its_class_says() {
    let inputs = |spec: &Value| PodInputs::of(&desired(spec), &settings(), None);
    let before = inputs(&large());
    let mut seen = 0;
    for (path, class) in
        classes::leaves().filter(|(_, class)| matches!(class, Class::Restart | Class::Deferred))
    {
        let Some(spec) = changed(path) else { continue };
        let after = inputs(&spec);
        assert_ne!(before, after, "{path}");
        assert_eq!(before.needs_restart(&after), class == Class::Restart, "{path}");
        assert!(!before.differences(&after, &desired(&spec)).is_empty(), "{path} is told while it waits");
        seen += 1;
    }
    assert!(seen > 10, "the table was read");
    let hot = with(&large(), "channels", json!([{"pattern": "other:{id}"}]));
    assert_eq!(before, inputs(&hot), "what is hot shapes no pod");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Whatever stands in an object, judging it neither panics nor depends on anything but the object.
    #[test]
    fn any_spec_is_judged_the_same_twice(text in "[ -~]{0,40}", number in any::<i64>(), place in 0..6_usize) {
        let place = ["replicas", "image", "podTemplate", "drain", "redis", "endpoints"][place];
        for value in [json!(text), json!(number), json!({&text: number}), json!([text]), Value::Null] {
            let object = json!({"metadata": {"name": "chat", "namespace": "shop", "uid": "6f2c"}, "spec": with(&large(), place, value)});
            let gateway: Gateway = serde_json::from_value(object).unwrap();
            let judge = || check(&gateway, &settings()).map(|desired| format!("{:?}", desired.config)).map_err(|refusal| format!("{refusal:?}"));
            prop_assert_eq!(judge(), judge());
        }
    }

    /// A new pod is never taken for settled sooner than an old one has drained.
    #[test]
    fn rollouts_drain_one_pod_at_a_time(connections in 0..2_000_000_u32, rate in 1..100_000_u32, cordon in 1..300_u32) {
        let spec = with(&small(), "drain", json!({"cordonDelay": format!("{cordon}s"), "timeout": "24h", "maxPerSecond": rate}));
        let inputs = PodInputs { connections, ..PodInputs::of(&desired(&spec), &settings(), None) };
        let drained = f64::from(cordon) + f64::from(connections) / f64::from(rate);
        prop_assert!(f64::from(inputs.settle_seconds()) >= drained.floor());
        prop_assert!(f64::from(inputs.settle_seconds()) <= drained + 2.0);
    }
}
