//! What a real cluster makes of RealtimeGateways: real pods, a real Redis, real sockets whose closes are counted, and the API server's own
//! log of who wrote. Needs a kubeconfig, the operator's chart installed for the whole cluster into the namespace `realtime`, and a place in
//! the cluster's network: `make e2e` sees to all of it. Every namespace admits only restricted pods.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod audit;
mod clients;
mod delivery;
mod failures;
mod gateway;
mod hot;
mod http;
mod kubectl;
mod life;
mod operator;
mod quiet;
mod refusals;
mod repair;
