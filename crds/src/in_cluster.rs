//! An object as it stands in a cluster, whose Secrets the reader may not see: to what the operator needs, or every problem.

use rtgw_config::{Problem, Problems, check_without_secrets, raw, shape};
use serde_json::Value;

use crate::gateway::RealtimeGateway;
use crate::{manifest, objections, project};

/// An object that a gateway would run, if its Secrets hold what they should.
#[derive(Clone, Debug)]
pub struct InCluster {
    /// As it was written.
    pub gateway: RealtimeGateway,
    /// What its pods are configured with, but for a managed Redis, whose address the operator knows.
    pub spec: raw::Spec,
    /// What is hardly meant as it stands.
    pub warnings: Vec<Problem>,
}

/// Checks the object in `document`, which has `apiVersion`, `kind`, `metadata` and `spec`.
///
/// # Errors
/// Everything that a gateway would refuse, errors first.
pub fn check(document: &Value) -> Result<InCluster, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut value = document.clone();
    shape::mend(&mut value, &manifest::OBJECT, &mut problems);
    let gateway = match manifest::read::<RealtimeGateway>(value) {
        Ok(gateway) => gateway,
        Err(problem) => {
            problems.also(problem);
            return Err(problems.into_vec());
        }
    };
    let config = project::project(&gateway);
    objections::raise(&gateway, &mut problems);
    let warnings = check_without_secrets(&config, problems)?;
    Ok(InCluster { gateway, spec: config.spec, warnings })
}
