//! What Prometheus reads of the operator. Labels come from fixed tables.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Seconds; a reconciliation that changes nothing takes milliseconds, one that makes everything a second.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciliations: Family<Ended, Counter>,
    seconds: Histogram,
    writes: Counter,
    reports: Family<Ended, Counter>,
    objects: Gauge,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("rtgw_operator");
        let reconciliations = Family::default();
        registry.register(
            "reconciliations",
            "Reconciliations, by how they ended: done, stalled, failed",
            reconciliations.clone(),
        );
        let seconds = Histogram::new(BUCKETS);
        registry.register("reconcile_seconds", "How long a reconciliation took", seconds.clone());
        let writes = Counter::default();
        registry.register("writes", "Requests that changed something", writes.clone());
        let reports = Family::default();
        registry.register(
            "pod_reports",
            "Questions to pods, by how they ended: heard, silent",
            reports.clone(),
        );
        let objects = Gauge::default();
        registry.register("objects", "RealtimeGateways", objects.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 while this process leads", leader.clone());
        Self { registry, reconciliations, seconds, writes, reports, objects, leader }
    }
}

impl Metrics {
    /// A reconciliation ended.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.reconciliations.get_or_create(&Ended { result }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// So many requests changed something.
    pub fn wrote(&self, requests: u32) {
        self.writes.inc_by(requests.into());
    }

    /// A pod was asked.
    pub fn asked(&self, heard: bool) {
        self.reports.get_or_create(&Ended { result: if heard { "heard" } else { "silent" } }).inc();
    }

    /// How many objects there are.
    pub fn objects(&self, objects: usize) {
        self.objects.set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// All of them in the text format of OpenMetrics.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Never fails: it writes into memory.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
