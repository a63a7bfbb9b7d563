//! The public listener over reloads: connections are answered by the configuration that runs when they ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use rtgw_config::checked::Checked;
use rtgw_hub::{Input, Order, Tally};
use rtgw_model::EndpointIx;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::accept::{Places, accept};
use super::connection::{self, Patience, serve};
use super::public::Public;
use super::response;
use super::variants::EndpointVariants;
use crate::auth::Admitter;
use crate::control;
use crate::refusal::Refusal;
use crate::transport::{Inbox, ShardInput};

/// When every place is taken, whoever has had one for so long without becoming a session gives it up, the oldest first. Much longer
/// than a handshake takes, so that a flood of half-open ones costs nobody else theirs.
const PATIENT: Duration = Duration::from_secs(1);
/// How far the returns of clients are spread whose endpoint is gone, milliseconds.
const SPREAD_MS: u32 = 5_000;

/// What the public listener serves now.
#[derive(Default)]
pub struct Front {
    /// Absent only while it is made.
    current: ArcSwapOption<Public>,
}

impl Front {
    /// What is served now.
    pub(super) fn load(&self) -> Option<Arc<Public>> {
        self.current.load_full()
    }

    pub(super) fn store(&self, public: Arc<Public>) {
        self.current.store(Some(public));
    }

    /// Serves another configuration from now on. What is counted goes on; connections of endpoints that are gone are closed, each told
    /// when to come back.
    pub fn replace(&self, config: Arc<Checked>, variants: Vec<EndpointVariants>, admitter: Arc<Admitter>) {
        let Some(before) = self.load() else { return };
        let after = Arc::new(before.renewed(config, variants, admitter));
        self.store(Arc::clone(&after));
        for door in before.doors.iter().filter(|door| !after.has(door.ix)) {
            for inbox in &*after.inboxes {
                retire(&**inbox, control::everyone(), door.ix);
            }
        }
    }

    /// Whether the endpoint of this number is served now.
    pub(super) fn has(&self, endpoint: EndpointIx) -> bool {
        self.current.load().as_ref().is_some_and(|public| public.has(endpoint))
    }

    /// Serves `listener` until `stop`, then until its connections have ended. Upgraded sockets belong to their shards and are
    /// not waited for.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let Some(most_pending) = self.load().map(|public| public.parts.most_pending) else { return };
        let router = self.router();
        let http = connection::http1(Patience::PUBLIC);
        let places = Places::yielding(most_pending, PATIENT);
        let stopping = stop.clone();
        accept(listener, places, stop, move |mut stream, peer: SocketAddr| {
            let (http, router, stop) = (http.clone(), router.clone(), stopping.clone());
            let public = self.load();
            async move {
                let Some(public) = public else { return };
                let handshakes = Arc::clone(&public.parts.handshakes);
                let _pending = handshakes.begin();
                let Some(ip) = public.addresses.of_connection(&mut stream, peer.ip()).await else { return };
                let begun = public.begin(ip);
                // Not held while the connection is served: its requests may come after a reload.
                drop(public);
                match begun {
                    Ok(_begun) => serve(&http, Patience::PUBLIC, stream, ip, router, stop).await,
                    Err(refusal) => connection::refuse(stream, &refusal).await,
                }
            }
        })
        .await;
    }

    fn router(self: &Arc<Self>) -> Router {
        let front = Arc::clone(self);
        Router::new().fallback(move |request: Request<Body>| {
            let public = front.load();
            async move { answer(public, request).await }
        })
    }
}

async fn answer(public: Option<Arc<Public>>, request: Request<Body>) -> Response<Body> {
    let place = public.and_then(|public| Some((public.place(request.uri().path())?, public)));
    match place {
        Some((place, public)) => public.answer(place, request).await,
        None => response::refused(&Refusal::new(404, "not_found", "nothing is served at this path")),
    }
}

/// Closes connections of an endpoint that is gone.
pub(super) fn retire(inbox: &dyn Inbox, target: rtgw_hub::Target, endpoint: EndpointIx) {
    let order = Order::Retire { endpoint, spread_ms: SPREAD_MS };
    let control = rtgw_hub::Control { target, order, tally: Tally::new(|_| {}) };
    // Never refused: only publications are.
    let _posted = inbox.post(ShardInput::Hub(Input::Control(control)));
}
