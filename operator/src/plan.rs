//! What is wanted and what is there, to what is to be made. Pure: the same object in the same cluster at the same time gives the same plan.

use std::time::Duration;

use jiff::Timestamp;
use rtgw_config::raw;
use rtgw_crds::cluster::OperatorChange;
use serde_json::json;

use crate::check::{self, Broker, Desired};
use crate::hash;
use crate::observe::{Observed, StoredRevision};
use crate::settings::Settings;
use crate::switching;
use crate::template::{self, Part, Pinned, PodInputs};

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What pods read.
    pub config: ConfigPlan,
    /// What pods are made from.
    pub template: Pinned,
    /// Where that is remembered.
    pub revision: Revision,
    /// Paths of the spec whose change waits for pods to be replaced.
    pub pending: Vec<String>,
    /// What pods would be made different by this operator, if they were replaced; absent where nothing would.
    pub update: Option<String>,
    /// When to look again for certain.
    pub wake_after: Option<Duration>,
}

/// What pods read.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigPlan {
    /// The file.
    pub text: String,
    /// Generation of the object that gave its content.
    pub generation: u64,
    /// Names its content.
    pub revision: String,
    /// The newest one that a pod has acknowledged.
    pub last_good: Option<LastGood>,
    /// Where publications travel; absent: in the memory of the one pod.
    pub redis: Option<raw::Redis>,
    /// Whether pods are on their way from one Redis to another.
    pub switching: bool,
}

/// A configuration that some pod runs or ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// The file.
    pub text: String,
    /// Names its content.
    pub revision: String,
}

/// A ControllerRevision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its name.
    pub name: String,
    /// Rises with each.
    pub number: i64,
}

/// Why nothing can be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// From or to the memory of one pod, without the annotation that says so.
    BrokerChange {
        /// What pods use now, in the manifest's word.
        from: &'static str,
        /// What the object wants.
        to: &'static str,
    },
}

/// Plans for `desired`.
///
/// # Errors
/// Only a person can decide.
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    settings: &Settings,
    now: Timestamp,
) -> Result<Plan, Obstacle> {
    let desired = &staged(desired, observed);
    let stored = observed.revision.as_ref();
    let restart = Restart::of(desired, stored, now);
    let pods = pods(desired, stored.map(|stored| &stored.pinned.gateway), &restart, settings);
    let redis = redis(desired, stored.and_then(|stored| stored.pinned.redis.as_ref()), settings);
    if let Some(obstacle) = broker_change(desired, stored) {
        return Err(obstacle);
    }
    let config_version = match stored {
        // Pods that stay as they are read what they read.
        Some(stored) if stored.pinned.gateway == pods.part => stored.pinned.config_version,
        _ => raw::VERSION,
    };
    let template = Pinned { gateway: pods.part, config_version, redis, broker: desired.broker.into() };
    Ok(Plan {
        config: config(desired, observed, settings, config_version),
        revision: revision(desired, stored, &template),
        template,
        pending: pods.pending,
        update: pods.update,
        wake_after: restart.wait,
    })
}

/// What the annotation `restart-at` asks for.
struct Restart {
    /// The one that pods are to be made for.
    moment: Option<String>,
    /// Whether that is another than the one they were made for.
    due: bool,
    /// How long it is until then.
    wait: Option<Duration>,
}

impl Restart {
    fn of(desired: &Desired, stored: Option<&StoredRevision>, now: Timestamp) -> Self {
        let made_for = stored.and_then(|stored| stored.pinned.gateway.inputs.restart.clone());
        let Some((moment, text)) = &desired.orders.restart_at else {
            return Self { moment: made_for, due: false, wait: None };
        };
        if let Ok(wait) = Duration::try_from(moment.duration_since(now))
            && !wait.is_zero()
        {
            return Self { moment: made_for, due: false, wait: Some(wait) };
        }
        // Pods that are made for the first time are as young as any restart could make them.
        let due = stored.is_some() && made_for.as_ref() != Some(text);
        Self { moment: if stored.is_some() { Some(text.clone()) } else { None }, due, wait: None }
    }
}

