//! What unit tests begin with.

use rtgw_crds::cluster::PullPolicy;

use crate::settings::Settings;

/// An operator that was told nothing special.
pub(crate) fn settings() -> Settings {
    Settings {
        namespace: "rtgw-system".into(),
        gateway_image: "ghcr.io/realtime-gateway/rtgw:0.1.0".into(),
        redis_image: "docker.io/library/redis:8".into(),
        pull_policy: PullPolicy::IfNotPresent,
        allowed_overrides: Vec::new(),
        allowed_images: Vec::new(),
        keys: Vec::new(),
    }
}
