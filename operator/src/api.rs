//! Every request that writes, and the few that read past the watches. The one place that knows paths, managers and preconditions.

use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{DynamicObject, PartialObjectMeta};
use rtgw_config::pod::{CONFIG_FILE, GENERATION_ANNOTATION, LAST_GOOD_FILE};
use rtgw_crds::status::Status;
use serde_json::json;

use crate::build::Child;
use crate::gateway::{Gateway, Identity};
use crate::kinds::Kind;
use crate::lease::Term;
use crate::names::MANAGER;
use crate::observe::Texts;

/// Why a request did nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server's answer, or none.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// This process does not lead, or not any more.
    #[error("this process does not lead any more")]
    NotLeading,
}

impl Error {
    /// Whether what was read has changed since.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 409)
    }

    /// Whether the object would not be one after the request.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 422)
    }
}

/// The API server.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    term: Term,
}

impl Kubernetes {
    /// Through `client`; writes only while `term` holds.
    pub fn new(client: Client, term: Term) -> Self {
        Self { client, term }
    }

    fn may_write(&self) -> Result<(), Error> {
        if self.term.holds() { Ok(()) } else { Err(Error::NotLeading) }
    }

    fn children(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &kind.resource())
    }

    /// What stands under the name of a child, without its content.
    ///
    /// # Errors
    /// The API server's, or that this process does not lead.
    pub async fn metadata(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ObjectMeta>, Error> {
        let found: Option<PartialObjectMeta<DynamicObject>> =
            self.children(kind, namespace).get_metadata_opt(name).await?;
        Ok(found.map(|found| found.metadata))
    }

    /// Applies a child: what we want of it is ours, whoever owned it before.
    ///
    /// # Errors
    /// The API server's, or that this process does not lead.
    pub async fn apply(&self, namespace: &str, child: &Child) -> Result<DynamicObject, Error> {
        self.may_write()?;
        let how = PatchParams::apply(MANAGER).force();
        Ok(self.children(child.kind, namespace).patch(&child.name, &how, &Patch::Apply(&child.body)).await?)
    }

    /// Takes a stranger's ports out of a Service. Ports are told apart by their numbers, so an apply adds ours to the one that somebody has
    /// given another number, and two ports of one name are no Service.
    ///
    /// # Errors
    /// The API server's, or that this process does not lead.
    pub async fn only_our_ports(&self, namespace: &str, child: &Child) -> Result<(), Error> {
        self.may_write()?;
        let patch = json!({ "spec": { "ports": child.body.pointer("/spec/ports") } });
        let how = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        self.children(child.kind, namespace).patch(&child.name, &how, &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Deletes exactly the object with this UID; that it has gone already is as good.
    ///
    /// # Errors
    /// The API server's, or that this process does not lead.
    pub async fn delete(&self, kind: Kind, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        self.may_write()?;
        let only = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
        let how = DeleteParams { preconditions: Some(only), ..DeleteParams::background() };
        match self.children(kind, namespace).delete(name, &how).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    /// Creates a Secret. `false` where there is one of this name already.
    ///
    /// # Errors
    /// The API server's, or that this process does not lead.
    pub async fn create_secret(&self, namespace: &str, secret: &Secret) -> Result<bool, Error> {
        self.may_write()?;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let how = PostParams { field_manager: Some(MANAGER.into()), dry_run: false };
        match api.create(&how, secret).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets how many pods a Deployment has, if it still is as `version` shows it.
    ///
    /// # Errors
    /// The API server's; 409 where it has changed.
    pub async fn scale(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        replicas: i32,
    ) -> Result<(), Error> {
        self.may_write()?;
        let api: Api<k8s_openapi::api::apps::v1::Deployment> =
            Api::namespaced(self.client.clone(), namespace);
        let scale = Scale {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(ScaleSpec { replicas: Some(replicas) }),
            status: None,
        };
        let how = PostParams { field_manager: Some(MANAGER.into()), dry_run: false };
        api.replace_scale(name, &how, &scale).await?;
        Ok(())
    }

    /// What the ConfigMap holds.
    ///
    /// # Errors
    /// The API server's, or that this process does not lead.
    pub async fn texts(&self, namespace: &str, name: &str) -> Result<Option<Texts>, Error> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let data = api.get_opt(name).await?.and_then(|map| map.data);
        Ok(data.and_then(|mut data| {
            Some(Texts { config: data.remove(CONFIG_FILE)?, last_good: data.remove(LAST_GOOD_FILE) })
        }))
    }

    /// Tells a pod by its annotation that there is something new in its ConfigMap; that it has gone is as good.
    ///
    /// # Errors
    /// The API server's, or that this process does not lead.
    pub async fn tell(&self, namespace: &str, name: &str, uid: &str, word: &str) -> Result<(), Error> {
        self.may_write()?;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({ "metadata": { "uid": uid, "annotations": { GENERATION_ANNOTATION: word } } });
        let how = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match api.patch_metadata(name, &how, &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }

    /// Writes the status of exactly this object; that it has gone is as good.
    ///
    /// # Errors
    /// The API server's, or that this process does not lead.
    pub async fn status(&self, identity: &Identity, status: &Status) -> Result<(), Error> {
        self.may_write()?;
        let api: Api<Gateway> = Api::namespaced(self.client.clone(), &identity.namespace);
        let body = json!({
            "apiVersion": rtgw_crds::API_VERSION,
            "kind": rtgw_crds::KIND,
            "metadata": { "name": identity.name, "namespace": identity.namespace, "uid": identity.uid },
            "status": status,
        });
        let how = PatchParams::apply(MANAGER).force();
        match api.patch_status(&identity.name, &how, &Patch::Apply(&body)).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}
