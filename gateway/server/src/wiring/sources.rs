//! Runs the configuration's sources: each a task that maps what it hears and hands it to the intake. A reload restarts those that it
//! changes; the others hear nothing of it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::Mutex;
use rtgw_config::checked::{Checked, Ingest, RedisAddress, Source, SourceKind};
use rtgw_hub::GapScope;
use rtgw_model::{GapReason, RuleIx};
use tokio::sync::watch;
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
    /// Every Redis in which leases are held; absent without one.
    pub(super) meeting: Option<watch::Receiver<Vec<(Address, bool)>>>,
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
    /// As they are written, and in use.
    read: Vec<(RedisAddress, Address)>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Sources {
    /// Whether every source of `config` has an address that can be used.
    ///
    /// # Errors
    /// The first that has not.
    pub(super) fn check(&self, config: &Checked) -> Result<(), AddressError> {
        let mut addresses = config.sources.iter().flat_map(|source| self.addresses(config, source));
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
            let addresses = self.addresses(config, source);
            if addresses.is_empty() {
                tracing::warn!(
                    source = name,
                    "this source has no Redis to read: give one with --redis or `redis.external`"
                );
                continue;
            }
            let written = written(source);
            if let Some(old) = started.get_mut(name)
                && old.goes_on(&written, &addresses)?
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
            let used = |address: &&RedisAddress| Ok(((*address).clone(), Address::new(address)?));
            let read = addresses.iter().map(used).collect::<Result<Vec<_>, AddressError>>()?;
            let used = read.iter().map(|(_, used)| used.clone()).collect();
            let (stop, task) = self.start(config, source, used, before);
            started.insert(name.clone(), Started { source: written, read, stop, task });
        }
        Ok(())
    }

    /// Where the source is read. Where that is the gateway's own Redis, in the one that is being left, too: nobody knows when the application
    /// goes on to the other.
    fn addresses<'a>(&'a self, config: &'a Checked, source: &'a Source) -> Vec<&'a RedisAddress> {
        let first = choose(self.redis.as_ref(), source.redis(), &config.redis);
        let own = self.redis.is_some() || source.redis().is_some();
        let previous = config.previous_redis.as_ref().filter(|_| !own).map(|previous| &previous.address);
        first.into_iter().chain(previous).collect()
    }

    fn end(&self, name: &str, started: &Started) {
        started.stop.cancel();
        self.readiness.forget(&format!("source:{name}"));
    }

    fn start(
        &self,
        config: &Checked,
        source: &Source,
        addresses: Vec<Address>,
        before: Option<Started>,
    ) -> (CancellationToken, JoinHandle<()>) {
        let (index, status) = self.statuses.of(&source.name);
        let stop = self.ended.child_token();
        let until = stop.clone();
        let turns = self.turns(config, source, &status);
        let reading: Reading = match &source.kind {
            SourceKind::RedisPubSub(of) => {
                let reader = |address| RedisPubSub {
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
                read_pub_sub(turns, addresses.into_iter().map(reader).collect(), until)
            }
            SourceKind::RedisStream(of) => {
                let reader = |address| RedisStream {
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
                read_stream(turns, addresses.into_iter().map(reader).collect(), until)
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
        let addresses = self.meeting.clone().filter(|_| source.ingest == Ingest::OnePod)?;
        Some(OnePod {
            name: source.name.clone(),
            addresses,
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
    fn goes_on(&mut self, source: &str, addresses: &[&RedisAddress]) -> Result<bool, AddressError> {
        if self.source != source || self.task.is_finished() || self.read.len() != addresses.len() {
            return Ok(false);
        }
        for ((written, used), address) in self.read.iter_mut().zip(addresses) {
            if written != *address {
                if !used.renew(address)? {
                    return Ok(false);
                }
                *written = (*address).clone();
            }
        }
        Ok(true)
    }
}

/// Reads until it is told to stop.
type Reading = Pin<Box<dyn Future<Output = ()> + Send>>;

fn read_pub_sub(turns: Option<OnePod>, readers: Vec<RedisPubSub>, stop: CancellationToken) -> Reading {
    Box::pin(async move {
        let Some(turns) = turns else {
            stop.run_until_cancelled(join_all(readers.into_iter().map(RedisPubSub::run))).await;
            return;
        };
        let read = |lease: Lease, missed, until: CancellationToken| {
            let turn = |reader: &RedisPubSub| {
                let through = reader
                    .through
                    .as_ref()
                    .map(|through| Through { feed: Arc::clone(&through.feed), lease: Some(lease.clone()) });
                RedisPubSub { missed: Some(missed), through, ..reader.clone() }
            };
            let turns: Vec<RedisPubSub> = readers.iter().map(turn).collect();
            async move {
                until.run_until_cancelled(join_all(turns.into_iter().map(RedisPubSub::run))).await;
            }
        };
        turns.run(&stop, read).await;
    })
}

fn read_stream(turns: Option<OnePod>, readers: Vec<RedisStream>, stop: CancellationToken) -> Reading {
    Box::pin(async move {
        let Some(turns) = turns else {
            join_all(readers.iter().map(|reader| reader.run(&stop))).await;
            return;
        };
        // The stream keeps what nobody has read: a takeover misses nothing.
        let read = |lease: Lease, _, until: CancellationToken| {
            let turn = |reader: &RedisStream| RedisStream { lease: Some(lease.clone()), ..reader.clone() };
            let turns: Vec<RedisStream> = readers.iter().map(turn).collect();
            async move {
                join_all(turns.iter().map(|turn| turn.run(&until))).await;
            }
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
