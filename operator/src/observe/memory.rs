//! Everything that watches have told, by gateway.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{DynamicObject, PartialObjectMeta};
use parking_lot::Mutex;
use rtgw_crds::status::Status;
use serde_json::json;
use tokio::time::Instant;

use super::digest::{controller, version};
use super::pods::Telling;
use super::{Digest, Heard, Observed, Pod};
use crate::counters;
use crate::gateway::{Gateway, Identity};
use crate::hash;
use crate::kinds::Kind;
use crate::names::GATEWAY;

/// Reports that a pod may miss before it counts as out of reach.
const MISSES: u8 = 3;

/// Between two writes of counters.
const COUNTING: Duration = Duration::from_secs(30);

/// Namespace and name of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Of an object.
    pub fn of(identity: &Identity) -> Self {
        Self { namespace: identity.namespace.clone(), name: identity.name.clone() }
    }
}

/// What watches have told.
#[derive(Debug, Default)]
pub struct Memory {
    known: Mutex<HashMap<Key, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Names what of the object asks for a reconciliation; absent: there is no object of this name.
    asks: Option<u64>,
    children: BTreeMap<(Kind, String), Digest>,
    /// UID of a ReplicaSet -> UID of what controls it.
    replica_sets: BTreeMap<Box<str>, Box<str>>,
    pods: BTreeMap<Box<str>, Pod>,
    /// The status that was written last: the object's own may be older.
    written: Option<(String, Status)>,
    /// Fields that the API server keeps in another form than they were applied in: hash of what was applied -> hash of what became of it.
    kept_as: BTreeMap<u64, u64>,
    /// Revision of the configuration that pods are to run.
    expected: Option<String>,
    /// When counters were written last.
    counted: Option<Instant>,
    /// Failures in a row.
    failures: u32,
}

impl Known {
    fn is_empty(&self) -> bool {
        self.asks.is_none()
            && self.children.is_empty()
            && self.replica_sets.is_empty()
            && self.pods.is_empty()
    }
}

/// A pod that may be asked for its report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its UID.
    pub uid: Box<str>,
    /// Its address.
    pub ip: Box<str>,
}

impl Memory {
    /// An object as it is now. Whether it asks for more than before: its status alone asks for nothing.
    pub fn object(&self, gateway: &Gateway) -> bool {
        let metadata = &gateway.metadata;
        let asking = json!([
            metadata.uid,
            metadata.generation,
            metadata.labels,
            metadata.annotations,
            metadata.deletion_timestamp
        ]);
        let asks = hash::number(asking.to_string().as_bytes());
        let mut known = self.known.lock();
        let known = known.entry(Key::of(&Identity::of(gateway))).or_default();
        known.asks.replace(asks) != Some(asks)
    }

    /// An object that has gone.
    pub fn object_gone(&self, key: &Key) {
        let mut all = self.known.lock();
        if let Some(known) = all.get_mut(key) {
            known.asks = None;
            known.written = None;
            known.expected = None;
            known.counted = None;
            known.failures = 0;
            known.kept_as.clear();
            if known.is_empty() {
                all.remove(key);
            }
        }
    }

    /// A child as it is now, by a watch or by an answer. Whose it is, where something of it has changed.
    pub fn child(&self, kind: Kind, object: &DynamicObject) -> Option<Key> {
        let key = belongs_to(&object.metadata)?;
        let place = (kind, object.metadata.name.clone()?);
        let digest = Digest::of(kind, object);
        let mut all = self.known.lock();
        let children = &mut all.entry(key.clone()).or_default().children;
        if let Some(known) = children.get(&place)
            // A watch may tell what an answer has told before, or something older than that.
            && known.uid == digest.uid
            && known.version >= version(&object.metadata)
        {
            return None;
        }
        let before = children.insert(place, digest.clone());
        let same = before.is_some_and(|before| Digest { version: digest.version, ..before } == digest);
        (!same).then_some(key)
    }

    /// A child that has gone.
    pub fn child_gone(&self, kind: Kind, metadata: &ObjectMeta) -> Option<Key> {
        let key = belongs_to(metadata)?;
        let place = (kind, metadata.name.clone()?);
        let mut all = self.known.lock();
        let known = all.get_mut(&key)?;
        let gone =
            known.children.get(&place).is_some_and(|child| Some(&*child.uid) == metadata.uid.as_deref());
        if gone {
            known.children.remove(&place);
            if known.is_empty() {
                all.remove(&key);
            }
        }
        gone.then_some(key)
    }

