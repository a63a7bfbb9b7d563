//! The internal listener of a pod that runs nothing yet, because Secrets that its configuration names are not there: it lives, is not ready,
//! and says what it waits for.

use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::get;
use http::Response;
use parking_lot::Mutex;
use rtgw_config::checked::Operator;
use rtgw_config::pod::{self, PodReport};
use tokio_util::sync::CancellationToken;

use super::caller::Need;
use super::guard::Guard;
use super::pod::written;
use super::{probes, serve_router};
use crate::auth::ApiKeys;
use crate::http::response;
use crate::refusal::Refusal;

/// What such a pod has to say.
pub struct Waiting {
    said: Mutex<(Option<Operator>, PodReport)>,
}

impl Waiting {
    /// Says `report`, to those that `operator` lets ask.
    pub fn new(operator: Option<Operator>, report: PodReport) -> Arc<Self> {
        Arc::new(Self { said: Mutex::new((operator, report)) })
    }

    /// Says that from now on.
    pub fn replace(&self, operator: Option<Operator>, report: PodReport) {
        *self.said.lock() = (operator, report);
    }

    /// Serves `listener` on a new thread until `stop`.
    ///
    /// # Errors
    /// Where the system gives no thread or no event queue, or the listener has no address.
    pub fn start(
        self: &Arc<Self>,
        listener: std::net::TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<JoinHandle<()>> {
        let guard = Guard::of(listener.local_addr()?);
        let asked = move |State(waiting): State<Arc<Self>>, request: Request| async move {
            waiting.report(guard, &request)
        };
        let router = Router::new()
            .route(pod::LIVE_PATH, get(probes::live))
            .route(pod::READY_PATH, get(probes::unready))
            .route(pod::REPORT_PATH, get(asked))
            .fallback(|| async {
                let message = "this pod waits for Secrets that its configuration names; /v1/pod says which";
                response::refused(&Refusal::new(503, "not_ready", message))
            })
            .with_state(Arc::clone(self));
        serve_router(router, listener, stop)
    }

    fn report(&self, guard: Guard, request: &Request) -> Response<Body> {
        let said = self.said.lock();
        let judged = match &said.0 {
            Some(operator) => Guard::judge_operator(operator, request.headers(), crate::clock::wall()),
            // Whatever keys there will be, they are among what is missing.
            None => guard.judge(&ApiKeys::default(), Need::Report, request),
        };
        match judged {
            Ok(_) => written(&said.1),
            Err(refusal) => response::refused(&refusal),
        }
    }
}
