//! Generations of the configuration.

use rtgw_config::pod::Phase;
use serde_json::json;

use crate::stage::{Mounts, POD, acknowledged, config, open, report, reported};
use crate::support::http;
use crate::support::socket::Socket;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_generation_is_acknowledged_and_a_lower_one_is_ignored() {
    let mounts = Mounts::new("generations");
    mounts.config(&[("config.yaml", &config(7, &open("/ws")))]);
    let gateway = mounts.serve();
    let first = acknowledged(&gateway, 7);
    assert_eq!(first.uid.as_deref(), Some(POD));
    assert_eq!((first.phase, first.terminating, first.delivering), (Phase::Serving, false, true));
    assert!(first.config.versions == [1] && first.config.refused.is_none() && !first.config.last_good);
    assert!(first.capacity > 0 && first.cpu.available_millis > 0, "{first:?}");
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    let held = reported(&gateway, "the connection counts", |report| report.connections == 1);
    assert_eq!(held.remaining, 1);

    mounts.config(&[("config.yaml", &config(8, &open("/other")))]);
    let second = acknowledged(&gateway, 8);
    assert_eq!(second.boot_id, first.boot_id, "the process is the same");
    mounts.config(&[("config.yaml", &config(6, &open("/older")))]);
    crate::support::eventually("the older one is seen", || {
        (gateway.metric("rtgw_config_reloads_total", "result=\"ignored\"") == 1.0).then_some(())
    });
    let third = report(&gateway);
    assert_eq!((third.config.generation, &third.config.refused), (Some(8), &None));
    assert_eq!(http::get(gateway.public, "/older").status, 404);
    // The socket of the first generation has noticed nothing.
    socket.send(&json!({"type": "ping"})).await;
    socket.json_of_type("pong").await;
    assert_eq!(third.connections, 1);
}

#[test]
fn what_is_refused_is_reported_with_its_path_and_the_old_one_goes_on() {
    let mounts = Mounts::new("refused");
    mounts.config(&[("config.yaml", &config(1, &open("/ws")))]);
    let gateway = mounts.serve();
    mounts.config(&[("config.yaml", &config(2, &open("wrong")))]);
    let report = reported(&gateway, "the refusal", |report| report.config.refused.is_some());
    let refused = report.config.refused.unwrap();
    assert_eq!((report.config.generation, refused.generation), (Some(1), Some(2)));
    let [fault] = &refused.problems[..] else { panic!("{refused:?}") };
    assert_eq!(fault.path, "spec.endpoints[0].path");
    assert!(fault.message.contains("must begin with"), "{fault:?}");
    mounts.config(&[("config.yaml", "not: [yaml")]);
    reported(&gateway, "what cannot be read is refused too", |report| {
        report.config.refused.as_ref().is_some_and(|refused| refused.generation.is_none())
    });
    mounts.config(&[("config.yaml", &config(3, &open("/ws")))]);
    assert_eq!(acknowledged(&gateway, 3).config.refused, None);
}

#[test]
fn a_start_with_a_refused_configuration_runs_the_last_good_one_and_tries_again() {
    let mounts = Mounts::new("last-good");
    let good = config(4, &open("/good"));
    mounts.config(&[("config.yaml", &config(5, &open("wrong"))), ("last-good.yaml", &good)]);
    let gateway = mounts.serve();
    let report = acknowledged(&gateway, 4);
    assert!(report.config.last_good);
    let refused = report.config.refused.unwrap();
    assert_eq!((refused.generation, &*refused.problems[0].path), (Some(5), "spec.endpoints[0].path"));
    mounts.config(&[("config.yaml", &config(6, &open("/mended"))), ("last-good.yaml", &good)]);
    let report = acknowledged(&gateway, 6);
    assert!(!report.config.last_good && report.config.refused.is_none());
}
