//! Joins the parts: watches fill the memory and wake objects, a bounded number of reconciliations runs at a time, rounds ask pods, and all
//! of it writes only while this process leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::join_all;
use futures_util::{Stream, StreamExt, stream};
use kube::Client;
use kube::runtime::controller::{self, Action, ReconcileRequest, applier};
use kube::runtime::reflector::{self, ObjectRef, Store};
use rtgw_config::pod::INTERNAL_PORT;
use tokio::sync::mpsc;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::api::Kubernetes;
use crate::apply::Failure;
use crate::gateway::{Gateway, Identity};
use crate::key::Signer;
use crate::lease::{Candidate, Term, Times};
use crate::notices::Notices;
use crate::observe::Memory;
use crate::observe::memory::Key;
use crate::observe::watch::{self, Lists, STREAMS, Scope};
use crate::probes::Health;
use crate::reconcile::{Context, reconcile};
use crate::rounds::Rounds;
use crate::settings::Settings;

/// Reconciliations at the same time.
const AT_ONCE: u16 = 16;
/// Changes that come together are one: a rollout tells of itself in many small steps.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// After the first failure; then twice as long each time.
const BACKOFF: Duration = Duration::from_secs(1);
/// Longest pause between tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);
/// How long reconciliations under way may take when the program is told to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// Wakings that wait; whoever wakes more waits with them.
const WAKINGS: usize = 1024;

const USER_AGENT: &str = concat!("rtgw-operator/", env!("CARGO_PKG_VERSION"));

/// What the program was started with.
pub struct Options {
    /// Namespaces that are looked after; none: all.
    pub namespaces: Vec<String>,
    /// Names this process among the candidates.
    pub instance: String,
    /// What shapes children; its keys are filled in here.
    pub settings: Settings,
}

struct Shared {
    context: Context,
    /// Whether this process leads and knows everything that is there.
    open: AtomicBool,
}

/// Looks after objects until `stop`.
///
/// # Errors
/// The cluster could not be used from the start, or this process does not lead any more and has to end at once.
pub async fn run(
    client: Client,
    options: Options,
    health: Health,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Options { namespaces, instance, mut settings } = options;
    let signer = Signer::open(&client, &settings.namespace).await?;
    settings.keys = signer.public().to_vec();
    let own_namespace = settings.namespace.clone();
    let (memory, term) = (Arc::new(Memory::default()), Term::default());
    let shared = Arc::new(Shared {
        context: Context {
            api: Kubernetes::new(client.clone(), term.clone()),
            memory: memory.clone(),
            settings,
            notices: Notices::new(client.clone(), &instance),
            metrics: health.metrics.clone(),
        },
        open: AtomicBool::new(false),
    });
    let scopes: Vec<Scope> =
        if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() };
    let lists = Lists::new(scopes.len() * STREAMS);
    let (mut stores, mut wakers, mut appliers) = (Vec::new(), Vec::new(), Vec::new());
    for scope in scopes {
        let (store, writer) = reflector::store();
        let (waker, woken) = mpsc::channel(WAKINGS);
        let seen = watch::all(&client, &scope, &memory, writer, &lists);
        let queue = stream::select(seen, received(woken)).take_until(stop.clone().cancelled_owned());
        appliers.push(tokio::spawn(apply(queue, store.clone(), shared.clone())));
        stores.push(store);
        wakers.push((scope, waker));
    }
    let mut candidate = Candidate::new(client, &own_namespace, &instance, Times::default());
    let led = lead(&mut candidate, &term, &shared, &lists, &health, (stores, wakers, Arc::new(signer)));
    tokio::select! {
        ended = led => return ended,
        () = stop.cancelled() => {}
    }
    // What is under way is finished while the Lease still holds; then another one may lead at once.
    let _ = time::timeout(FAREWELL, join_all(appliers)).await;
    candidate.release().await;
    Ok(())
}

type Scopes = (Vec<Store<Gateway>>, Vec<(Scope, mpsc::Sender<Key>)>, Arc<Signer>);

