//! Goes round all gateways and asks their pods, often while one of them is awaited and seldom otherwise. A gateway is only looked at again
//! where a decision may be another: a thousand gateways are asked without a single reconciliation.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use kube::runtime::reflector::Store;
use tokio::sync::mpsc;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::asking;
use crate::gateway::{Gateway, Identity};
use crate::key::Signer;
use crate::metrics::Metrics;
use crate::observe::memory::{Asked, Key};
use crate::observe::{Heard, Memory};

/// How often what is awaited is asked.
const OFTEN: Duration = Duration::from_millis(500);
/// Every so many rounds everyone is asked.
const SELDOM: u32 = 20;
/// Pods that are asked at the same time.
const AT_ONCE: usize = 64;

/// What the rounds need.
pub struct Rounds {
    /// The objects, one store for each scope.
    pub objects: Vec<Store<Gateway>>,
    /// Where answers go.
    pub memory: Arc<Memory>,
    /// Signs the questions.
    pub signer: Arc<Signer>,
    /// The pods' internal port.
    pub port: u16,
    /// Gateways to be looked at again.
    pub wake: mpsc::Sender<Key>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

struct Question {
    key: Key,
    pod: Asked,
    token: Arc<str>,
}

impl Rounds {
    /// Goes round until the receiver of [`Self::wake`] has gone.
    pub async fn run(self) {
        let mut ticks = time::interval(OFTEN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut round: u32 = 0;
        loop {
            ticks.tick().await;
            self.round(round.is_multiple_of(SELDOM)).await;
            round = round.wrapping_add(1);
            if self.wake.is_closed() {
                return;
            }
        }
    }

    async fn round(&self, everyone: bool) {
        let mut questions = Vec::new();
        let objects: Vec<Arc<Gateway>> = self.objects.iter().flat_map(Store::state).collect();
        self.metrics.objects(objects.len());
        for gateway in &objects {
            let identity = Identity::of(gateway);
            let (pods, awaited) = self.memory.to_ask(&identity);
            if pods.is_empty() || !(everyone || awaited) {
                continue;
            }
            let token: Arc<str> = self.signer.token(&identity.uid, SystemTime::now()).into();
            let key = Key::of(&identity);
            questions.extend(pods.into_iter().map(|pod| Question {
                key: key.clone(),
                pod,
                token: token.clone(),
            }));
        }
        let asked = stream::iter(questions).map(|question| self.ask(question)).buffer_unordered(AT_ONCE);
        asked.for_each(|()| std::future::ready(())).await;
        for gateway in &objects {
            let identity = Identity::of(gateway);
            if self.memory.counters_are_stale(&identity, Instant::now()) {
                let _ = self.wake.send(Key::of(&identity)).await;
            }
        }
    }

    async fn ask(&self, Question { key, pod, token }: Question) {
        let Ok(address) = pod.ip.parse::<IpAddr>() else { return };
        let heard = match asking::ask(address, self.port, &token).await {
            // An address may be another pod's by now.
            Ok(report) if report.uid.as_deref() == Some(&*pod.uid) => Some(Heard::of(report, Instant::now())),
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(gateway = %format_args!("{}/{}", key.namespace, key.name), %address, %error, "a pod did not report");
                None
            }
        };
        self.metrics.asked(heard.is_some());
        if self.memory.heard(&key, &pod.uid, heard) {
            let _ = self.wake.send(key).await;
        }
    }
}
