//! The operator: watches RealtimeGateway objects and makes them true. [`reconcile`] is the pipeline, a step a module: [`observe`], [`check`],
//! [`plan`], [`build`], [`apply`], [`status`]. What is between the first and the last two is pure.

pub mod api;
pub mod apply;
pub mod asking;
pub mod build;
pub mod check;
pub mod cli;
pub mod conditions;
pub mod controller;
pub mod counters;
#[cfg(test)]
mod fixture;
pub mod gateway;
pub mod hash;
pub mod key;
pub mod kinds;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod notices;
pub mod observe;
pub mod overrides;
pub mod plan;
pub mod pods;
pub mod probes;
pub mod quantity;
pub mod reconcile;
pub mod rounds;
pub mod settings;
pub mod status;
pub mod switching;
pub mod telling;
pub mod template;
