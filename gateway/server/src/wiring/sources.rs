//! Runs the configuration's sources: each a task that maps what it hears and hands it to the intake. A reload restarts those that it
//! changes; the others hear nothing of it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use rtgw_config::checked::{Checked, Ingest, RedisAddress, Source, SourceKind};
use rtgw_hub::GapScope;
use rtgw_model::{GapReason, RuleIx};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::intake::Intake;
use crate::readiness::Readiness;
use crate::redis_link::{Address, AddressError, Kind, Names, choose};
use crate::rulebook::Rulebook;
use crate::running::Running;
use crate::sources::{
    BrokerFeed, Lease, LeaseKeys, OnePod, RedisPubSub, RedisStream, SourceStatus, SourceStatuses,
    Subscriptions, Through, concerned, consumer, mapping,
};

/// The running sources and what they are made of.
pub(super) struct Sources {
    /// Read instead of what the manifest says.
    pub(super) redis: Option<RedisAddress>,
    /// The Redis that all pods have in common; absent without one.
    pub(super) meeting: Option<Address>,
    pub(super) rules: Arc<Rulebook>,
    pub(super) running: Arc<Running>,
    pub(super) intake: Arc<Intake>,
    pub(super) feed: Arc<dyn BrokerFeed>,
    pub(super) readiness: Arc<Readiness>,
    /// What consumer groups know this process by.
    pub(super) consumer: String,
    pub(super) statuses: Arc<SourceStatuses>,
    pub(super) tasks: TaskTracker,
    pub(super) ended: CancellationToken,
    pub(super) started: Mutex<BTreeMap<String, Started>>,
}

