//! Has another configuration run in the place of the current one: judged whole, then swapped whole, or refused whole.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rtgw_config::checked::Checked;
use rtgw_config::{Problem, classes};
use rtgw_crds::Sketch;
use rtgw_hub::Account;
use rtgw_model::{CommandNames, Encoder};
use rtgw_protocol::wires::Wires;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::sources::Sources;
use super::together::Shared;
use crate::auth::Admitter;
use crate::client_publishing::ClientPublisher;
use crate::commands::Commands;
use crate::control::Control;
use crate::http::{Front, variants};
use crate::intake::{Intake, Room};
use crate::latest::Latest;
use crate::limits::Connections;
use crate::outbound::Outbound;
use crate::questions::ToBroker;
use crate::recovery::Recoveries;
use crate::reload::{self, Loaded, Refused, Source};
use crate::rulebook::Rulebook;
use crate::running::{Current, ReloadResult, Running};
use crate::telemetry;
use crate::transport::Clock;
use crate::watch::{Read, Watch};

/// Most paths of a log line.
const PATHS: usize = 40;

/// Everything that a configuration decides while the gateway runs.
pub(super) struct Live {
    pub(super) running: Arc<Running>,
    pub(super) wires: Arc<Wires>,
    pub(super) intake: Arc<Intake>,
    pub(super) room: Arc<Room>,
    pub(super) connections: Arc<Connections>,
    pub(super) memory: Arc<Account>,
    pub(super) rules: Arc<Rulebook>,
    pub(super) control: Control,
    pub(super) admitter: Arc<ArcSwap<Admitter>>,
    pub(super) commands: CommandParts,
    pub(super) front: Arc<Front>,
    pub(super) sources: Sources,
    pub(super) keys: Keys,
    pub(super) shared: Option<Shared>,
}

/// What commands are made of.
#[derive(Clone)]
pub(super) struct CommandParts {
    pub(super) commands: Arc<ArcSwap<Commands>>,
    pub(super) names: Arc<ArcSwap<CommandNames>>,
    pub(super) latest: Option<Arc<Latest>>,
    pub(super) publisher: Arc<ClientPublisher>,
    pub(super) recoveries: Arc<Recoveries>,
    pub(super) outbound: Outbound,
    pub(super) clock: Clock,
}

/// Keeps the published keys of the current configuration's issuers fresh.
pub(super) struct Keys {
    pub(super) tasks: TaskTracker,
    pub(super) ended: CancellationToken,
    pub(super) stop: CancellationToken,
}

impl Keys {
    /// Has the keys of `admitter` kept and those of the last one no more.
    pub(super) fn keep(&mut self, admitter: &Admitter) {
        self.stop.cancel();
        self.stop = self.ended.child_token();
        let (credentials, stop) = (Arc::clone(admitter.credentials()), self.stop.clone());
        self.tasks.spawn(async move { credentials.keep_keys(&stop).await });
    }
}

impl Live {
    /// Follows what `watch` tells until the end of the process. `sketch` is what runs.
    pub(super) async fn follow(mut self, mut watch: Watch, name: Option<String>, mut sketch: Sketch) {
        let ended = self.keys.ended.clone();
        while let Some(read) = ended.run_until_cancelled(watch.next()).await {
            let result = match judge(read, name.clone()).await {
                Ok(loaded) => {
                    let generation = loaded.sketch.generation();
                    self.running.see(&loaded.sketch);
                    self.take(loaded, &mut sketch).map_err(|problems| (generation, problems))
                }
                Err(Refused { problems, sketch }) => {
                    sketch.iter().for_each(|sketch| self.running.see(sketch));
                    Err((sketch.and_then(|sketch| sketch.generation()), problems))
                }
            };
            let result = result.unwrap_or_else(|(generation, problems)| {
                refused(&problems, &self.running.load().revision);
                self.running.refuse(generation, &problems);
                ReloadResult::Refused
            });
            if result == ReloadResult::Ignored {
                // Nobody asks about what is older.
                self.running.see(&sketch);
                self.running.settle();
            }
            self.running.ended(result);
        }
    }

    fn take(&mut self, loaded: Loaded, sketch: &mut Sketch) -> Result<ReloadResult, Vec<Problem>> {
        if let (Some(runs), Some(new)) = (sketch.generation(), loaded.sketch.generation())
            && new < runs
        {
            tracing::warn!(generation = new, runs, "an older generation of the configuration is ignored");
            return Ok(ReloadResult::Ignored);
        }
        let changes = sketch.changes(&loaded.sketch);
        for warning in &loaded.warnings {
            tracing::warn!(path = %warning.path, "{}", warning.message);
        }
        let before = self.running.load();
        let current =
            Current { generation: loaded.sketch.generation(), ..Current::new(Arc::new(loaded.checked)) };
        self.swap(&before.config, current)?;
        *sketch = loaded.sketch;
        let more = changes.len().saturating_sub(PATHS);
        let shown = changes.get(..PATHS).unwrap_or(&changes).join(", ");
        let (revision, generation) = (&self.running.load().revision, sketch.generation());
        tracing::info!(revision, generation, changed = shown, more, "the configuration is reloaded");
        Ok(ReloadResult::Accepted)
    }

