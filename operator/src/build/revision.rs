//! The ControllerRevision that remembers what was pinned, under a name made of its content.

use serde_json::{Value, json};

use super::{Child, child};
use crate::check::Desired;
use crate::kinds::Kind;
use crate::names::COMPONENT_GATEWAY;
use crate::plan::Plan;

pub(super) fn build(desired: &Desired, plan: &Plan) -> Child {
    let data: Value = plan.template.data();
    let content = json!({ "revision": plan.revision.number, "data": data });
    child(Kind::ControllerRevision, desired, COMPONENT_GATEWAY, &plan.revision.name, &content)
}
