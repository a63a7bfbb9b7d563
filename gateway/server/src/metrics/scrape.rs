//! One moment's numbers, and how each metric is read out of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use rtgw_hub::Account;
use rtgw_model::{Bounds, Histogram, Micros, RuleIx};

use super::catalog::{CATALOG, Kind, Metric};
use super::process::Process;
use crate::broker;
use crate::cluster::Others;
use crate::intake::{Counts, DropReason, Origin, Room};
use crate::numbers::Numbers;
use crate::transport::ShardReport;

/// The manifests' names, by number: the only texts that become labels besides fixed tables.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) endpoints: Vec<Arc<str>>,
    pub(super) patterns: Vec<Arc<str>>,
    pub(super) sources: Vec<String>,
}

impl Names {
    pub(super) fn new(numbers: &Numbers, sources: Vec<String>) -> Self {
        Self { endpoints: numbers.endpoints(), patterns: numbers.patterns(), sources }
    }

    fn endpoint(&self, index: usize) -> &str {
        self.endpoints.get(index).map_or("", |name| name)
    }

    fn pattern(&self, index: usize) -> &str {
        self.patterns.get(index).map_or("", |name| name)
    }
}

/// One moment's numbers.
pub(super) struct Scrape {
    pub(super) names: Names,
    pub(super) revision: String,
    /// Reloads by their results.
    pub(super) reloads: [(&'static str, u64); 3],
    pub(super) reports: Arc<[ShardReport]>,
    pub(super) handshakes: Vec<BTreeMap<&'static str, u64>>,
    pub(super) counts: Arc<Counts>,
    pub(super) source_errors: Vec<BTreeMap<&'static str, u64>>,
    pub(super) room: Arc<Room>,
    pub(super) memory: Arc<Account>,
    pub(super) compressions: u64,
    pub(super) capacity: u32,
    pub(super) broker: Option<Arc<broker::Switching>>,
    pub(super) broker_up: bool,
    pub(super) stage: Option<broker::Stage>,
    pub(super) draining: bool,
    pub(super) probe: Option<Duration>,
    pub(super) process: Process,
    /// Admissions decided by the counts of all pods, and by this one's alone.
    pub(super) decisions: Option<(u64, u64)>,
    pub(super) others: Option<Arc<Others>>,
    pub(super) revocations: u64,
    pub(super) revocations_known: bool,
}

/// The samples of one metric: label values in the table's order, and the value.
#[derive(Default)]
pub(super) struct Samples(Vec<(Vec<String>, Value)>);

#[derive(Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    Spread(Histogram, &'static Bounds),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Samples {
    pub(super) fn add<const N: usize>(&mut self, labels: [&str; N], value: impl Into<Value>) {
        self.0.push((labels.map(str::to_owned).into(), value.into()));
    }
}

impl Scrape {
    /// The sum over the shards of a list by endpoint or rule.
    fn sums(&self, of: fn(&ShardReport) -> &[u64], len: usize) -> Vec<u64> {
        let mut sums = vec![0; len];
        for report in self.reports.iter() {
            for (sum, value) in sums.iter_mut().zip(of(report)) {
                *sum += value;
            }
        }
        sums
    }

    /// The sum over the shards of a map.
    fn merged<K: Ord + Copy>(&self, of: fn(&ShardReport) -> &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
        let mut merged = BTreeMap::new();
        for (key, value) in self.reports.iter().flat_map(of) {
            *merged.entry(*key).or_default() += value;
        }
        merged
    }

    pub(super) fn by_endpoint(&self, out: &mut Samples, of: fn(&ShardReport) -> &[u64]) {
        for (index, value) in self.sums(of, self.names.endpoints.len()).into_iter().enumerate() {
            out.add([self.names.endpoint(index)], value);
        }
    }

    pub(super) fn by_pattern(&self, out: &mut Samples, of: fn(&ShardReport) -> &[u64]) {
        for (index, value) in self.sums(of, self.names.patterns.len()).into_iter().enumerate() {
            out.add([self.names.pattern(index)], value);
        }
    }

