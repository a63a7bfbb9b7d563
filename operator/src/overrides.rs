//! What objects may override of the template of their pods. Whoever may write a RealtimeGateway must not gain more of the nodes by it than
//! by what the operator makes on its own, so fields are allowed by name and everything else is refused.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use rtgw_config::Problem;
use serde_json::{Map, Value};

use crate::settings::Settings;

/// Fields of the template; what stands below them is allowed too, but for lists with rules of their own.
const ALLOWED: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.affinity",
    "spec.imagePullSecrets",
    "spec.nodeSelector",
    "spec.priorityClassName",
    "spec.tolerations",
    "spec.topologySpreadConstraints",
];
/// Fields of a further container. It gets the security context of all containers here, so it brings none.
const CONTAINER: &[&str] = &[
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "readinessProbe",
    "resources",
    "startupProbe",
    "volumeMounts",
    "workingDir",
];
/// Kinds of volumes that reach nothing of the node.
const VOLUMES: &[&str] = &["configMap", "csi", "emptyDir", "name", "projected", "secret"];
/// Lists whose items are looked into.
const LISTS: &[(&str, &[&str])] =
    &[("spec.containers", CONTAINER), ("spec.initContainers", CONTAINER), ("spec.volumes", VOLUMES)];
/// Where it stands in the object.
const PLACE: &str = "spec.podTemplate";

/// Why an override is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has fields that only whoever installs the operator can allow.
    NotAllowed(Vec<Problem>),
    /// It is no template.
    Wrong(Problem),
}

/// The override in `template`.
///
/// # Errors
/// It is no template, or says more than is allowed.
pub fn check(template: &Map<String, Value>, settings: &Settings) -> Result<PodTemplateSpec, Refused> {
    let mut found = Vec::new();
    walk("", template, &mut found);
    let allowed = |field: &String| settings.allowed_overrides.iter().any(|one| is_within(field, one));
    let mut problems: Vec<Problem> = found
        .into_iter()
        .filter(|(_, field)| !allowed(field))
        .map(|(path, field)| {
            let hint = format!("whoever installs the operator can allow it: --allow-override {field}");
            Problem::error(format!("{PLACE}.{path}"), "may not be overridden").hint(hint)
        })
        .collect();
    own_names(template, &mut problems);
    images(template, settings, &mut problems);
    if !problems.is_empty() {
        return Err(Refused::NotAllowed(problems));
    }
    serde_json::from_value(Value::Object(template.clone()))
        .map_err(|error| Refused::Wrong(Problem::error(PLACE, format!("is no pod template: {error}"))))
}

/// Collects fields that are not allowed: each with its path, and with its name in [`ALLOWED`]'s way, without places in lists.
fn walk(above: &str, members: &Map<String, Value>, found: &mut Vec<(String, String)>) {
    for (name, value) in members {
        let field = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        if ALLOWED.contains(&field.as_str()) {
            continue;
        }
        match (LISTS.iter().find(|(list, _)| *list == field), value) {
            (Some((_, allowed)), Value::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    let members = item.as_object().into_iter().flatten();
                    for (name, _) in members.filter(|(name, _)| !allowed.contains(&name.as_str())) {
                        found.push((format!("{field}[{at}].{name}"), format!("{field}.{name}")));
                    }
                }
            }
            (None, Value::Object(members)) if field == "metadata" || field == "spec" => {
                walk(&field, members, found);
            }
            // Something of another shape is no template, which is said elsewhere.
            (Some(_), _) => {}
            _ => found.push((field.clone(), field)),
        }
    }
}

/// What the operator makes stays as it made it: labels that select the pods, the gateway's own container and volumes.
fn own_names(template: &Map<String, Value>, problems: &mut Vec<Problem>) {
    let template = Value::Object(template.clone());
    for (place, owned) in [
        ("labels", "app.kubernetes.io/"),
        ("labels", "realtime-gateway.dev/"),
        ("annotations", "realtime-gateway.dev/"),
    ] {
        let members = template.pointer(&format!("/metadata/{place}")).and_then(Value::as_object);
        for (name, _) in members.into_iter().flatten().filter(|(name, _)| name.starts_with(owned)) {
            let message = "is the operator's own";
            problems.push(Problem::error(format!("{PLACE}.metadata.{place}.{name}"), message));
        }
    }
    for (list, own) in [("containers", "gateway"), ("volumes", "config"), ("volumes", "secret-")] {
        let items = template.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
        for (at, item) in items.into_iter().flatten().enumerate() {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
            if name == own || (own.ends_with('-') && name.starts_with(own)) {
                let problem =
                    Problem::error(format!("{PLACE}.spec.{list}[{at}].name"), "is the operator's own");
                problems.push(problem.hint("choose another name"));
            }
        }
    }
}

