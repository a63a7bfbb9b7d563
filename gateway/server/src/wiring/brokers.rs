//! Which broker carries publications: that of the one process, or one in Redis.

use std::sync::Arc;

use rtgw_config::checked::Checked;

use crate::broker::{Broker, Memory, Retention, Stages, Switching};
use crate::intake::Intake;
use crate::redis_link::Names;
use crate::rulebook::Rulebook;

/// The broker; a second time where it has work of its own to do.
pub(super) type Chosen = (Arc<dyn Broker>, Option<Arc<Switching>>);

/// The broker in Redis, else in memory.
pub(super) fn choose(
    config: &Checked,
    redis: Option<&Stages>,
    intake: &Arc<Intake>,
    rules: &Arc<Rulebook>,
) -> Chosen {
    let (sink, retention) = (Arc::clone(intake) as _, retention(rules));
    let Some(stages) = redis else { return (Arc::new(Memory::new(sink, retention)), None) };
    let names = Names::new(&config.namespace, &config.name);
    let redis = Switching::new(stages, names, sink, retention);
    (Arc::clone(&redis) as _, Some(redis))
}

fn retention(rules: &Arc<Rulebook>) -> Retention {
    let rules = Arc::clone(rules);
    Arc::new(move |channel| rules.history_of(channel))
}
