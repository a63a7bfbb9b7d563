//! Which configuration runs, and how the attempts to run another one went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use rtgw_config::pod::{ConfigReport, SecretsReport};
use rtgw_config::{Checked, Problem, pod, raw};
use rtgw_crds::Sketch;
use sha1::{Digest, Sha1};

use crate::secrets_seen::SecretsSeen;

/// The running configuration; loaded by whoever shows something of it.
#[derive(Debug)]
pub struct Running {
    current: ArcSwap<Current>,
    refused: AtomicBool,
    files: Mutex<Files>,
    results: [AtomicU64; ReloadResult::ALL.len()],
}

/// A configuration and its name.
#[derive(Debug)]
pub struct Current {
    /// What runs.
    pub config: Arc<Checked>,
    /// Names its content: as whoever wrote it calls it, else by the content itself.
    pub revision: String,
    /// The generation that the operator wrote; absent for a manifest.
    pub generation: Option<u64>,
    /// Whether it is the operator's `last-good.yaml`.
    pub last_good: bool,
}

/// What the files hold, whether it runs or not.
#[derive(Debug, Default)]
struct Files {
    refused: Option<pod::Refused>,
    secrets: SecretsReport,
    seen: SecretsSeen,
}

/// How a reload ended: the label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// The new configuration runs.
    Accepted,
    /// It cannot be read, is wrong, or cannot run without a restart; the old one goes on.
    Refused,
    /// It is older than the one that runs.
    Ignored,
}

impl ReloadResult {
    /// Every result.
    pub const ALL: [Self; 3] = [Self::Accepted, Self::Refused, Self::Ignored];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
        }
    }
}

impl Running {
    /// The configuration that a process starts with.
    pub fn new(config: Arc<Checked>) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::from_pointee(Current::new(config)),
            refused: AtomicBool::new(false),
            files: Mutex::default(),
            results: Default::default(),
        })
    }

    /// What runs now.
    pub fn load(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Another one, shown from now on: nothing is refused any more.
    pub fn replace(&self, current: Current) {
        let mut files = self.files.lock();
        self.current.store(Arc::new(current));
        files.refused = None;
        self.refused.store(false, Ordering::Relaxed);
    }

    /// Notes which Secrets there are for what the files hold, whether it will run or not.
    pub fn see(&self, sketch: &Sketch) {
        let mut files = self.files.lock();
        files.secrets = files.seen.report(sketch, Timestamp::now());
    }

    /// Notes what is wrong with what the files hold, of this generation, where that could be read.
    pub fn refuse(&self, generation: Option<u64>, problems: &[Problem]) {
        self.files.lock().refused = Some(refusal(generation, problems));
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Notes that what the files hold is not refused, though it does not run.
    pub fn settle(&self) {
        self.files.lock().refused = None;
        self.refused.store(false, Ordering::Relaxed);
    }

    /// What there is to report of the configuration that runs, and of the files.
    pub fn report(&self) -> (ConfigReport, SecretsReport) {
        // In this order: what runs and what is refused change together.
        let files = self.files.lock();
        let current = self.load();
        let config = ConfigReport {
            versions: vec![raw::VERSION],
            generation: current.generation,
            revision: Some(current.revision.clone()),
            last_good: current.last_good,
            refused: files.refused.clone(),
        };
        (config, files.secrets.clone())
    }

    /// Counts how a reload ended.
    pub fn ended(&self, result: ReloadResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What to say about the files: `accepted`, or `refused` while an older configuration goes on.
    pub fn state(&self) -> &'static str {
        if self.refused.load(Ordering::Relaxed) { "refused" } else { "accepted" }
    }

    /// How many reloads ended so.
    pub fn count(&self, result: ReloadResult) -> u64 {
        self.results[result as usize].load(Ordering::Relaxed)
    }
}

impl Current {
    /// A configuration that is no file of the operator's.
    pub fn new(config: Arc<Checked>) -> Self {
        let revision = config.revision.clone().unwrap_or_else(|| revision(&config));
        Self { revision, config, generation: None, last_good: false }
    }
}

/// What was wrong with a configuration, for a report.
pub fn refusal(generation: Option<u64>, problems: &[Problem]) -> pod::Refused {
    let errors = problems.iter().filter(|problem| problem.is_error());
    let fault =
        |problem: &Problem| pod::Fault { path: problem.path.clone(), message: problem.message.clone() };
    pod::Refused { generation, problems: errors.map(fault).collect(), more: 0 }
}

/// Names the content of a configuration: equal for equal content, and without a trace of its secrets, which print only their length.
fn revision(config: &Checked) -> String {
    let digest = Sha1::digest(format!("{config:?}").as_bytes());
    digest.iter().take(3).map(|byte| format!("{byte:02x}")).collect()
}
