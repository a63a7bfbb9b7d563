//! Which broker carries publications: that of the one process, or one in Redis.

use std::sync::Arc;

use rtgw_config::checked::{Checked, Redis};

use super::Options;
use crate::broker::{self, Broker, Memory, Retention};
use crate::intake::Intake;
use crate::redis_link::{Address, AddressError, Names};
use crate::rulebook::Rulebook;

/// The broker; a second time where it has work of its own to do.
pub(super) type Chosen = (Arc<dyn Broker>, Option<Arc<broker::Redis>>);

/// The broker in the Redis that the command line or the configuration names, else in memory.
pub(super) fn choose(
    config: &Checked,
    options: &Options,
    intake: &Arc<Intake>,
    rules: &Arc<Rulebook>,
) -> Result<Chosen, AddressError> {
    let (sink, retention) = (Arc::clone(intake) as _, retention(rules));
    let address = match (&options.redis, &config.redis) {
        (Some(address), _) | (None, Redis::External(address)) => address,
        (None, Redis::Embedded) => {
            return Ok((Arc::new(Memory::new(sink, retention)), None));
        }
    };
    let names = Names::new(&config.namespace, &config.name);
    let redis = broker::Redis::new(Address::new(address)?, names, sink, retention);
    Ok((Arc::clone(&redis) as _, Some(redis)))
}

fn retention(rules: &Arc<Rulebook>) -> Retention {
    let rules = Arc::clone(rules);
    Arc::new(move |channel| rules.history_of(channel))
}
