//! One scenario from its stage to its line: strike, wait until Redis is usable, measure, settle, judge.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::ledger::Verdict;
use crate::redis::Disk;
use crate::rig::{Broker, ONE, Rig, STREAMS};
use crate::watch::Says;

/// A loss that only a check of positions can find is told within this.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(15);

/// Who reads a source of one pod may have to be found out first.
const READ_WITHIN: Duration = Duration::from_secs(3);

/// What pods have to say between the strike and a usable Redis.
#[derive(Clone, Copy)]
pub enum Expected {
    /// These pods are without their broker, and say so; the others are well.
    Without(&'static [usize]),
    /// Nobody says anything.
    Well,
    /// Whatever they say, they are ready.
    Ready,
    /// This pod cannot be asked meanwhile; the others are well.
    Silent(usize),
}

/// Whose wall clock can be set.
#[derive(Clone, Copy, PartialEq)]
pub enum Clock {
    /// Nobody's: all are right.
    Right,
    /// The second pod's.
    Pod,
    /// That of Redis.
    Redis,
}

/// What most scenarios have in common.
pub const PLAIN: Scenario = Scenario {
    name: "",
    broker: Broker::Redis(Disk::Log),
    clock: Clock::Right,
    strike: |rig| Box::pin(async { rig.usable() }),
    says: Expected::Ready,
    resumes_within: Duration::from_secs(2),
    keeps: true,
    spares_who_stays: false,
    loses: &[],
};

/// A fault, and what has to come of it.
pub struct Scenario {
    /// For the line.
    pub name: &'static str,
    /// What the pods publish through.
    pub broker: Broker,
    /// Whose wall clock can be set.
    pub clock: Clock,
    /// Strikes, and returns when Redis is usable, having told the rig.
    pub strike: for<'a> fn(&'a mut Rig) -> LocalBoxFuture<'a, ()>,
    /// What pods say meanwhile.
    pub says: Expected,
    /// From a usable Redis to the delivery of what is published after it.
    pub resumes_within: Duration,
    /// Whether everything that was kept still is, so that nothing at all is missing on channels with `Stream`.
    pub keeps: bool,
    /// Whether who stays connected, and recovers nothing, misses nothing of what pods publish, whatever its channel keeps.
    pub spares_who_stays: bool,
    /// Pods whose clients may lose their connections; those of all others may not.
    pub loses: &'static [usize],
}

/// How it went.
pub struct Outcome {
    /// The line.
    pub line: String,
    /// What must not be.
    pub failures: Vec<String>,
}

/// Plays a scenario.
pub async fn play(scenario: &Scenario) -> Outcome {
    let mut rig = Rig::set(scenario.broker, scenario.clock).await;
    (scenario.strike)(&mut rig).await;
    let resumed = rig.resumed(rig.usable, ONE).await;
    let read = rig.resumed(rig.usable, "").await;
    rig.away().back();
    rig.settle(ANNOUNCED_WITHIN).await;
    let mut failures = Vec::new();
    match resumed {
        None => failures.push("delivery did not resume".to_owned()),
        Some(took) if took > scenario.resumes_within => {
            failures.push(format!("delivery resumed after {took:?}"));
        }
        Some(_) => {}
    }
    if read.is_none_or(|took| took > scenario.resumes_within + READ_WITHIN) {
        failures.push(format!("the source of one pod was read after {read:?}"));
    }
    let readyz = said(scenario, &rig, &mut failures);
    connections(scenario, &rig, &mut failures);
    let (sum, lines) = rig.judged("");
    failures.extend(lines);
    let line = line(scenario.name, rig.published(), &sum, resumed, &readyz);
    let streams = rig.judged(STREAMS).0;
    if scenario.keeps && streams.announced > 0 {
        failures.push(format!("{} missing on channels with Stream", streams.announced));
    }
    let missed = rig.missed_by_who_stays();
    if scenario.spares_who_stays && missed > 0 {
        failures.push(format!("{missed} missing for those who stayed"));
    }
    if streams.delivered == 0 {
        failures.push("nothing was delivered".to_owned());
    }
    let one = rig.judged(ONE).0;
    if matches!(scenario.says, Expected::Well) && one.announced > 0 {
        failures.push(format!("{} missing of a source that was read all the time", one.announced));
    }
    if !failures.is_empty() {
        failures.extend(details(&rig));
    }
    Outcome { line, failures }
}

