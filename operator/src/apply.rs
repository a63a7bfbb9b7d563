//! From children as they should be to the API server: configuration first, workloads after it, and last what is left over. What is as it
//! was applied costs no request.

use futures_util::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::{self, Kubernetes};
use crate::build::{self, Child};
use crate::check::{Broker, Desired};
use crate::kinds::Kind;
use crate::observe::digest::controller;
use crate::observe::{Digest, Facts, Memory, Observed};

/// ControllerRevisions that are kept.
const KEPT_REVISIONS: usize = 3;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Requests that wrote.
    pub writes: u32,
}

/// Why not everything was done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something of somebody else's has the name of a child. Nothing was written.
    #[error("{} `{name}` exists and is not this gateway's: rename the gateway, or delete or rename that one", kind.name())]
    NameConflict {
        /// What it is.
        kind: Kind,
        /// What it is called.
        name: String,
    },
    /// A child of this name is going and has to have gone first.
    #[error("waits until the former {} `{name}` has gone", kind.name())]
    Waiting {
        /// What it is.
        kind: Kind,
        /// What it is called.
        name: String,
    },
    /// The API server refused.
    #[error("{what}: {error}")]
    Refused {
        /// What was tried.
        what: String,
        /// What it answered.
        #[source]
        error: Box<api::Error>,
    },
    /// The system gave no randomness for a password.
    #[error("no randomness for a password")]
    NoRandomness,
}

/// What a child needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Apply,
    /// To be looked at first: it may be somebody else's.
    Look,
    Wait,
}

fn need(child: &Child, observed: &Observed, uid: &str) -> Need {
    let Some(digest) = observed.children.get(&(child.kind, child.name.clone())) else { return Need::Look };
    if !digest.is_of(uid) {
        return Need::Look;
    }
    if digest.deleting {
        return Need::Wait;
    }
    let kept = observed.kept_as.get(&child.owned).unwrap_or(&child.owned);
    let same = digest.applied.as_deref() == Some(&child.applied)
        && (digest.owned == child.owned || digest.owned == *kept);
    if same { Need::Nothing } else { Need::Apply }
}

/// Makes `children` true and deletes what is ours beside them.
///
/// # Errors
/// The first thing that cannot be done; what was done before it stays.
pub async fn apply(
    api: &Kubernetes,
    memory: &Memory,
    desired: &Desired,
    observed: &Observed,
    children: &[Child],
) -> Result<Applied, Failure> {
    let uid = &desired.identity.uid;
    let needs: Vec<(Need, &Child)> =
        children.iter().map(|child| (need(child, observed, uid), child)).collect();
    if let Some((_, child)) = needs.iter().find(|(need, _)| *need == Need::Wait) {
        return Err(Failure::Waiting { kind: child.kind, name: child.name.clone() });
    }
    look(api, desired, needs.iter().filter(|(need, _)| *need == Need::Look).map(|(_, child)| *child)).await?;
    let mut applied = Applied::default();
    applied.writes += password(api, desired, observed).await?;
    for (_, child) in needs.iter().filter(|(need, _)| *need != Need::Nothing) {
        write(api, memory, desired, child).await?;
        applied.writes += 1;
    }
    applied.writes += scale(api, memory, desired).await?;
    applied.writes += prune(api, desired, observed, children).await?;
    Ok(applied)
}

/// Looks at what has the names of `children`, before the first of them is written.
async fn look<'c>(
    api: &Kubernetes,
    desired: &Desired,
    children: impl Iterator<Item = &'c Child>,
) -> Result<(), Failure> {
    let namespace = &desired.identity.namespace;
    let looks = children.map(async |child| (child, api.metadata(child.kind, namespace, &child.name).await));
    for (child, found) in join_all(looks).await {
        let found = found.map_err(|error| refused("looking at", child, error))?;
        let Some(metadata) = found else { continue };
        let (kind, name) = (child.kind, child.name.clone());
        match whose(&metadata, desired) {
            Whose::Ours => {}
            Whose::Going => return Err(Failure::Waiting { kind, name }),
            Whose::Foreign => return Err(Failure::NameConflict { kind, name }),
        }
    }
    Ok(())
}

enum Whose {
    Ours,
    /// It goes by itself, or with the object of the same name that was there before.
    Going,
    Foreign,
}

fn whose(metadata: &ObjectMeta, desired: &Desired) -> Whose {
    let identity = &desired.identity;
    let owner =
        controller(metadata).filter(|owner| owner.kind == rtgw_crds::KIND && owner.name == identity.name);
    match owner {
        Some(_) if metadata.deletion_timestamp.is_some() => Whose::Going,
        Some(owner) if owner.uid == identity.uid => Whose::Ours,
        Some(_) => Whose::Going,
        None => Whose::Foreign,
    }
}

