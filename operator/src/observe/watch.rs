//! The watches that fill the memory, one stream each.

use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ObjectMeta};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Memory;
use super::memory::Key;
use crate::gateway::{Gateway, Identity};
use crate::kinds::Kind;
use crate::names::{COMPONENT, COMPONENT_GATEWAY, MANAGED_BY, MANAGER};

/// Objects of a page of a first list: as many are in memory at once.
const PAGE: u32 = 50;

/// Where a watch looks: a namespace, or everywhere.
pub type Scope = Option<String>;

/// Counts the first lists that are still to come: before they are complete, what is missing from memory may well be there.
#[derive(Debug)]
pub struct Lists(watch::Sender<usize>);

impl Lists {
    /// So many lists.
    pub fn new(lists: usize) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(lists)))
    }

    fn complete(&self) {
        self.0.send_modify(|left| *left = left.saturating_sub(1));
    }

    /// Waits for all of them.
    pub async fn all(&self) {
        // Fails only where the sender has gone, which is here.
        let _ = self.0.subscribe().wait_for(|left| *left == 0).await;
    }
}

/// Streams that [`all`] makes for a scope.
pub const STREAMS: usize = Kind::ALL.len() + 3;

/// Every watch of a scope. What they yield are the gateways that have to be looked at again.
pub fn all(
    client: &Client,
    scope: &Scope,
    memory: &Arc<Memory>,
    writer: reflector::store::Writer<Gateway>,
    lists: &Arc<Lists>,
) -> stream::SelectAll<stream::BoxStream<'static, Key>> {
    let mut streams = vec![
        objects(client, scope, memory.clone(), writer, lists.clone()).boxed(),
        pods(client, scope, memory.clone(), lists.clone()).boxed(),
        replica_sets(client, scope, memory.clone(), lists.clone()).boxed(),
    ];
    streams
        .extend(Kind::ALL.map(|kind| children(client, scope, memory.clone(), kind, lists.clone()).boxed()));
    stream::select_all(streams)
}

/// An API in a scope.
fn api<K>(client: &Client, scope: &Scope) -> Api<K>
where
    K: Resource<DynamicType: Default, Scope = kube::core::NamespaceResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The objects: kept in `writer`'s store, yielded where they ask for something.
fn objects(
    client: &Client,
    scope: &Scope,
    memory: Arc<Memory>,
    writer: reflector::store::Writer<Gateway>,
    lists: Arc<Lists>,
) -> impl Stream<Item = Key> + Send + use<> {
    let mut first = Some(lists);
    let events = watcher(api::<Gateway>(client, scope), watcher::Config::default().page_size(PAGE));
    let events = events.default_backoff().modify(|gateway| gateway.metadata.managed_fields = None);
    reflector(writer, events).filter_map(move |event| {
        let woken = match told(event, "RealtimeGateway") {
            Some(Event::Apply(gateway) | Event::InitApply(gateway)) => {
                memory.object(&gateway).then(|| Key::of(&Identity::of(&gateway)))
            }
            Some(Event::Delete(gateway)) => {
                memory.object_gone(&Key::of(&Identity::of(&gateway)));
                None
            }
            Some(Event::InitDone) => {
                first.take().inspect(|lists| lists.complete());
                None
            }
            _ => None,
        };
        std::future::ready(woken)
    })
}

/// Children of one kind.
fn children(
    client: &Client,
    scope: &Scope,
    memory: Arc<Memory>,
    kind: Kind,
    lists: Arc<Lists>,
) -> impl Stream<Item = Key> + Send + use<> {
    let resource = kind.resource();
    let api: Api<DynamicObject> = match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let selected = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}")).page_size(PAGE);
    let scope = scope.clone();
    let remembered = memory.clone();
    follow(
        watcher(api, selected),
        kind.name(),
        lists,
        move |object: &DynamicObject| remembered.child(kind, object),
        {
            let memory = memory.clone();
            move |metadata| memory.child_gone(kind, metadata)
        },
        move |listed| memory.keep_children(kind, scope.as_deref(), listed),
    )
}

/// The pods that hold sockets.
fn pods(
    client: &Client,
    scope: &Scope,
    memory: Arc<Memory>,
    lists: Arc<Lists>,
) -> impl Stream<Item = Key> + Send + use<> {
    let scope_of_list = scope.clone();
    let (remembered, forgotten) = (memory.clone(), memory.clone());
    follow(
        watcher(api::<Pod>(client, scope), of_gateways()),
        "Pod",
        lists,
        move |pod: &Pod| remembered.pod(pod),
        move |metadata| forgotten.pod_gone(metadata),
        move |listed| memory.keep_pods(scope_of_list.as_deref(), listed),
    )
}

/// The ReplicaSets between Deployments and pods: what they are controlled by, and nothing else.
fn replica_sets(
    client: &Client,
    scope: &Scope,
    memory: Arc<Memory>,
    lists: Arc<Lists>,
) -> impl Stream<Item = Key> + Send + use<> {
    let remembered = memory.clone();
    follow(
        watcher(api::<PartialObjectMeta<ReplicaSet>>(client, scope), of_gateways()),
        "ReplicaSet",
        lists,
        move |set: &PartialObjectMeta<ReplicaSet>| remembered.replica_set(set),
        move |metadata| {
            memory.replica_set_gone(metadata);
            None
        },
        // One that is left over belongs to a Deployment that has gone: nothing of another has its UID.
        |_| Vec::new(),
    )
}

fn of_gateways() -> watcher::Config {
    watcher::Config::default().labels(&format!("{COMPONENT}={COMPONENT_GATEWAY}")).page_size(PAGE)
}

/// Feeds a watch's events to the memory.
fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    kind: &'static str,
    lists: Arc<Lists>,
    seen: impl Fn(&K) -> Option<Key> + Send + 'static,
    gone: impl Fn(&ObjectMeta) -> Option<Key> + Send + 'static,
    keep: impl Fn(&HashSet<String>) -> Vec<Key> + Send + 'static,
) -> impl Stream<Item = Key> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (mut listed, mut first) = (HashSet::new(), Some(lists));
    events.default_backoff().flat_map(move |event| {
        let woken: Vec<Key> = match told(event, kind) {
            None => Vec::new(),
            Some(Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Some(Event::InitApply(object)) => {
                listed.extend(object.meta().uid.clone());
                seen(&object).into_iter().collect()
            }
            Some(Event::InitDone) => {
                first.take().inspect(|lists| lists.complete());
                keep(&std::mem::take(&mut listed))
            }
            Some(Event::Apply(object)) => seen(&object).into_iter().collect(),
            Some(Event::Delete(object)) => gone(object.meta()).into_iter().collect(),
        };
        stream::iter(woken)
    })
}

/// An event, or a line in the log: the watch begins again by itself.
fn told<K>(event: watcher::Result<Event<K>>, kind: &'static str) -> Option<Event<K>> {
    match event {
        Ok(event) => Some(event),
        Err(error) => {
            tracing::warn!(kind, %error, "a watch broke and begins again");
            None
        }
    }
}
