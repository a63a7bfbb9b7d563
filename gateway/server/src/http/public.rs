//! The public listener: what each path serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{Request, Response, StatusCode};
use rtgw_config::checked::Checked;
use rtgw_model::{EndpointIx, Variant};
use rtgw_protocol::websocket::deflate::Window;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
use super::connection::{self, serve};
use super::endpoint::{Admission, Door, Negotiate};
use super::{response, upgrade};
use crate::limits::{Connections, HandshakeRate};
use crate::refusal::Refusal;
use crate::transport::Inbox;

/// What the public listener is made of.
pub struct PublicParts {
    /// The running configuration.
    pub config: Arc<Checked>,
    /// Who may come in.
    pub admission: Arc<dyn Admission>,
    /// Checks opening handshakes.
    pub negotiate: Negotiate,
    /// The bytes of an endpoint by the negotiated window of permessage-deflate.
    pub variant: Arc<dyn Fn(EndpointIx, Option<Window>) -> Variant + Send + Sync>,
    /// The shards, by index.
    pub inboxes: Box<[Arc<dyn Inbox>]>,
    /// The pod's places.
    pub connections: Arc<Connections>,
    /// Most connections that are not upgraded yet.
    pub most_pending: usize,
}

/// The public listener's state.
pub struct Public {
    pub(super) parts: PublicParts,
    pub(super) handshakes: Option<HandshakeRate>,
    pub(super) doors: Box<[Door]>,
}

/// What a path serves.
#[derive(Clone, Copy)]
enum Page {
    Socket(usize),
    Health,
}

#[derive(serde::Serialize)]
struct Health {
    status: &'static str,
}

impl Public {
    /// A listener's state.
    pub fn new(parts: PublicParts) -> Arc<Self> {
        let config = &parts.config;
        let doors = config.endpoints.iter().enumerate();
        let doors = doors.map(|(index, endpoint)| Door::new(config, index, endpoint)).collect();
        let handshakes = config.limits.handshakes_per_second.map(HandshakeRate::new);
        Arc::new(Self { parts, handshakes, doors })
    }

    /// Serves `listener` until `stop`, then until its connections have ended. Upgraded sockets belong to their shards and are
    /// not waited for.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let router = self.router();
        let http = connection::http1();
        let most = self.parts.most_pending;
        accept(listener, most, stop.clone(), move |stream, peer: SocketAddr| {
            let (http, router, stop) = (http.clone(), router.clone(), stop.clone());
            async move { serve(&http, stream, peer.ip(), router, stop).await }
        })
        .await;
    }

    fn router(self: &Arc<Self>) -> Router {
        let mut router = Router::new();
        for (path, page) in self.pages() {
            let public = Arc::clone(self);
            let handler = move |request: Request<Body>| async move { public.answer(page, request) };
            router = router.route(&escaped(&path), any(handler));
        }
        router.fallback(|| async { not_found() })
    }

    /// Exact paths; a socket's path wins over a page of the same name, and the first endpoint over later ones.
    fn pages(&self) -> BTreeMap<String, Page> {
        let endpoints = || self.parts.config.endpoints.iter().enumerate();
        let sockets = endpoints().map(|(index, endpoint)| (&endpoint.path, Page::Socket(index)));
        let health =
            endpoints().flat_map(|(_, endpoint)| &endpoint.health_paths).map(|path| (path, Page::Health));
        let mut pages = BTreeMap::new();
        for (path, page) in sockets.chain(health) {
            pages.entry(path.clone()).or_insert(page);
        }
        pages
    }

    fn answer(self: Arc<Self>, page: Page, request: Request<Body>) -> Response<Body> {
        match page {
            Page::Socket(index) => upgrade::upgrade(&self, index, request),
            Page::Health => response::json(StatusCode::OK, &Health { status: "ok" }),
        }
    }
}

/// `path` as axum takes it literally.
fn escaped(path: &str) -> String {
    path.replace('{', "{{").replace('}', "}}")
}

fn not_found() -> Response<Body> {
    response::refused(&Refusal::new(404, "not_found", "nothing is served at this path"))
}