fn line(name: &str, published: u64, sum: &Verdict, resumed: Option<Duration>, readyz: &str) -> String {
    let resumed = resumed.map_or("never".to_owned(), |took| format!("{} ms", took.as_millis()));
    format!(
        "{name:<36} published {published:>5}  delivered {:>6}  duplicated {:>3}  announced as gap {:>5}  superseded {:>3}  unexplained {:>3}  \
         resumed in {resumed:>8}  readyz {readyz}",
        sum.delivered, sum.duplicated, sum.announced, sum.superseded, sum.unexplained,
    )
}

/// What the pods said, in short; what they should have said is a failure.
fn said(scenario: &Scenario, rig: &Rig, failures: &mut Vec<String>) -> String {
    let mut words = Vec::new();
    for (index, pod) in rig.pods.iter().enumerate() {
        let Some(watch) = &pod.watch else { continue };
        let said = watch.said();
        let meanwhile = during(&said, rig.struck, rig.usable);
        let without = meanwhile.iter().any(|says| says.without_broker());
        let silent = matches!(scenario.says, Expected::Silent(silent) if silent == index);
        let statuses: Vec<u16> = meanwhile.iter().map(|says| says.ready).collect();
        if !silent && statuses.iter().any(|status| *status != 200) {
            failures.push(format!("/readyz of pod {index} said {statuses:?}"));
        }
        let well = meanwhile.iter().all(|says| says.well());
        let expected = match scenario.says {
            Expected::Without(pods) if pods.contains(&index) => without,
            Expected::Without(_) | Expected::Well => well,
            Expected::Silent(_) => silent || well,
            Expected::Ready => true,
        };
        if !expected {
            failures.push(format!("pod {index} said {meanwhile:?}"));
        }
        if !watch.now().is_some_and(|says| says.well()) {
            failures.push(format!("pod {index} says in the end {:?}", watch.now()));
        }
        words.push(match (silent, without, well) {
            (true, ..) => "silent",
            (_, true, _) => "200, strict 503, broker down",
            (.., true) => "200",
            _ => "200, degraded",
        });
    }
    if words.iter().all(|word| *word == words[0]) { words[0].to_owned() } else { words.join(" | ") }
}

/// What held at some time between the two.
fn during(said: &[(Duration, Says)], from: Duration, to: Duration) -> Vec<&Says> {
    let first = said.partition_point(|(at, _)| *at <= from).saturating_sub(1);
    said[first..].iter().take_while(|(at, _)| *at <= to.max(from)).map(|(_, says)| says).collect()
}

fn connections(scenario: &Scenario, rig: &Rig, failures: &mut Vec<String>) {
    for client in &rig.clients {
        let diary = client.diary.lock();
        let name = &client.habits.name;
        for end in &diary.ends {
            if !scenario.loses.iter().any(|pod| rig.pods[*pod].public == end.pod) {
                failures.push(format!("{name}: a connection to {} ended: {}", end.pod, end.how));
            }
        }
        failures.extend(diary.complaints.iter().map(|what| format!("{name} heard {what}")));
    }
}

/// What helps to understand a failure.
fn details(rig: &Rig) -> Vec<String> {
    let mut lines = vec![format!("struck at {:?}, usable at {:?}", rig.struck, rig.usable)];
    for client in &rig.clients {
        let diary = client.diary.lock();
        lines.push(format!("{}: told {:?}, ends {:?}", client.habits.name, diary.told, diary.ends));
    }
    for publisher in &rig.publishers {
        lines.push(format!("{}: answers {:?}", publisher.channel, publisher.book.lock().answers));
    }
    for (index, pod) in rig.pods.iter().enumerate() {
        let log = pod.log();
        let last: Vec<&str> = log.lines().rev().take(12).collect();
        lines.extend(last.iter().rev().map(|line| format!("pod {index} logged {line}")));
    }
    lines
}
