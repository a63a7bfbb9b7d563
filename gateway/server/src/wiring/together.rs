//! Has the pods of a gateway count and act together, where there is a Redis between them.

use std::sync::Arc;

use anyhow::Result;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rtgw_config::checked::Checked;
use rtgw_model::ConnectionId;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Options;
use super::meeting::{self, Meeting};
use super::presences::Presences;
use crate::auth::Admitter;
use crate::broker::{Stage, Switching, SwitchingPresence};
use crate::cluster::{Ears, Others, Pods, Way};
use crate::control::{self, Control};
use crate::intake::Room;
use crate::limits::{Census, GivingWay, Reach};
use crate::redis_link::{Address, Names};
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
    pub(super) meeting: Arc<Meeting>,
    broker: Arc<Switching>,
    /// Those that are spoken through, by the stage of the broker.
    ways: Arc<Mutex<Vec<Way>>>,
}

/// What is to be run.
struct Begun {
    ears: Ears,
    control: Control,
}

/// What is revoked before anything was read.
pub(super) fn revocations(config: &Checked, options: &Options) -> Arc<Revocations> {
    let meets = meeting::meets(config, options.redis.as_ref());
    Arc::new(if meets { Revocations::unread() } else { Revocations::default() })
}

impl Together {
    /// Of this pod, whose connections are behind `inboxes`, with those that meet where `broker` does.
    pub(super) fn new(
        config: &Checked,
        (meeting, broker): (&Arc<Meeting>, Option<&Arc<Switching>>),
        rules: &Arc<Rulebook>,
        room: &Arc<Room>,
        inboxes: &[Arc<dyn Inbox>],
        admitter: &ArcSwap<Admitter>,
    ) -> Self {
        let revocations = Arc::clone(admitter.load().revocations());
        let control = Control::new(inboxes.into(), Arc::clone(rules), Arc::clone(&revocations));
        let control = control.within(Arc::clone(room));
        let Some(broker) = broker.cloned() else {
            let pods = Pods::new(control.clone(), None);
            return Self { control, pods, shared: None, begun: Mutex::new(None) };
        };
        // A name of the process: one that follows it, on the same machine or under the same name, is another pod.
        let pod = format!("{:016x}", fastrand::u64(..));
        let stage = broker.stage().borrow().clone();
        let ways: Vec<Way> = addresses(&stage).map(Way::new).collect();
        let link =
            ways.first().map_or_else(|| Way::new(&stage.written).link().clone(), |way| way.link().clone());
        let (others, ears) = Others::new(config, &pod, ways.clone(), revocations);
        let names = Names::new(&config.namespace, &config.name);
        let reach = ReachAll { others: Arc::clone(&others), inboxes: inboxes.into() };
        let census = Census::new(&pod, link, &names, Box::new(reach));
        others.bind(census.clone());
        let pods = Pods::new(control.clone(), Some(Arc::clone(&others)));
        let begun = Mutex::new(Some(Begun { ears, control: control.clone() }));
        let (meeting, ways) = (Arc::clone(meeting), Arc::new(Mutex::new(ways)));
        let shared = Some(Shared { others, census, meeting, broker, ways });
        Self { control, pods, shared, begun }
    }

    /// Runs everything until `ended`; once.
    pub(super) fn run(&self, presences: &Presences, tasks: &TaskTracker, ended: &CancellationToken) {
        let (Some(shared), Some(begun)) = (&self.shared, self.begun.lock().take()) else { return };
        let Shared { census, others, .. } = shared.clone();
        let stop = ended.clone();
        tasks.spawn(async move { stop.run_until_cancelled(census.keep()).await });
        let (shared, presence, stop) = (shared.clone(), presences.redis.clone(), ended.clone());
        tasks.spawn(async move { stop.run_until_cancelled(shared.follow(presence)).await });
        let stop = ended.clone();
        let Begun { ears, control } = begun;
        tasks.spawn(async move { stop.run_until_cancelled(others.keep(ears, control)).await });
    }
}

impl Shared {
    /// Whether `config` can be taken by [`Shared::reload`].
    ///
    /// # Errors
    /// Why not.
    pub(super) fn check(&self, config: &Checked) -> Result<()> {
        let Some(stages) = self.meeting.stages(config)? else { return Ok(()) };
        Ok(self.broker.check(&stages)?)
    }

    /// Goes on with the secrets and the Redis of `config`.
    pub(super) fn reload(&self, config: &Checked) {
        self.others.reload(config);
        let turned = self.meeting.renewed(config).and_then(|stages| match stages {
            Some(stages) => Ok(self.broker.turn(&stages)?),
            None => Ok(()),
        });
        if let Err(error) = turned {
            tracing::error!(%error, "the Redis of before goes on");
        }
    }

    /// Has everything that pods share be where the broker is, until dropped.
    async fn follow(self, presence: Option<Arc<SwitchingPresence>>) {
        let mut stages = self.broker.stage();
        while stages.changed().await.is_ok() {
            let stage = stages.borrow_and_update().clone();
            let ways = {
                let mut ways = self.ways.lock();
                let known = |address: &Address| ways.iter().find(|way| way.address().is_at(address)).cloned();
                *ways = addresses(&stage).map(|to| known(to).unwrap_or_else(|| Way::new(to))).collect();
                ways.clone()
            };
            if let Some(written) = ways.first() {
                self.census.go(written.link());
            }
            self.others.go(ways);
            if let Some(presence) = &presence {
                presence.go(&stage);
            }
        }
    }
}

/// Those of a stage, the one that is written first.
fn addresses(stage: &Stage) -> impl Iterator<Item = &Address> {
    std::iter::once(&stage.written).chain(&stage.other)
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
