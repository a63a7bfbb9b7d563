//! How a world's channels deliver: policies chosen anew for each seed.

use fastrand::Rng;
use rtgw_model::{DeliveryPolicy, Priority, SlowConsumer, Throttle};

use crate::rules::CHANNELS;

/// Publications have so many different events, by their numbers.
const EVENTS: u64 = 3;

#[derive(Debug)]
pub(crate) struct Plan {
    policies: Vec<DeliveryPolicy>,
}

/// The event of a publication.
pub(crate) fn event(number: u64) -> String {
    format!("e{}", number % EVENTS)
}

impl Plan {
    pub(crate) fn new(random: &mut Rng) -> Self {
        Self { policies: CHANNELS.iter().map(|_| delivery(random)).collect() }
    }

    pub(crate) fn policy(&self, channel: &str) -> &DeliveryPolicy {
        let at = CHANNELS.iter().position(|known| *known == channel);
        &self.policies[at.unwrap()]
    }

    /// The key under which a newer publication may replace this one; `None` where none may.
    pub(crate) fn key(&self, channel: &str, number: u64) -> Option<u64> {
        let delivery = self.policy(channel);
        let latest = matches!(delivery.slow_consumer, SlowConsumer::LatestPerKey(_));
        let replaced = (latest || delivery.throttle.is_some()) && delivery.concerns(&event(number));
        replaced.then_some(number % EVENTS)
    }

    /// Whether what waits for a slow client may be dropped.
    pub(crate) fn drops(&self, channel: &str) -> bool {
        self.policy(channel).slow_consumer != SlowConsumer::Disconnect
    }
}

/// Half of the channels have no policy that lets publications wait.
fn delivery(random: &mut Rng) -> DeliveryPolicy {
    let priority = [Priority::High, Priority::Normal, Priority::Normal, Priority::Low];
    let priority = priority[random.usize(0..priority.len())];
    let events = if random.bool() { Box::default() } else { Box::from([event(0).into(), event(1).into()]) };
    let slow_consumer = match random.u8(0..4) {
        0 => SlowConsumer::DropOldest,
        1 => SlowConsumer::LatestPerKey(Box::default()),
        _ => SlowConsumer::Disconnect,
    };
    let plain = DeliveryPolicy { priority, slow_consumer, events, ..DeliveryPolicy::default() };
    let throttle =
        |random: &mut Rng| Some(Throttle { interval_ms: random.u32(10..1_000), tags: Box::default() });
    match random.u8(0..8) {
        0 | 1 => DeliveryPolicy { throttle: throttle(random), ..plain },
        2 => DeliveryPolicy { batch_ms: random.u32(1..500), ..plain },
        3 => DeliveryPolicy { throttle: throttle(random), batch_ms: random.u32(1..500), ..plain },
        _ => plain,
    }
}
