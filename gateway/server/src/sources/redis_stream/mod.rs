//! A Redis stream as a source: pods share its entries as consumers of one group, and each acknowledges what the broker has taken.
//!
//! **At least once.** An entry is acknowledged after its publication, so whatever happens in between it is given to somebody again: to
//! this consumer after a reconnect, to another once this one has not been heard of for a while. **Once for clients**, because each
//! publication carries a key made of the entry's id. **No stop**: an entry that cannot be published is copied to a stream beside, and
//! those behind it go on.

mod entry;
mod group;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use entry::Entry;
use group::{BATCH, Failure, Found, Given, Group};
use rtgw_config::checked;
use rtgw_model::GapReason;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::one_pod::Lease;
use super::status::SourceStatus;
use super::{BrokerFeed, Concerned, Mapping, NotFed, Once, SourceSink};
use crate::clock;
use crate::expressions::{DropReason, Mapped, Origin, SourceMessage};
use crate::redis_link::{Address, Backoff, Quiet};

/// An entry that was given more often has ended those who had it.
const MOST_DELIVERIES: i64 = 5;
/// How often what dead consumers hold is looked for.
const CLAIM_EVERY: Duration = Duration::from_secs(2);
/// How often consumers that have ended are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(300);
/// How often a consumer says that it works on what it holds, while that takes long.
const HOLD_EVERY: Duration = Duration::from_secs(2);
/// A connection that held so long was good: the next loss starts with the shortest delay.
const SETTLED: Duration = Duration::from_secs(5);
/// How long the broker may take for one publication until it is asked again.
const BROKER: Duration = Duration::from_secs(5);

/// A Redis stream, read by one consumer.
#[derive(Clone)]
pub struct RedisStream {
    /// Its place in the configuration.
    pub index: u16,
    /// Its name.
    pub name: String,
    /// What is read.
    pub stream: checked::RedisStream,
    /// The Redis.
    pub address: Address,
    /// This process, unlike every other ([`consumer`]).
    pub consumer: String,
    /// The key where gaps are announced to every pod that reads the stream.
    pub announcements: String,
    /// Message to publication.
    pub mapping: Mapping,
    /// Whom a gap concerns ([`super::concerned`]).
    pub concerned: Concerned,
    /// Whose turn it is to read (`ingest: OnePod`).
    pub lease: Option<Lease>,
    /// Where gaps are told.
    pub sink: Arc<dyn SourceSink>,
    /// Where publications go.
    pub feed: Arc<dyn BrokerFeed>,
    /// How it is doing; shared with readiness and metrics.
    pub status: Arc<SourceStatus>,
}

/// A consumer's name that no other process has, with `host` for people.
pub fn consumer(host: &str) -> String {
    let host: String =
        host.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '-').take(64).collect();
    format!("{}{host}-{:08x}", group::CONSUMER, fastrand::u32(..))
}

