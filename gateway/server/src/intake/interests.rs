//! The shards' wishes for channels, joined to the pod's wishes at the broker.

use std::sync::Arc;

use parking_lot::Mutex;
use rtgw_hub::Input;
use rtgw_model::{ChannelName, RuleIx};

use super::Intake;
use super::registry::{STRIPES, Wanted};
use crate::broker::Broker;

/// Joins wishes of shards: the pod's first subscriber asks the broker, its last gives the channel back at once.
///
/// (A broker for which asking is dear may linger before it gives up a channel; to the outside that is only a delivery that no shard
/// takes.)
pub struct Interests {
    intake: Arc<Intake>,
    broker: Arc<dyn Broker>,
    /// Keeps the calls to the broker in the order in which the registry changed: without it the `unwant` of one shard could
    /// overtake the `want` of another. Not the registry's own locks, because a broker may answer before `want` returns.
    order: Box<[Mutex<()>]>,
}

impl Interests {
    /// Wishes of the shards behind `intake` for channels of `broker`.
    pub fn new(intake: Arc<Intake>, broker: Arc<dyn Broker>) -> Self {
        Self { intake, broker, order: (0..STRIPES).map(|_| Mutex::new(())).collect() }
    }

    /// `shard` has its first subscriber of the channel, under `rule`; `Input::Ready` follows once the broker carries it.
    pub fn want(&self, shard: u16, channel: ChannelName, rule: RuleIx) {
        let registry = &self.intake.registry;
        let order = self.order[registry.stripe(&channel)].lock();
        match registry.want(shard, channel.clone(), rule) {
            Wanted::First(generation) => self.broker.want(channel, generation),
            Wanted::Asked => {}
            Wanted::Carried => {
                drop(order);
                // Read after the registry knows the shard: what is behind it is posted to the shard.
                let position = self.broker.position(&channel);
                self.intake.post(usize::from(shard), Input::Ready(channel, position));
            }
        }
    }

    /// `shard`'s last subscriber of the channel left.
    pub fn unwant(&self, shard: u16, channel: &ChannelName) {
        let registry = &self.intake.registry;
        let _order = self.order[registry.stripe(channel)].lock();
        if registry.unwant(shard, channel) {
            self.intake.tails.forget(channel);
            self.broker.unwant(channel);
        }
    }
}
