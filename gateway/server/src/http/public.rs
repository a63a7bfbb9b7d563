//! The public listener: what each path serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::{Request, Response};
use rtgw_config::checked::Checked;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::accept::{Places, accept};
use super::address::Addresses;
use super::connection::{self, Patience, serve};
use super::endpoint::Door;
use super::pages::{self, Page};
use super::places::Tallies;
use super::variants::EndpointVariants;
use super::{response, upgrade};
use crate::auth::Admitter;
use crate::intake::Room;
use crate::limits::{Connections, Rate, Users};
use crate::metrics::{Handshakes, Reports};
use crate::readiness::Readiness;
use crate::refusal::Refusal;
use crate::transport::Inbox;

/// One in so many connections that are not upgraded yet may wait for others to judge its credential.
const JUDGING: usize = 4;
/// When every place is taken, whoever has had one for so long without becoming a session gives it up, the oldest first. Much longer
/// than a handshake takes, so that a flood of half-open ones costs nobody else theirs.
const PATIENT: Duration = Duration::from_secs(1);

/// What the public listener is made of.
pub struct PublicParts {
    /// The running configuration.
    pub config: Arc<Checked>,
    /// The variants of its endpoints.
    pub variants: Vec<EndpointVariants>,
    /// Who may come in.
    pub admitter: Arc<Admitter>,
    /// The shards, by index.
    pub inboxes: Box<[Arc<dyn Inbox>]>,
    /// The shards' numbers.
    pub reports: Arc<Reports>,
    /// The pod's places.
    pub connections: Arc<Connections>,
    /// Its channels.
    pub room: Arc<Room>,
    /// Who is connected.
    pub users: Arc<Users>,
    /// Counts handshakes.
    pub handshakes: Arc<Handshakes>,
    /// The pod's state.
    pub readiness: Arc<Readiness>,
    /// Most connections that are not upgraded yet.
    pub most_pending: usize,
}

/// The public listener's state.
pub struct Public {
    pub(super) parts: PublicParts,
    pub(super) rate: Option<Rate>,
    pub(super) addresses: Addresses,
    pub(super) tallies: Tallies,
    /// As in the parts, for whoever outlives a request.
    pub(super) inboxes: Arc<[Arc<dyn Inbox>]>,
    pub(super) doors: Box<[Door]>,
    /// Places for credentials about which others must be asked.
    pub(super) judging: Semaphore,
    pub(super) started: Instant,
}

/// What a path serves.
#[derive(Clone, Copy)]
enum Place {
    Socket(usize),
    Page(Page, usize),
}

impl Public {
    /// A listener's state.
    pub fn new(parts: PublicParts) -> Arc<Self> {
        let config = &parts.config;
        let doors = config.endpoints.iter().zip(&parts.variants).enumerate();
        let doors = doors
            .map(|(index, (endpoint, variants))| {
                Door::new(config, parts.admitter.endpoint_number(index), endpoint, *variants)
            })
            .collect();
        let rate = config.limits.handshakes_per_second.map(Rate::new);
        let judging = Semaphore::new((parts.most_pending / JUDGING).max(1));
        let addresses = Addresses::new(&config.limits.ip);
        let inboxes = parts.inboxes.to_vec().into();
        let (tallies, started) = (Tallies::default(), Instant::now());
        Arc::new(Self { parts, rate, addresses, tallies, inboxes, doors, judging, started })
    }

    /// Serves `listener` until `stop`, then until its connections have ended. Upgraded sockets belong to their shards and are
    /// not waited for.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let router = self.router();
        let http = connection::http1(Patience::PUBLIC);
        let places = Places::yielding(self.parts.most_pending, PATIENT);
        let stopping = stop.clone();
        accept(listener, places, stop, move |mut stream, peer: SocketAddr| {
            let (http, router, stop) = (http.clone(), router.clone(), stopping.clone());
            let public = Arc::clone(&self);
            async move {
                let _pending = public.parts.handshakes.begin();
                let Some(ip) = public.addresses.of_connection(&mut stream, peer.ip()).await else { return };
                match public.begin(ip) {
                    Ok(_begun) => serve(&http, Patience::PUBLIC, stream, ip, router, stop).await,
                    Err(refusal) => connection::refuse(stream, &refusal).await,
                }
            }
        })
        .await;
    }

    fn router(self: &Arc<Self>) -> Router {
        let mut router = Router::new();
        for (path, place) in self.places() {
            let public = Arc::clone(self);
            let handler = move |request: Request<Body>| async move { public.answer(place, request).await };
            router = router.route(&escaped(&path), any(handler));
        }
        router.fallback(|| async {
            response::refused(&Refusal::new(404, "not_found", "nothing is served at this path"))
        })
    }

    /// Exact paths; a socket's path wins over a page of the same name, and the first endpoint over later ones.
    fn places(&self) -> BTreeMap<String, Place> {
        let endpoints = &self.parts.config.endpoints;
        let mut places = BTreeMap::new();
        let mut put = |path: &String, place| {
            places.entry(path.clone()).or_insert(place);
        };
        for (index, endpoint) in endpoints.iter().enumerate() {
            put(&endpoint.path, Place::Socket(index));
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            endpoint.stats_paths.iter().for_each(|path| put(path, Place::Page(Page::Stats, index)));
            endpoint.health_paths.iter().for_each(|path| put(path, Place::Page(Page::Health, index)));
        }
        places
    }

    async fn answer(self: &Arc<Self>, place: Place, request: Request<Body>) -> Response<Body> {
        match place {
            Place::Socket(index) => upgrade::upgrade(self, index, request).await,
            Place::Page(page, index) => pages::answer(self, page, index, request).await,
        }
    }
}

/// `path` as axum takes it literally.
fn escaped(path: &str) -> String {
    path.replace('{', "{{").replace('}', "}}")
}
