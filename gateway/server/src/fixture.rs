//! Configurations for unit tests, written as users write them.

#![allow(clippy::unwrap_used, clippy::panic)]

use rtgw_config::Checked;
use rtgw_crds::{Manifests, Text};

/// The key of [`checked`]'s Secret, 32 bytes.
pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Its other key.
pub(crate) const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Checks the lines of a `spec`; `secretRef: {name: auth, key: jwt}` is [`KEY`], `key: other` is [`OTHER_KEY`].
pub(crate) fn checked(spec: &str) -> Checked {
    checked_with(spec, &[])
}

/// The same with more keys in the Secret.
pub(crate) fn checked_with(spec: &str, more: &[(&str, &str)]) -> Checked {
    let more: String = more.iter().map(|(key, value)| format!(", {key}: {value:?}")).collect();
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let content = format!(
        "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: test}}\nspec:\n{spec}---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: auth}}\nstringData: {{jwt: {KEY}, other: {OTHER_KEY}{more}}}\n"
    );
    match Manifests::read(&[Text { name: "test.yaml".into(), content }]).check(None) {
        Ok(accepted) => accepted.checked,
        Err(problems) => panic!("{problems:#?}"),
    }
}
