//! Publications of clients on their way to the broker: bounded in number and in time.

use std::time::Duration;

use rtgw_hub::Grant;
use rtgw_model::{ChannelName, ConnectionId, Denied, ErrorCode, PublicationId};
use tokio::sync::Semaphore;

use crate::broker::Appended;
use crate::intake::Origin;
use crate::publishing::{Draft, Problem, Publisher};
use crate::transport::Clock;

/// Most publications of clients that wait for the broker at once; each may hold a message of the largest size.
pub(crate) const PUBLISHING: usize = 1024;
/// How long the broker may take before the client is told that nothing is known.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a client's publication went, with its id, and its offset where the channel keeps history.
pub type Published = Result<(ChannelName, Option<PublicationId>, Option<u64>), Denied>;

/// The way of clients to the broker.
pub struct ClientPublisher {
    publisher: Publisher,
    clock: Clock,
    publishing: Semaphore,
}

impl ClientPublisher {
    /// A way to `publisher`'s broker.
    pub fn new(publisher: Publisher, clock: Clock) -> Self {
        Self { publisher, clock, publishing: Semaphore::new(PUBLISHING) }
    }

    /// Publishes `draft` on the channel that was granted; its own list of channels is replaced. `except` does not hear it.
    ///
    /// # Errors
    /// `too_large` and `bad_request` for a draft that breaks a bound, `not_available` and `timeout` where the broker does not take it.
    pub async fn publish(&self, grant: &Grant, draft: Draft, except: Option<ConnectionId>) -> Published {
        let Ok(_place) = self.publishing.try_acquire() else {
            return Err(Denied::new(
                ErrorCode::NotAvailable,
                "too many publications wait for the broker; try again later",
            ));
        };
        let draft = Draft { channels: vec![grant.channel().as_str().to_owned()], ..draft };
        let checked = self.publisher.check(draft, self.clock.now().wall).map_err(|invalid| {
            let code = match invalid.problem {
                Problem::DataTooLarge(_) => ErrorCode::TooLarge,
                _ => ErrorCode::BadRequest,
            };
            Denied::new(code, invalid.to_string())
        })?;
        let checked = match except {
            Some(sender) => checked.except(sender),
            None => checked,
        };
        let published = self.publisher.publish_once(Origin::Client, checked);
        match tokio::time::timeout(PUBLISH_TIMEOUT, published).await {
            Ok(Ok(Appended { id, positions, .. })) => {
                // One channel, one place.
                let offset = positions.first().copied().flatten().map(|position| position.offset);
                Ok((grant.channel().clone(), Some(id), offset))
            }
            Ok(Err(error)) => Err(Denied::new(ErrorCode::NotAvailable, error.to_string())),
            Err(_) => Err(Denied::new(
                ErrorCode::Timeout,
                "the broker did not answer in time; the publication may or may not have gone out",
            )),
        }
    }
}
