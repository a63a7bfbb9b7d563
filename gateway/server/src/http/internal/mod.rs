//! The internal listener: probes and metrics for the cluster, and, for the user of this machine, the API and the console.
//!
//! It runs on a thread of its own, so that a busy pod does not miss its readiness probes.

mod draft;
mod guard;
mod info;
mod probes;
mod publish;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use self::guard::Guard;
use super::accept::{Places, accept};
use super::connection::{self, Patience, serve};
use super::response;
use crate::console;
use crate::control::Control;
use crate::intake::Counts;
use crate::limits::Connections;
use crate::metrics::{Metrics, Reports};
use crate::publishing::Publisher;
use crate::readiness::Readiness;
use crate::refusal::Refusal;
use crate::running::Running;

/// Most connections at once: probes, a scraper or two, a few publishers and consoles.
const MOST: usize = 256;

/// What the internal listener is made of.
pub struct InternalParts {
    /// The running configuration.
    pub running: Arc<Running>,
    /// Where the public listener is.
    pub public: SocketAddr,
    /// The way to the broker.
    pub publisher: Publisher,
    /// The way to the connections.
    pub control: Control,
    /// What came in.
    pub counts: Arc<Counts>,
    /// The page of numbers.
    pub metrics: Metrics,
    /// The shards' numbers.
    pub reports: Arc<Reports>,
    /// The pod's places.
    pub connections: Arc<Connections>,
    /// The pod's state.
    pub readiness: Arc<Readiness>,
}

/// The internal listener's state.
pub struct Internal {
    parts: InternalParts,
    started: Instant,
}

impl Internal {
    /// Serves `listener` on a new thread until `stop`.
    ///
    /// # Errors
    /// Where the system gives no thread or no event queue, or the listener has no address.
    pub fn start(
        parts: InternalParts,
        listener: std::net::TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<JoinHandle<()>> {
        listener.set_nonblocking(true)?;
        let guard = Guard::of(listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let router = Arc::new(Self { parts, started: Instant::now() }).router(guard);
        let http = connection::http1(Patience::INTERNAL);
        let stopping = stop.clone();
        std::thread::Builder::new().name("internal".into()).spawn(move || {
            runtime.block_on(accept(listener, Places::kept(MOST), stop, move |stream, peer| {
                let (http, router, stop) = (http.clone(), router.clone(), stopping.clone());
                async move {
                    serve(&http, Patience::INTERNAL, stream, peer.ip().to_canonical(), router, stop).await;
                }
            }));
        })
    }

    fn router(self: Arc<Self>, guard: Guard) -> Router {
        let guarded = Router::new()
            .route("/v1/publish", post(publish::publish))
            .route("/v1/broadcast", post(publish::broadcast))
            .route("/v1/batch", post(publish::batch))
            .route("/v1/info", get(info::info))
            .merge(console::router())
            .layer(from_fn(move |request, next| guard::check(guard, request, next)));
        Router::new()
            .route("/livez", get(probes::live))
            .route("/readyz", get(probes::ready))
            .route("/metrics", get(probes::metrics))
            .merge(guarded)
            .fallback(|| async {
                response::refused(&Refusal::new(404, "not_found", "nothing is served at this path"))
            })
            .method_not_allowed_fallback(|| async {
                response::refused(&Refusal::new(
                    405,
                    "method_not_allowed",
                    "this path does not take that method",
                ))
            })
            .with_state(self)
    }
}
