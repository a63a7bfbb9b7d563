//! Has the pods of a gateway count and act together, where there is a Redis between them.

use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rtgw_config::checked::{Checked, Redis, RedisAddress};
use rtgw_model::ConnectionId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use crate::auth::Admitter;
use crate::cluster::{Ears, Others, Pods};
use crate::control::{self, Control};
use crate::intake::Room;
use crate::limits::{Census, GivingWay, Reach};
use crate::redis_link::{Address, Link, Names, choose};
use crate::revocations::Revocations;
use crate::rulebook::Rulebook;
use crate::transport::Inbox;

/// What there is between pods.
pub(super) struct Together {
    /// The way to the connections of this pod.
    pub(super) control: Control,
    /// The way to all connections.
    pub(super) pods: Pods,
    /// Absent without a Redis.
    pub(super) shared: Option<Shared>,
    /// What is still to be run.
    begun: Mutex<Option<Begun>>,
}

/// What a Redis brings.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) others: Arc<Others>,
    pub(super) census: Census,
    link: Link,
    address: Address,
    instead: bool,
}

/// What is to be run.
struct Begun {
    ears: Ears,
    control: Control,
}

/// What is revoked before anything was read.
pub(super) fn revocations(config: &Checked, options: &Options) -> Arc<Revocations> {
    let meets = meeting(config, options.redis.as_ref()).is_some();
    Arc::new(if meets { Revocations::unread() } else { Revocations::default() })
}

impl Together {
    /// Of this pod, whose connections are behind `inboxes`, with those that meet at `address`.
    pub(super) fn new(
        config: &Checked,
        options: &Options,
        address: Option<&Address>,
        rules: &Arc<Rulebook>,
        room: &Arc<Room>,
        inboxes: &[Arc<dyn Inbox>],
        admitter: &ArcSwap<Admitter>,
    ) -> Self {
        let revocations = Arc::clone(admitter.load().revocations());
        let control = Control::new(inboxes.into(), Arc::clone(rules), Arc::clone(&revocations));
        let control = control.within(Arc::clone(room));
        let Some(address) = address.cloned() else {
            let pods = Pods::new(control.clone(), None);
            return Self { control, pods, shared: None, begun: Mutex::new(None) };
        };
        // A name of the process: one that follows it, on the same machine or under the same name, is another pod.
        let pod = format!("{:016x}", fastrand::u64(..));
        let link = Link::new("pods", address.clone());
        let (others, ears) = Others::new(config, &pod, link.clone(), address.clone(), revocations);
        let names = Names::new(&config.namespace, &config.name);
        let reach = ReachAll { others: Arc::clone(&others), inboxes: inboxes.into() };
        let census = Census::new(&pod, link.clone(), &names, Box::new(reach));
        others.bind(census.clone());
        let pods = Pods::new(control.clone(), Some(Arc::clone(&others)));
        let begun = Mutex::new(Some(Begun { ears, control: control.clone() }));
        let shared = Some(Shared { others, census, link, address, instead: options.redis.is_some() });
        Self { control, pods, shared, begun }
    }

    /// Runs everything until `ended`; once.
    pub(super) fn run(&self, tasks: &TaskTracker, ended: &CancellationToken) {
        let (Some(shared), Some(begun)) = (&self.shared, self.begun.lock().take()) else { return };
        let Shared { link, census, others, .. } = shared.clone();
        let stop = ended.clone();
        tasks.spawn(async move { stop.run_until_cancelled(link.keep()).await });
        let stop = ended.clone();
        tasks.spawn(async move { stop.run_until_cancelled(census.keep()).await });
        let stop = ended.clone();
        let Begun { ears, control } = begun;
        tasks.spawn(async move { stop.run_until_cancelled(others.keep(ears, control)).await });
    }
}

impl Shared {
    /// Where the pods meet.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Goes on with the secrets of `config`, also under connections that live; another Redis needs a restart.
    pub(super) fn reload(&self, before: &Checked, config: &Checked) {
        self.others.reload(config);
        let changed = (before.redis != config.redis && !self.instead).then_some(&config.redis);
        let Some(Redis::External(redis)) = changed else { return };
        match self.address.renew(redis) {
            Ok(true) => tracing::info!(redis = %self.address, "Redis is shown new credentials"),
            Ok(false) => tracing::error!(redis = %self.address, "another Redis needs a restart"),
            Err(error) => tracing::error!(%error, "the address of Redis cannot be used"),
        }
    }
}

/// Where the pods meet: at the command line's address, or the manifest's; nowhere without one.
fn meeting<'a>(config: &'a Checked, instead: Option<&'a RedisAddress>) -> Option<&'a RedisAddress> {
    choose(instead, None, &config.redis)
}

/// The same, usable.
///
/// # Errors
/// Why it is not.
pub(super) fn place(config: &Checked, options: &Options) -> Result<Option<Address>> {
    meeting(config, options.redis.as_ref()).map(Address::new).transpose().context("spec.redis.external")
}

/// Whether the address of Redis can be used.
///
/// # Errors
/// Why not.
pub(super) fn check(config: &Checked) -> Result<(), crate::redis_link::AddressError> {
    match &config.redis {
        Redis::External(address) => Address::new(address).map(drop),
        Redis::Embedded => Ok(()),
    }
}

struct ReachAll {
    others: Arc<Others>,
    inboxes: Arc<[Arc<dyn Inbox>]>,
}

impl Reach for ReachAll {
    fn reaches(&self) -> bool {
        self.others.can_speak()
    }

    fn close(&self, connection: ConnectionId) {
        control::replaced(&self.inboxes, connection);
    }

    fn tell(&self, giving_way: GivingWay) {
        self.others.tell(&giving_way);
    }
}
