//! The ConfigMap that all pods mount: one, of a fixed name, whose content changes in place.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use rtgw_config::pod::{CONFIG_FILE, LAST_GOOD_FILE};

use super::{Child, annotated};
use crate::check::Desired;
use crate::kinds::Kind;
use crate::names::{COMPONENT_GATEWAY, CONFIG_GENERATION, CONFIG_REDIS, CONFIG_REVISION, LAST_GOOD_REVISION};
use crate::plan::Plan;

pub(super) fn build(desired: &Desired, plan: &Plan) -> Child {
    let mut data = BTreeMap::from([(CONFIG_FILE.to_owned(), plan.config.text.clone())]);
    let mut annotations = BTreeMap::from([
        (CONFIG_GENERATION.to_owned(), plan.config.generation.to_string()),
        (CONFIG_REVISION.to_owned(), plan.config.revision.clone()),
    ]);
    if let Some(redis) = &plan.config.redis {
        // Never fails: keys are texts.
        annotations.insert(CONFIG_REDIS.to_owned(), serde_json::to_string(redis).unwrap_or_default());
    }
    if let Some(good) = &plan.config.last_good {
        data.insert(LAST_GOOD_FILE.to_owned(), good.text.clone());
        annotations.insert(LAST_GOOD_REVISION.to_owned(), good.revision.clone());
    }
    let content = ConfigMap { data: Some(data), ..ConfigMap::default() };
    annotated(Kind::ConfigMap, desired, COMPONENT_GATEWAY, &desired.names.gateway, &content, annotations)
}
