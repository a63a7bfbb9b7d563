//! Reads what did not arrive from the histories, and delivers it in its order: then nothing is lost and nobody has to be told.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rtgw_model::{ChannelName, GapReason, HistoryMode, Publication};
use rtgw_protocol::pods::{self, Stamp};
use tokio::time::{Instant, sleep, timeout_at};

use super::super::{PAGE, Page};
use super::Redis;
use super::interests::{Hole, Verdict, missing_before};
use crate::redis_link::Trouble;

/// How long the others wait for what is missing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon a history is read again where that failed.
const AGAIN: Duration = Duration::from_millis(100);
/// Most publications, and most bytes, of one repair.
const PUBLICATIONS: usize = 20_000;
const BYTES: usize = 32 << 20;

/// Publications that did not arrive, by their numbers: one of several channels is there once.
#[derive(Default)]
struct Found {
    publications: BTreeMap<u64, (Publication, Stamp)>,
    bytes: usize,
}

impl Redis {
    /// Delivers what is missing in `holes` and has a number below `before`. What is kept no more is told as missed.
    pub(super) async fn repair(&self, holes: Vec<Hole>, before: u64) {
        let deadline = Instant::now() + PATIENCE;
        let (mut found, mut lost, mut todo) = (Found::default(), Vec::new(), holes);
        let (mut done, mut names) = (Vec::new(), HashSet::new());
        while let Some(hole) = todo.pop() {
            if !names.insert(hole.channel.clone()) {
                continue;
            }
            let whole = timeout_at(deadline, self.fill_at_last(&hole, before, &mut found)).await;
            if !whole.unwrap_or(false) {
                lost.push(hole.channel.clone());
            }
            done.push(hole);
            // A publication of several channels waits for what is missing in each of them.
            let interests = self.interests.lock();
            for (publication, stamp) in found.publications.values() {
                todo.extend(missing_before(&interests, &publication.channels, stamp, &names));
            }
        }
        self.hand_on_found(found, &lost, &done);
    }

    fn hand_on_found(&self, found: Found, lost: &[ChannelName], done: &[Hole]) {
        let mut interests = self.interests.lock();
        if !lost.is_empty() {
            tracing::warn!(channels = lost.len(), "publications are missing that are kept no more");
            self.gap(lost, GapReason::Missed);
        }
        let mut delivered = 0;
        for (publication, stamp) in found.publications.into_values() {
            if interests.repair(&publication.channels, &stamp) == Verdict::Deliver {
                delivered += 1;
                self.sink.publication(publication);
            }
        }
        done.iter().for_each(|hole| interests.close(hole));
        self.counts.repaired.fetch_add(delivered, Ordering::Relaxed);
        tracing::info!(publications = delivered, channels = done.len(), "what had not arrived is delivered");
    }

    /// The same as [`Self::fill`] through lost connections: what is read once more is found once.
    async fn fill_at_last(&self, hole: &Hole, before: u64, found: &mut Found) -> bool {
        loop {
            match self.fill(hole, before, found).await {
                Ok(whole) => return whole,
                Err(trouble) => tracing::debug!(error = %trouble, "what is missing is asked for again"),
            }
            sleep(AGAIN).await;
        }
    }

    /// Reads what is missing of one channel. False where something of it is kept no more.
    async fn fill(&self, hole: &Hole, before: u64, found: &mut Found) -> Result<bool, Trouble> {
        let Some(policy) = (self.retention)(&hole.channel) else { return Ok(false) };
        let (epoch, _) = self.interests.lock().heard_so_far();
        // Of a channel that keeps the newest of each key, what is missing in between was superseded.
        let every = policy.mode == HistoryMode::Stream;
        let mut at = hole.behind.offset;
        while at + 1 < hole.before {
            let page = Page { since: Some(at), limit: PAGE, reverse: false };
            let mut connection = self.link.ready(PATIENCE).await?;
            let read = self.scripts.history(&mut connection, &hole.channel, &policy, page).await?;
            if Some(read.epoch) != epoch || read.top.salt != hole.behind.salt {
                return Ok(false);
            }
            let from = at;
            for (offset, message) in read.messages {
                if every && offset != at + 1 {
                    return Ok(false);
                }
                at = offset;
                if offset >= hole.before {
                    break;
                }
                let size = message.len();
                let Ok((publication, stamp)) = pods::publication(&message.into(), self.pod) else {
                    return Ok(false);
                };
                if Some(stamp.id.epoch) != epoch || stamp.id.sequence >= before {
                    return Ok(false);
                }
                found.bytes += size;
                if found.bytes > BYTES || found.publications.len() >= PUBLICATIONS {
                    return Ok(false);
                }
                found.publications.insert(stamp.id.sequence, (publication, stamp));
            }
            if at == from {
                return Ok(!every);
            }
        }
        Ok(true)
    }
}
