//! The pods' ServiceAccount: it has no rights, and its token is mounted nowhere.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Child, child};
use crate::check::Desired;
use crate::kinds::Kind;
use crate::names::COMPONENT_GATEWAY;

pub(super) fn build(desired: &Desired) -> Child {
    let content =
        ServiceAccount { automount_service_account_token: Some(false), ..ServiceAccount::default() };
    child(Kind::ServiceAccount, desired, COMPONENT_GATEWAY, &desired.names.gateway, &content)
}