    /// What can fail comes first; from then on everything is replaced.
    fn swap(&mut self, before: &Checked, current: Current) -> Result<(), Vec<Problem>> {
        let config = &Arc::clone(&current.config);
        let held = classes::held(before, config);
        if !held.is_empty() {
            return Err(held);
        }
        let needs_restart = |error: &dyn std::error::Error| {
            let problem = Problem::error("spec.endpoints", error.to_string());
            vec![problem.hint("with those of earlier configurations; a restart forgets these")]
        };
        let variants = variants(config, &self.wires).map_err(|error| needs_restart(&error))?;
        self.sources
            .check(config)
            .map_err(|error| vec![Problem::error("spec.sources", error.to_string())])?;
        if let Some(shared) = &self.shared {
            shared.check(config).map_err(|error| vec![Problem::error("spec.redis", format!("{error:#}"))])?;
        }
        // Who encodes and who counts must know more before anybody asks for it.
        self.intake.grow(self.wires.variants());
        self.control.reload(config);
        let rules = self.rules.load();
        let admitter = Arc::new(self.admitter.load().renewed(config, rules));
        self.admitter.store(Arc::clone(&admitter));
        self.keys.keep(&admitter);
        self.commands.replace(config, &self.rules, &self.intake);
        self.room.resize(config.limits.pod_channels);
        self.connections.resize(super::capacity(config).connections);
        self.memory.set_budget(super::outbound_budget(config));
        if let Some(shared) = &self.shared {
            shared.reload(config);
        }
        self.running.replace(current);
        self.front.replace(Arc::clone(config), variants, admitter);
        if let Err(error) = self.sources.apply(config) {
            tracing::error!(%error, "a source cannot be started");
        }
        telemetry::set_level(config.log_level);
        Ok(())
    }
}

impl CommandParts {
    /// The commands of the configuration that the process starts with.
    pub(super) fn new(
        config: &Checked,
        rules: &Arc<Rulebook>,
        to_broker: &ToBroker,
        names: Arc<ArcSwap<CommandNames>>,
        clock: Clock,
    ) -> Self {
        let (latest, outbound) = (super::latest(config, rules, None), Outbound::new());
        let (publisher, recoveries) = (Arc::clone(&to_broker.publisher), Arc::clone(&to_broker.recoveries));
        let (rules, by, past, memory) =
            (Arc::clone(rules), Arc::clone(&publisher), Arc::clone(&recoveries), latest.clone());
        let commands = Commands::new(config, rules, by, memory, past, outbound.clone(), clock);
        let commands = Arc::new(ArcSwap::from_pointee(commands));
        Self { commands, names, latest, publisher, recoveries, outbound, clock }
    }

    fn replace(&mut self, config: &Checked, rules: &Arc<Rulebook>, intake: &Intake) {
        self.latest = super::latest(config, rules, self.latest.as_deref());
        intake.remember(self.latest.clone());
        let commands = Commands::new(
            config,
            Arc::clone(rules),
            Arc::clone(&self.publisher),
            self.latest.clone(),
            Arc::clone(&self.recoveries),
            self.outbound.clone(),
            self.clock,
        );
        self.commands.store(Arc::new(commands));
        self.names.store(Arc::new(Commands::names(config)));
    }
}

/// Shows what the process starts with, and what it was meant to start with where that is refused.
pub(super) fn begin(running: &Running, source: &Source) {
    let (before, generation) = (running.load(), source.sketch.generation());
    let last_good = source.refused.is_some();
    running.replace(Current { generation, last_good, ..Current::new(Arc::clone(&before.config)) });
    running.see(&source.sketch);
    if let Some(Refused { problems, sketch }) = &source.refused {
        refused(problems, &before.revision);
        sketch.iter().for_each(|sketch| running.see(sketch));
        running.refuse(sketch.as_deref().and_then(Sketch::generation), problems);
    }
}

/// Compiles expressions, which needs a thread that may be busy for a while.
async fn judge(read: Read, name: Option<String>) -> Result<Loaded, Refused> {
    let judged = tokio::task::spawn_blocking(move || reload::judge(read, name.as_deref())).await;
    judged.unwrap_or_else(|_| {
        Err(vec![Problem::error("files", "could not be judged: a fault of the gateway")].into())
    })
}

/// Says everything that is wrong, and what goes on.
pub(super) fn refused(problems: &[Problem], revision: &str) {
    for problem in problems {
        tracing::error!(path = %problem.path, hint = problem.hint.as_deref().unwrap_or_default(), "{}", problem.message);
    }
    tracing::error!(revision, problems = problems.len(), "the configuration is refused; the old one goes on");
}
