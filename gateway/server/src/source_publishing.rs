//! Publications of sources on their way to the broker.

use std::sync::Arc;

use rtgw_hub::GapScope;
use rtgw_model::ChannelName;

use crate::broker::{Broker, Concerned, PublishError};
use crate::expressions::Mapped;
use crate::intake::Origin;
use crate::publishing::{Checked, FindRule, Idempotency, Publisher};
use crate::redis_link::Fence;
use crate::sources::{BrokerFeed, Feeding, NotFed, Once};

/// The way of sources to the broker.
pub struct SourcePublisher {
    publisher: Publisher,
    broker: Arc<dyn Broker>,
    find_rule: FindRule,
}

impl SourcePublisher {
    /// A way to `publisher`'s `broker`; `find_rule` knows the rules of now by their lasting numbers.
    pub fn new(publisher: Publisher, broker: Arc<dyn Broker>, find_rule: FindRule) -> Self {
        Self { publisher, broker, find_rule }
    }

    fn concerned(&self, scope: GapScope) -> Concerned {
        let find_rule = Arc::clone(&self.find_rule);
        Arc::new(move |channel: &ChannelName| match &scope {
            GapScope::All => true,
            GapScope::Channels(channels) => channels.contains(channel),
            GapScope::Rules(rules) => find_rule(channel).is_some_and(|rule| rules.contains(&rule)),
        })
    }
}

impl BrokerFeed for SourcePublisher {
    fn publish(&self, source: u16, mapped: Mapped, once: Once, fence: Option<Fence>) -> Feeding<'_> {
        Box::pin(async move {
            let own = Idempotency { owner: once.owner, key: once.key };
            // Of what is checked, a source's rules have seen to everything but the size.
            let checked =
                Checked::mapped(mapped.publication, mapped.rules, &own).map_err(|_| NotFed::TooLarge)?;
            let published = self.publisher.publish_fenced(Origin::Source(source), checked, fence).await;
            published.map(drop).map_err(|error| match error {
                PublishError::Fenced => NotFed::Fenced,
                PublishError::Unavailable(_) | PublishError::Left(_) => {
                    NotFed::Unavailable(error.to_string())
                }
            })
        })
    }

    fn outdate(&self, scope: GapScope) -> Feeding<'_> {
        let outdated = self.broker.outdate(self.concerned(scope));
        Box::pin(async move { outdated.await.map_err(|error| NotFed::Unavailable(error.to_string())) })
    }
}
