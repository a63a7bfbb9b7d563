//! Starts the configuration's sources: each a task that maps what it hears and hands it to the intake.

use std::sync::Arc;

use anyhow::Result;
use rtgw_config::checked::{Checked, SourceKind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Core, Options};
use crate::sources::{Address, RedisPubSub, Subscriptions, choose, concerned, mapping};

/// Starts them all. One without a Redis to read is named in a warning and refuses nothing: the rest of the gateway works without it.
pub(super) fn start(
    core: &Core,
    config: &Checked,
    options: &Options,
    tasks: &TaskTracker,
    ended: &CancellationToken,
) -> Result<()> {
    for ((source, index), status) in config.sources.iter().zip(0_u16..).zip(&core.sources) {
        let SourceKind::RedisPubSub { channels, patterns, redis } = &source.kind;
        let Some(address) = choose(options.redis.as_ref(), redis.as_ref(), &config.redis) else {
            let name = &source.name;
            tracing::warn!(
                source = name,
                "this source has no Redis to read: give one with --redis or `redis.external`"
            );
            continue;
        };
        let rules = Arc::clone(&core.rules);
        let reader = RedisPubSub {
            index,
            name: source.name.clone(),
            subscriptions: Subscriptions::new(channels.clone(), patterns.clone()),
            address: Address::new(address)?,
            mapping: mapping(&source.publish, Arc::new(move |name| rules.rule_of(name))),
            concerned: concerned(&source.publish, &config.channels),
            sink: Arc::clone(&core.intake) as _,
            status: Arc::clone(status),
        };
        let (part, heard) = (format!("source:{}", source.name), Arc::clone(status));
        core.readiness.watch(part, move || heard.up());
        let ended = ended.clone();
        tasks.spawn(async move { ended.run_until_cancelled(reader.run()).await });
    }
    Ok(())
}
