//! The CustomResourceDefinition: the types as Kubernetes wants them, with rules for what a schema cannot say.

mod rules;
mod structure;

use std::collections::BTreeSet;

use rtgw_config::schema;
use serde_json::{Value, json};

pub use rules::Rule;

use crate::RealtimeGateway;
use crate::status::Status;

/// The CustomResourceDefinition of a RealtimeGateway.
pub fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "realtimegateways.realtime-gateway.dev" },
        "spec": {
            "group": "realtime-gateway.dev",
            "scope": "Namespaced",
            "names": {
                "kind": crate::KIND,
                "listKind": "RealtimeGatewayList",
                "plural": "realtimegateways",
                "singular": "realtimegateway",
                "shortNames": ["rtgw"],
                "categories": ["realtime"],
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": object() },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "additionalPrinterColumns": columns(),
            }],
        },
    })
}

/// Every rule of the definition.
pub fn rules() -> Vec<Rule> {
    rules::all()
}

/// Everything that the rules can say, those of fields of later versions included.
pub fn messages() -> BTreeSet<String> {
    let mut messages = BTreeSet::new();
    collect(&definition(), &mut messages);
    messages
}

/// Recursion ends with the definition, which is ours.
fn collect(value: &Value, messages: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for rule in object.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten()
            {
                messages.extend(rule["message"].as_str().map(str::to_owned));
            }
            object.values().for_each(|inner| collect(inner, messages));
        }
        Value::Array(list) => list.iter().for_each(|inner| collect(inner, messages)),
        _ => {}
    }
}

fn columns() -> Value {
    let column = |name: &str, kind: &str, path: &str, description: &str| json!({ "name": name, "type": kind, "jsonPath": path, "description": description });
    json!([
        column(
            "Ready",
            "string",
            r#".status.conditions[?(@.type=="Ready")].status"#,
            "Whether at least one pod serves"
        ),
        column("Connections", "integer", ".status.connections.current", "Open connections of all pods"),
        column(
            "Load",
            "integer",
            ".status.connections.percent",
            "Connections in percent of what pods can hold"
        ),
        column("Replicas", "integer", ".status.replicas", "Pods that live"),
        column("Redis", "string", ".status.redis.kind", "Whose Redis it uses"),
        column("Age", "date", ".metadata.creationTimestamp", "Time since it was made"),
    ])
}

fn object() -> Value {
    let gateway = schema::of::<RealtimeGateway>();
    json!({
        "description": gateway["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": { "description": gateway["properties"]["apiVersion"]["description"], "type": "string" },
            "kind": { "description": gateway["properties"]["kind"]["description"], "type": "string" },
            // Bounded, or the rule about it would cost too much.
            "metadata": { "type": "object", "properties": { "name": { "type": "string", "maxLength": 253 } } },
            "spec": structure::spec(&gateway["properties"]["spec"]),
            "status": structure::status(&schema::of::<Status>()),
        },
        "x-kubernetes-validations": rules::of_object().iter().map(Rule::to_value).collect::<Vec<_>>(),
    })
}
