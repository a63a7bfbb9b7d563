//! The list of revocations in Redis: read at the start, after every reconnection and whenever it differs in length from this pod's, and
//! written back where Redis has lost some.

use std::time::Duration;

use redis::Value;
use rtgw_model::Timestamp;
use tokio::time::{sleep, timeout};

use super::{Others, Way};
use crate::clock;
use crate::control::Control;
use crate::redis_link::{Backoff, Call, Kind, Script, Trouble};
use crate::revocations::Revoked;

static REVOKE: Script = Script::new(include_str!("revoke.lua"));
/// How often the lengths of both lists are compared.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// Entries that are read or written at once.
const CHUNK: usize = 500;
/// The word in the list's name.
const LIST: &str = "list";

impl Others {
    /// Keeps an entry in Redis; false where that cannot be done now, and is done when Redis is back.
    pub(super) async fn keep_revoked(&self, revoked: &Revoked, until: Timestamp) -> bool {
        let mut kept = true;
        for way in self.ways() {
            if let Err(trouble) = self.write(&way, &[(revoked.clone(), until)]).await {
                kept = false;
                let redis = &way.address;
                tracing::warn!(%redis, error = %trouble, "a revocation is not kept in this Redis until it is back");
                self.compare.send_replace(());
            }
        }
        kept
    }

    /// The list counts as read once it was read wherever it is kept.
    pub(super) fn learnt(&self) {
        let read = self.read.lock();
        if self.ways().iter().all(|way| read.contains(&way.address.to_string())) {
            self.revocations.learn();
        }
    }

    /// Has both lists be the same whenever something may have been missed, until dropped.
    pub(super) async fn compare_lists(&self, way: &Way, control: &Control) {
        let mut doubts = self.compare.subscribe();
        let mut backoff = Backoff::default();
        let mut differ = true;
        loop {
            while way.link.ready(COMPARE_EVERY).await.is_err() {}
            if !differ {
                let lengths = redis::cmd("ZCARD").arg(self.names.of(Kind::Revoked, LIST)).to_owned();
                let theirs = way.link.query::<usize>(&lengths).await;
                differ = theirs.is_ok_and(|theirs| theirs != self.revocations.in_force(clock::wall()).len());
            }
            if differ {
                match self.same_lists(way, control).await {
                    Ok(()) => backoff.reset(),
                    Err(trouble) => {
                        tracing::debug!(error = %trouble, "the list of revocations could not be read");
                        sleep(backoff.delay()).await;
                        continue;
                    }
                }
            }
            differ = timeout(COMPARE_EVERY, doubts.changed()).await.is_ok();
        }
    }

    /// Reads what Redis has, closes whom that concerns, and writes what Redis has not.
    async fn same_lists(&self, way: &Way, control: &Control) -> Result<(), Trouble> {
        let now = clock::wall();
        let theirs = self.read(way).await?;
        let mut news = false;
        for (revoked, until) in &theirs {
            if *until > now && !self.revocations.has(revoked, *until) {
                news = true;
                if let Err(full) = self.revocations.add(revoked, *until, now) {
                    tracing::error!(error = %full, "a revocation of another pod is not in force in this one");
                    break;
                }
            }
        }
        self.read.lock().insert(way.address.to_string());
        self.learnt();
        if news {
            control.close_revoked().await;
        }
        let known: std::collections::HashMap<&Revoked, Timestamp> =
            theirs.iter().map(|(revoked, until)| (revoked, *until)).collect();
        let missing: Vec<_> = self
            .revocations
            .in_force(now)
            .into_iter()
            .filter(|(revoked, until)| known.get(revoked).is_none_or(|theirs| theirs < until))
            .collect();
        if !missing.is_empty() {
            tracing::info!(entries = missing.len(), "revocations are written back to Redis");
        }
        for chunk in missing.chunks(CHUNK) {
            self.write(way, chunk).await?;
        }
        Ok(())
    }

    async fn read(&self, way: &Way) -> Result<Vec<(Revoked, Timestamp)>, Trouble> {
        let name = self.names.of(Kind::Revoked, LIST);
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        loop {
            let mut scan = redis::cmd("ZSCAN");
            scan.arg(&name).arg(&cursor).arg("COUNT").arg(CHUNK);
            let (next, items): (String, Vec<(String, f64)>) = way.link.query(&scan).await?;
            for (text, until) in items {
                match serde_json::from_str::<Revoked>(&text) {
                    #[allow(clippy::cast_possible_truncation, reason = "milliseconds")]
                    Ok(revoked) => found.push((revoked, Timestamp(until as i64))),
                    Err(error) => {
                        tracing::warn!(%error, "an entry of the list of revocations is not understood");
                    }
                }
            }
            if next == "0" {
                return Ok(found);
            }
            cursor = next;
        }
    }

    async fn write(&self, way: &Way, entries: &[(Revoked, Timestamp)]) -> Result<(), Trouble> {
        let mut call = Call::default();
        call.key(self.names.of(Kind::Revoked, LIST));
        call.arg(crate::revocations::ENTRIES);
        for (revoked, until) in entries {
            // Never fails: there is nothing in it that JSON has not.
            call.arg(until.0).arg(serde_json::to_string(revoked).unwrap_or_default());
        }
        way.link.invoke::<Value>(&REVOKE, &call).await.map(drop)
    }
}
