//! What children are called, and the labels and annotations that everything of ours carries.

use std::collections::BTreeMap;

/// The one field manager: whoever else owns a field of a child has changed it.
pub const MANAGER: &str = "rtgw-operator";
/// Label: the gateway that an object belongs to.
pub const GATEWAY: &str = "realtime-gateway.dev/gateway";
/// Label: [`COMPONENT_GATEWAY`] or [`COMPONENT_REDIS`].
pub const COMPONENT: &str = "realtime-gateway.dev/component";
/// The pods that hold sockets, and what is around them.
pub const COMPONENT_GATEWAY: &str = "gateway";
/// The managed Redis.
pub const COMPONENT_REDIS: &str = "redis";
/// Label of everything that is made here; watches select it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Annotation of a child: hash of what was applied.
pub const APPLIED: &str = "realtime-gateway.dev/applied";
/// Annotation of the ConfigMap: generation of its configuration.
pub const CONFIG_GENERATION: &str = "realtime-gateway.dev/config-generation";
/// Annotation of the ConfigMap: revision of its configuration.
pub const CONFIG_REVISION: &str = "realtime-gateway.dev/config-revision";
/// Annotation of the ConfigMap: where its configuration lets publications travel, JSON. Secrets stand in it by their names.
pub const CONFIG_REDIS: &str = "realtime-gateway.dev/config-redis";
/// Annotation of the ConfigMap: revision of its last good configuration.
pub const LAST_GOOD_REVISION: &str = "realtime-gateway.dev/last-good-revision";
/// Annotation of the pods' template: which `restart-at` they were made for.
pub const RESTARTED_AT: &str = "realtime-gateway.dev/restarted-at";
/// Annotation of the object: nothing but its status is written while it is `true`.
pub const PAUSED: &str = "realtime-gateway.dev/paused";
/// Annotation of the object: pods are not replaced while it is `true`.
pub const HOLD_ROLLOUT: &str = "realtime-gateway.dev/hold-rollout";
/// Annotation of the object: pods are replaced once after this moment, RFC 3339.
pub const RESTART_AT: &str = "realtime-gateway.dev/restart-at";
/// Annotation of the object: the member of `redis` that it may change to from or to the memory of one pod.
pub const BROKER_CHANGE: &str = "realtime-gateway.dev/broker-change";

/// Port of a managed Redis.
pub const REDIS_PORT: u16 = 6379;

/// Names of a gateway's children. An object's name has at most 40 characters, so all of them fit into 63.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The object's own name; the public Service has it too.
    pub own: String,
    /// ConfigMap, Deployment, ServiceAccount, PodDisruptionBudget, NetworkPolicy.
    pub gateway: String,
    /// The Service in front of the internal port.
    pub api: String,
    /// The headless Service of all pods.
    pub peers: String,
    /// StatefulSet, Service and NetworkPolicy of a managed Redis.
    pub redis: String,
    /// The Secret with the password of a managed Redis. It is never read, so its name says whose it is: it carries a hash of the UID.
    pub redis_secret: String,
}

impl Names {
    /// The names for the object `own` with this UID.
    pub fn of(own: &str, uid: &str) -> Self {
        let gateway = format!("{own}-gateway");
        Self {
            own: own.to_owned(),
            api: format!("{gateway}-api"),
            peers: format!("{gateway}-peers"),
            redis: format!("{gateway}-redis"),
            redis_secret: format!("{gateway}-redis-{}", &crate::hash::short(uid.as_bytes())[..8]),
            gateway,
        }
    }

    /// The name of the ControllerRevision that holds `content`.
    pub fn revision(&self, content: &str) -> String {
        format!("{}-{}", self.gateway, &crate::hash::short(content.as_bytes())[..10])
    }
}

/// Labels that select the pods of a component. Immutable in a Deployment, so these two stay as they are.
pub fn selector(own: &str, component: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(GATEWAY.to_owned(), own.to_owned()), (COMPONENT.to_owned(), component.to_owned())])
}

/// The selector of the gateway's pods as text, for `/scale`.
pub fn selector_text(own: &str) -> String {
    format!("{GATEWAY}={own},{COMPONENT}={COMPONENT_GATEWAY}")
}

/// Labels of a child.
pub fn labels(own: &str, component: &str) -> BTreeMap<String, String> {
    let mut labels = selector(own, component);
    labels.insert("app.kubernetes.io/name".into(), "realtime-gateway".into());
    labels.insert("app.kubernetes.io/instance".into(), own.to_owned());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_leaves_room_for_what_kubernetes_adds() {
        let names = Names::of(&"a".repeat(40), "6f2c");
        for name in [&names.gateway, &names.api, &names.peers, &names.redis, &names.redis_secret] {
            assert!(name.len() <= 63, "{name}");
        }
        assert!(names.revision("x").len() <= 63);
    }

    #[test]
    fn another_object_of_the_same_name_has_another_secret() {
        assert_ne!(Names::of("chat", "a").redis_secret, Names::of("chat", "b").redis_secret);
    }
}
