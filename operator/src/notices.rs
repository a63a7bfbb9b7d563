//! Events: what happened to an object, for `kubectl describe`. Notes are fixed texts: a number in one would make every Event a new one.

use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use rtgw_crds::status::Status;

use crate::gateway::Identity;
use crate::names::MANAGER;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    kind: EventType,
    reason: &'static str,
    note: &'static str,
    action: &'static str,
}

const fn normal(reason: &'static str, action: &'static str, note: &'static str) -> Notice {
    Notice { kind: EventType::Normal, reason, note, action }
}

const fn warning(reason: &'static str, action: &'static str, note: &'static str) -> Notice {
    Notice { kind: EventType::Warning, reason, note, action }
}

const STALLED: &[Notice] = &[
    warning(
        "InvalidSpec",
        "Check",
        "the object cannot be had as it stands; its condition Stalled says why; what runs is kept",
    ),
    warning(
        "OverrideNotAllowed",
        "Check",
        "the object overrides what it may not; its condition Stalled says what; what runs is kept",
    ),
    warning(
        "NameConflict",
        "Apply",
        "something else has the name of a child; the condition Stalled says what; nothing was changed",
    ),
    warning(
        "BrokerChange",
        "Plan",
        "a change of redis needs a confirmation; the condition Stalled says which",
    ),
];
const ROLLOUT: Notice = normal("RolloutStarted", "Apply", "pods are replaced, one after the other");
const CONFIGURED: Notice = normal("ConfigApplied", "Configure", "all pods run the newest configuration");
const UNCLEAR: Notice = warning(
    "UnclearAnnotation",
    "Check",
    "an annotation says nothing that is understood: paused and hold-rollout are true or false, restart-at is a moment such as 2026-11-21T10:00:00Z",
);

/// What is worth telling between two statuses.
pub fn between(before: &Status, after: &Status, unclear: bool) -> Vec<Notice> {
    let reason = |status: &Status, kind: &str| {
        status.conditions.iter().find(|one| one.kind == kind).map(|one| one.reason.clone())
    };
    let mut notices = Vec::new();
    let stalled = reason(after, "Stalled");
    if stalled != reason(before, "Stalled") {
        notices.extend(STALLED.iter().filter(|notice| stalled.as_deref() == Some(notice.reason)));
    }
    let template = |status: &Status| status.template.as_ref().map(|template| template.revision.clone());
    if template(before).is_some() && template(before) != template(after) {
        notices.push(ROLLOUT);
    }
    let applied = |status: &Status| reason(status, "ConfigApplied").as_deref() == Some("Acknowledged");
    if applied(after) && !applied(before) {
        notices.push(CONFIGURED);
    }
    // Told with each generation that it stands in; the API server counts those that repeat.
    if unclear && before.observed_generation != after.observed_generation {
        notices.push(UNCLEAR);
    }
    notices
}

/// Tells notices.
#[derive(Clone)]
pub struct Notices(Recorder);

impl Notices {
    /// In the name of the process `instance`.
    pub fn new(client: Client, instance: &str) -> Self {
        Self(Recorder::new(
            client,
            Reporter { controller: MANAGER.into(), instance: Some(instance.to_owned()) },
        ))
    }

    /// Tells `notices` of an object. What cannot be told is only logged.
    pub async fn tell(&self, identity: &Identity, notices: &[Notice]) {
        for notice in notices {
            let event = Event {
                type_: notice.kind,
                reason: notice.reason.into(),
                note: Some(notice.note.into()),
                action: notice.action.into(),
                secondary: None,
            };
            if let Err(error) = self.0.publish(&event, &identity.reference()).await {
                tracing::debug!(%identity, %error, "an Event could not be written");
            }
        }
    }
}
