//! Runs the configuration's sources: each a task that maps what it hears and hands it to the intake. A reload restarts those that it
//! changes; the others hear nothing of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rtgw_config::checked::{Checked, RedisAddress, Source, SourceKind};
use rtgw_hub::GapScope;
use rtgw_model::RuleIx;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::intake::Intake;
use crate::readiness::Readiness;
use crate::redis_link::{Address, AddressError, choose};
use crate::rulebook::Rulebook;
use crate::running::Running;
use crate::sources::{RedisPubSub, SourceStatuses, Subscriptions, concerned, mapping};

/// The running sources and what they are made of.
pub(super) struct Sources {
    /// Read instead of what the manifest says.
    pub(super) redis: Option<RedisAddress>,
    pub(super) rules: Arc<Rulebook>,
    pub(super) running: Arc<Running>,
    pub(super) intake: Arc<Intake>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) statuses: Arc<SourceStatuses>,
    pub(super) tasks: TaskTracker,
    pub(super) ended: CancellationToken,
    pub(super) started: Mutex<BTreeMap<String, Started>>,
}

/// A source that runs.
pub(super) struct Started {
    /// As configured, without secrets.
    source: String,
    address: RedisAddress,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Sources {
    /// Whether every source of `config` has an address that can be used.
    ///
    /// # Errors
    /// The first that has not.
    pub(super) fn check(&self, config: &Checked) -> Result<(), AddressError> {
        let mut addresses = config.sources.iter().filter_map(|source| self.address(config, source));
        addresses.try_for_each(|address| Address::new(address).map(drop))
    }

    /// Has the sources of `config` run: those that run as they should go on, and one that begins tells whom it concerns that they may
    /// have missed something. One without a Redis to read is named in a warning and
    /// refuses nothing: the rest of the gateway works without it.
    ///
    /// # Errors
    /// Those of [`Self::check`]; the sources before it run.
    pub(super) fn apply(&self, config: &Checked) -> Result<(), AddressError> {
        let mut started = self.started.lock();
        let kept = |name: &String| config.sources.iter().any(|source| source.name == *name);
        let gone: Vec<String> = started.keys().filter(|name| !kept(name)).cloned().collect();
        for (name, old) in gone.into_iter().filter_map(|name| started.remove_entry(&name)) {
            self.end(&name, &old);
        }
        for source in &config.sources {
            let name = &source.name;
            let Some(address) = self.address(config, source) else {
                tracing::warn!(
                    source = name,
                    "this source has no Redis to read: give one with --redis or `redis.external`"
                );
                continue;
            };
            let written = format!("{source:?}");
            let same =
                |old: &Started| old.source == written && old.address == *address && !old.task.is_finished();
            if started.get(name).is_some_and(same) {
                continue;
            }
            let before = started.remove(name);
            if let Some(old) = &before {
                self.end(name, old);
                tracing::info!(
                    source = name,
                    "the source is restarted, because its configuration has changed"
                );
            }
            let (stop, task) = self.start(source, address, before)?;
            started.insert(name.clone(), Started { source: written, address: address.clone(), stop, task });
        }
        Ok(())
    }

    fn address<'a>(&'a self, config: &'a Checked, source: &'a Source) -> Option<&'a RedisAddress> {
        let SourceKind::RedisPubSub { redis, .. } = &source.kind;
        choose(self.redis.as_ref(), redis.as_ref(), &config.redis)
    }

    fn end(&self, name: &str, started: &Started) {
        started.stop.cancel();
        self.readiness.forget(&format!("source:{name}"));
    }

    fn start(
        &self,
        source: &Source,
        address: &RedisAddress,
        before: Option<Started>,
    ) -> Result<(CancellationToken, JoinHandle<()>), AddressError> {
        let SourceKind::RedisPubSub { channels, patterns, .. } = &source.kind;
        let (index, status) = self.statuses.of(&source.name);
        let rules = Arc::clone(&self.rules);
        let reader = RedisPubSub {
            index,
            name: source.name.clone(),
            subscriptions: Subscriptions::new(channels.clone(), patterns.clone()),
            address: Address::new(address)?,
            mapping: mapping(&source.publish, Arc::new(move |name| rules.rule_of(name))),
            concerned: self.concerned(&source.name),
            // Nobody listened before, and clients may be there already, also of a pod that begins: told once, when it listens.
            missed: true,
            sink: Arc::clone(&self.intake) as _,
            status: Arc::clone(&status),
        };
        let heard = Arc::clone(&status);
        self.readiness.watch(format!("source:{}", source.name), move || heard.up());
        let stop = self.ended.child_token();
        let until = stop.clone();
        let task = self.tasks.spawn(async move {
            // Two that read at once would publish everything twice.
            if let Some(before) = before {
                let _ended = before.task.await;
                status.ended();
            }
            until.run_until_cancelled(reader.run()).await;
        });
        Ok((stop, task))
    }

    /// Whom a gap of a source concerns, by the configuration of the moment.
    fn concerned(&self, name: &str) -> crate::sources::Concerned {
        let (running, rules, name) = (Arc::clone(&self.running), Arc::clone(&self.rules), name.to_owned());
        Arc::new(move || {
            let current = running.load();
            let Some(source) = current.config.sources.iter().find(|source| source.name == name) else {
                return GapScope::All;
            };
            let channels = &current.config.channels;
            match concerned(&source.publish, channels) {
                // Places in this configuration, which may be older than the rules of the moment: their patterns have lasting numbers.
                GapScope::Rules(places) => {
                    let pattern = |place: &RuleIx| Some(channels.get(usize::from(place.0))?.pattern.source());
                    let number = |place: &RuleIx| Some(rules.numbers().rule(pattern(place)?));
                    GapScope::Rules(places.iter().filter_map(number).collect())
                }
                other => other,
            }
        })
    }
}
