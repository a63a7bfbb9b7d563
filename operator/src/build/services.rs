//! The three Services: for clients, for the application's own programs, and the names of all pods.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rtgw_config::pod::{INTERNAL_PORT, INTERNAL_PORT_NAME, PUBLIC_PORT_NAME};
use rtgw_crds::exposure::ServiceType;

use super::{Child, annotated, child};
use crate::check::Desired;
use crate::kinds::Kind;
use crate::names::{self, COMPONENT_GATEWAY};

/// Port of the public Service where the object names none.
pub const PUBLIC_SERVICE_PORT: u16 = 80;

pub(super) fn build(desired: &Desired) -> [Child; 3] {
    [public(desired), api(desired), peers(desired)]
}

fn public(desired: &Desired) -> Child {
    let wished = desired.spec.exposure.as_ref().and_then(|exposure| exposure.service.as_ref());
    let kind = match wished.and_then(|service| service.kind).unwrap_or_default() {
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let port = wished.and_then(|service| service.port).unwrap_or(PUBLIC_SERVICE_PORT);
    let annotations = wished.and_then(|service| service.annotations.clone()).unwrap_or_default();
    let content = service(
        desired,
        ServiceSpec {
            type_: Some(kind.into()),
            ports: Some(vec![to(PUBLIC_PORT_NAME, port)]),
            ..ServiceSpec::default()
        },
    );
    annotated(Kind::Service, desired, COMPONENT_GATEWAY, &desired.names.own, &content, annotations)
}

fn api(desired: &Desired) -> Child {
    let content = service(
        desired,
        ServiceSpec {
            type_: Some("ClusterIP".into()),
            ports: Some(vec![to(INTERNAL_PORT_NAME, INTERNAL_PORT)]),
            ..ServiceSpec::default()
        },
    );
    child(Kind::Service, desired, COMPONENT_GATEWAY, &desired.names.api, &content)
}

fn peers(desired: &Desired) -> Child {
    let content = service(
        desired,
        ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: Some("None".into()),
            // A pod that is no longer ready still has to be found by those that know it.
            publish_not_ready_addresses: Some(true),
            ports: Some(vec![to(INTERNAL_PORT_NAME, INTERNAL_PORT)]),
            ..ServiceSpec::default()
        },
    );
    child(Kind::Service, desired, COMPONENT_GATEWAY, &desired.names.peers, &content)
}

fn service(desired: &Desired, spec: ServiceSpec) -> Service {
    let selector = names::selector(&desired.identity.name, COMPONENT_GATEWAY);
    Service { spec: Some(ServiceSpec { selector: Some(selector), ..spec }), ..Service::default() }
}

/// A port that leads to the pods' port of the same name.
pub(super) fn to(name: &str, port: u16) -> ServicePort {
    ServicePort {
        name: Some(name.into()),
        port: port.into(),
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String(name.into())),
        ..ServicePort::default()
    }
}
