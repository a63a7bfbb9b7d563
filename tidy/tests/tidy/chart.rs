//! The Helm chart: its values, their schema and its page say the same, and the CRD in it is the one of `crds/`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::assert_none;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn chart(file: &str) -> String {
    fs::read_to_string(root().join("charts/realtime-gateway").join(file)).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// Fails where `file` of the chart is not as `made`; RTGW_GENERATE=1 writes it.
fn compare(file: &str, made: &str) {
    if std::env::var_os("RTGW_GENERATE").is_some() {
        fs::write(root().join("charts/realtime-gateway").join(file), made).unwrap();
    }
    let there = fs::read_to_string(root().join("charts/realtime-gateway").join(file)).unwrap_or_default();
    assert!(there == made, "charts/realtime-gateway/{file} is stale: make generate");
}

/// A value that somebody sets: its path, its schema, and what it is unless set.
struct Setting<'a> {
    path: String,
    schema: &'a Value,
    default: &'a Value,
}

fn settings<'a>(
    into: &mut Vec<Setting<'a>>,
    offenders: &mut Vec<String>,
    path: &str,
    (schema, values): (&'a Value, &'a Value),
) {
    let known = schema["properties"].as_object().unwrap();
    let given = values.as_object().unwrap();
    let name = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    offenders.extend(given.keys().filter(|key| !known.contains_key(*key)).map(|key| name(key)));
    for (key, schema) in known {
        let Some(default) = given.get(key) else {
            // What a parent chart gives, and labels of another name.
            if !matches!(key.as_str(), "global" | "nameOverride") {
                offenders.push(name(key));
            }
            continue;
        };
        if schema.get("properties").is_some() && schema["additionalProperties"] == false {
            settings(into, offenders, &name(key), (schema, default));
        } else {
            into.push(Setting { path: name(key), schema, default });
        }
    }
}

#[test]
fn values_their_schema_and_the_page_agree() {
    let (root_schema, values) = (yaml(&chart("values.schema.json")), yaml(&chart("values.yaml")));
    let (mut all, mut offenders) = (Vec::new(), Vec::new());
    settings(&mut all, &mut offenders, "", (&root_schema, &values));
    assert_none(
        &offenders,
        "values of the chart that stand only in values.yaml or only in values.schema.json",
    );
    let mut rows = String::new();
    for Setting { path, schema, default } in &all {
        let named =
            schema["$ref"].as_str().and_then(|name| root_schema.pointer(name.trim_start_matches('#')));
        let schema = named.unwrap_or(schema);
        let meaning = schema["description"].as_str().unwrap_or_default();
        if meaning.is_empty() {
            offenders.push(path.clone());
        }
        writeln!(rows, "| `{path}` | `{default}` | {meaning} |").unwrap();
    }
    assert_none(&offenders, "values of the chart without a description");
    compare("README.md", &(PAGE.to_owned() + &rows));
}

const PAGE: &str = "# realtime-gateway\n\n\
    The operator for `RealtimeGateway` objects, and their CRD. Made from values.yaml and values.schema.json by `make generate`.\n\n\
    ```sh\n\
    helm install rtgw charts/realtime-gateway -n realtime --create-namespace\n\
    helm test rtgw -n realtime   # leaves the gateway RELEASE-realtime-gateway-test and its Secret; delete them when you like\n\
    ```\n\n\
    It serves the release's own namespace, or those of `watch.namespaces`, or with `watch.cluster=true` all of them; it gets no right \
    anywhere else. `helm upgrade` upgrades the CRD too; `helm uninstall` leaves it, and so every gateway, running without an operator. \
    To remove them as well: `kubectl delete crd realtimegateways.realtime-gateway.dev`.\n\n\
    [On a cluster](../../docs/guide/kubernetes.md) says the rest.\n\n\
    | Value | Default | Meaning |\n|---|---|---|\n";

#[test]
fn the_crd_in_the_chart_is_the_one_of_the_types() {
    let crd = fs::read_to_string(root().join("crds/generated/realtimegateways.yaml")).unwrap();
    compare("files/realtimegateways.yaml", &crd);
}

#[test]
fn the_chart_is_of_this_version() {
    let (chart, workspace) =
        (yaml(&chart("Chart.yaml")), fs::read_to_string(root().join("Cargo.toml")).unwrap());
    let version =
        workspace.lines().find_map(|line| line.strip_prefix("version = ")).unwrap().trim_matches('"');
    assert_eq!(chart["version"].as_str(), Some(version));
    assert_eq!(chart["appVersion"].as_str(), Some(version));
}
