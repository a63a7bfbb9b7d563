//! Connections of all pods, as a status shows them: in steps, so that a thousand busy gateways cost hardly a write.

use rtgw_crds::status::Connections;

use crate::observe::Pod;

/// Moves of counters that are worth a write, percent.
const STEP_PERCENT: i64 = 5;
/// Loads at which something may happen: crossing one is worth a write, percent of the capacity.
const THRESHOLDS: [i32; 4] = [50, 70, 90, 95];
/// Counters of all pods; those of before while they have hardly moved, or may not be written yet.
pub fn connections(pods: &[&Pod], before: Option<&Connections>, count: bool) -> Option<Connections> {
    let mut now = Connections::default();
    for heard in pods.iter().filter(|pod| !pod.deleting).filter_map(|pod| pod.heard.as_ref()) {
        now.current += i64::from(heard.connections);
        now.capacity += i64::from(heard.capacity);
    }
    now.percent = i32::try_from(now.current * 100 / now.capacity.max(1)).unwrap_or(i32::MAX);
    match before {
        // A restart has heard nobody yet, which is not news.
        Some(before) if now.capacity == 0 && pods.iter().any(|pod| !pod.deleting) => Some(*before),
        Some(before) if !count || !has_moved(before, &now) => Some(*before),
        None if now.capacity == 0 => None,
        _ => Some(now),
    }
}

fn has_moved(before: &Connections, now: &Connections) -> bool {
    let step = |before: i64, now: i64| (now - before).abs() * 100 > before.max(1) * STEP_PERCENT;
    let above = |percent: i32| THRESHOLDS.iter().filter(|threshold| percent >= **threshold).count();
    step(before.current, now.current)
        || before.capacity != now.capacity
        || above(before.percent) != above(now.percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(current: i64) -> Connections {
        Connections { current, capacity: 1000, percent: i32::try_from(current / 10).unwrap() }
    }

    #[test]
    fn only_steps_and_thresholds_are_worth_a_write() {
        for (before, now, moved) in
            [(400, 410, false), (400, 421, true), (0, 1, true), (699, 700, true), (701, 705, false)]
        {
            assert_eq!(has_moved(&counters(before), &counters(now)), moved, "{before} -> {now}");
        }
    }
}