fn images(template: &Map<String, Value>, settings: &Settings, problems: &mut Vec<Problem>) {
    let spec = template.get("spec");
    for list in ["containers", "initContainers"] {
        let items = spec.and_then(|spec| spec.get(list)).and_then(Value::as_array);
        for (at, item) in items.into_iter().flatten().enumerate() {
            let Some(image) = item.get("image").and_then(Value::as_str) else { continue };
            if !settings.allows_image(image) {
                problems.push(not_allowed(format!("{PLACE}.spec.{list}[{at}].image"), image));
            }
        }
    }
}

/// An image that objects may not name.
pub fn not_allowed(path: String, image: &str) -> Problem {
    Problem::error(path, format!("`{image}` is not among the repositories that are allowed here"))
        .hint("whoever installs the operator can allow it: --allow-image PREFIX")
}

fn is_within(field: &str, allowed: &str) -> bool {
    field.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::settings;

    fn refused(template: &Value, settings: &Settings) -> Vec<String> {
        match check(template.as_object().unwrap(), settings) {
            Ok(_) => Vec::new(),
            Err(Refused::NotAllowed(problems)) => problems.into_iter().map(|problem| problem.path).collect(),
            Err(Refused::Wrong(problem)) => vec![format!("wrong: {}", problem.path)],
        }
    }

    #[test]
    fn harmless_fields_are_allowed() {
        let template = json!({
            "metadata": {"labels": {"team": "chat"}, "annotations": {"a": "b"}},
            "spec": {
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "a", "operator": "Exists"}],
                "containers": [{"name": "proxy", "image": "envoy:1", "env": [{"name": "A", "value": "b"}]}],
                "volumes": [{"name": "more", "emptyDir": {}}],
            },
        });
        assert_eq!(refused(&template, &settings()), Vec::<String>::new());
    }

    #[test]
    fn what_reaches_the_node_or_another_identity_is_refused() {
        for (template, path) in [
            (json!({"spec": {"hostNetwork": true}}), "spec.podTemplate.spec.hostNetwork"),
            (json!({"spec": {"hostPID": true}}), "spec.podTemplate.spec.hostPID"),
            (json!({"spec": {"serviceAccountName": "admin"}}), "spec.podTemplate.spec.serviceAccountName"),
            (json!({"spec": {"securityContext": {}}}), "spec.podTemplate.spec.securityContext"),
            (
                json!({"spec": {"automountServiceAccountToken": true}}),
                "spec.podTemplate.spec.automountServiceAccountToken",
            ),
            (
                json!({"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}),
                "spec.podTemplate.spec.volumes[0].hostPath",
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "securityContext": {"privileged": true}}]}}),
                "spec.podTemplate.spec.containers[0].securityContext",
            ),
            (
                json!({"spec": {"containers": [{"name": "a", "ports": [{"hostPort": 1}]}]}}),
                "spec.podTemplate.spec.containers[0].ports",
            ),
            (
                json!({"spec": {"containers": [{"name": "gateway"}]}}),
                "spec.podTemplate.spec.containers[0].name",
            ),
            (
                json!({"spec": {"volumes": [{"name": "config", "emptyDir": {}}]}}),
                "spec.podTemplate.spec.volumes[0].name",
            ),
            (
                json!({"metadata": {"labels": {"realtime-gateway.dev/gateway": "other"}}}),
                "spec.podTemplate.metadata.labels.realtime-gateway.dev/gateway",
            ),
            (json!({"metadata": {"name": "x"}}), "spec.podTemplate.metadata.name"),
            (json!({"status": {}}), "spec.podTemplate.status"),
        ] {
            assert_eq!(refused(&template, &settings()), [path], "{template}");
        }
    }

    #[test]
    fn whoever_installs_the_operator_allows_more() {
        let mut settings = settings();
        settings.allowed_overrides = vec!["spec.hostNetwork".into(), "spec.volumes.hostPath".into()];
        let template = json!({"spec": {"hostNetwork": true, "hostIPC": true, "volumes": [{"name": "a", "hostPath": {"path": "/a"}}]}});
        assert_eq!(refused(&template, &settings), ["spec.podTemplate.spec.hostIPC"]);
        settings.allowed_images = vec!["ghcr.io/a".into()];
        let template = json!({"spec": {"containers": [{"name": "a", "image": "docker.io/b"}, {"name": "c", "image": "ghcr.io/a/b"}]}});
        assert_eq!(refused(&template, &settings), ["spec.podTemplate.spec.containers[0].image"]);
    }

    #[test]
    fn what_is_no_template_is_said_to_be_none() {
        assert_eq!(refused(&json!({"spec": {"nodeSelector": 7}}), &settings()), ["wrong: spec.podTemplate"]);
        assert_eq!(refused(&json!({"spec": {"containers": {}}}), &settings()), ["wrong: spec.podTemplate"]);
    }
}
