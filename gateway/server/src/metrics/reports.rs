//! The shards' numbers, asked for in their inboxes and shared by everyone who wants them at about the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout};
use tracing::debug;

use crate::transport::{Inbox, ShardInput, ShardReport};

/// How long a shard may take to answer; a later answer is not waited for, its last numbers stand.
const WAIT: Duration = Duration::from_secs(1);
/// How old an answer may be: pages that anybody can ask for must not become work for the shards.
const AGE: Duration = Duration::from_millis(200);

/// Asks the shards for their reports.
pub struct Reports {
    inboxes: Box<[Arc<dyn Inbox>]>,
    last: Mutex<Last>,
}

struct Last {
    gathered: Option<Instant>,
    reports: Arc<[ShardReport]>,
}

impl Reports {
    /// Reports of the shards behind these inboxes.
    pub fn new(inboxes: Box<[Arc<dyn Inbox>]>) -> Self {
        let reports = inboxes.iter().map(|_| ShardReport::default()).collect();
        Self { inboxes, last: Mutex::new(Last { gathered: None, reports }) }
    }

    /// Every shard's numbers, at most 200 ms old unless a shard does not answer.
    pub async fn fresh(&self) -> Arc<[ShardReport]> {
        let mut last = self.last.lock().await;
        if last.gathered.is_none_or(|at| at.elapsed() >= AGE) {
            last.reports = self.gather(&last.reports).await;
            last.gathered = Some(Instant::now());
        }
        Arc::clone(&last.reports)
    }

    async fn gather(&self, known: &[ShardReport]) -> Arc<[ShardReport]> {
        let asked: Vec<_> = self.inboxes.iter().map(|inbox| ask(inbox.as_ref())).collect();
        let deadline = Instant::now() + WAIT;
        let mut reports = Vec::with_capacity(asked.len());
        for (shard, (answer, known)) in asked.into_iter().zip(known).enumerate() {
            match timeout(deadline.saturating_duration_since(Instant::now()), answer).await {
                Ok(Ok(report)) => reports.push(report),
                Ok(Err(_)) | Err(_) => {
                    debug!(shard, "a shard did not report in time");
                    reports.push(known.clone());
                }
            }
        }
        reports.into()
    }
}

fn ask(inbox: &dyn Inbox) -> oneshot::Receiver<ShardReport> {
    let (answer, asked) = oneshot::channel();
    // Only publications are ever refused.
    let _ = inbox.post(ShardInput::Report(answer));
    asked
}