/// What became of an entry.
enum Verdict {
    /// The broker has it.
    Published,
    /// No rule wants it.
    Unwanted(&'static str),
    /// It cannot be published.
    Poison(&'static str),
    /// The broker is away.
    NotYet(String),
}

/// What a connection leaves behind for the next.
#[derive(Default)]
struct Memory {
    /// Where the group was last known to be.
    place: Option<String>,
    log: Quiet,
    dropped: Quiet,
}

impl RedisStream {
    /// Reads and publishes until `stop`, then gives back what it holds; never gives up.
    pub async fn run(&self, stop: &CancellationToken) {
        let (mut backoff, mut memory) = (Backoff::default(), Memory::default());
        while !stop.is_cancelled() {
            let since = Instant::now();
            let ended = self.session(stop, &mut memory).await;
            self.status.set_up(false);
            let Err(failure) = ended else { break };
            if since.elapsed() >= SETTLED {
                backoff.reset();
            }
            let reason = failure.reason();
            self.status.count_error(reason);
            if memory.log.speaks(reason) {
                let advice =
                    if let Failure::Trouble(trouble) = &failure { trouble.advice() } else { "trying again" };
                tracing::warn!(source = self.name, redis = %self.address, error = %failure, reason,
                    "the source reads nothing: {advice}");
            }
            stop.run_until_cancelled(sleep(backoff.delay())).await;
        }
    }

    /// One connection, until it is lost or `stop`.
    async fn session(&self, stop: &CancellationToken, memory: &mut Memory) -> Result<(), Failure> {
        let mut group =
            Group::connect(&self.address, &self.stream, &self.consumer, &self.announcements).await?;
        self.open(&mut group, memory).await?;
        self.status.set_up(true);
        memory.log.end();
        tracing::info!(source = self.name, redis = %self.address, stream = self.stream.key, "the source reads");
        loop {
            match self.read(&mut group, stop, memory).await {
                // Somebody emptied Redis, or removed the stream or the group.
                Err(Failure::Lost) => {
                    self.status.count_error(Failure::Lost.reason());
                    self.open(&mut group, memory).await?;
                }
                other => break other?,
            }
        }
        group.give_back().await
    }

    async fn open(&self, group: &mut Group<'_>, memory: &Memory) -> Result<(), Failure> {
        let (found, announced) = group.open(memory.place.as_deref()).await?;
        self.status.begins(&self.announcements, &announced);
        match found {
            Found::There => {}
            Found::Made => {
                tracing::info!(source = self.name, group = self.stream.group, "the group was made");
                // What was added before, clients that are there already have missed.
                self.tell(GapReason::SourceReconnected).await;
            }
            Found::Lost => tracing::warn!(
                source = self.name,
                group = self.stream.group,
                "the group had gone, with what it held; it was made again and a gap is told"
            ),
        }
        Ok(())
    }

    async fn read(
        &self,
        group: &mut Group<'_>,
        stop: &CancellationToken,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        self.take_up(group, stop, memory).await?;
        let (mut claim_at, mut sweep_at) = (Instant::now(), Instant::now() + SWEEP_EVERY);
        while !stop.is_cancelled() {
            if Instant::now() >= claim_at {
                self.take_over(group, stop, memory).await?;
                // Not in step with other pods.
                claim_at = Instant::now() + CLAIM_EVERY.mul_f64(0.75 + fastrand::f64() / 2.0);
            }
            if Instant::now() >= sweep_at {
                group.sweep().await?;
                sweep_at = Instant::now() + SWEEP_EVERY;
            }
            let (given, place) = group.read().await?;
            memory.place = Some(place);
            self.note(&given).await;
            let waits = given.entries.is_empty();
            let entries = if waits { group.wait().await? } else { given.entries };
            self.publish_all(group, entries, stop, memory).await?;
        }
        Ok(())
    }

    /// What this consumer was given over a connection that was lost.
    async fn take_up(
        &self,
        group: &mut Group<'_>,
        stop: &CancellationToken,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        let mut after = None;
        loop {
            let given = group.own(after.as_deref()).await?;
            self.note(&given).await;
            after = given.cursor;
            self.publish_all(group, given.entries, stop, memory).await?;
            if after.is_none() || stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    /// What consumers hold that have not been heard of.
    async fn take_over(
        &self,
        group: &mut Group<'_>,
        stop: &CancellationToken,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        let mut cursor = Some("0-0".to_owned());
        while let Some(from) = cursor
            && !stop.is_cancelled()
        {
            let given = group.claim(&from).await?;
            self.note(&given).await;
            if !given.entries.is_empty() {
                tracing::info!(
                    source = self.name,
                    entries = given.entries.len(),
                    "entries of others are taken over"
                );
            }
            cursor = given.cursor;
            self.publish_all(group, given.entries, stop, memory).await?;
        }
        Ok(())
    }

    /// Counts what was trimmed, and tells this pod's clients of a gap that any pod has announced.
    async fn note(&self, given: &Given) {
        if given.trimmed > 0 {
            self.status.count_errors("trimmed", given.trimmed);
            tracing::warn!(
                source = self.name,
                entries = given.trimmed,
                "entries were trimmed from the stream before they were published"
            );
        }
        if let Some(announced) = &given.announced
            && let Some(reason) = self.status.heard(&self.announcements, announced)
        {
            self.tell(reason).await;
        }
    }

    async fn tell(&self, reason: GapReason) {
        self.sink.gap((self.concerned)(), reason);
        // Pods that wait for their turn ask the stream nothing.
        if let Some(lease) = &self.lease {
            lease.announce(reason).await;
        }
    }

    /// Publishes entries in their order and acknowledges those that are done with. While the broker is away it waits, and says so.
    async fn publish_all(
        &self,
        group: &mut Group<'_>,
        entries: Vec<Entry>,
        stop: &CancellationToken,
        memory: &mut Memory,
    ) -> Result<(), Failure> {
        let mut done = Vec::with_capacity(BATCH.min(entries.len()));
        let (mut held, mut backoff) = (Instant::now(), Backoff::default());
        for entry in entries {
            if stop.is_cancelled() || self.lease.as_ref().is_some_and(|lease| !lease.holds()) {
                break;
            }
            self.status.count_received();
            loop {
                let reason = match self.publish(&entry).await {
                    Verdict::Published => {
                        done.push(entry.id);
                        break;
                    }
                    Verdict::Unwanted(reason) => {
                        self.dropped(memory, &entry, reason);
                        done.push(entry.id);
                        break;
                    }
                    Verdict::Poison(reason) => {
                        if self.set_aside(group, &entry, reason, memory).await? {
                            done.push(entry.id);
                        }
                        break;
                    }
                    Verdict::NotYet(reason) => reason,
                };
                self.status.count_error("broker");
                if memory.dropped.speaks("broker") {
                    tracing::warn!(
                        source = self.name,
                        error = reason,
                        "the broker does not take an entry; trying again"
                    );
                }
                group.acknowledge(&std::mem::take(&mut done)).await?;
                group.hold().await?;
                held = Instant::now();
                if stop.run_until_cancelled(sleep(backoff.delay())).await.is_none() {
                    return Ok(());
                }
            }
            if held.elapsed() >= HOLD_EVERY {
                group.acknowledge(&std::mem::take(&mut done)).await?;
                group.hold().await?;
                held = Instant::now();
            }
        }
        group.acknowledge(&done).await
    }

    async fn publish(&self, entry: &Entry) -> Verdict {
        if entry.deliveries > MOST_DELIVERIES {
            return Verdict::Poison("too_many_deliveries");
        }
        let payload = match entry.message() {
            Ok(payload) => payload,
            Err(reason) => return Verdict::Poison(reason),
        };
        let origin = Origin { channel: &self.stream.key, params: &[], headers: &[] };
        let message = SourceMessage { origin, payload: &payload, heard: clock::wall() };
        // Expressions come from people and run in a library: a fault there costs this entry, not the source.
        let mapped = catch_unwind(AssertUnwindSafe(|| (self.mapping)(message)));
        let mapped = match mapped {
            Err(_) => return Verdict::Poison("internal"),
            Ok(Err(DropReason::NoRule)) => return Verdict::Unwanted(DropReason::NoRule.as_str()),
            Ok(Err(reason)) => return Verdict::Poison(reason.as_str()),
            Ok(Ok(mapped)) => mapped,
        };
        let once = self.once(entry, &mapped);
        let skipped = mapped.skipped;
        match tokio::time::timeout(BROKER, self.feed.publish(self.index, mapped, once, None)).await {
            Ok(Ok(())) => {
                self.status.count_published(skipped);
                Verdict::Published
            }
            Ok(Err(NotFed::TooLarge)) => Verdict::Poison("too_large"),
            Ok(Err(error @ (NotFed::Unavailable(_) | NotFed::Fenced))) => Verdict::NotYet(error.to_string()),
            Err(_) => Verdict::NotYet("no answer in time".to_owned()),
        }
    }

    /// The same for the same entry in every pod.
    fn once(&self, entry: &Entry, mapped: &Mapped) -> Once {
        match &mapped.idempotency_key {
            Some(own) => Once { owner: format!("source:{}", self.name), key: own.to_string() },
            None => Once { owner: format!("entry:{}:{}", self.name, self.stream.key), key: entry.id.clone() },
        }
    }

    /// Sets an entry aside. False where that fails for a reason that is the stream's beside: the entry stays with its group, and is
    /// looked at again later.
    async fn set_aside(
        &self,
        group: &mut Group<'_>,
        entry: &Entry,
        reason: &'static str,
        memory: &mut Memory,
    ) -> Result<bool, Failure> {
        self.dropped(memory, entry, reason);
        match group.set_aside(&self.name, entry, reason, reason != "too_large").await {
            Ok(()) => Ok(true),
            Err(Failure::Trouble(error)) if error.is_answer() => {
                self.status.count_error("not_set_aside");
                if memory.dropped.speaks("not_set_aside") {
                    tracing::warn!(source = self.name, entry = entry.id, %error, "an entry cannot be set aside");
                }
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    fn dropped(&self, memory: &mut Memory, entry: &Entry, reason: &'static str) {
        self.status.count_error(reason);
        if memory.dropped.speaks(reason) {
            tracing::warn!(
                source = self.name,
                stream = self.stream.key,
                entry = entry.id,
                reason,
                "an entry is not published"
            );
        }
    }
}
