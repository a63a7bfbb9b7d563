//! What is there: digests of children and what pods say, kept in memory by watches. Whole objects are not kept: at a thousand gateways they
//! would be most of the program.

pub mod digest;
pub mod memory;
pub mod owned;
pub mod pods;
pub mod watch;

use std::collections::BTreeMap;

pub use digest::{Digest, Facts, Workload};
pub use memory::Memory;
pub use pods::{Heard, Pod};

use crate::gateway::Identity;
use crate::kinds::Kind;
use crate::template::Pinned;

/// What is there of one object, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Children of this object, and what bears the name of one.
    pub children: BTreeMap<(Kind, String), Digest>,
    /// Fields that the API server keeps in another form than they were applied in, by the hashes of both.
    pub kept_as: BTreeMap<u64, u64>,
    /// The ConfigMap.
    pub config: Option<SeenConfig>,
    /// Its texts, where they were asked for.
    pub texts: Option<Texts>,
    /// The newest ControllerRevision.
    pub revision: Option<StoredRevision>,
    /// The Deployment.
    pub deployment: Option<Workload>,
    /// The managed Redis.
    pub redis: Option<Workload>,
    /// Where the public Service's balancer is.
    pub balancer: Option<String>,
    /// The Deployment's pods, those that are going included.
    pub pods: Vec<Pod>,
}

/// What the ConfigMap says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenConfig {
    /// Generation of its configuration.
    pub generation: u64,
    /// Revision of its configuration.
    pub revision: String,
    /// Revision of its last good configuration.
    pub last_good: Option<String>,
    /// Where it lets publications travel, JSON; absent: in the memory of the one pod.
    pub redis: Option<Box<str>>,
}

/// What the ConfigMap holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// The configuration.
    pub config: String,
    /// The last good one.
    pub last_good: Option<String>,
}

/// A ControllerRevision.
#[derive(Clone, Debug)]
pub struct StoredRevision {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: i64,
    /// What it remembers.
    pub pinned: Pinned,
}

impl Observed {
    /// From digests: those of `identity` tell what is there, and those of others only that a name is taken.
    pub fn new(identity: &Identity, children: BTreeMap<(Kind, String), Digest>, pods: Vec<Pod>) -> Self {
        let mut observed = Self { children, pods, ..Self::default() };
        for ((kind, name), digest) in &observed.children {
            if !digest.is_of(&identity.uid) || digest.deleting {
                continue;
            }
            match &digest.facts {
                Facts::Config(config) => observed.config = Some(config.clone()),
                Facts::Workload(workload) if *kind == Kind::Deployment => {
                    observed.deployment = Some(workload.clone());
                }
                Facts::Workload(workload) => observed.redis = Some(workload.clone()),
                Facts::Balancer(address) => observed.balancer = Some(address.clone()),
                Facts::Revision { number, data } => {
                    let newer = observed.revision.as_ref().is_none_or(|known| known.number < *number);
                    if newer && let Ok(pinned) = serde_json::from_str(data) {
                        let (name, number) = (name.clone(), *number);
                        observed.revision = Some(StoredRevision { name, number, pinned });
                    }
                }
                Facts::None => {}
            }
        }
        observed
    }

    /// Pods that run the configuration `revision`.
    pub fn acknowledged(&self, revision: &str) -> usize {
        self.pods.iter().filter(|pod| pod.revision() == Some(revision)).count()
    }

    /// Whether all pods, those that are going included, run what the ConfigMap holds, and publications pass through all of them.
    pub fn agrees(&self) -> bool {
        let revision = self.config.as_ref().map(|config| config.revision.as_str());
        self.pods
            .iter()
            .all(|pod| pod.revision() == revision && pod.heard.as_ref().is_some_and(|heard| heard.delivering))
    }

    /// Pods that live and are not told to go.
    pub fn live(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| !pod.deleting)
    }
}
