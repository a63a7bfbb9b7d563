//! What the operator and a gateway's pod agree on: where things are mounted, what they are called, and what they tell each other.
//!
//! The configuration itself is [`crate::raw::Config`].

mod claims;
mod report;

#[cfg(test)]
mod tests;

pub use claims::Claims;
pub use report::{
    ConfigReport, Cpu, Fault, LoadedSecret, MissingSecret, Phase, PodReport, Refused, SecretsReport,
    Unreadable,
};

/// The ConfigMap's mount: a folder, never a single file of it, or it would not be updated.
pub const CONFIG_DIR: &str = "/etc/rtgw/config";
/// In it: what pods are to run.
pub const CONFIG_FILE: &str = "config.yaml";
/// Beside it: the last one that a pod acknowledged, for pods that start and refuse [`CONFIG_FILE`].
pub const LAST_GOOD_FILE: &str = "last-good.yaml";
/// Secrets: each mounted whole, its key a file of its own: `SECRETS_DIR/NAME/KEY`.
pub const SECRETS_DIR: &str = "/etc/rtgw/secrets";
/// Where clients connect.
pub const PUBLIC_PORT: u16 = 8080;
/// The name of that port.
pub const PUBLIC_PORT_NAME: &str = "public";
/// Probes, metrics, the API and the report.
pub const INTERNAL_PORT: u16 = 9090;
/// The name of that port.
pub const INTERNAL_PORT_NAME: &str = "internal";
/// Liveness, on the internal port.
pub const LIVE_PATH: &str = "/livez";
/// Readiness, on the internal port.
pub const READY_PATH: &str = "/readyz";
/// Where a pod reports, on the internal port: `GET`, a [`PodReport`].
pub const REPORT_PATH: &str = "/v1/pod";
/// Largest report in bytes.
pub const REPORT_BYTES: usize = 16 * 1024;
/// Annotation of live pods, never of their template: the generation that the ConfigMap holds. That it changes is what counts: the
/// kubelet then updates what the pod has mounted at once, instead of within a minute or two.
pub const GENERATION_ANNOTATION: &str = "realtime-gateway.dev/config";
/// Environment of a pod: its UID, by the downward API.
pub const POD_UID_ENV: &str = "RTGW_POD_UID";
/// Longest life of the operator's tokens in seconds.
pub const TOKEN_SECONDS: u64 = 60;
