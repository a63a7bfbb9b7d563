//! What a world's manifest says of its channels: policies of delivery, chosen anew for each seed.

use std::sync::Arc;

use fastrand::Rng;
use rtgw_hub::access::{Action, Asker, Rules, Verdict};
use rtgw_model::{ChannelName, ChannelPolicy, DeliveryPolicy, Priority, RuleIx, Throttle};

pub(crate) const CHANNELS: [&str; 4] = ["a", "b", "c", "closed"];
/// Publications have so many different events, by their numbers.
const EVENTS: u64 = 3;

pub(crate) struct Plan {
    policies: Vec<Arc<ChannelPolicy>>,
}

/// The event of a publication.
pub(crate) fn event(number: u64) -> String {
    format!("e{}", number % EVENTS)
}

impl Plan {
    pub(crate) fn new(random: &mut Rng) -> Self {
        let policies = CHANNELS.iter().map(|_| {
            let delivery = delivery(random);
            let pattern = "{x}".into();
            Arc::new(ChannelPolicy { rule: RuleIx(0), pattern, filters: Box::default(), delivery })
        });
        Self { policies: policies.collect() }
    }

    fn policy(&self, channel: &str) -> &Arc<ChannelPolicy> {
        let at = CHANNELS.iter().position(|known| *known == channel);
        &self.policies[at.unwrap()]
    }

    /// The key under which a newer publication may replace this one; `None` where none may.
    pub(crate) fn key(&self, channel: &str, number: u64) -> Option<u64> {
        let delivery = &self.policy(channel).delivery;
        let throttled = delivery.throttle.is_some() && delivery.concerns(&event(number));
        throttled.then_some(number % EVENTS)
    }
}

/// Half of the channels have no policy that lets publications wait.
fn delivery(random: &mut Rng) -> DeliveryPolicy {
    let priority = [Priority::High, Priority::Normal, Priority::Normal, Priority::Low];
    let priority = priority[random.usize(0..priority.len())];
    let events = if random.bool() { Box::default() } else { Box::from([event(0).into(), event(1).into()]) };
    let plain = DeliveryPolicy { priority, ..DeliveryPolicy::default() };
    let throttle =
        |random: &mut Rng| Some(Throttle { interval_ms: random.u32(10..1_000), tags: Box::default() });
    match random.u8(0..8) {
        0 | 1 => DeliveryPolicy { throttle: throttle(random), events, ..plain },
        2 => DeliveryPolicy { batch_ms: random.u32(1..500), events, ..plain },
        3 => DeliveryPolicy { throttle: throttle(random), batch_ms: random.u32(1..500), events, ..plain },
        _ => plain,
    }
}

impl Rules for Plan {
    fn decide(
        &self,
        _: Action,
        channel: &ChannelName,
        _: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        let verdict = if channel.as_str() == "closed" { Verdict::Deny } else { Verdict::Allow };
        Some((self.policy(channel.as_str()).clone(), verdict))
    }
}
