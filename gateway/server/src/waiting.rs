//! A start that waits for Secrets: Kubernetes mounts them when they are there, and a pod that ended instead would only be started again.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use rtgw_config::pod::{ConfigReport, Cpu, Phase, PodReport};
use rtgw_config::{Problem, raw};
use rtgw_crds::Sketch;
use tokio_util::sync::CancellationToken;

use crate::drain::Signals;
use crate::http::{Waiting, listen};
use crate::limits::cpu_millis;
use crate::reload::{self, Loaded, Refused, Source, Unusable};
use crate::reporter::boot_id;
use crate::running::refusal;
use crate::secrets_seen::SecretsSeen;
use crate::watch::Watch;

/// How often it is said again what is missing.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// Waits until the files of `unusable` hold something to run, and answers at `admin` meanwhile. `None`: a signal ended it.
///
/// # Errors
/// The port is taken, or the system refuses what is needed.
pub fn for_secrets(
    unusable: Unusable,
    admin: SocketAddr,
    uid: Option<&str>,
) -> Result<Option<(Loaded, Source)>> {
    let listener = listen(admin).with_context(|| format!("cannot listen on {admin} (see --admin)"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let mut seen = SecretsSeen::default();
    let (operator, said) = (operator(&unusable.refused), report(&unusable.refused, uid, &mut seen));
    let waiting = Waiting::new(operator, said);
    let thread = waiting.start(listener, stop.clone()).context("cannot start the internal listener")?;
    let found = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let say = |refused: &Refused, seen: &mut SecretsSeen| {
            waiting.replace(self::operator(refused), report(refused, uid, seen));
        };
        until_usable(unusable, &mut signals, |refused| say(refused, &mut seen)).await
    });
    stop.cancel();
    // The port is needed again; a panic in the thread has been logged by the runtime.
    let _joined = thread.join();
    found
}

async fn until_usable(
    mut unusable: Unusable,
    signals: &mut Signals,
    mut say: impl FnMut(&Refused),
) -> Result<Option<(Loaded, Source)>> {
    loop {
        log(&unusable.refused.problems);
        let mut watch = Watch::new(unusable.files, unusable.read).context("cannot take over SIGHUP")?;
        let read = loop {
            tokio::select! {
                () = signals.next() => return Ok(None),
                read = watch.next() => break read,
                () = tokio::time::sleep(SAID_AGAIN) => log(&unusable.refused.problems),
            }
        };
        match reload::choose(watch.into_files(), read, unusable.name) {
            Ok(found) => return Ok(Some(found)),
            // Also where something else is wrong by now: the next edit may mend it.
            Err(next) => unusable = *next,
        }
        say(&unusable.refused);
    }
}

fn log(problems: &[Problem]) {
    for problem in problems.iter().filter(|problem| problem.is_error()) {
        tracing::error!(path = %problem.path, hint = problem.hint.as_deref().unwrap_or_default(), "{}", problem.message);
    }
    tracing::warn!("waiting for Secrets before anything is served");
}

fn operator(refused: &Refused) -> Option<rtgw_config::checked::Operator> {
    refused.sketch.as_deref().and_then(Sketch::operator).cloned()
}

fn report(refused: &Refused, uid: Option<&str>, seen: &mut SecretsSeen) -> PodReport {
    let sketch = refused.sketch.as_deref();
    let generation = sketch.and_then(Sketch::generation);
    PodReport {
        uid: uid.map(str::to_owned),
        boot_id: boot_id(),
        version: env!("CARGO_PKG_VERSION").into(),
        config: ConfigReport {
            versions: vec![raw::VERSION],
            refused: Some(refusal(generation, &refused.problems)),
            ..ConfigReport::default()
        },
        secrets: sketch.map(|sketch| seen.report(sketch, Timestamp::now())).unwrap_or_default(),
        capacity: 0,
        connections: 0,
        handshakes_per_second: 0.0,
        outbound_bytes: 0,
        cpu: Cpu { used_millis: 0, available_millis: cpu_millis() },
        delivering: false,
        phase: Phase::Starting,
        terminating: false,
        remaining: 0,
    }
}
