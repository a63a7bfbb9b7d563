//! A RealtimeGateway in a namespace of its own, with what a case asks of it.

use serde_json::{Value, json};

use crate::clients::{Clients, publish};
use crate::kubectl::{apply, find, kubectl, run, until};

/// The name of every case's object.
pub(crate) const NAME: &str = "chat";
/// The key that the API is used with.
pub(crate) const KEY: &str = "for-this-suite-only-0123456789abcdef";
/// What clients listen to.
pub(crate) const ROOM: &str = "room:1";

/// A namespace of a case, deleted with all that is in it when the case is over.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    /// A new one that admits only restricted pods.
    pub(crate) fn new(case: &str) -> Self {
        let name = format!("e2e-{case}");
        run(&["delete", "namespace", &name, "--ignore-not-found", "--wait=true"], None).unwrap();
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        apply(
            "default",
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
        );
        apply(
            &name,
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"api": KEY}}),
        );
        Self(name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let name = &self.0;
        if std::thread::panicking() {
            for args in [
                &["-n", name, "get", "rtgw", NAME, "-o", "yaml"] as &[&str],
                &["-n", name, "get", "pods,service,endpointslices", "-o", "wide"],
                &["-n", name, "get", "events", "--sort-by=.lastTimestamp"],
                &["-n", name, "logs", "-l", "realtime-gateway.dev/gateway", "--prefix", "--tail=20"],
                &[
                    "-n",
                    "realtime",
                    "logs",
                    "-l",
                    "app.kubernetes.io/component=operator",
                    "--prefix",
                    "--tail=20",
                ],
            ] {
                eprintln!("--- kubectl {}\n{}", args.join(" "), run(args, None).unwrap_or_else(|told| told));
            }
        }
        run(&["delete", "namespace", name, "--wait=false"], None).ok();
    }
}

/// A small gateway: everybody may listen in rooms, the key may publish. `more` replaces members of its spec.
pub(crate) fn manifest(more: &Value) -> Value {
    let mut gateway = json!({
        "apiVersion": "realtime-gateway.dev/v1alpha1",
        "kind": "RealtimeGateway",
        "metadata": {"name": NAME},
        "spec": {
            "endpoints": [{"name": "ws", "path": "/ws"}],
            "auth": {"anonymous": "Allow", "apiKeys": [api_key("suite", "api")]},
            "channels": [{"pattern": "room:{room}", "subscribe": "true"}],
            "drain": {"cordonDelay": "1s", "timeout": "30s", "maxPerSecond": 500},
            "limits": {"pod": {"connections": 1000}},
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        },
    });
    for (field, value) in more.as_object().unwrap() {
        gateway["spec"][field] = value.clone();
    }
    gateway
}

/// An entry of `auth.apiKeys` that may publish everywhere.
pub(crate) fn api_key(name: &str, key: &str) -> Value {
    json!({"name": name, "secretRef": {"name": "keys", "key": key}, "scopes": ["publish:*"]})
}

/// Two pods and a managed Redis.
pub(crate) fn two_pods() -> Value {
    json!({"replicas": 2, "redis": {"managed": {"memory": "32Mi"}}})
}

/// An object that is served.
pub(crate) struct Gateway {
    space: Namespace,
}

impl Gateway {
    /// Makes a namespace for `case` with a gateway in it, and waits until all its pods serve it.
    pub(crate) fn served(case: &str, more: &Value) -> Self {
        Self::made_in(Namespace::new(case), more)
    }

    /// Makes a gateway in `space`, and waits until all its pods serve it.
    pub(crate) fn made_in(space: Namespace, more: &Value) -> Self {
        apply(&space.0, &manifest(more));
        let gateway = Self { space };
        let took = gateway.settled();
        println!("  served after {:.1} s", took.as_secs_f64());
        gateway
    }

    /// Its namespace.
    pub(crate) fn space(&self) -> &str {
        &self.space.0
    }

    /// Changes the object's spec.
    pub(crate) fn edit(&self, spec: &Value) {
        let change = json!({ "spec": spec }).to_string();
        kubectl(&["-n", self.space(), "patch", "rtgw", NAME, "--type=merge", "-p", &change]);
    }

    /// Waits until everything is as the newest generation wants it.
    pub(crate) fn settled(&self) -> std::time::Duration {
        until("the gateway is as its object wants it", || {
            let Some(object) = self.object() else { return false };
            let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
            object["status"]["readyReplicas"].as_i64() == Some(wanted)
                && says(&object, "Ready", "True", None)
                && says(&object, "Reconciling", "False", Some("Done"))
                && says(&object, "RedisReady", "True", None)
                && acknowledged(&object)
        })
    }

    /// The object as it is stored.
    pub(crate) fn object(&self) -> Option<Value> {
        find(&["-n", self.space(), "rtgw", NAME])
    }

    /// What names each of its pods and tells whether a container of it was started again.
    pub(crate) fn pods(&self) -> Vec<String> {
        let selected = "realtime-gateway.dev/component=gateway";
        let path = "jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
        let text = kubectl(&["-n", self.space(), "get", "pods", "-l", selected, "-o", path]);
        let mut pods: Vec<_> = text.lines().map(str::to_owned).collect();
        pods.sort();
        pods
    }

    /// The address of one of its Services.
    pub(crate) fn address(&self, service: &str) -> String {
        let path = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
        kubectl(&["-n", self.space(), "get", "service", service, "-o", path])
    }

    /// So many clients of [`ROOM`].
    pub(crate) fn clients(&self, number: usize) -> Clients {
        Clients::connect(&format!("ws://{}/ws", self.address(NAME)), ROOM, number)
    }

    /// What the API answers to a note for `channel`; 0 where there is no answer.
    pub(crate) fn publishes(&self, key: &str, channel: &str, text: &str) -> u16 {
        publish(&self.address("chat-gateway-api"), key, channel, text).unwrap_or(0)
    }

    /// Publishes until every client that stays has heard one note, and says how long that took.
    pub(crate) fn delivers(&self, clients: &Clients, text: &str) -> std::time::Duration {
        until("a note reaches every client", || {
            self.publishes(KEY, ROOM, text);
            clients.have_heard(text)
        })
    }
}

/// Whether the condition of this kind speaks of the newest generation and says so.
pub(crate) fn says(object: &Value, kind: &str, status: &str, reason: Option<&str>) -> bool {
    condition(object, kind).is_some_and(|condition| {
        condition["observedGeneration"] == object["metadata"]["generation"]
            && condition["status"] == status
            && reason.is_none_or(|reason| condition["reason"] == reason)
    })
}

/// The condition of this kind.
pub(crate) fn condition<'o>(object: &'o Value, kind: &str) -> Option<&'o Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether all pods run the newest generation.
pub(crate) fn acknowledged(object: &Value) -> bool {
    says(object, "ConfigApplied", "True", Some("Acknowledged"))
}
