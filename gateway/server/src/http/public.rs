//! The public listener: what each path serves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use http::{Request, Response};
use rtgw_config::checked::Checked;
use rtgw_model::EndpointIx;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::address::Addresses;
use super::endpoint::Door;
use super::front::Front;
use super::pages::{self, Page};
use super::places::Tallies;
use super::upgrade;
use super::variants::EndpointVariants;
use crate::auth::Admitter;
use crate::intake::Room;
use crate::limits::{Census, Connections, Rate, Users};
use crate::metrics::{Handshakes, Reports};
use crate::readiness::Readiness;
use crate::transport::Inbox;

/// One in so many connections that are not upgraded yet may wait for others to judge its credential.
const JUDGING: usize = 4;
/// What the public listener is made of.
#[derive(Clone)]
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
    /// Connections counted across pods; absent where there is nowhere to count them.
    pub census: Option<Census>,
    /// Counts handshakes.
    pub handshakes: Arc<Handshakes>,
    /// The pod's state.
    pub readiness: Arc<Readiness>,
    /// Most connections that are not upgraded yet.
    pub most_pending: usize,
}

/// The public listener's state under one configuration.
pub struct Public {
    pub(super) parts: PublicParts,
    pub(super) rate: Option<Arc<Rate>>,
    pub(super) addresses: Addresses,
    pub(super) tallies: Arc<Tallies>,
    /// As in the parts, for whoever outlives a request.
    pub(super) inboxes: Arc<[Arc<dyn Inbox>]>,
    pub(super) doors: Box<[Door]>,
    /// Places for credentials about which others must be asked.
    pub(super) judging: Arc<Semaphore>,
    pub(super) started: Instant,
    /// What is served instead of this after a reload.
    pub(super) front: Arc<Front>,
    places: HashMap<String, Place>,
}

/// What a path serves.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Socket(usize),
    Page(Page, usize),
}

impl Public {
    /// A listener's state.
    pub fn new(parts: PublicParts) -> Arc<Self> {
        let front = Arc::<Front>::default();
        let public = Arc::new(Self {
            rate: parts.config.limits.handshakes_per_second.map(|per_second| Arc::new(Rate::new(per_second))),
            addresses: Addresses::new(&parts.config.limits.ip),
            tallies: Arc::default(),
            inboxes: parts.inboxes.to_vec().into(),
            doors: doors(&parts),
            places: places(&parts.config),
            judging: Arc::new(Semaphore::new((parts.most_pending / JUDGING).max(1))),
            started: Instant::now(),
            front: Arc::clone(&front),
            parts,
        });
        front.store(Arc::clone(&public));
        public
    }

    /// The same listener under another configuration.
    pub(super) fn renewed(
        &self,
        config: Arc<Checked>,
        variants: Vec<EndpointVariants>,
        admitter: Arc<Admitter>,
    ) -> Self {
        let rate = match (&self.rate, config.limits.handshakes_per_second) {
            (Some(rate), Some(per_second)) if rate.per_second() == per_second => Some(Arc::clone(rate)),
            (_, per_second) => per_second.map(|per_second| Arc::new(Rate::new(per_second))),
        };
        let parts = PublicParts { config, variants, admitter, ..self.parts.clone() };
        Self {
            rate,
            addresses: Addresses::new(&parts.config.limits.ip),
            tallies: Arc::clone(&self.tallies),
            inboxes: Arc::clone(&self.inboxes),
            doors: doors(&parts),
            places: places(&parts.config),
            judging: Arc::clone(&self.judging),
            started: self.started,
            front: Arc::clone(&self.front),
            parts,
        }
    }

    /// The listener, whatever configuration runs.
    pub fn front(&self) -> &Arc<Front> {
        &self.front
    }

    /// Serves `listener` until `stop`, as [`Front::serve`] does.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let front = Arc::clone(&self.front);
        // It would outlive its configuration.
        drop(self);
        front.serve(listener, stop).await;
    }

    /// Whether there is an endpoint of this number.
    pub(super) fn has(&self, endpoint: EndpointIx) -> bool {
        self.doors.iter().any(|door| door.ix == endpoint)
    }

    /// What a path serves.
    pub(super) fn place(&self, path: &str) -> Option<Place> {
        self.places.get(path).copied()
    }

    pub(super) async fn answer(self: &Arc<Self>, place: Place, request: Request<Body>) -> Response<Body> {
        match place {
            Place::Socket(index) => upgrade::upgrade(self, index, request).await,
            Place::Page(page, index) => pages::answer(self, page, index, request).await,
        }
    }
}

fn doors(parts: &PublicParts) -> Box<[Door]> {
    let config = &parts.config;
    let doors = config.endpoints.iter().zip(&parts.variants).enumerate();
    doors
        .map(|(index, (endpoint, variants))| {
            Door::new(config, parts.admitter.endpoint_number(index), endpoint, *variants)
        })
        .collect()
}

/// Exact paths; a socket's path wins over a page of the same name, and the first endpoint over later ones.
fn places(config: &Checked) -> HashMap<String, Place> {
    let mut places = HashMap::new();
    let mut put = |path: &String, place| {
        places.entry(path.clone()).or_insert(place);
    };
    for (index, endpoint) in config.endpoints.iter().enumerate() {
        put(&endpoint.path, Place::Socket(index));
    }
    for (index, endpoint) in config.endpoints.iter().enumerate() {
        endpoint.stats_paths.iter().for_each(|path| put(path, Place::Page(Page::Stats, index)));
        endpoint.health_paths.iter().for_each(|path| put(path, Place::Page(Page::Health, index)));
    }
    places
}
