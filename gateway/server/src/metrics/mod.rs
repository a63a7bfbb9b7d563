//! `/metrics`: numbers gathered from where they are counted, named by one table, written as OpenMetrics text.

mod catalog;
mod handshakes;
mod process;
mod reports;
mod scrape;

use std::sync::Arc;

pub use handshakes::Handshakes;
pub use process::cpu_seconds;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
pub use reports::Reports;
use rtgw_hub::Account;
use rtgw_protocol::wires::Wires;
use scrape::{Names, Scrape};

use crate::broker;
use crate::cluster::Others;
use crate::intake::{Counts, Room};
use crate::limits::{Census, Connections};
use crate::numbers::Numbers;
use crate::readiness::Readiness;
use crate::revocations::Revocations;
use crate::running::{ReloadResult, Running};
use crate::sources::SourceStatuses;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the numbers are.
pub struct MetricsParts {
    /// The running configuration.
    pub running: Arc<Running>,
    /// The shards' numbers.
    pub reports: Arc<Reports>,
    /// Handshakes.
    pub handshakes: Arc<Handshakes>,
    /// The pod's places.
    pub connections: Arc<Connections>,
    /// What came in.
    pub counts: Arc<Counts>,
    /// The pod's channels.
    pub room: Arc<Room>,
    /// What outboxes hold.
    pub memory: Arc<Account>,
    /// The broker, where it is one in Redis.
    pub broker: Option<Arc<broker::Switching>>,
    /// The encoder.
    pub wires: Arc<Wires>,
    /// How the sources are doing.
    pub sources: Arc<SourceStatuses>,
    /// The names of patterns and endpoints.
    pub numbers: Arc<Numbers>,
    /// The pod's state.
    pub readiness: Arc<Readiness>,
    /// Connections counted across pods.
    pub census: Option<Census>,
    /// What other pods say.
    pub others: Option<Arc<Others>>,
    /// What is revoked.
    pub revocations: Arc<Revocations>,
}

/// The page of numbers.
pub struct Metrics {
    parts: MetricsParts,
}

impl Metrics {
    /// The metrics of a pod.
    pub fn new(parts: MetricsParts) -> Self {
        Self { parts }
    }

    /// Everything of now, in the text format of OpenMetrics 1.0.
    ///
    /// # Errors
    /// Formatting into a string does not fail.
    pub async fn text(&self) -> Result<String, std::fmt::Error> {
        let running = &self.parts.running;
        let sources = self.parts.sources.all();
        let scrape = Scrape {
            names: Names::new(
                &self.parts.numbers,
                sources.iter().map(|(name, _)| name.to_string()).collect(),
            ),
            revision: running.load().revision.clone(),
            reloads: ReloadResult::ALL.map(|result| (result.as_str(), running.count(result))),
            reports: self.parts.reports.fresh().await,
            handshakes: self.parts.handshakes.counts(),
            counts: Arc::clone(&self.parts.counts),
            source_errors: sources.iter().map(|(_, source)| source.errors()).collect(),
            room: Arc::clone(&self.parts.room),
            memory: Arc::clone(&self.parts.memory),
            compressions: self.parts.wires.compressions(),
            capacity: self.parts.connections.capacity(),
            broker: self.parts.broker.clone(),
            broker_up: self.parts.readiness.delivering(),
            stage: self.parts.broker.as_ref().map(|broker| broker.stage().borrow().clone()),
            draining: self.parts.readiness.draining(),
            probe: self.parts.readiness.probe(),
            process: process::read(),
            decisions: self.parts.census.as_ref().map(Census::decisions),
            others: self.parts.others.clone(),
            revocations: self.parts.revocations.len() as u64,
            revocations_known: !self.parts.revocations.is_unread(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape));
        let mut out = String::with_capacity(8 * 1024);
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

/// The reference page of the metrics, from the same table.
pub fn reference() -> String {
    catalog::reference()
}
