//! That it works at all.

use crate::gateway::{Gateway, two_pods};

#[test]
#[ignore = "needs a cluster: make e2e"]
fn an_event_passes_the_api_service_and_a_managed_redis_to_clients_of_every_pod() {
    let gateway = Gateway::served("delivery", &two_pods());
    // Enough for both pods: the Service takes one by chance for each connection.
    let clients = gateway.clients(20);
    let took = gateway.delivers(&clients, "hello");
    clients.all_stay();
    println!("  20 clients of 2 pods heard it after {:.2} s", took.as_secs_f64());
}
