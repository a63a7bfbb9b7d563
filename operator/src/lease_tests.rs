//! Two candidates and one Lease, on paused time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::{Value, json};
use tower_service::Service;

use super::*;

/// An API server that knows one Lease, and can be made to fail.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lease: Option<Value>,
    version: u64,
    broken: bool,
    /// Who wrote, in order.
    writers: VecDeque<String>,
}

impl Server {
    fn candidate(&self, name: &str) -> Candidate {
        Candidate::new(Client::new(self.clone(), "default"), "rtgw-system", name, Times::default())
    }

    fn holder(&self) -> String {
        let lease = self.0.lock().lease.clone().unwrap_or_default();
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    }

    fn answer(&self, method: &Method, mut body: Value) -> (StatusCode, Value) {
        let mut state = self.0.lock();
        if state.broken {
            return failure(StatusCode::SERVICE_UNAVAILABLE);
        }
        if method == Method::GET {
            return state
                .lease
                .clone()
                .map_or_else(|| failure(StatusCode::NOT_FOUND), |lease| (StatusCode::OK, lease));
        }
        let known = state.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        let fits = match (known, method == Method::POST) {
            (None, true) => true,
            (Some(known), false) => known == body["metadata"]["resourceVersion"],
            _ => false,
        };
        if !fits {
            return failure(StatusCode::CONFLICT);
        }
        state.version += 1;
        body["metadata"]["resourceVersion"] = state.version.to_string().into();
        let writer = body["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        state.writers.push_back(writer);
        state.lease = Some(body.clone());
        (StatusCode::OK, body)
    }
}

fn failure(code: StatusCode) -> (StatusCode, Value) {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        _ => "ServiceUnavailable",
    };
    (
        code,
        json!({"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code.as_u16()}),
    )
}

impl Service<Request<Body>> for Server {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let method = request.method().clone();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let (code, answer) = server.answer(&method, serde_json::from_slice(&body).unwrap_or_default());
            Ok(Response::builder().status(code).body(Full::from(answer.to_string())).unwrap())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_waits_as_long_as_the_first_renews() {
    let server = Server::default();
    let (mut first, mut second) = (server.candidate("a"), server.candidate("b"));
    assert_eq!(first.acquire().await, 0);
    let term = Term::default();
    let holding = tokio::spawn(async move { first.hold(&term).await });
    let waited = time::timeout(Duration::from_secs(300), second.acquire()).await;
    assert!(waited.is_err() && !holding.is_finished());
    assert_eq!(server.holder(), "a");
    holding.abort();
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_silent_is_followed_after_the_whole_time_and_the_epoch_rises() {
    let server = Server::default();
    let mut first = server.candidate("a");
    first.acquire().await;
    let silent_since = Instant::now();
    let mut second = server.candidate("b");
    assert_eq!(second.acquire().await, 1);
    assert!(silent_since.elapsed() >= Times::default().duration, "{:?}", silent_since.elapsed());
    assert_eq!(server.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn clocks_of_others_do_not_count() {
    let server = Server::default();
    server.candidate("a").acquire().await;
    // Written by a machine whose clock is a year behind.
    server.0.lock().lease.as_mut().unwrap()["spec"]["renewTime"] = "2025-01-01T00:00:00.000000Z".into();
    let mut second = server.candidate("b");
    assert_eq!(second.try_once().await.unwrap(), Tried::Taken);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_gives_up_before_another_may_lead() {
    let server = Server::default();
    let mut first = server.candidate("a");
    first.acquire().await;
    server.0.lock().broken = true;
    let (term, began) = (Term::default(), Instant::now());
    first.hold(&term).await;
    assert!(began.elapsed() < Times::default().duration, "{:?}", began.elapsed());
    assert!(!term.holds());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_stopped_for_a_while_may_not_write_when_it_runs_again() {
    let server = Server::default();
    let mut first = server.candidate("a");
    first.acquire().await;
    let term = Term::default();
    term.until(Instant::now() + Times::default().deadline);
    assert!(term.holds());
    // Nothing of this process runs in between: not even the task that renews.
    time::advance(Duration::from_secs(20)).await;
    assert!(!term.holds(), "asked before every write");
}

#[tokio::test(start_paused = true)]
async fn who_gives_the_lease_back_is_followed_at_once() {
    let server = Server::default();
    let (mut first, mut second) = (server.candidate("a"), server.candidate("b"));
    first.acquire().await;
    assert_eq!(second.try_once().await.unwrap(), Tried::Taken);
    first.release().await;
    assert_eq!(second.try_once().await.unwrap(), Tried::Holds(1));
    second.release().await;
    // One who does not hold it has nothing to give back.
    first.release().await;
    assert_eq!(server.0.lock().writers, ["a", "", "b", ""]);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_take_it_at_the_same_time_one_does() {
    let server = Server::default();
    server.candidate("gone").acquire().await;
    let (mut first, mut second) = (server.candidate("a"), server.candidate("b"));
    for candidate in [&mut first, &mut second] {
        assert_eq!(candidate.try_once().await.unwrap(), Tried::Taken);
    }
    time::advance(Times::default().duration).await;
    let both = futures_util::join!(first.try_once(), second.try_once());
    let holds = [&both.0, &both.1].into_iter().filter(|tried| matches!(tried, Ok(Tried::Holds(_)))).count();
    assert_eq!(holds, 1, "{both:?}");
}
