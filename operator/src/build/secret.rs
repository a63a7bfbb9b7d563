//! The Secret with the password of a managed Redis. It is created once, by POST, and never read: that it is there is told by the answer 409.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use ring::rand::{SecureRandom, SystemRandom};

use crate::check::{Desired, PASSWORD_KEY};
use crate::names::{self, COMPONENT_REDIS};

/// Key of the file that Redis reads; the password alone stands under [`PASSWORD_KEY`], for the gateway.
pub const CONFIG_KEY: &str = "redis.conf";
/// As many bits as the hash that a guess would have to find.
const PASSWORD_BYTES: usize = 32;

/// The Secret for `desired` with a new password.
///
/// # Errors
/// The system gives no randomness.
pub fn redis(desired: &Desired) -> Result<Secret, ring::error::Unspecified> {
    let mut bytes = [0; PASSWORD_BYTES];
    SystemRandom::new().fill(&mut bytes)?;
    let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let config = format!("requirepass {password}\nprotected-mode no\n");
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(desired.names.redis_secret.clone()),
            namespace: Some(desired.identity.namespace.clone()),
            labels: Some(names::labels(&desired.identity.name, COMPONENT_REDIS)),
            owner_references: Some(vec![desired.identity.owner()]),
            ..ObjectMeta::default()
        },
        string_data: Some(BTreeMap::from([
            (PASSWORD_KEY.to_owned(), password),
            (CONFIG_KEY.to_owned(), config),
        ])),
        ..Secret::default()
    })
}
