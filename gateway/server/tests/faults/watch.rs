//! What a pod says of itself while it is struck: `/readyz`, `/readyz?strict` and the metrics beside them, asked all the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use serde_json::Value;

use crate::inlet::{Http, http};

/// How often a pod is asked.
const EVERY: Duration = Duration::from_millis(50);
/// A pod that is well answers within this also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a pod says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// Status of `/readyz`; 0 where there was no answer.
    pub ready: u16,
    /// Status of `/readyz?strict`.
    pub strict: u16,
    /// What `/readyz` names.
    pub degraded: Vec<String>,
    /// `rtgw_broker_up`.
    pub broker_up: bool,
    /// `rtgw_delivering`.
    pub delivering: bool,
}

impl Says {
    /// Ready, and nothing is wrong.
    pub fn well(&self) -> bool {
        self.ready == 200
            && self.strict == 200
            && self.degraded.is_empty()
            && self.broker_up
            && self.delivering
    }

    /// As `protocol.md` has it while Redis cannot be reached: ready all the same, and everything else says so.
    pub fn without_broker(&self) -> bool {
        let named = self.degraded.iter().any(|part| part == "broker");
        self.ready == 200 && self.strict == 503 && named && !self.broker_up
    }
}

/// Changes of what a pod says, in order.
pub struct Watch {
    said: Arc<Mutex<Vec<(Duration, Says)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    /// Asks the pod with this internal listener from now on.
    pub fn start(pod: SocketAddr, begin: Instant) -> Self {
        let said = Arc::<Mutex<Vec<(Duration, Says)>>>::default();
        let kept = Arc::clone(&said);
        let task = tokio::spawn(async move {
            let http = http();
            loop {
                let says = ask(&http, pod).await;
                keep(&mut kept.lock(), begin.elapsed(), says);
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { said, task }
    }

    /// All that was said so far.
    pub fn said(&self) -> Vec<(Duration, Says)> {
        self.said.lock().clone()
    }

    /// What was said last.
    pub fn now(&self) -> Option<Says> {
        self.said.lock().last().map(|(_, says)| says.clone())
    }
}

fn keep(said: &mut Vec<(Duration, Says)>, at: Duration, says: Says) {
    if said.last().is_none_or(|(_, last)| *last != says) {
        said.push((at, says));
    }
}

async fn ask(http: &Http, pod: SocketAddr) -> Says {
    let (ready, body) = get(http, pod, "/readyz").await;
    let (strict, _) = get(http, pod, "/readyz?strict").await;
    let (_, metrics) = get(http, pod, "/metrics").await;
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let degraded = body["degraded"].as_array().into_iter().flatten();
    Says {
        ready,
        strict,
        degraded: degraded.filter_map(|part| part.as_str().map(str::to_owned)).collect(),
        broker_up: gauge(&metrics, "rtgw_broker_up"),
        delivering: gauge(&metrics, "rtgw_delivering"),
    }
}

/// Whether every sample of a gauge is 1.
fn gauge(metrics: &str, name: &str) -> bool {
    let mut samples = metrics
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .peekable();
    samples.peek().is_some() && samples.all(|line| line.ends_with(" 1") || line.ends_with(" 1.0"))
}

async fn get(http: &Http, pod: SocketAddr, path: &str) -> (u16, String) {
    let request = ::http::Request::get(format!("http://{pod}{path}")).body(Full::default()).unwrap();
    let asked = async {
        let answer = http.request(request).await.ok()?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        Some((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten().unwrap_or_default()
}
