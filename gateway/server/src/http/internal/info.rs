//! `GET /v1/info`: what runs here, without secrets; the console's figures.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use rtgw_config::checked::{Checked, Protocol};
use serde::Serialize;

use super::Internal;
use crate::http::response;

#[derive(Serialize)]
struct Info<'a> {
    name: &'a str,
    namespace: &'a str,
    version: &'static str,
    revision: &'a str,
    /// `refused` while the files hold something that does not run.
    config: &'static str,
    ready: bool,
    draining: bool,
    degraded: Vec<String>,
    uptime_seconds: u64,
    connections: u32,
    capacity: u32,
    /// Publications that came in since the start.
    publications: u64,
    /// Publications put into outboxes since the start.
    deliveries: u64,
    endpoints: Vec<EndpointInfo<'a>>,
    channels: Vec<&'a str>,
    sources: Vec<&'a str>,
    issuers: Vec<&'a str>,
    broker: &'static str,
}

#[derive(Serialize)]
struct EndpointInfo<'a> {
    name: &'a str,
    path: &'a str,
    url: String,
    protocol: &'static str,
}

/// Answers.
pub(super) async fn info(State(internal): State<Arc<Internal>>) -> Response<Body> {
    let parts = &internal.parts;
    let current = parts.running.load();
    let config = &*current.config;
    let verdict = parts.readiness.verdict();
    let reports = parts.reports.fresh().await;
    let info = Info {
        name: &config.name,
        namespace: &config.namespace,
        version: env!("CARGO_PKG_VERSION"),
        revision: &current.revision,
        config: parts.running.state(),
        ready: verdict.ready,
        draining: verdict.draining,
        degraded: verdict.degraded,
        uptime_seconds: internal.started.elapsed().as_secs(),
        connections: parts.connections.held(),
        capacity: parts.connections.capacity(),
        publications: parts.counts.all_publications(),
        deliveries: reports.iter().flat_map(|report| &report.counters.deliveries).sum(),
        endpoints: endpoints(config, parts.public),
        channels: config.channels.iter().map(|channel| channel.pattern.source()).collect(),
        sources: config.sources.iter().map(|source| &*source.name).collect(),
        issuers: config.auth.issuers.iter().map(|issuer| &*issuer.name).collect(),
        broker: "memory",
    };
    response::json(StatusCode::OK, &info)
}

fn endpoints(config: &Checked, public: SocketAddr) -> Vec<EndpointInfo<'_>> {
    // This page is only for this machine, and an unspecified address cannot be connected to everywhere.
    let ip = if public.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { public.ip() };
    let address = SocketAddr::new(ip, public.port());
    let url = |path: &str| format!("ws://{address}{path}");
    config
        .endpoints
        .iter()
        .map(|endpoint| EndpointInfo {
            name: &endpoint.name,
            path: &endpoint.path,
            url: url(&endpoint.path),
            protocol: match endpoint.protocol {
                Protocol::Json => "JSON",
                Protocol::Echo => "Echo",
            },
        })
        .collect()
}
