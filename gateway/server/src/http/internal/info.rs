//! `GET /v1/info`: what runs here, without secrets; the console's figures.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use http::{Response, StatusCode};
use rtgw_config::checked::{Checked, Protocol};
use schemars::JsonSchema;
use serde::Serialize;

use super::Internal;
use crate::broker::Stage;
use crate::http::response;

/// What runs here.
#[derive(Serialize, JsonSchema)]
pub(super) struct Info {
    /// The gateway's name.
    name: String,
    /// Its namespace.
    namespace: String,
    /// The program's version.
    version: &'static str,
    /// Names the configuration's content.
    revision: String,
    /// `accepted`, or `refused` while the files hold something that does not run.
    config: &'static str,
    /// Whether the pod wants traffic.
    ready: bool,
    /// Whether it is about to end.
    draining: bool,
    /// What does not work.
    degraded: Vec<String>,
    /// Since the start.
    uptime_seconds: u64,
    /// Connections now.
    connections: u32,
    /// Connections at most.
    capacity: u32,
    /// Publications that came in since the start.
    publications: u64,
    /// Publications put into outboxes since the start.
    deliveries: u64,
    /// Paths that serve sockets.
    endpoints: Vec<EndpointInfo>,
    /// Patterns of channels.
    channels: Vec<String>,
    /// Names of sources.
    sources: Vec<String>,
    /// Names of issuers.
    issuers: Vec<String>,
    /// What carries publications: `memory` or `redis`.
    broker: &'static str,
    /// Which Redis does; absent with `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<RedisInfo>,
}

/// Which Redis carries publications. Addresses are without credentials.
#[derive(Serialize, JsonSchema)]
struct RedisInfo {
    /// The one that this pod publishes in.
    written: String,
    /// The one that is read beside it, while the gateway goes from one to the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<String>,
    /// Whether the other one is to come (it is the manifest's `external`); else it was left (`previous`).
    #[serde(skip_serializing_if = "Option::is_none")]
    to_come: Option<bool>,
}

/// A path that serves sockets.
#[derive(Serialize, JsonSchema)]
struct EndpointInfo {
    /// Its name.
    name: String,
    /// Its path.
    path: String,
    /// Where it is from this machine.
    url: String,
    /// `JSON` or `Echo`.
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
        name: config.name.clone(),
        namespace: config.namespace.clone(),
        version: env!("CARGO_PKG_VERSION"),
        revision: current.revision.clone(),
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
        channels: config.channels.iter().map(|channel| channel.pattern.source().to_owned()).collect(),
        sources: config.sources.iter().map(|source| source.name.clone()).collect(),
        issuers: config.auth.issuers.iter().map(|issuer| issuer.name.clone()).collect(),
        broker: if parts.redis.is_some() { "redis" } else { "memory" },
        redis: parts.redis.as_ref().map(|stage| redis(&stage.borrow())),
    };
    response::json(StatusCode::OK, &info)
}

fn redis(stage: &Stage) -> RedisInfo {
    RedisInfo {
        written: stage.written.to_string(),
        other: stage.other.as_ref().map(ToString::to_string),
        to_come: stage.other.as_ref().map(|_| stage.to_come),
    }
}

fn endpoints(config: &Checked, public: SocketAddr) -> Vec<EndpointInfo> {
    // This page is only for this machine, and an unspecified address cannot be connected to everywhere.
    let ip = if public.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { public.ip() };
    let address = SocketAddr::new(ip, public.port());
    let url = |path: &str| format!("ws://{address}{path}");
    config
        .endpoints
        .iter()
        .map(|endpoint| EndpointInfo {
            name: endpoint.name.clone(),
            path: endpoint.path.clone(),
            url: url(&endpoint.path),
            protocol: match endpoint.protocol {
                Protocol::Json => "JSON",
                Protocol::Echo => "Echo",
            },
        })
        .collect()
}
