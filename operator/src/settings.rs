//! What the operator was told when it was started, as far as it shapes what it makes.

use rtgw_crds::cluster::PullPolicy;

/// Version of the templates below `build`: raised with every change of what they make of the same spec, so that `UpdateAvailable` can
/// name it. The golden test fails where that was forgotten.
pub const TEMPLATE_VERSION: u32 = 1;

/// What shapes the children of every object.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace: its pods are admitted to the internal port.
    pub namespace: String,
    /// Image of gateways that name none.
    pub gateway_image: String,
    /// Image of a managed Redis that names none.
    pub redis_image: String,
    /// For images whose object says nothing.
    pub pull_policy: PullPolicy,
    /// Pod overrides that are allowed beside the usual ones.
    pub allowed_overrides: Vec<String>,
    /// Beginnings of the images that objects may name; empty: any.
    pub allowed_images: Vec<String>,
    /// Public keys of the tokens that are shown to pods, the one that signs first.
    pub keys: Vec<rtgw_config::raw::OperatorKey>,
}

impl Settings {
    /// Whether objects may name `image`. The default images always may be named.
    pub fn allows_image(&self, image: &str) -> bool {
        self.allowed_images.is_empty()
            || [&self.gateway_image, &self.redis_image].iter().any(|default| *default == image)
            || self.allowed_images.iter().any(|prefix| is_below(image, prefix))
    }
}

/// Whether `image` is in the repository `prefix` or below it: a prefix ends where a part of the name does.
fn is_below(image: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    image.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_a_part_of_the_name_does() {
        for (image, allowed) in [
            ("ghcr.io/a/b:1", true),
            ("ghcr.io/a@sha256:00", true),
            ("ghcr.io/a", true),
            ("ghcr.io/ab/c", false),
            ("ghcr.io.evil.example/a/b", false),
        ] {
            assert_eq!(is_below(image, "ghcr.io/a/"), allowed, "{image}");
        }
    }
}