/// Waits for the Lease, opens the doors, and ends when it is lost.
async fn lead(
    candidate: &mut Candidate,
    term: &Term,
    shared: &Shared,
    lists: &Lists,
    health: &Health,
    (stores, wakers, signer): Scopes,
) -> anyhow::Result<()> {
    // A standby's caches are warm too: it takes over without reading everything first.
    let warm = async {
        lists.all().await;
        health.ready.store(true, Ordering::Relaxed);
    };
    let (epoch, ()) = futures_util::join!(candidate.acquire(), warm);
    tracing::info!(epoch, "leads");
    health.metrics.leads(true);
    let work = async {
        shared.open.store(true, Ordering::Relaxed);
        for gateway in stores.iter().flat_map(Store::state) {
            wake(&wakers, Key::of(&Identity::of(&gateway))).await;
        }
        let (waker, mut woken) = mpsc::channel(WAKINGS);
        let rounds = Rounds {
            objects: stores.clone(),
            memory: shared.context.memory.clone(),
            signer,
            port: INTERNAL_PORT,
            wake: waker,
            metrics: health.metrics.clone(),
        };
        let forward = async {
            while let Some(key) = woken.recv().await {
                wake(&wakers, key).await;
            }
        };
        futures_util::join!(rounds.run(), forward)
    };
    tokio::select! {
        () = candidate.hold(term) => {}
        _ = work => {}
    }
    shared.open.store(false, Ordering::Relaxed);
    health.metrics.leads(false);
    anyhow::bail!("the Lease is lost: another process may lead by now")
}

async fn wake(wakers: &[(Scope, mpsc::Sender<Key>)], key: Key) {
    let of = |scope: &Scope| scope.as_ref().is_none_or(|namespace| *namespace == key.namespace);
    if let Some((_, waker)) = wakers.iter().find(|(scope, _)| of(scope)) {
        let _ = waker.send(key).await;
    }
}

fn received(woken: mpsc::Receiver<Key>) -> impl Stream<Item = Key> {
    stream::unfold(woken, async |mut woken| woken.recv().await.map(|key| (key, woken)))
}

/// Reconciles what `queue` names until it ends.
async fn apply(queue: impl Stream<Item = Key> + Send + 'static, store: Store<Gateway>, shared: Arc<Shared>) {
    let requests = queue.map(|key| {
        let reference: ObjectRef<Gateway> = ObjectRef::new(&key.name).within(&key.namespace);
        Ok::<_, std::convert::Infallible>(ReconcileRequest::from(reference))
    });
    let config = controller::Config::default().concurrency(AT_ONCE).debounce(DEBOUNCE);
    let done = applier(
        |gateway: Arc<Gateway>, shared: Arc<Shared>| Box::pin(one(gateway, shared)),
        |gateway, error, shared| later(&gateway, error, &shared),
        shared,
        store,
        requests,
        config,
    );
    done.for_each(|ended| {
        // Objects that have gone are no error; failures were logged where the pause was chosen.
        if let Err(controller::Error::RunnerError(error)) = ended {
            tracing::error!(%error, "the queue of objects broke");
        }
        std::future::ready(())
    })
    .await;
}

async fn one(gateway: Arc<Gateway>, shared: Arc<Shared>) -> Result<Action, Failure> {
    if !shared.open.load(Ordering::Relaxed) || gateway.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let again = reconcile(&gateway, &shared.context).await?;
    shared.context.memory.failures(&Identity::of(&gateway), false);
    Ok(Action::requeue(again.0))
}

/// When to try again after a failure.
fn later(gateway: &Gateway, error: &Failure, shared: &Shared) -> Action {
    let identity = Identity::of(gateway);
    let failures = shared.context.memory.failures(&identity, true);
    tracing::warn!(%identity, failures, %error, "could not be reconciled and is tried again");
    Action::requeue(backoff(failures).mul_f64(1.0 + fastrand::f64() * 0.2))
}

fn backoff(failures: u32) -> Duration {
    BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_BACKOFF)
}

/// A client for the cluster that this program runs in, or that the kubeconfig names.
///
/// # Errors
/// There is neither.
pub async fn connect() -> anyhow::Result<Client> {
    let mut config =
        kube::Config::infer().await.context("no cluster: neither a service account nor a kubeconfig")?;
    // What fails is tried again here, by someone who asks first whether this process still leads.
    config.default_retry = false;
    // Audit logs name it.
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(USER_AGENT)));
    Client::try_from(config).context("no client for this cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_tries_grow_up_to_a_bound() {
        let pauses: Vec<u64> = [1, 2, 3, 9, 10, 1000].map(|failures| backoff(failures).as_secs()).to_vec();
        assert_eq!(pauses, [1, 2, 4, 256, 300, 300]);
    }
}
