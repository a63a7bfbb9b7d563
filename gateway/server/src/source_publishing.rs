//! Publications of sources on their way to the broker.

use crate::expressions::Mapped;
use crate::intake::Origin;
use crate::publishing::{Checked, Idempotency, Publisher};
use crate::sources::{BrokerFeed, Feeding, NotFed, Once};

/// The way of sources to the broker.
pub struct SourcePublisher {
    publisher: Publisher,
}

impl SourcePublisher {
    /// A way to `publisher`'s broker.
    pub fn new(publisher: Publisher) -> Self {
        Self { publisher }
    }
}

impl BrokerFeed for SourcePublisher {
    fn publish(&self, source: u16, mapped: Mapped, once: Once) -> Feeding<'_> {
        Box::pin(async move {
            let own = Idempotency { owner: once.owner, key: once.key };
            // Of what is checked, a source's rules have seen to everything but the size.
            let checked =
                Checked::mapped(mapped.publication, mapped.rules, &own).map_err(|_| NotFed::TooLarge)?;
            let published = self.publisher.publish(Origin::Source(source), checked).await;
            published.map(drop).map_err(|error| NotFed::Unavailable(error.to_string()))
        })
    }
}
