//! Starts the configuration's sources: each a task that maps what it hears and hands it to the intake.

use std::sync::Arc;

use anyhow::Result;
use rtgw_config::checked::{Checked, Source, SourceKind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Core, Options};
use crate::expressions::{self, MappingRules, Origin, SourceMessage};
use crate::rules::CompiledRules;
use crate::sources::{
    Address, Arrived, Mapped, Mapping, RedisPubSub, SourceStatus, Subscriptions, choose, concerned,
};

/// Starts them all; one without a Redis to read is named in a warning, because the rest of the gateway works without it.
pub(super) fn start(
    core: &Core,
    config: &Checked,
    options: &Options,
    tasks: &TaskTracker,
    ended: &CancellationToken,
) -> Result<()> {
    for (source, index) in config.sources.iter().zip(0_u16..) {
        let SourceKind::RedisPubSub { channels, patterns, redis } = &source.kind;
        let Some(address) = choose(options.redis.as_ref(), redis.as_ref(), &config.redis) else {
            let name = &source.name;
            tracing::warn!(
                source = name,
                "this source has no Redis to read: give one with --redis or `redis.external`"
            );
            continue;
        };
        let reader = RedisPubSub {
            index,
            name: source.name.clone(),
            subscriptions: Subscriptions::new(channels.clone(), patterns.clone()),
            address: Address::new(address)?,
            mapping: mapping(source, Arc::clone(&core.rules)),
            concerned: concerned(&source.publish, &config.channels),
            sink: Arc::clone(&core.intake) as _,
            status: Arc::new(SourceStatus::default()),
        };
        let ended = ended.clone();
        tasks.spawn(async move { ended.run_until_cancelled(reader.run()).await });
    }
    Ok(())
}

/// The source's rules as the source asks for them.
fn mapping(source: &Source, rules: Arc<CompiledRules>) -> Mapping {
    let prepared = MappingRules::new(&source.publish);
    Arc::new(move |arrived: &Arrived<'_>| {
        let origin = Origin { channel: arrived.channel, params: arrived.params };
        let message = SourceMessage { origin, payload: arrived.payload, heard: arrived.heard };
        match prepared.map(message, |name| rules.find(name).map(|(rule, _)| rule)) {
            expressions::Mapped::Publication { publication, rules, skipped } => {
                Mapped::Publication { publication, rules, skipped }
            }
            expressions::Mapped::Dropped(reason) => Mapped::Dropped(reason.as_str()),
        }
    })
}
