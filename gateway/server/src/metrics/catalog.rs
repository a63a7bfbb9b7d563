//! The table of all metrics: their names are a contract with dashboards, alerts and the autoscaler.

use rtgw_model::{CloseCode, CloseReason};

use super::scrape::{Samples, Scrape};

/// Kinds of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts what took so long or less, in seconds.
    Histogram,
    /// Says something by its labels.
    Info,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What the text format adds to the registered name.
    fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Gauge | Self::Histogram => "",
            Self::Info => "_info",
        }
    }
}

/// One metric.
pub(super) struct Metric {
    /// As a query names it.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    pub(super) read: fn(&Scrape, &mut Samples),
}

impl Metric {
    /// The name without the suffix that the text format adds.
    pub(super) fn registered_name(&self) -> &'static str {
        self.name.strip_suffix(self.kind.suffix()).unwrap_or(self.name)
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Scrape, &mut Samples),
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, read }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Scrape, &mut Samples),
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, read }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Scrape, &mut Samples),
) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help, read }
}

/// Every metric, in the order of the page.
pub(super) const CATALOG: &[Metric] = &[
    gauge("rtgw_connections", &["endpoint"], "Open connections", |scrape, out| {
        scrape.by_endpoint(out, |report| &report.counters.connections);
    }),
    gauge("rtgw_connection_capacity", &[], "Connections that this pod may hold", |scrape, out| {
        out.add([], u64::from(scrape.capacity));
    }),
    counter(
        "rtgw_handshakes_total",
        &["endpoint", "result"],
        "Opening handshakes; the result is accepted or the code of the refusal",
        Scrape::handshakes,
    ),
    counter(
        "rtgw_closes_total",
        &["endpoint", "code", "reason"],
        "Ended connections; the reason is one of the table below, the code 0 where none was seen and 4999 for a client's own",
        Scrape::closes,
    ),
    gauge("rtgw_subscriptions", &["pattern"], "Held subscriptions", |scrape, out| {
        scrape.by_pattern(out, |report| &report.counters.subscriptions);
    }),
    gauge("rtgw_channels", &[], "Channels with a subscriber in this pod", |scrape, out| {
        out.add([], scrape.room.held() as u64);
    }),
    gauge(
        "rtgw_channel_capacity",
        &[],
        "Channels that this pod may carry (`limits.pod.channels`); above it a subscribe is answered `not_available`, a handshake \
         `channels_full`",
        |scrape, out| out.add([], scrape.room.capacity() as u64),
    ),
    counter(
        "rtgw_publications_total",
        &["source", "pattern"],
        "Publications that came in; the source is api, client or a source of the manifest",
        Scrape::publications,
    ),
    counter(
        "rtgw_deliveries_total",
        &["endpoint", "pattern"],
        "Publications put into outboxes of connections",
        Scrape::deliveries,
    ),
    counter(
        "rtgw_bytes_total",
        &["direction", "endpoint"],
        "Bytes read from and written to sockets",
        Scrape::bytes,
    ),
    counter(
        "rtgw_socket_writes_total",
        &[],
        "System calls that wrote to sockets; beside deliveries it shows how much leaves together",
        |scrape, out| out.add([], scrape.reports.iter().map(|report| report.sends).sum::<u64>()),
    ),
    counter(
        "rtgw_compressions_total",
        &[],
        "Messages compressed; a publication once for each way it is encoded, however many hear it",
        |scrape, out| out.add([], scrape.compressions),
    ),
    counter("rtgw_commands_total", &["endpoint", "type", "result"], "Commands of clients", Scrape::commands),
    counter(
        "rtgw_dropped_total",
        &["pattern", "reason"],
        "Publications that were meant for somebody and dropped",
        Scrape::dropped,
    ),
    counter(
        "rtgw_superseded_total",
        &["pattern"],
        "Publications that a newer one of their key replaced: before its turn, counted by each I/O shard with subscribers, or while it waited for a slow client",
        |scrape, out| scrape.by_pattern(out, |report| &report.counters.superseded),
    ),
    counter(
        "rtgw_recoveries_total",
        &["pattern", "result"],
        "Subscriptions that asked for what they missed",
        Scrape::recoveries,
    ),
    counter("rtgw_gaps_total", &["pattern", "reason"], "Gaps told to connections", Scrape::gaps),
    gauge(
        "rtgw_outbound_bytes",
        &[],
        "Memory held for sockets which take nothing: what waits, a shared frame counted once, and the queues themselves",
        |scrape, out| out.add([], scrape.memory.used()),
    ),
    gauge("rtgw_outbound_peak_bytes", &[], "The most that `rtgw_outbound_bytes` ever was", |scrape, out| {
        out.add([], scrape.memory.peak());
    }),
    gauge(
        "rtgw_outbound_budget_bytes",
        &[],
        "What it may be (`limits.pod.outboundMemoryPercent`): near it the connections that hold most are closed with 1013",
        |scrape, out| {
            if let Some(budget) = scrape.memory.budget() {
                out.add([], budget);
            }
        },
    ),
    histogram(
        "rtgw_fanout_seconds",
        &["pattern"],
        "From hearing a publication to having written it to the sockets of one I/O shard, full ones excepted; once per shard, not on channels whose policy lets them wait",
        Scrape::fan_out,
    ),
    histogram(
        "rtgw_end_to_end_seconds",
        &["source"],
        "Age of publications when they reach the I/O shards (for api and client: the broker), from the timestamp that the publisher \
         gave or a source's mapping found, else from when this pod heard it; clocks that disagree count between 0 and 1 h",
        Scrape::ages,
    ),
    gauge("rtgw_held_bytes", &[], "Bytes of publications that wait for their key's turn", |scrape, out| {
        out.add([], scrape.total(|report| report.counters.held_bytes));
    }),
    gauge("rtgw_broker_up", &["shard"], "1 while the broker carries probes", |scrape, out| {
        out.add(["0"], u64::from(scrape.broker_up));
    }),
    gauge(
        "rtgw_redis_written",
        &["redis"],
        "1 for the Redis that this pod writes, 0 for the other one while the gateway goes from `previous` to `external`",
        |scrape, out| {
            if let Some(stage) = &scrape.stage {
                out.add(["external"], u64::from(!stage.to_come));
                if stage.other.is_some() {
                    out.add(["previous"], u64::from(stage.to_come));
                }
            }
        },
    ),
    gauge(
        "rtgw_broker_probe_seconds",
        &["shard"],
        "How long the last probe took that came back",
        |scrape, out| {
            if let Some(probe) = scrape.probe {
                out.add(["0"], probe.as_secs_f64());
            }
        },
    ),
    counter(
        "rtgw_broker_reset_channels_total",
        &["shard"],
        "Channels in doubt: their positions stopped counting because Redis had lost what they were about; their subscribers were told a gap",
        |scrape, out| scrape.broker_count(out, |counts| &counts.reset),
    ),
    counter(
        "rtgw_broker_repaired_total",
        &["shard"],
        "Publications that had not arrived from Redis and were read from a history instead",
        |scrape, out| scrape.broker_count(out, |counts| &counts.repaired),
    ),
    counter(
        "rtgw_broker_malformed_total",
        &["shard"],
        "Messages in the broker's Redis that this version does not understand, and ignored",
        |scrape, out| scrape.broker_count(out, |counts| &counts.malformed),
    ),
    counter(
        "rtgw_limit_decisions_total",
        &["by"],
        "Admissions under limits that all pods count together; by all pods' counts (all), or by this pod's alone, because Redis could not be \
         asked (pod)",
        Scrape::decisions,
    ),
    counter(
        "rtgw_control_messages_total",
        &["result"],
        "Messages between pods: accepted, ignored (too_large, version, forged, malformed, stale, replayed, overflow) or unsent",
        Scrape::control_messages,
    ),
    gauge("rtgw_revocations", &[], "Revocations that this pod knows", |scrape, out| {
        out.add([], scrape.revocations);
    }),
    gauge(
        "rtgw_revocations_known",
        &[],
        "1 once the list of revocations was read, 0 while a pod that began without its Redis cannot know it",
        |scrape, out| out.add([], u64::from(scrape.revocations_known)),
    ),
    counter(
        "rtgw_source_errors_total",
        &["source", "reason"],
        "Lost connections of a source, and messages that did not become a publication",
        Scrape::source_errors,
    ),
    Metric {
        name: "rtgw_config_revision_info",
        kind: Kind::Info,
        labels: &["revision"],
        help: "The configuration that runs",
        read: |scrape, out| out.add([&*scrape.revision], 1),
    },
    counter(
        "rtgw_config_reloads_total",
        &["result"],
        "Configurations that were read after the start: accepted, refused (the old one goes on) or ignored (an older generation)",
        |scrape, out| scrape.reloads.iter().for_each(|(result, count)| out.add([*result], *count)),
    ),
    gauge("rtgw_delivering", &[], "1 while this pod can deliver", |scrape, out| {
        out.add([], u64::from(scrape.broker_up));
    }),
    gauge("rtgw_draining", &[], "1 while this pod closes its connections to end", |scrape, out| {
        out.add([], u64::from(scrape.draining));
    }),
    gauge("process_resident_memory_bytes", &[], "Resident memory", |scrape, out| {
        if let Some(bytes) = scrape.process.resident {
            out.add([], bytes);
        }
    }),
    counter("process_cpu_seconds_total", &[], "CPU time used", |scrape, out| {
        if let Some(seconds) = scrape.process.cpu {
            out.add([], seconds);
        }
    }),
    gauge("process_open_fds", &[], "Open file descriptors", |scrape, out| {
        if let Some(count) = scrape.process.open_fds {
            out.add([], count);
        }
    }),
    gauge("process_max_fds", &[], "Most open file descriptors", |scrape, out| {
        if let Some(count) = scrape.process.max_fds {
            out.add([], count);
        }
    }),
];

/// The reference page.
pub(super) fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` on the internal listener, as OpenMetrics text. Labels come from the manifest or from fixed tables, never \
         from clients or channels: `endpoint` and `source` are names of the manifest, `pattern` is a channel rule's pattern.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in CATALOG {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        page += &format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind.word(),
            labels.join(", "),
            metric.help
        );
    }
    page += "\n## Reasons of `rtgw_closes_total`\n\n| reason | usual codes | meaning |\n|---|---|---|\n";
    for reason in CloseReason::ALL {
        let codes = CloseCode::ALL.iter().filter(|code| code.usual_reason() == *reason);
        let codes: Vec<String> = codes.map(|code| code.code().to_string()).collect();
        page += &format!("| `{}` | {} | {} |\n", reason.as_str(), codes.join(", "), reason.meaning());
    }
    page
}