    /// Forgets children of `kind` in `namespace` (all where there is none) that a new list did not have.
    pub fn keep_children(&self, kind: Kind, namespace: Option<&str>, listed: &HashSet<String>) -> Vec<Key> {
        let mut woken = Vec::new();
        let mut all = self.known.lock();
        for (key, known) in all.iter_mut().filter(|(key, _)| namespace.is_none_or(|one| key.namespace == one))
        {
            let before = known.children.len();
            known.children.retain(|(other, _), child| *other != kind || listed.contains(&*child.uid));
            if known.children.len() < before {
                woken.push(key.clone());
            }
        }
        woken
    }

    /// A ReplicaSet as it is now.
    pub fn replica_set<K>(&self, object: &PartialObjectMeta<K>) -> Option<Key> {
        let metadata = &object.metadata;
        let key = belongs_to(metadata)?;
        let owner = controller(metadata).filter(|owner| owner.kind == "Deployment")?.uid.as_str();
        let mut all = self.known.lock();
        let sets = &mut all.entry(key.clone()).or_default().replica_sets;
        let before = sets.insert(metadata.uid.as_deref()?.into(), owner.into());
        (before.as_deref() != Some(owner)).then_some(key)
    }

    /// A ReplicaSet that has gone.
    pub fn replica_set_gone(&self, metadata: &ObjectMeta) {
        let Some(key) = belongs_to(metadata) else { return };
        let mut all = self.known.lock();
        if let (Some(known), Some(uid)) = (all.get_mut(&key), metadata.uid.as_deref()) {
            known.replica_sets.remove(uid);
        }
    }

    /// A pod as it is now. Whose it is, where something of it has changed.
    pub fn pod(&self, object: &k8s_openapi::api::core::v1::Pod) -> Option<Key> {
        let key = belongs_to(&object.metadata)?;
        let mut pod = Pod::of(object);
        let mut all = self.known.lock();
        let pods = &mut all.entry(key.clone()).or_default().pods;
        if let Some(older) = pods.get(&pod.name) {
            pod.remember(older);
        }
        let before = pods.insert(pod.name.clone(), pod.clone());
        (before.as_ref() != Some(&pod)).then_some(key)
    }

    /// A pod that has gone.
    pub fn pod_gone(&self, metadata: &ObjectMeta) -> Option<Key> {
        let key = belongs_to(metadata)?;
        let mut all = self.known.lock();
        all.get_mut(&key)?.pods.remove(metadata.name.as_deref()?)?;
        Some(key)
    }

    /// Forgets pods in `namespace` (all where there is none) that a new list did not have.
    pub fn keep_pods(&self, namespace: Option<&str>, listed: &HashSet<String>) -> Vec<Key> {
        let mut woken = Vec::new();
        let mut all = self.known.lock();
        for (key, known) in all.iter_mut().filter(|(key, _)| namespace.is_none_or(|one| key.namespace == one))
        {
            let before = known.pods.len();
            known.pods.retain(|_, pod| listed.contains(&*pod.uid));
            if known.pods.len() < before {
                woken.push(key.clone());
            }
        }
        woken
    }

    /// What is there of `identity`: its children, and the pods that really are its Deployment's.
    pub fn observe(&self, identity: &Identity) -> Observed {
        let all = self.known.lock();
        let Some(known) = all.get(&Key::of(identity)) else { return Observed::default() };
        let pods = known.own_pods(&identity.uid).cloned().collect();
        Observed { kept_as: known.kept_as.clone(), ..Observed::new(identity, known.children.clone(), pods) }
    }

    /// Notes that what was applied as `applied` is kept as `kept`, so that it does not look like a stranger's edit.
    pub fn kept_as(&self, identity: &Identity, applied: u64, kept: u64) {
        let mut all = self.known.lock();
        all.entry(Key::of(identity)).or_default().kept_as.insert(applied, kept);
    }

    /// Notes which configuration pods are to run.
    pub fn expect(&self, identity: &Identity, revision: &str) {
        let mut all = self.known.lock();
        all.entry(Key::of(identity)).or_default().expected = Some(revision.to_owned());
    }

    /// Notes that a pod was told of the configuration `revision`, and how often that was.
    pub fn told(&self, identity: &Identity, uid: &str, revision: &str, now: Instant) {
        let mut all = self.known.lock();
        let pods = all.get_mut(&Key::of(identity)).map(|known| known.pods.values_mut());
        let Some(pod) = pods.into_iter().flatten().find(|pod| &*pod.uid == uid) else { return };
        let times = pod
            .telling
            .as_ref()
            .filter(|telling| &*telling.revision == revision)
            .map_or(0, |telling| telling.times);
        pod.telling = Some(Telling { revision: revision.into(), at: now, times: times + 1 });
    }

    /// Whether counters may be written again.
    pub fn may_count(&self, identity: &Identity, now: Instant) -> bool {
        let all = self.known.lock();
        all.get(&Key::of(identity)).is_none_or(|known| known.may_count(now))
    }

