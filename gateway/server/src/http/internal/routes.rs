//! Every route of the API: the one list that the router, the guard and the description are made from.

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};
use rtgw_config::pod::PodReport;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};

use super::caller::Need;
use super::{
    Internal, draft, history, info, lists, openapi, orders, pod, presence, probes, publish, redacted,
};

/// Gives the description of a type.
pub(super) type Describe = fn(&mut SchemaGenerator) -> Schema;

/// A route.
pub(super) struct Route {
    /// `get` or `post`.
    pub(super) method: &'static str,
    /// As the router and OpenAPI write it.
    pub(super) path: &'static str,
    /// What it asks of its caller; `None` is open to everybody, whatever `Host` and `Origin` say.
    pub(super) need: Option<Need>,
    /// A sentence for a list.
    pub(super) summary: &'static str,
    /// More, where there is more to say.
    pub(super) description: &'static str,
    /// What carries it out.
    pub(super) handler: fn() -> MethodRouter<Arc<Internal>>,
    /// The body of a request.
    pub(super) body: Option<Describe>,
    /// The parameters of its query.
    pub(super) query: Option<Describe>,
    /// What a good answer is; `None` is text.
    pub(super) answer: Option<Describe>,
    /// Statuses of refusals besides those that the guard and the body bring.
    pub(super) refusals: &'static [u16],
}

const fn open(
    path: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Arc<Internal>>,
) -> Route {
    Route {
        method: "get",
        path,
        need: None,
        summary,
        description: "",
        handler,
        body: None,
        query: None,
        answer: None,
        refusals: &[],
    }
}

const fn read(
    path: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Arc<Internal>>,
) -> Route {
    Route { need: Some(Need::Read), ..open(path, summary, handler) }
}

const fn order(
    path: &'static str,
    need: Need,
    summary: &'static str,
    handler: fn() -> MethodRouter<Arc<Internal>>,
    body: Describe,
) -> Route {
    Route {
        method: "post",
        need: Some(need),
        body: Some(body),
        query: Some(members::<orders::OrderQuery>),
        answer: Some(of::<orders::Affected>),
        refusals: &[504],
        ..open(path, summary, handler)
    }
}

