//! Who may open connections to the pods. It says nothing of what pods may open: that is the dialer's job in the gateway.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rtgw_config::pod::{INTERNAL_PORT_NAME, PUBLIC_PORT_NAME};
use rtgw_crds::exposure::{self, LabelOperator, Peer};

use super::{Child, child};
use crate::check::Desired;
use crate::kinds::Kind;
use crate::names::{self, COMPONENT_GATEWAY, COMPONENT_REDIS, REDIS_PORT};
use crate::plan::Plan;
use crate::settings::Settings;

/// What every namespace is labelled with by the API server.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

pub(super) fn build(desired: &Desired, plan: &Plan, settings: &Settings) -> Vec<Child> {
    let wished = desired.spec.network_policy.as_ref();
    if wished.and_then(|policy| policy.enabled) == Some(false) {
        return Vec::new();
    }
    let mut children = vec![gateway(desired, wished, settings)];
    if plan.template.redis.is_some() {
        children.push(redis(desired));
    }
    children
}

fn gateway(desired: &Desired, wished: Option<&exposure::NetworkPolicy>, settings: &Settings) -> Child {
    let own = LabelSelector {
        match_labels: Some(BTreeMap::from([(NAMESPACE_NAME.to_owned(), settings.namespace.clone())])),
        ..LabelSelector::default()
    };
    let mut inside =
        vec![NetworkPolicyPeer { namespace_selector: Some(own), ..NetworkPolicyPeer::default() }];
    // The API and the metrics share a port, so a policy cannot tell them apart; the API asks for a key besides.
    let lists = [
        wished.and_then(|policy| policy.api_from.as_deref()),
        wished.and_then(|policy| policy.metrics_from.as_deref()),
    ];
    inside.extend(lists.into_iter().flatten().flatten().map(peer));
    let mut ingress = vec![rule(Some(inside), port(INTERNAL_PORT_NAME))];
    match wished.and_then(|policy| policy.clients_from.as_deref()) {
        None => ingress.push(rule(None, port(PUBLIC_PORT_NAME))),
        // A rule without peers would let everyone in.
        Some([]) => {}
        Some(peers) => {
            ingress.push(rule(Some(peers.iter().map(peer).collect()), port(PUBLIC_PORT_NAME)));
        }
    }
    policy(desired, COMPONENT_GATEWAY, &desired.names.gateway, ingress)
}

fn redis(desired: &Desired) -> Child {
    let pods = LabelSelector {
        match_labels: Some(names::selector(&desired.identity.name, COMPONENT_GATEWAY)),
        ..LabelSelector::default()
    };
    let pods = NetworkPolicyPeer { pod_selector: Some(pods), ..NetworkPolicyPeer::default() };
    let ingress = vec![rule(Some(vec![pods]), IntOrString::Int(REDIS_PORT.into()))];
    policy(desired, COMPONENT_REDIS, &desired.names.redis, ingress)
}

fn policy(desired: &Desired, component: &str, name: &str, ingress: Vec<NetworkPolicyIngressRule>) -> Child {
    let content = NetworkPolicy {
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(names::selector(&desired.identity.name, component)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(ingress),
            egress: None,
        }),
        ..NetworkPolicy::default()
    };
    child(Kind::NetworkPolicy, desired, component, name, &content)
}

fn rule(from: Option<Vec<NetworkPolicyPeer>>, port: IntOrString) -> NetworkPolicyIngressRule {
    let port = NetworkPolicyPort { port: Some(port), protocol: Some("TCP".into()), end_port: None };
    NetworkPolicyIngressRule { from, ports: Some(vec![port]) }
}

fn port(name: &str) -> IntOrString {
    IntOrString::String(name.into())
}

fn peer(peer: &Peer) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: peer
            .ip_block
            .as_ref()
            .map(|block| IPBlock { cidr: block.cidr.clone(), except: block.except.clone() }),
        namespace_selector: peer.namespace_selector.as_ref().map(selector),
        pod_selector: peer.pod_selector.as_ref().map(selector),
    }
}

fn selector(selector: &exposure::LabelSelector) -> LabelSelector {
    let conditions = selector.match_expressions.as_ref().map(|conditions| {
        let condition = |condition: &exposure::LabelCondition| LabelSelectorRequirement {
            key: condition.key.clone(),
            operator: match condition.operator {
                LabelOperator::In => "In",
                LabelOperator::NotIn => "NotIn",
                LabelOperator::Exists => "Exists",
                LabelOperator::DoesNotExist => "DoesNotExist",
            }
            .into(),
            values: condition.values.clone(),
        };
        conditions.iter().map(condition).collect()
    });
    LabelSelector { match_labels: selector.match_labels.clone(), match_expressions: conditions }
}
