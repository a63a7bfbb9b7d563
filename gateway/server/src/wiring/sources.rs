//! Starts the configuration's sources: each a task that maps what it hears and hands it to the intake.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rtgw_config::checked::{Checked, SourceKind};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Core, Options};
use crate::readiness::Readiness;
use crate::sources::{Address, RedisPubSub, SourceStatus, Subscriptions, choose, concerned, mapping};

/// How often readiness learns of a source that was lost or came back.
const LOOK: Duration = Duration::from_millis(200);

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
            mapping: mapping(&source.publish, Arc::new(move |name| rules.find(name).map(|(rule, _)| rule))),
            concerned: concerned(&source.publish, &config.channels),
            sink: Arc::clone(&core.intake) as _,
            status: Arc::clone(status),
        };
        let part = format!("source:{}", source.name);
        let watch = watch(part, Arc::clone(status), Arc::clone(&core.readiness));
        for task in [Box::pin(reader.run()) as Task, Box::pin(watch)] {
            let ended = ended.clone();
            tasks.spawn(async move { ended.run_until_cancelled(task).await });
        }
    }
    Ok(())
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells readiness whether the source hears.
async fn watch(part: String, status: Arc<SourceStatus>, readiness: Arc<Readiness>) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        if status.up() {
            readiness.restore(&part);
        } else {
            readiness.degrade(&part);
        }
    }
}
