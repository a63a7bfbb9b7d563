//! Where publications travel between pods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::SecretRef;

/// Where publications travel between pods; exactly one member.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct Redis {
    /// In the memory of the one process: no other pod hears it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<Embedded>,
    /// A Redis of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRedis>,
    /// The Redis that is being left: for as long as it is there, pods read both. Only with `external`, and with `writeTo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousRedis>,
    /// Which of both is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_to: Option<WriteTo>,
}

/// The Redis that is being left.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct PreviousRedis {
    /// A Redis of your own.
    pub external: ExternalRedis,
}

/// Which of two Redis is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum WriteTo {
    /// `previous`, which pods of before this change read, too.
    Previous,
    /// `external`. The first pod that is told so closes `previous` for all of them.
    Current,
}

/// Memory of the one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Embedded {}

/// A Redis of your own.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(inline)]
pub struct ExternalRedis {
    /// `redis://USER@HOST:PORT/DATABASE`, or `rediss://` for TLS; without a password. User, port and database may be left out.
    #[schemars(length(min = 1, max = 2048))]
    pub url: String,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_ref: Option<SecretRef>,
    /// Certificates (PEM) of those that may sign its certificate; absent: those that the system trusts. Only with `rediss://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<SecretRef>,
}
