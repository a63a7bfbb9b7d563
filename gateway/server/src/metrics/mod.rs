//! `/metrics`: numbers gathered from where they are counted, named by one table, written as OpenMetrics text.

mod catalog;
mod handshakes;
mod process;
mod reports;
mod scrape;

use std::sync::Arc;

pub use handshakes::Handshakes;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
pub use reports::Reports;
use rtgw_config::checked::Checked;
use scrape::{Names, Scrape};

use crate::limits::Connections;
use crate::readiness::Readiness;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the numbers are.
pub struct Metrics {
    names: Arc<Names>,
    revision: String,
    reports: Arc<Reports>,
    handshakes: Arc<Handshakes>,
    connections: Arc<Connections>,
    readiness: Arc<Readiness>,
}

impl Metrics {
    /// The metrics of a pod that runs `config`, whose content is known as `revision`.
    pub fn new(
        config: &Checked,
        revision: String,
        reports: Arc<Reports>,
        handshakes: Arc<Handshakes>,
        connections: Arc<Connections>,
        readiness: Arc<Readiness>,
    ) -> Self {
        Self { names: Arc::new(Names::new(config)), revision, reports, handshakes, connections, readiness }
    }

    /// Everything of now, in the text format of OpenMetrics 1.0.
    ///
    /// # Errors
    /// Formatting into a string does not fail.
    pub async fn text(&self) -> Result<String, std::fmt::Error> {
        let scrape = Scrape {
            names: Arc::clone(&self.names),
            revision: self.revision.clone(),
            reports: self.reports.fresh().await,
            handshakes: self.handshakes.counts(),
            capacity: self.connections.capacity(),
            broker_up: self.readiness.delivering(),
            draining: self.readiness.draining(),
            probe: self.readiness.probe(),
            process: process::read(),
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