    /// Whether counters have moved so far, and so long after the last time, that they are to be written.
    pub fn counters_are_stale(&self, identity: &Identity, now: Instant) -> bool {
        let all = self.known.lock();
        let Some(known) = all.get(&Key::of(identity)) else { return false };
        let Some((_, before)) = &known.written else { return false };
        let pods: Vec<&Pod> = known.own_pods(&identity.uid).collect();
        known.may_count(now)
            && counters::connections(&pods, before.connections.as_ref(), true) != before.connections
    }

    /// Notes that counters were written.
    pub fn counted(&self, identity: &Identity, now: Instant) {
        let mut all = self.known.lock();
        all.entry(Key::of(identity)).or_default().counted = Some(now);
    }

    /// The pods of `identity` that may be asked, and whether one of them does not run yet what it should.
    pub fn to_ask(&self, identity: &Identity) -> (Vec<Asked>, bool) {
        let all = self.known.lock();
        let Some(known) = all.get(&Key::of(identity)) else { return Default::default() };
        let expected = known.expected.as_deref();
        let (mut asked, mut awaited) = (Vec::new(), false);
        for pod in known.own_pods(&identity.uid).filter(|pod| pod.running && !pod.deleting) {
            let Some(ip) = pod.ip.clone() else { continue };
            awaited |= !pod.is_out_of_reach() && pod.revision() != expected;
            asked.push(Asked { uid: pod.uid.clone(), ip });
        }
        (asked, awaited)
    }

    /// What the pod `uid` answered; absent: nothing, or nothing that is a report. Whether a decision may be another now.
    pub fn heard(&self, key: &Key, uid: &str, heard: Option<Heard>) -> bool {
        let mut all = self.known.lock();
        let pods = all.get_mut(key).map(|known| known.pods.values_mut());
        let Some(pod) = pods.into_iter().flatten().find(|pod| &*pod.uid == uid) else { return false };
        match heard {
            None => {
                pod.unheard = pod.unheard.saturating_add(1);
                pod.unheard == MISSES
            }
            Some(heard) => {
                let back = std::mem::take(&mut pod.unheard) >= MISSES;
                let before = pod.heard.replace(heard);
                let now = pod.heard.as_ref();
                back || before.zip(now).is_none_or(|(before, now)| now.decides_otherwise(&before))
            }
        }
    }

    /// The status that was written last for the object with this UID.
    pub fn written(&self, identity: &Identity) -> Option<Status> {
        let all = self.known.lock();
        let (uid, status) = all.get(&Key::of(identity))?.written.as_ref()?;
        (*uid == identity.uid).then(|| status.clone())
    }

    /// Notes what was written.
    pub fn wrote(&self, identity: &Identity, status: Status) {
        let mut all = self.known.lock();
        all.entry(Key::of(identity)).or_default().written = Some((identity.uid.clone(), status));
    }

    /// Counts a failure, or ends the row of them. How many there have been in a row.
    pub fn failures(&self, identity: &Identity, failed: bool) -> u32 {
        let mut all = self.known.lock();
        let Some(known) = all.get_mut(&Key::of(identity)) else { return 0 };
        known.failures = if failed { known.failures.saturating_add(1) } else { 0 };
        known.failures
    }
}

impl Known {
    fn may_count(&self, now: Instant) -> bool {
        self.counted.is_none_or(|counted| now.duration_since(counted) >= COUNTING)
    }

    /// Pods whose chain of controllers ends at this object's own Deployment: a label is soon written by a stranger.
    fn own_pods<'k>(&'k self, uid: &str) -> impl Iterator<Item = &'k Pod> + use<'k> {
        let mut deployments =
            self.children.iter().filter(|((kind, _), child)| *kind == Kind::Deployment && child.is_of(uid));
        let deployment = deployments.next().map(|(_, child)| child.uid.clone());
        self.pods.values().filter(move |pod| {
            let set = pod.replica_set.as_ref().and_then(|set| self.replica_sets.get(set));
            set.is_some() && set == deployment.as_ref()
        })
    }
}

impl Pod {
    /// Whether it has been silent for too long.
    pub fn is_out_of_reach(&self) -> bool {
        self.unheard >= MISSES
    }

    /// The configuration that it runs, as far as it was heard.
    pub fn revision(&self) -> Option<&str> {
        self.heard.as_ref()?.revision.as_deref()
    }
}

/// The gateway that something is of: of what controls it, or what its label says.
fn belongs_to(metadata: &ObjectMeta) -> Option<Key> {
    let namespace = metadata.namespace.clone()?;
    let owner = controller(metadata).filter(|owner| owner.kind == rtgw_crds::KIND);
    let name = match owner {
        Some(owner) => owner.name.clone(),
        None => metadata.labels.as_ref()?.get(GATEWAY)?.clone(),
    };
    Some(Key { namespace, name })
}