/// The pods to be, and what is held back from them.
struct Pods {
    part: Part<PodInputs>,
    pending: Vec<String>,
    update: Option<String>,
}

fn pods(desired: &Desired, stored: Option<&Part<PodInputs>>, restart: &Restart, settings: &Settings) -> Pods {
    let own = &desired.names.own;
    let Some(stored) = stored else {
        let part = template::pods(own, PodInputs::of(desired, settings, None), settings);
        return Pods { part, pending: Vec::new(), update: None };
    };
    let wanted = PodInputs::of(desired, settings, stored.inputs.restart.clone());
    // What this operator would make of what the pods were made from.
    let rebuilt = template::pods(own, stored.inputs.clone(), settings);
    let differs = rebuilt.body != stored.body;
    let immediate = desired.spec.update.as_ref().and_then(|update| update.operator_change)
        == Some(OperatorChange::Immediate);
    let replace = stored.inputs.needs_restart(&wanted) || restart.due || (immediate && differs);
    if replace && !desired.orders.hold_rollout {
        let inputs = PodInputs { restart: restart.moment.clone(), ..wanted };
        return Pods { part: template::pods(own, inputs, settings), pending: Vec::new(), update: None };
    }
    Pods {
        pending: stored.inputs.differences(&wanted, desired),
        update: differs.then(|| difference(stored, &rebuilt)),
        part: stored.clone(),
    }
}

/// What a new operator would make different, in a sentence.
fn difference(stored: &Part<PodInputs>, rebuilt: &Part<PodInputs>) -> String {
    let mut parts = Vec::new();
    if stored.image != rebuilt.image {
        parts.push(format!("the image would be {} instead of {}", rebuilt.image, stored.image));
    }
    if stored.template_version != rebuilt.template_version {
        let (new, old) = (rebuilt.template_version, stored.template_version);
        parts.push(format!("the template would be of version {new} instead of {old}"));
    }
    if parts.is_empty() {
        parts.push("the template would be another".into());
    }
    parts.join(", ")
}

/// The managed Redis: only its own fields replace its pod.
fn redis(
    desired: &Desired,
    stored: Option<&Part<rtgw_crds::cluster::ManagedRedis>>,
    settings: &Settings,
) -> Option<Part<rtgw_crds::cluster::ManagedRedis>> {
    let Some(wanted) = desired.spec.redis.as_ref().and_then(|redis| redis.managed.clone()) else {
        // One that is being left stays until no pod reads it.
        let url = check::managed_url(&desired.names, &desired.identity.namespace);
        let redis = desired.config.redis.as_ref()?;
        let previous = redis.previous.as_ref().map(|previous| &previous.external);
        let read = redis.external.iter().chain(previous).any(|external| external.url == url);
        return stored.filter(|_| read).cloned();
    };
    match stored {
        Some(stored) if stored.inputs == wanted || desired.orders.hold_rollout => Some(stored.clone()),
        _ => Some(template::redis(desired, wanted, settings)),
    }
}

fn broker_change(desired: &Desired, stored: Option<&StoredRevision>) -> Option<Obstacle> {
    let from = stored?.pinned.broker;
    let to = template::PinnedBroker::from(desired.broker);
    let embedded = |broker| broker == template::PinnedBroker::Embedded;
    let word = |broker| match broker {
        template::PinnedBroker::Embedded => "embedded",
        template::PinnedBroker::Managed => "managed",
        template::PinnedBroker::External => "external",
    };
    if embedded(from) == embedded(to) || desired.orders.broker_change.as_deref() == Some(word(to)) {
        return None;
    }
    Some(Obstacle::BrokerChange { from: word(from), to: word(to) })
}