    fn by_pattern_and_reason(&self, out: &mut Samples, counts: BTreeMap<(u16, &'static str), u64>) {
        for ((rule, reason), value) in counts {
            out.add([self.names.pattern(usize::from(rule)), reason], value);
        }
    }

    pub(super) fn fan_out(&self, out: &mut Samples) {
        for (rule, pattern) in self.names.patterns.iter().enumerate() {
            let mut all = Histogram::default();
            self.reports
                .iter()
                .filter_map(|report| report.counters.fan_out.get(rule))
                .for_each(|of| all.add(of));
            out.add([pattern], Value::Spread(all, &Bounds::INSIDE));
        }
    }

    pub(super) fn ages(&self, out: &mut Samples) {
        for (source, origin) in self.origins() {
            out.add([source], Value::Spread(self.counts.ages(origin), &Bounds::BETWEEN));
        }
    }

    /// Every value of the label `source`.
    fn origins(&self) -> impl Iterator<Item = (&str, Origin)> {
        let sources = self.names.sources.iter().zip(0_u16..);
        let sources = sources.map(|(name, index)| (name.as_str(), Origin::Source(index)));
        [("api", Origin::Api), ("client", Origin::Client)].into_iter().chain(sources)
    }

    pub(super) fn total(&self, of: fn(&ShardReport) -> u64) -> u64 {
        self.reports.iter().map(of).sum()
    }

    pub(super) fn deliveries(&self, out: &mut Samples) {
        let mut sums: BTreeMap<_, u64> = BTreeMap::new();
        for (endpoint, rule, count) in self.reports.iter().flat_map(|report| report.counters.delivered()) {
            *sums.entry((endpoint, rule)).or_default() += count;
        }
        for ((endpoint, rule), value) in sums {
            let labels = [self.names.endpoint(endpoint.0.into()), self.names.pattern(rule.0.into())];
            out.add(labels, value);
        }
    }

    pub(super) fn bytes(&self, out: &mut Samples) {
        let endpoints = self.names.endpoints.len();
        let read = self.sums(|report| &report.bytes_in, endpoints);
        let written = self.sums(|report| &report.bytes_out, endpoints);
        for (direction, sums) in [("in", read), ("out", written)] {
            for (index, value) in sums.into_iter().enumerate() {
                out.add([direction, self.names.endpoint(index)], value);
            }
        }
    }

    pub(super) fn publications(&self, out: &mut Samples) {
        for (source, origin) in self.origins() {
            for (pattern, rule) in self.names.patterns.iter().zip(0_u16..) {
                out.add([source, pattern], self.counts.publications(origin, RuleIx(rule)));
            }
        }
    }

    /// What was dropped before a shard took it, and by the shards.
    pub(super) fn dropped(&self, out: &mut Samples) {
        let mut dropped = self.merged(|report| &report.counters.dropped);
        for rule in (0_u16..).take(self.names.patterns.len()) {
            for reason in DropReason::ALL {
                let count = self.counts.dropped(RuleIx(rule), reason);
                if count > 0 {
                    *dropped.entry((rule, reason.as_str())).or_default() += count;
                }
            }
        }
        self.by_pattern_and_reason(out, dropped);
    }

    pub(super) fn recoveries(&self, out: &mut Samples) {
        self.by_pattern_and_reason(out, self.merged(|report| &report.counters.recoveries));
    }

    pub(super) fn gaps(&self, out: &mut Samples) {
        self.by_pattern_and_reason(out, self.merged(|report| &report.counters.gaps));
    }

    pub(super) fn commands(&self, out: &mut Samples) {
        for ((endpoint, name, result), value) in self.merged(|report| &report.counters.commands) {
            out.add([self.names.endpoint(usize::from(endpoint)), name, result], value);
        }
    }

    pub(super) fn closes(&self, out: &mut Samples) {
        for ((endpoint, code, by), value) in self.merged(|report| &report.counters.closes) {
            out.add([self.names.endpoint(usize::from(endpoint)), &code.to_string(), by], value);
        }
    }

    pub(super) fn source_errors(&self, out: &mut Samples) {
        for (name, errors) in self.names.sources.iter().zip(&self.source_errors) {
            for (reason, value) in errors {
                out.add([name, reason], *value);
            }
        }
    }

    /// What a broker in Redis counts; nothing for one in memory, which loses nothing.
    pub(super) fn broker_count(&self, out: &mut Samples, of: fn(&broker::Counts) -> &AtomicU64) {
        if let Some(broker) = &self.broker {
            out.add(["0"], of(broker.counts()).load(Ordering::Relaxed));
        }
    }

    pub(super) fn decisions(&self, out: &mut Samples) {
        if let Some((all, own)) = self.decisions {
            out.add(["all"], all);
            out.add(["pod"], own);
        }
    }

    pub(super) fn control_messages(&self, out: &mut Samples) {
        let Some(others) = &self.others else { return };
        out.add(["accepted"], others.accepted());
        for (reason, count) in others.ignored() {
            out.add([reason], count);
        }
        out.add(["unsent"], others.unsent());
    }

    pub(super) fn handshakes(&self, out: &mut Samples) {
        for (index, results) in self.handshakes.iter().enumerate() {
            for (result, value) in results {
                out.add([self.names.endpoint(index), result], *value);
            }
        }
    }
}

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for metric in CATALOG {
            let mut samples = Samples::default();
            (metric.read)(self, &mut samples);
            if samples.0.is_empty() {
                continue;
            }
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let described = encoder.encode_descriptor(metric.registered_name(), metric.help, None, kind)?;
            write(metric, &samples, described)?;
        }
        Ok(())
    }
}

fn write(metric: &Metric, samples: &Samples, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
    for (values, value) in &samples.0 {
        let labels: Vec<(&str, &str)> =
            metric.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
        let labels = labels.as_slice();
        match metric.kind {
            Kind::Info => encoder.encode_info(&labels)?,
            // A set without labels would be written as empty braces.
            kind if labels.is_empty() => write_value(kind, *value, &mut encoder)?,
            kind => write_value(kind, *value, &mut encoder.encode_family(&labels)?)?,
        }
    }
    Ok(())
}

fn write_value(kind: Kind, value: Value, encoder: &mut MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
    match (kind, value) {
        (_, Value::Spread(histogram, bounds)) => write_histogram(&histogram, bounds, encoder),
        (Kind::Counter, Value::Whole(value)) => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        (Kind::Counter, Value::Real(value)) => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
        (_, Value::Whole(value)) => encoder.encode_gauge(&value),
        (_, Value::Real(value)) => encoder.encode_gauge(&value),
    }
}

fn write_histogram(
    histogram: &Histogram,
    bounds: &Bounds,
    encoder: &mut MetricEncoder<'_>,
) -> Result<(), std::fmt::Error> {
    let seconds = |Micros(micros): Micros| micros as f64 / 1e6;
    let ends = bounds.0.iter().copied().map(seconds).chain([f64::INFINITY]);
    // The encoder adds the classes up.
    let buckets: Vec<(f64, u64)> = ends.zip(histogram.counts).collect();
    let count = histogram.counts.iter().sum();
    encoder.encode_histogram::<NoLabelSet>(seconds(histogram.sum), count, &buckets, None)
}
