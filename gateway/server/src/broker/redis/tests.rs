//! The broker against real servers.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod contract;
mod loss;
pub(in crate::broker) mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rtgw_config::checked::RedisAddress;

use super::super::{BrokerSink, Retention};
use super::Redis;
use crate::redis_link::{Address, Names};

use stage::redis::Redis as Server;

/// A pod's broker, and its work until the end of the test.
fn pod(server: &Server, name: &str, sink: Arc<dyn BrokerSink>, retention: Retention) -> Arc<Redis> {
    let broker = Redis::new(address_of(server), Names::new("test", name), sink, retention, Arc::default());
    let running = Arc::clone(&broker);
    tokio::spawn(async move { running.run().await });
    broker
}

fn address_of(server: &Server) -> Address {
    Address::new(&RedisAddress { url: server.url(), password: None, ca: None }).unwrap()
}

/// A name that no other gateway of this run has.
fn fresh_name() -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    format!("gateway-{}", NAMES.fetch_add(1, Ordering::Relaxed))
}
