//! Which pods are told by their annotation that there is a new configuration. The kubelet then updates what they have mounted at once,
//! instead of within a minute or two; where it comes too early it is told again.

use std::time::Duration;

use tokio::time::Instant;

use crate::observe::{Observed, Pod};
use crate::plan::ConfigPlan;

/// Until a pod is told for the second time; then twice as long each time.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// Something to tell a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The pod's name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// The annotation's value: another each time.
    pub word: String,
}

/// Whom to tell of `config` now, and when to look again.
pub fn telling(observed: &Observed, config: &ConfigPlan, now: Instant) -> (Vec<Word>, Option<Duration>) {
    let (mut words, mut again): (Vec<Word>, Option<Duration>) = (Vec::new(), None);
    for pod in observed.live().filter(|pod| pod.running) {
        match due(pod, config, now) {
            Due::Never => {}
            Due::In(pause) => again = Some(again.map_or(pause, |sooner| sooner.min(pause))),
            Due::Now => {
                let word = word(pod, config.generation);
                words.push(Word { pod: pod.name.to_string(), uid: pod.uid.to_string(), word });
                again = Some(again.map_or(PAUSE, |sooner| sooner.min(PAUSE)));
            }
        }
    }
    (words, again)
}

enum Due {
    Now,
    In(Duration),
    Never,
}

fn due(pod: &Pod, config: &ConfigPlan, now: Instant) -> Due {
    if pod.revision() == Some(config.revision.as_str()) {
        return Due::Never;
    }
    let generation = config.generation.to_string();
    let reads_it = pod.told.as_deref().is_some_and(|word| word.split('-').next() == Some(&generation));
    let Some(heard) = &pod.heard else {
        // One that has just started has mounted what is there now; one that cannot be heard is told once.
        return if pod.is_out_of_reach() && !reads_it { Due::Now } else { Due::Never };
    };
    let Some(telling) = pod.telling.as_ref().filter(|telling| *telling.revision == *config.revision) else {
        return Due::Now;
    };
    // It has read it, and will not run it however often it is told.
    if heard.refused.is_some() && heard.at > telling.at {
        return Due::Never;
    }
    let pause = PAUSE.saturating_mul(1 << telling.times.saturating_sub(1).min(8)).min(LONGEST);
    match pause.checked_sub(now.duration_since(telling.at)) {
        Some(rest) if !rest.is_zero() => Due::In(rest),
        _ => Due::Now,
    }
}

/// The generation, with a number behind it where the pod has that one already: only a change wakes the kubelet.
fn word(pod: &Pod, generation: u64) -> String {
    let told = pod.told.as_deref().unwrap_or_default();
    let mut parts = told.splitn(2, '-');
    if parts.next() != Some(&generation.to_string()) {
        return generation.to_string();
    }
    let times: u32 = parts.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    format!("{generation}-{}", times.saturating_add(1))
}
