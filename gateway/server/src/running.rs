//! Which configuration runs, and how the attempts to run another one went.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rtgw_config::Checked;
use sha1::{Digest, Sha1};

/// The running configuration; loaded by whoever shows something of it.
#[derive(Debug)]
pub struct Running {
    current: ArcSwap<Current>,
    refused: AtomicBool,
    results: [AtomicU64; ReloadResult::ALL.len()],
}

/// A configuration and its name.
#[derive(Debug)]
pub struct Current {
    /// What runs.
    pub config: Arc<Checked>,
    /// Names its content.
    pub revision: String,
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
        let current = Current { revision: revision(&config), config };
        Arc::new(Self {
            current: ArcSwap::from_pointee(current),
            refused: AtomicBool::new(false),
            results: Default::default(),
        })
    }

    /// What runs now.
    pub fn load(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// The same, shown from now on.
    pub fn replace(&self, config: Arc<Checked>) {
        self.current.store(Arc::new(Current { revision: revision(&config), config }));
    }

    /// Counts how a reload ended; also says whether the files hold something that does not run.
    pub fn ended(&self, result: ReloadResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
        self.note(result == ReloadResult::Refused);
    }

    /// Says whether the files hold something that was refused.
    pub fn note(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
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

/// Names the content of a configuration: equal for equal content, and without a trace of its secrets, which print only their length.
fn revision(config: &Checked) -> String {
    let digest = Sha1::digest(format!("{config:?}").as_bytes());
    digest.iter().take(3).map(|byte| format!("{byte:02x}")).collect()
}
