//! What a shard counts: plain numbers, because only its own thread writes them.

use std::collections::BTreeMap;

use rtgw_model::{Bounds, CloseReason, EndpointIx, Histogram, Micros, RuleIx};

/// Counts since the start and gauges of now; plain numbers, read between turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Open connections, by endpoint.
    pub connections: Vec<u64>,
    /// Connections whose close is under way, by endpoint.
    pub closing: Vec<u64>,
    /// Held subscriptions, by rule.
    pub subscriptions: Vec<u64>,
    /// Channels with a member in this shard, by rule.
    pub channels: Vec<u64>,
    /// Numbers of rules given out when the shard last heard: the width of [`Counters::deliveries`].
    pub rules: usize,
    /// Publications put into outboxes, by `endpoint * rules + rule`; see [`Counters::delivered`].
    pub deliveries: Vec<u64>,
    /// From hearing a publication to having written it, by rule; see [`crate::Shard::written`].
    pub fan_out: Vec<Histogram>,
    /// Commands taken, by `(endpoint, intent name, "ok" or an error code)`.
    pub commands: BTreeMap<(u16, &'static str, &'static str), u64>,
    /// Ends of connections, by `(endpoint, code, reason)`; the code is 0 where none was seen and 4999 stands for a client's code
    /// outside the table, so that labels stay bounded.
    pub closes: BTreeMap<(u16, u16, &'static str), u64>,
    /// Publications that were meant for a connection and dropped, by `(rule, reason)`.
    pub dropped: BTreeMap<(u16, &'static str), u64>,
    /// Publications that a newer one of their key replaced before they were delivered, by rule.
    pub superseded: Vec<u64>,
    /// Gap markers put into outboxes, by `(rule, reason)`.
    pub gaps: BTreeMap<(u16, &'static str), u64>,
    /// Wishes to recover, by `(rule, "recovered" or why not)`.
    pub recoveries: BTreeMap<(u16, &'static str), u64>,
    /// Bytes waiting in the outboxes of blocked connections.
    pub outbound_bytes: u64,
    /// Publications waiting to be fanned out.
    pub waiting_publications: u64,
    /// Bytes of publications that wait for the interval of their key to end.
    pub held_bytes: u64,
}

impl Counters {
    pub(crate) fn new(endpoints: usize, rules: usize) -> Self {
        Self {
            connections: vec![0; endpoints],
            closing: vec![0; endpoints],
            subscriptions: vec![0; rules],
            channels: vec![0; rules],
            rules,
            deliveries: vec![0; endpoints * rules],
            fan_out: vec![Histogram::default(); rules],
            superseded: vec![0; rules],
            ..Self::default()
        }
    }

    /// Publications put into outboxes, as `(endpoint, rule, count)`, without those of nothing.
    pub fn delivered(&self) -> impl Iterator<Item = (EndpointIx, RuleIx, u64)> {
        let width = self.rules.max(1);
        let number = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
        self.deliveries
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(at, count)| (EndpointIx(number(at / width)), RuleIx(number(at % width)), *count))
    }

    /// Makes room for what a reload brought; nothing is forgotten.
    pub(crate) fn grow(&mut self, endpoints: usize, rules: usize) {
        let mut deliveries = vec![0; endpoints * rules];
        for (endpoint, rule, count) in self.delivered() {
            deliveries[usize::from(endpoint.0) * rules + usize::from(rule.0)] = count;
        }
        self.deliveries = deliveries;
        self.rules = rules;
        self.connections.resize(endpoints, 0);
        self.closing.resize(endpoints, 0);
        self.subscriptions.resize(rules, 0);
        self.channels.resize(rules, 0);
        self.superseded.resize(rules, 0);
        self.fan_out.resize_with(rules, Histogram::default);
    }

    pub(crate) fn command(&mut self, endpoint: EndpointIx, name: &'static str, result: &'static str) {
        *self.commands.entry((endpoint.0, name, result)).or_default() += 1;
    }

    pub(crate) fn close(&mut self, endpoint: EndpointIx, code: u16, reason: CloseReason) {
        *self.closes.entry((endpoint.0, code, reason.as_str())).or_default() += 1;
    }

    pub(crate) fn drop(&mut self, rule: RuleIx, reason: &'static str, count: u64) {
        *self.dropped.entry((rule.0, reason)).or_default() += count;
    }

    pub(crate) fn fanned_out(&mut self, rule: RuleIx, took: Micros) {
        if let Some(histogram) = self.fan_out.get_mut(usize::from(rule.0)) {
            histogram.observe(&Bounds::INSIDE, took);
        }
    }

    pub(crate) fn recovery(&mut self, rule: RuleIx, result: &'static str) {
        *self.recoveries.entry((rule.0, result)).or_default() += 1;
    }

    pub(crate) fn gap(&mut self, rule: RuleIx, reason: &'static str) {
        *self.gaps.entry((rule.0, reason)).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_forgets_nothing() {
        let mut counters = Counters::new(2, 2);
        counters.deliveries = vec![1, 0, 3, 4];
        counters.connections = vec![5, 6];
        counters.grow(3, 5);
        let delivered: Vec<_> = counters.delivered().map(|(e, r, count)| (e.0, r.0, count)).collect();
        assert_eq!(delivered, [(0, 0, 1), (1, 0, 3), (1, 1, 4)]);
        let lengths = (counters.channels.len(), counters.superseded.len(), counters.fan_out.len());
        assert_eq!((counters.connections, lengths), (vec![5, 6, 0], (5, 5, 5)));
    }
}
