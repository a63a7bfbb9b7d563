//! The object as it is read from the API server. Decoding it cannot fail for what stands in its spec: an object that is wrong is reported,
//! and never stops a watch.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::NamespaceResourceScope;
use rtgw_crds::status::Status;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Group of our objects.
const GROUP: &str = "realtime-gateway.dev";
/// Version of our objects.
const VERSION: &str = "v1alpha1";
/// Their name in URLs.
const PLURAL: &str = "realtimegateways";

/// A RealtimeGateway, not checked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Gateway {
    /// Name, namespace, UID, generation, annotations.
    pub metadata: ObjectMeta,
    /// What is wanted, as it was written.
    #[serde(default)]
    pub spec: Json,
    /// What was said of it last; empty where it cannot be read.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Status,
}

/// JSON kept as text: a tree of a thousand objects' specs would be most of the program's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// The tree.
    pub fn parse(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<&Value> for Json {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into())
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::from(&Value::Null)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Value::deserialize(from).map(|value| Self::from(&value))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.parse().serialize(to)
    }
}

fn lenient<'de, D: Deserializer<'de>>(from: D) -> Result<Status, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

impl Resource for Gateway {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        rtgw_crds::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Which object: enough to name it, to own what is made for it, and to tell it from a later one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Identity {
    /// Of an object from the API server, which has all three.
    pub fn of(gateway: &Gateway) -> Self {
        let metadata = &gateway.metadata;
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }

    /// The reference that makes something a child. It does not block a deletion in the foreground: children need nothing from their owner.
    pub fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: rtgw_crds::API_VERSION.into(),
            kind: rtgw_crds::KIND.into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }

    /// What Events are about.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(rtgw_crds::API_VERSION.into()),
            kind: Some(rtgw_crds::KIND.into()),
            name: Some(self.name.clone()),
            namespace: Some(self.namespace.clone()),
            uid: Some(self.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