/// A source that runs.
pub(super) struct Started {
    /// As configured, without its Redis.
    source: String,
    address: RedisAddress,
    /// The same, in use.
    used: Address,
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
            let written = written(source);
            if let Some(old) = started.get_mut(name)
                && old.goes_on(&written, address)?
            {
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
            let used = Address::new(address)?;
            let (stop, task) = self.start(config, source, used.clone(), before);
            let address = address.clone();
            started.insert(name.clone(), Started { source: written, address, used, stop, task });
        }
        Ok(())
    }

    fn address<'a>(&'a self, config: &'a Checked, source: &'a Source) -> Option<&'a RedisAddress> {
        choose(self.redis.as_ref(), source.redis(), &config.redis)
    }

    fn end(&self, name: &str, started: &Started) {
        started.stop.cancel();
        self.readiness.forget(&format!("source:{name}"));
    }

    fn start(
        &self,
        config: &Checked,
        source: &Source,
        address: Address,
        before: Option<Started>,
    ) -> (CancellationToken, JoinHandle<()>) {
        let (index, status) = self.statuses.of(&source.name);
        let stop = self.ended.child_token();
        let until = stop.clone();
        let turns = self.turns(config, source, &status);
        let reading: Reading = match &source.kind {
            SourceKind::RedisPubSub(of) => {
                let reader = RedisPubSub {
                    index,
                    name: source.name.clone(),
                    subscriptions: Subscriptions::new(of.channels.clone(), of.patterns.clone()),
                    address,
                    mapping: self.mapping(source),
                    concerned: self.concerned(&source.name),
                    // Nobody listened before, and clients may be there already, also of a pod that begins: told once, when it listens.
                    missed: Some(GapReason::SourceReconnected),
                    sink: Arc::clone(&self.intake) as _,
                    through: source.through_the_broker().then(|| self.through()),
                    status: Arc::clone(&status),
                };
                read_pub_sub(turns, reader, until)
            }
            SourceKind::RedisStream(of) => {
                let reader = RedisStream {
                    index,
                    name: source.name.clone(),
                    stream: of.clone(),
                    address,
                    consumer: self.consumer.clone(),
                    announcements: names(config).of(Kind::SourceGap, &source.name),
                    mapping: self.mapping(source),
                    concerned: self.concerned(&source.name),
                    lease: None,
                    sink: Arc::clone(&self.intake) as _,
                    feed: Arc::clone(&self.feed),
                    status: Arc::clone(&status),
                };
                read_stream(turns, reader, until)
            }
        };
        self.watch(&source.name, &status);
        let task = self.tasks.spawn(async move {
            // Two that read at once would publish everything twice.
            if let Some(before) = before {
                let _ended = before.task.await;
                status.ended();
            }
            reading.await;
        });
        (stop, task)
    }

    /// The turns of this pod at a source that one pod reads; `None` where every pod does, or where there is but one: without a Redis of
    /// the gateway's, publications leave no process.
    fn turns(&self, config: &Checked, source: &Source, status: &Arc<SourceStatus>) -> Option<OnePod> {
        let address = self.meeting.clone().filter(|_| source.ingest == Ingest::OnePod)?;
        Some(OnePod {
            name: source.name.clone(),
            address,
            keys: LeaseKeys::new(&names(config), &source.name),
            concerned: self.concerned(&source.name),
            sink: Arc::clone(&self.intake) as _,
            status: Arc::clone(status),
        })
    }

    fn through(&self) -> Through {
        Through { feed: Arc::clone(&self.feed), lease: None }
    }

    fn watch(&self, name: &str, status: &Arc<SourceStatus>) {
        let heard = Arc::clone(status);
        self.readiness.watch(format!("source:{name}"), move || heard.up());
    }

    fn mapping(&self, source: &Source) -> crate::sources::Mapping {
        let rules = Arc::clone(&self.rules);
        mapping(&source.publish, Arc::new(move |name| rules.rule_of(name)))
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

/// Everything of a source but where it reads.
fn written(source: &Source) -> String {
    let mut source = source.clone();
    match &mut source.kind {
        SourceKind::RedisPubSub(of) => of.redis = None,
        SourceKind::RedisStream(of) => of.redis = None,
    }
    format!("{source:?}")
}

impl Started {
    /// Whether it reads what is wanted now, with new credentials where only these are others.
    fn goes_on(&mut self, source: &str, address: &RedisAddress) -> Result<bool, AddressError> {
        if self.source != source || self.task.is_finished() {
            return Ok(false);
        }
        if self.address != *address {
            if !self.used.renew(address)? {
                return Ok(false);
            }
            self.address = address.clone();
        }
        Ok(true)
    }
}

/// Reads until it is told to stop.
type Reading = Pin<Box<dyn Future<Output = ()> + Send>>;

fn read_pub_sub(turns: Option<OnePod>, reader: RedisPubSub, stop: CancellationToken) -> Reading {
    Box::pin(async move {
        let Some(turns) = turns else {
            stop.run_until_cancelled(reader.run()).await;
            return;
        };
        let feed = reader.through.as_ref().map(|through| Arc::clone(&through.feed));
        let read = |lease: Lease, missed, until: CancellationToken| {
            let through = feed.clone().map(|feed| Through { feed, lease: Some(lease) });
            let turn = RedisPubSub { missed: Some(missed), through, ..reader.clone() };
            async move {
                until.run_until_cancelled(turn.run()).await;
            }
        };
        turns.run(&stop, read).await;
    })
}

fn read_stream(turns: Option<OnePod>, reader: RedisStream, stop: CancellationToken) -> Reading {
    Box::pin(async move {
        let Some(turns) = turns else { return reader.run(&stop).await };
        // The stream keeps what nobody has read: a takeover misses nothing.
        let read = |lease: Lease, _, until: CancellationToken| {
            let turn = RedisStream { lease: Some(lease), ..reader.clone() };
            async move { turn.run(&until).await }
        };
        turns.run(&stop, read).await;
    })
}

fn names(config: &Checked) -> Names {
    Names::new(&config.namespace, &config.name)
}

/// What people know this machine by: the pod's name, in a cluster.
pub(super) fn consumer_of_this_process() -> String {
    consumer(&std::env::var("HOSTNAME").unwrap_or_default())
}
