//! The internal listener: probes and metrics for the cluster, the API for programs, the console for people.
//!
//! It runs on a thread of its own, so that a busy pod does not miss its readiness probes; what the API is asked for is carried out
//! on the runtime that the clients have, too.

mod body;
mod caller;
mod draft;
mod guard;
mod history;
mod info;
mod lists;
mod openapi;
mod orders;
mod pod;
mod presence;
mod probes;
mod publish;
mod redacted;
mod routes;
mod waiting;
mod whom;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use http::{Request, Response};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::caller::Need;
use self::guard::Guard;
use self::routes::ROUTES;
pub use self::waiting::Waiting;
use super::accept::{Places, accept};
use super::connection::{self, Patience, serve};
use super::response;
use crate::auth::Admitter;
use crate::broker::Stage;
use crate::cluster::Pods;
use crate::console;
use crate::intake::Counts;
use crate::limits::Connections;
use crate::metrics::{Metrics, Reports};
use crate::presence::Roster;
use crate::publishing::Publisher;
use crate::readiness::Readiness;
use crate::recovery::Pages;
use crate::refusal::Refusal;
use crate::reporter::Reporter;
use crate::running::Running;

/// Most connections at once: probes, a scraper or two, a few publishers and consoles.
const MOST: usize = 256;

/// What the internal listener is made of.
pub struct InternalParts {
    /// The running configuration.
    pub running: Arc<Running>,
    /// Who judges credentials now; a reload replaces it.
    pub admitter: Arc<ArcSwap<Admitter>>,
    /// Carries out what is asked: this listener's own thread only reads and writes, so that probes are answered in between.
    pub runtime: Handle,
    /// Where the public listener is.
    pub public: SocketAddr,
    /// The way to the broker.
    pub publisher: Publisher,
    /// The way to the connections, of all pods where there are others.
    pub pods: Pods,
    /// Who hears which channel.
    pub roster: Arc<Roster>,
    /// Which Redis carries publications, where one does.
    pub redis: Option<watch::Receiver<Stage>>,
    /// Who reads histories.
    pub pages: Arc<Pages>,
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
    /// What the pod says of itself.
    pub reporter: Reporter,
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
        let guard = Guard::of(listener.local_addr()?);
        serve_router(Arc::new(Self { parts, started: Instant::now() }).router(guard), listener, stop)
    }

    fn router(self: Arc<Self>, guard: Guard) -> Router {
        let mut router = Router::new();
        for route in &ROUTES {
            let mut handler = (route.handler)();
            if let Some(need) = route.need {
                handler = handler.layer(from_fn(self.gate(guard, need)));
            }
            router = router.route(route.path, handler);
        }
        router
            .merge(console::router().layer(from_fn(self.gate(guard, Need::Page))))
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

    /// Lets those through to a route who may use it.
    fn gate(
        self: &Arc<Self>,
        guard: Guard,
        need: Need,
    ) -> impl Fn(Request<Body>, Next) -> Answering + Clone + Send + Sync + 'static {
        let internal = Arc::clone(self);
        move |mut request, next| {
            let parts = &internal.parts;
            if need == Need::Report
                && let Some(operator) = &parts.running.load().config.operator
            {
                let judged = Guard::judge_operator(operator, request.headers(), crate::clock::wall());
                return match judged {
                    Err(refusal) => Box::pin(async move { response::refused(&refusal) }),
                    // Answered on this thread, however busy the others are.
                    Ok(_) => Box::pin(next.run(request)),
                };
            }
            match guard.judge(parts.admitter.load().credentials().keys(), need, &request) {
                Err(refusal) => Box::pin(async move { response::refused(&refusal) }),
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    let runtime = parts.runtime.clone();
                    Box::pin(carried_out(runtime, request, next))
                }
            }
        }
    }
}

/// Answers by `router` on a new thread until `stop`.
fn serve_router(
    router: Router,
    listener: std::net::TcpListener,
    stop: CancellationToken,
) -> std::io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
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

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Goes on to the end also where the client goes away: half a batch would be worse.
async fn carried_out(runtime: Handle, request: Request<Body>, next: Next) -> Response<Body> {
    runtime.spawn(next.run(request)).await.unwrap_or_else(|error| {
        if error.is_panic() {
            tracing::error!(%error, "a request to the API ended in a panic");
        }
        response::refused(&Refusal::new(500, "internal", "a fault of the server; its log says more"))
    })
}

/// The description of the API (OpenAPI 3.1) as it is committed: JSON, indented, with a line break at the end.
pub fn openapi() -> String {
    // Never fails: every key is text.
    serde_json::to_string_pretty(&openapi::document()).unwrap_or_default() + "\n"
}