async fn write(api: &Kubernetes, memory: &Memory, desired: &Desired, child: &Child) -> Result<(), Failure> {
    let namespace = &desired.identity.namespace;
    let answer = match api.apply(namespace, child).await {
        Err(error) if error.is_invalid() && child.kind == Kind::Service => {
            let taken = api.only_our_ports(namespace, child).await;
            taken.map_err(|_| refused("applying", child, error))?;
            api.apply(namespace, child).await
        }
        answer => answer,
    };
    let answer = answer.map_err(|error| refused("applying", child, error))?;
    memory.child(child.kind, &answer);
    let kept = Digest::of(child.kind, &answer).owned;
    if kept != child.owned {
        tracing::debug!(
            kind = child.kind.name(),
            name = child.name,
            "the API server keeps it in another form"
        );
        memory.kept_as(&desired.identity, child.owned, kept);
    }
    Ok(())
}

/// Creates the Secret of a managed Redis where its StatefulSet is new, or where a pod says that it is missing.
async fn password(api: &Kubernetes, desired: &Desired, observed: &Observed) -> Result<u32, Failure> {
    let name = &desired.names.redis_secret;
    let mut missing = observed.live().filter_map(|pod| pod.heard.as_ref()).flat_map(|heard| &heard.missing);
    let missed = missing.any(|[_, secret, _]| **secret == **name);
    if desired.broker != Broker::Managed || (observed.redis.is_some() && !missed) {
        return Ok(0);
    }
    let secret = build::secret::redis(desired).map_err(|_| Failure::NoRandomness)?;
    let what = format!("creating Secret `{name}`");
    let created = api.create_secret(&desired.identity.namespace, &secret).await;
    created.map_err(|error| Failure::Refused { what, error: Box::new(error) })?;
    Ok(1)
}

/// Gives the Deployment as many pods as are wanted, if nobody has changed it in between.
async fn scale(api: &Kubernetes, memory: &Memory, desired: &Desired) -> Result<u32, Failure> {
    let wanted = i32::try_from(desired.replicas).unwrap_or(i32::MAX);
    let Some(deployment) = memory.observe(&desired.identity).deployment else { return Ok(0) };
    if deployment.wanted == wanted {
        return Ok(0);
    }
    let name = &desired.names.gateway;
    let what = format!("scaling Deployment `{name}`");
    let scaled = api.scale(&desired.identity.namespace, name, &deployment.version, wanted).await;
    scaled.map_err(|error| Failure::Refused { what, error: Box::new(error) })?;
    Ok(1)
}

/// Deletes what is this object's by its UID and no longer wanted, and ControllerRevisions beyond the newest.
async fn prune(
    api: &Kubernetes,
    desired: &Desired,
    observed: &Observed,
    children: &[Child],
) -> Result<u32, Failure> {
    let wanted =
        |kind: Kind, name: &str| children.iter().any(|child| child.kind == kind && child.name == name);
    let mut writes = 0;
    for ((kind, name), digest) in left_over(observed, &desired.identity.uid) {
        if wanted(*kind, name) {
            continue;
        }
        let deleted = api.delete(*kind, &desired.identity.namespace, name, &digest.uid).await;
        let what = format!("deleting {} `{name}`", kind.name());
        deleted.map_err(|error| Failure::Refused { what, error: Box::new(error) })?;
        writes += 1;
    }
    Ok(writes)
}

/// What is this object's: of ControllerRevisions only those that would be one too many.
fn left_over<'o>(observed: &'o Observed, uid: &str) -> Vec<(&'o (Kind, String), &'o Digest)> {
    let ours = observed.children.iter().filter(|(_, digest)| digest.is_of(uid) && !digest.deleting);
    let number = |digest: &Digest| match digest.facts {
        Facts::Revision { number, .. } => Some(number),
        _ => None,
    };
    let mut numbers: Vec<i64> = ours.clone().filter_map(|(_, digest)| number(digest)).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let oldest = numbers.get(KEPT_REVISIONS - 1).copied().unwrap_or(i64::MIN);
    ours.filter(|(_, digest)| number(digest).is_none_or(|number| number < oldest)).collect()
}

fn refused(doing: &str, child: &Child, error: api::Error) -> Failure {
    Failure::Refused {
        what: format!("{doing} {} `{}`", child.kind.name(), child.name),
        error: Box::new(error),
    }
}
