//! What breaks.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::gateway::{Gateway, NAME, two_pods};
use crate::kubectl::{find, kubectl, run, until};

#[test]
#[ignore = "needs a cluster: make e2e"]
fn a_redis_that_is_killed_costs_no_socket_and_no_place_in_the_service() {
    let gateway = Gateway::served("redis", &two_pods());
    let clients = gateway.clients(20);
    gateway.delivers(&clients, "before");
    let over = AtomicBool::new(false);
    let (fewest, took) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut fewest = usize::MAX;
            while !over.load(Ordering::Relaxed) {
                fewest = fewest.min(endpoints(&gateway));
            }
            fewest
        });
        kubectl(&[
            "-n",
            gateway.space(),
            "delete",
            "pod",
            "chat-gateway-redis-0",
            "--grace-period=0",
            "--force",
        ]);
        let took = gateway.delivers(&clients, "after");
        over.store(true, Ordering::Relaxed);
        (watching.join().unwrap(), took)
    });
    assert_eq!(fewest, 2, "no pod leaves the Service");
    clients.all_stay();
    println!(
        "  delivered again after {:.1} s; 2 pods stay in the Service, 0 of 20 sockets closed",
        took.as_secs_f64()
    );
}

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_eviction_lets_clients_go_in_order_and_a_second_one_has_to_wait() {
    let gateway = Gateway::served("eviction", &two_pods());
    let clients = gateway.clients(40);
    gateway.delivers(&clients, "before");
    let selected = ["-n", gateway.space(), "pods", "-l", "realtime-gateway.dev/component=gateway"];
    let list = find(&selected).unwrap();
    let names: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap())
        .collect();
    let evict = |pod: &str| {
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": gateway.space()}});
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", gateway.space());
        run(&["create", "--raw", &path, "-f", "-"], Some(&eviction))
    };
    evict(names[0]).unwrap();
    let told = evict(names[1]).unwrap_err();
    assert!(told.contains("disruption budget"), "{told}");
    until("the evicted pod is gone", || find(&["-n", gateway.space(), "pod", names[0]]).is_none());
    let closed = clients.closed();
    assert!(!closed.is_empty() && closed.len() < 40, "the clients of one pod go: {}", closed.len());
    assert!(closed.iter().all(|how| how.starts_with("1012 reconnect;after=")), "{closed:?}");
    gateway.settled();
    gateway.delivers(&clients, "after");
    assert_eq!(clients.closed().len(), closed.len(), "nobody else goes");
    println!("  {} of 40 sockets closed, all with 1012 and a delay; {}", closed.len(), told.trim());
}

/// Ready addresses behind the public Service.
fn endpoints(gateway: &Gateway) -> usize {
    let selected = format!("kubernetes.io/service-name={NAME}");
    let Some(slices) = find(&["-n", gateway.space(), "endpointslices", "-l", &selected]) else {
        return usize::MAX;
    };
    let slices = slices["items"].as_array().unwrap();
    let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array()).flatten();
    endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true).count()
}