const fn publishing(
    path: &'static str,
    summary: &'static str,
    handler: fn() -> MethodRouter<Arc<Internal>>,
    body: Describe,
    answer: Describe,
) -> Route {
    Route {
        method: "post",
        need: Some(Need::Publish),
        body: Some(body),
        answer: Some(answer),
        refusals: &[503],
        ..open(path, summary, handler)
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn members<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

/// All of them, in the order of the reference.
pub(super) static ROUTES: [Route; 19] = [
    Route {
        description: "Every channel must fit a scope publish:PATTERN of the key. The same idempotency key of the same API key for the \
             same channels is published once within five minutes.",
        ..publishing(
            "/v1/publish",
            "Publish to one channel or several",
            || post(publish::publish),
            of::<draft::Right<'static>>,
            of::<publish::Published>,
        )
    },
    Route {
        description: "As /v1/publish with a list; each of the channels must fit a scope publish:PATTERN of the key. A connection that \
             hears several of them gets the publication once.",
        ..publishing(
            "/v1/broadcast",
            "Publish to a list of channels",
            || post(publish::broadcast),
            draft::broadcast_schema,
            of::<publish::Published>,
        )
    },
    Route {
        description: "Checked whole, scopes included, before the first one goes out; then published in their order.",
        ..publishing(
            "/v1/batch",
            "Publish up to 1000 publications",
            || post(publish::batch),
            of::<draft::RightBatch<'static>>,
            of::<publish::Results>,
        )
    },
    Route {
        description: "The application's own decision: the channel's rule is not asked, and a change of rules or claims does not take the \
             subscription away. Connections at their limit of subscriptions are left as they are. 503 `not_available` where the pod would carry more channels \
             than `limits.pod.channels`.",
        refusals: &[503, 504],
        ..order(
            "/v1/subscribe",
            Need::Subscribe,
            "Have connections hear channels",
            || post(orders::subscribe),
            of::<orders::SubscriptionBody>,
        )
    },
    order(
        "/v1/unsubscribe",
        Need::Subscribe,
        "Have connections hear channels no more",
        || post(orders::unsubscribe),
        of::<orders::SubscriptionBody>,
    ),
    order(
        "/v1/disconnect",
        Need::Disconnect,
        "Close connections",
        || post(orders::disconnect),
        of::<orders::DisconnectBody>,
    ),
    Route {
        description: "Whom it concerns is let in no more while it is in force, cannot refresh, and is closed with 4401. Kept by all \
             pods, and in Redis for those that begin later. Without a Redis it is kept in the memory of the one pod until that ends. Where \
             Redis is configured and cannot be reached the answer is 202: the pod that answers keeps it, and writes it to Redis when it can.",
        query: None,
        refusals: &[503, 504],
        ..order(
            "/v1/revoke",
            Need::Revoke,
            "Revoke credentials before they end",
            || post(orders::revoke),
            of::<orders::RevokeBody>,
        )
    },
    Route {
        description: "For connections that stay open while the application prolongs, shortens or changes what they may: a new end, new \
             claims, or both. Every subscription is authorized again.",
        ..order(
            "/v1/refresh",
            Need::Admin,
            "Give connections a new end or new claims",
            || post(orders::refresh),
            of::<orders::RefreshBody>,
        )
    },
    Route {
        query: Some(members::<lists::ChannelsQuery>),
        answer: Some(of::<lists::ChannelsPage>),
        refusals: &[504],
        ..read("/v1/channels", "List channels that somebody hears", || get(lists::channels))
    },
    Route {
        query: Some(members::<lists::ConnectionsQuery>),
        answer: Some(of::<lists::ConnectionsPage>),
        refusals: &[504],
        ..read("/v1/connections", "List connections", || get(lists::connections))
    },
    Route {
        need: Some(Need::Presence),
        description: "On all pods, where the channel's rule has `presence`. A page may be shorter than `limit`: its size in bytes is \
             bounded, too.",
        query: Some(members::<presence::PresenceQuery>),
        answer: Some(of::<presence::PresencePage>),
        refusals: &[404, 503],
        ..read("/v1/presence/{channel}", "Who hears a channel", || get(presence::presence))
    },
    Route {
        description: "Of channels whose rule says `history`. Give `next` as `cursor` to read on.",
        query: Some(members::<history::HistoryQuery>),
        answer: Some(of::<history::HistoryPage>),
        refusals: &[404, 503, 504],
        ..read("/v1/history/{channel}", "What was published on a channel", || get(history::history))
    },
    Route {
        answer: Some(of::<info::Info>),
        ..read("/v1/info", "What runs here, and its figures", || get(info::info))
    },
    Route {
        need: Some(Need::Report),
        answer: Some(of::<PodReport>),
        description: "At most 16 KiB. In a cluster, where the configuration lists the operator's keys, its token is needed and no API key will \
             do: EdDSA, for the object's UID, at most 60 seconds.",
        ..open("/v1/pod", "This pod, for the operator", || get(pod::report))
    },
    Route {
        need: Some(Need::Key),
        answer: Some(openapi::any_object),
        ..read("/v1/openapi.json", "This description", || get(openapi::serve))
    },
    Route {
        answer: Some(of::<redacted::Running>),
        ..read("/config", "The running configuration, without secrets", || get(redacted::config))
    },
    Route {
        answer: Some(of::<probes::Live>),
        ..open("/livez", "Is the process alive?", || get(probes::live))
    },
    Route {
        description: "503 before the first delivery probe came back and while draining; with `?strict` also while something is degraded.",
        query: Some(members::<probes::ReadyQuery>),
        answer: Some(of::<probes::Detail>),
        ..open("/readyz", "Does the pod want traffic?", || get(probes::ready))
    },
    Route {
        refusals: &[500],
        ..open("/metrics", "The pod's numbers, as OpenMetrics text", || get(probes::metrics))
    },
];
