//! The objects that users write: `RealtimeGateway`, and the Secrets beside it, read from YAML and turned into the
//! gateway's configuration.
//!
//! Everything here is pure: texts in, a checked configuration or every problem out.

pub mod cluster;
pub mod definition;
pub mod exposure;
pub mod gateway;
pub mod in_cluster;
pub mod manifest;
mod objections;
mod project;
mod secret;
pub mod status;

pub use gateway::RealtimeGateway;
pub use manifest::{Manifests, Sketch, Text};

/// Group and version of our objects.
pub const API_VERSION: &str = "realtime-gateway.dev/v1alpha1";
/// Kind of a gateway.
pub const KIND: &str = "RealtimeGateway";
