//! `rtgw bench`: what a socket and a delivery cost, each beside its floor in the same run.
//!
//! Every server under test is a process of its own, so that its memory and CPU are the kernel's figures; this process plays the
//! clients and the publisher. The floor is the least a server could do: one thread that makes one `send` per delivery.

mod admission;
mod child;
mod compression;
mod deliveries;
mod flooder;
mod floods;
mod floor;
mod frames;
mod issuer;
mod memory;
mod process;
mod publisher;
mod receivers;
mod recovery;
mod redis;
mod report;
mod slow;

use super::Failure;
use report::Report;

/// Measures this machine; `make bench` runs every row.
///
/// Example: rtgw bench --row fan-out --rounds 5
#[derive(Debug, clap::Args)]
pub(super) struct Bench {
    /// Only these rows; repeat for more. Without it all of them.
    #[arg(long, value_enum, value_name = "ROW")]
    row: Vec<Row>,
    /// Interleaved rounds of each row that is compared with a floor; the median counts.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Seconds of each round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Connections of the rows about memory and idleness.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Plays the floor instead of measuring; used by the benchmark itself.
    #[arg(long, hide = true, value_name = "PORT")]
    floor: Option<u16>,
}

/// Rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    /// Memory and CPU of connections that do nothing.
    Idle,
    /// CPU per delivery, writes per delivery and latency at a fan-out of 1,000.
    FanOut,
    /// The same with 16 publications a turn.
    Batched,
    /// 1,000 connections on 1,000 channels.
    OwnChannels,
    /// How often a publication is compressed.
    Compression,
    /// TCP, upgrade, and each way to know who a client is.
    Admission,
    /// The p99 of those who behave beside floods of bad tokens, half handshakes and commands.
    Floods,
    /// Memory held for clients that stop reading, and the p99 of the others.
    Slow,
    /// Admissions under a limit that is counted in Redis.
    Counted,
    /// Clients that come back to one channel and recover it, beside as many that subscribe.
    Recovery,
}

impl Bench {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let Some(port) = self.floor {
            return Ok(floor::serve(port)?);
        }
        let wanted = |row| self.row.is_empty() || self.row.contains(&row);
        let mut report = Report::start()?;
        if wanted(Row::Idle) {
            memory::measure(&self, &mut report)?;
        }
        if wanted(Row::FanOut) || wanted(Row::Batched) {
            deliveries::shared_channel(&self, &mut report, wanted(Row::FanOut), wanted(Row::Batched))?;
        }
        if wanted(Row::OwnChannels) {
            deliveries::own_channels(&self, &mut report)?;
        }
        if wanted(Row::Compression) {
            compression::measure(&mut report)?;
        }
        if wanted(Row::Admission) {
            admission::measure(&self, &mut report)?;
        }
        if wanted(Row::Floods) {
            floods::measure(&self, &mut report)?;
        }
        if wanted(Row::Slow) {
            slow::measure(&self, &mut report)?;
        }
        if wanted(Row::Counted) {
            admission::counted(&self, &mut report)?;
        }
        if wanted(Row::Recovery) {
            recovery::measure(&self, &mut report)?;
        }
        Ok(report.print()?)
    }
}
