//! Readers that stop reading, on real sockets: the pod's memory stays within its budget, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::panic)]

mod transport_support;

use std::sync::Arc;

use rtgw_hub::Account;
use rtgw_model::OutboxLimits;
use transport_support::{Door, Rig};

#[test]
fn those_who_stop_reading_are_shed_before_the_budget_and_the_others_hear_everything() {
    let budget = 2 << 20;
    let memory = Arc::new(Account::new(1, Some(budget)));
    let rig = Rig::on(&memory, |_| {});
    let patient = OutboxLimits { bytes: 64 << 20, messages: 100_000 };
    let door = |channel| Door { outbox: patient, client_buffer: Some(4_096), ..Door::hears(channel) };
    let stuck: Vec<_> = (0..150).map(|_| rig.raw(&door("jobs"))).collect();
    let mut well: Vec<_> = (0..5).map(|_| rig.raw(&Door::hears("jobs"))).collect();
    let data = |number: usize| format!("\"{number}:{}\"", "x".repeat(16_000));
    let count = 600;
    for number in 0..count {
        rig.publish("jobs", data(number));
        well.iter_mut().for_each(|client| assert_eq!(client.text(), data(number)));
    }
    let report = rig.report();
    let closed = report.counters.closes.get(&(0, 1013, "overloaded")).copied().unwrap_or(0);
    assert!(closed > 0, "nobody was shed: {report:?}");
    assert!(report.counters.dropped.contains_key(&(0, "shed")));
    // Between two looks one write's rest may come on top, but shedding begins a sixteenth before.
    assert!(memory.peak() <= budget, "{} of {budget}", memory.peak());
    drop(stuck);
    rig.wait("the end of the stuck ones", |report| report.sockets == 5);
    assert_eq!(memory.used(), 0);
}
