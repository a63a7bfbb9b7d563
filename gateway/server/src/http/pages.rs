//! The pages beside a socket: statistics of this pod, with every member that existing dashboards read, and health.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::body::{Body, HttpBody};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;

use super::admission::in_time;
use super::connection::Visitor;
use super::public::Public;
use super::{cors, response, upgrade};
use crate::refusal::Refusal;
use crate::transport::ShardReport;

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Stats,
    Health,
}

/// Answers a request for a page of the endpoint at `index`.
pub(super) async fn answer(
    public: &Public,
    page: Page,
    index: usize,
    request: Request<Body>,
) -> Response<Body> {
    let Some(endpoint) = public.parts.config.endpoints.get(index) else {
        return response::refused(&Refusal::new(404, "not_found", "nothing is served at this path"));
    };
    let (mut parts, body) = request.into_parts();
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let ip = parts.extensions.remove::<Visitor>().map(|visitor| visitor.ip);
    let mut answer = match parts.method {
        // A body would stay unread; a page takes none.
        Method::GET | Method::HEAD if body.is_end_stream() => match page {
            Page::Health => health(public),
            Page::Stats => stats(public, index, endpoint.stats_public, parts, ip).await,
        },
        Method::OPTIONS => {
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            cors::preflight(answer.headers_mut());
            answer
        }
        _ => {
            let refusal = Refusal::new(405, "method_not_allowed", "this page is read with GET");
            let mut answer = response::refused(&refusal);
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            answer
        }
    };
    cors::allow(&endpoint.auth, origin.as_ref(), answer.headers_mut());
    answer
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

fn health(public: &Public) -> Response<Body> {
    if public.parts.readiness.draining() {
        return response::json(StatusCode::SERVICE_UNAVAILABLE, &Health { status: "draining" });
    }
    response::json(StatusCode::OK, &Health { status: "ok" })
}

async fn stats(
    public: &Public,
    index: usize,
    open: bool,
    parts: Parts,
    ip: Option<IpAddr>,
) -> Response<Body> {
    if !open {
        let Some(ip) = ip else {
            return response::refused(&Refusal::new(500, "internal", "a fault of the server"));
        };
        let judging = async {
            let request = upgrade::request_of(public, parts, index, ip)?;
            in_time(public, public.parts.admitter.authenticate(&request)).await
        };
        if let Err(refusal) = judging.await {
            return response::refused(&refusal);
        }
    }
    let reports = public.parts.reports.fresh().await;
    let stats = Stats {
        pending: public.parts.handshakes.pending(),
        users: public.parts.users.count(),
        uptime: public.started.elapsed().as_secs(),
        now: Timestamp::now(),
    };
    response::json(StatusCode::OK, &stats.page(public, &reports))
}

/// What is not in the shards' reports.
struct Stats {
    pending: u64,
    users: usize,
    uptime: u64,
    now: Timestamp,
}

#[derive(Serialize)]
struct StatsPage<'a> {
    connected_clients: u64,
    timestamp: String,
    total_clients: u64,
    total_users: usize,
    channels: Queues,
    connections: u64,
    rooms: BTreeMap<&'a str, u64>,
    events_emitted: u64,
    uptime_seconds: u64,
}

/// Work under way, by the names of a hub's channels in existing dashboards.
#[derive(Serialize)]
struct Queues {
    /// Handshakes in progress.
    register: u64,
    /// Closes in progress.
    unregister: u64,
    /// Publications that wait in the shards' inboxes.
    broadcast: u64,
}

impl Stats {
    fn page<'a>(&self, public: &'a Public, reports: &[ShardReport]) -> StatsPage<'a> {
        let sum = |of: fn(&ShardReport) -> u64| reports.iter().map(of).sum::<u64>();
        let connections = sum(|report| report.counters.connections.iter().sum());
        let rooms = public.parts.config.channels.iter().enumerate().map(|(place, channel)| {
            let rule = public.parts.admitter.rule_number(place).map_or(usize::MAX, |rule| rule.0.into());
            let held = reports.iter().filter_map(|report| report.counters.subscriptions.get(rule)).sum();
            (channel.pattern.source(), held)
        });
        StatsPage {
            connected_clients: connections,
            timestamp: self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            total_clients: connections,
            total_users: self.users,
            channels: Queues {
                register: self.pending,
                unregister: sum(|report| report.counters.closing.iter().sum()),
                broadcast: sum(|report| report.inbox_publications),
            },
            connections,
            rooms: rooms.collect(),
            events_emitted: sum(|report| report.counters.deliveries.iter().sum()),
            uptime_seconds: self.uptime,
        }
    }
}