fn revision(desired: &Desired, stored: Option<&StoredRevision>, template: &Pinned) -> Revision {
    match stored {
        Some(stored) if stored.pinned == *template => {
            Revision { name: stored.name.clone(), number: stored.number }
        }
        _ => {
            let number = stored.map_or(0, |stored| stored.number) + 1;
            let content = format!("{number}:{}", template.data());
            Revision { name: desired.names.revision(&content), number }
        }
    }
}

/// What pods read. Its generation is that of the object whose edit changed it: an edit of anything else asks pods for nothing.
fn config(desired: &Desired, observed: &Observed, settings: &Settings, version: u32) -> ConfigPlan {
    let mut config = raw::Config {
        version,
        generation: 0,
        revision: None,
        name: desired.identity.name.clone(),
        namespace: desired.identity.namespace.clone(),
        operator: Some(raw::Operator { audience: desired.identity.uid.clone(), keys: settings.keys.clone() }),
        spec: desired.config.clone(),
    };
    let revision = hash::short(json!(config).to_string().as_bytes());
    let there = observed.config.as_ref().filter(|there| there.revision == revision);
    config.generation = there.map_or(desired.generation, |there| there.generation);
    config.revision = Some(revision.clone());
    // JSON is YAML, and its writer gives the same bytes in every version of it. Never fails: keys are texts.
    let mut text = serde_json::to_string_pretty(&config).unwrap_or_default();
    text.push('\n');
    let last_good = last_good(observed, &revision, &text);
    let redis = desired.config.redis.clone().filter(|redis| redis.external.is_some());
    let written = desired.spec.redis.as_ref().is_some_and(|redis| redis.previous.is_some());
    let switching = !written && redis.as_ref().is_some_and(|redis| redis.previous.is_some());
    ConfigPlan { generation: config.generation, text, revision, last_good, redis, switching }
}

/// The newest configuration that a pod has acknowledged: that of now, or the one that the ConfigMap remembers, or the one that it holds.
fn last_good(observed: &Observed, revision: &str, text: &str) -> Option<LastGood> {
    let now = || LastGood { text: text.to_owned(), revision: revision.to_owned() };
    let there = observed.config.as_ref()?;
    if observed.acknowledged(revision) > 0 || there.last_good.as_deref() == Some(revision) {
        return Some(now());
    }
    let texts = observed.texts.as_ref()?;
    if there.revision != revision && observed.acknowledged(&there.revision) > 0 {
        return Some(LastGood { text: texts.config.clone(), revision: there.revision.clone() });
    }
    Some(LastGood { text: texts.last_good.clone()?, revision: there.last_good.clone()? })
}

/// `desired` with the Redis of the stage that comes next: pods go from one to another in three.
fn staged(desired: &Desired, observed: &Observed) -> Desired {
    let there =
        observed.config.as_ref().and_then(|config| serde_json::from_str(config.redis.as_deref()?).ok());
    // A managed Redis that is gone to has to be there before anything is written in it.
    let reached =
        desired.broker != Broker::Managed || observed.redis.as_ref().is_some_and(|redis| redis.ready > 0);
    let redis = switching::next(desired.config.redis.as_ref(), there.as_ref(), reached && observed.agrees());
    Desired { config: raw::Spec { redis, ..desired.config.clone() }, ..desired.clone() }
}

/// Whether the texts in the ConfigMap are needed to say which one was good last: they are not kept in memory.
pub fn needs_texts(desired: &Desired, observed: &Observed, settings: &Settings) -> bool {
    let Some(there) = &observed.config else { return false };
    let desired = &staged(desired, observed);
    let version = observed.revision.as_ref().map_or(raw::VERSION, |stored| stored.pinned.config_version);
    let revision = config(desired, observed, settings, version).revision;
    observed.acknowledged(&revision) == 0
        && there.last_good.as_deref() != Some(&revision)
        && (there.last_good.is_some() || observed.acknowledged(&there.revision) > 0)
}
