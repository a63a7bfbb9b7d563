//! The way of a reader through the broker: each message once, in order, and by nobody who has lost his turn.

use std::sync::Arc;
use std::time::Duration;

use rtgw_hub::GapScope;
use rtgw_model::GapReason;
use tokio::time::{sleep, timeout};

use super::one_pod::{HEARD_WITHIN, Lease};
use super::status::SourceStatus;
use super::{BrokerFeed, NotFed, Once};
use crate::expressions::Mapped;
use crate::redis_link::{Backoff, Quiet};

/// How long the broker may take for one publication until it is asked again.
const BROKER: Duration = Duration::from_secs(5);

/// The broker, and the right to write to it.
#[derive(Clone)]
pub struct Through {
    /// Where publications go.
    pub feed: Arc<dyn BrokerFeed>,
    /// Whose turn it is; absent where there is but one pod.
    pub lease: Option<Lease>,
}

impl Through {
    /// Tells other pods of a gap that this one has told, and gives them the time to hear of it before anything behind it is published.
    pub(super) async fn announce(&self, reason: GapReason) {
        if let Some(lease) = &self.lease {
            lease.announce(reason).await;
            sleep(HEARD_WITHIN).await;
        }
    }

    /// Has positions of these channels count no more, for those who are away and are not told of the gap. While the broker is away it
    /// waits; given up with the turn: who has the next one begins it the same way.
    pub(super) async fn outdate(&self, scope: GapScope, name: &str, status: &SourceStatus, log: &mut Quiet) {
        let mut backoff = Backoff::default();
        while self.lease.as_ref().is_none_or(Lease::holds) {
            let Err(error) = self.feed.outdate(scope.clone()).await else { return };
            status.count_error("broker");
            if log.speaks("broker") {
                tracing::warn!(source = name, %error, "the broker does not take a gap; trying again");
            }
            sleep(backoff.delay()).await;
        }
    }

    /// Publishes what a message of the source at `index` became. While the broker is away it waits; without a turn, for ever: what was
    /// read in an earlier turn is behind the gap of the next.
    pub(super) async fn publish(
        &self,
        index: u16,
        name: &str,
        mapped: Mapped,
        status: &SourceStatus,
        log: &mut Quiet,
    ) {
        let once = match &mapped.idempotency_key {
            Some(own) => Once { owner: format!("source:{name}"), key: own.to_string() },
            // A question that is asked again, because its answer was lost, must not publish again.
            None => Once { owner: format!("message:{name}"), key: format!("{:032x}", random()) },
        };
        let mut backoff = Backoff::default();
        loop {
            let fence = match &self.lease {
                None => None,
                Some(lease) => match lease.fence() {
                    Some(fence) => Some(fence),
                    None => return std::future::pending().await,
                },
            };
            let answer = timeout(BROKER, self.feed.publish(index, mapped.clone(), once.clone(), fence)).await;
            let error = match answer {
                Ok(Ok(())) => return status.count_published(mapped.skipped),
                Ok(Err(NotFed::TooLarge)) => {
                    status.count_error("too_large");
                    if log.speaks("too_large") {
                        tracing::warn!(source = name, reason = "too_large", "a message was dropped");
                    }
                    return;
                }
                Ok(Err(NotFed::Fenced)) => {
                    // Redis knows better than this pod's clock.
                    self.lease.iter().for_each(Lease::lose);
                    return std::future::pending().await;
                }
                Ok(Err(NotFed::Unavailable(error))) => error,
                Err(_) => "no answer in time".to_owned(),
            };
            status.count_error("broker");
            if log.speaks("broker") {
                tracing::warn!(source = name, error, "the broker does not take a message; trying again");
            }
            sleep(backoff.delay()).await;
        }
    }
}

fn random() -> u128 {
    fastrand::u128(..)
}
