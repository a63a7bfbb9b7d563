//! What presence is told, with time paused.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rtgw_model::{Arrival, EndpointIx, Members, Principal};
use tokio::time::advance;

use super::*;
use crate::broker::{Change, MemoryPresence, PresenceFuture, PresenceSink};
use crate::fixture::checked;

const SPEC: &str = "\
endpoints: [{name: ws, path: /ws}]
auth: {anonymous: Allow}
channels:
- {pattern: 'room:{room}', presence: {enabled: true, joinLeave: true, info: '{\"in\": room, \"name\": claims.name}'}}
- {pattern: quiet, presence: {enabled: true}}
- {pattern: none}
";

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl PresenceSink for Heard {
    fn arrival(&self, _: ChannelName, arrival: Arrival) {
        let said = match arrival {
            Arrival::Joined(member) => format!("+{} {}", member.connection.0, member.user),
            Arrival::Left(member) => format!("-{} {}", member.connection.0, member.user),
            Arrival::Crowded => "!".into(),
            Arrival::Unheard => "?".into(),
        };
        self.0.lock().push(said);
    }
    fn unheard(&self) {
        panic!("presence in memory hears everything");
    }
}

/// Presence that can be away, and forget.
struct Away {
    inner: MemoryPresence,
    away: AtomicBool,
    forgot: AtomicBool,
    anew: AtomicUsize,
}

impl Away {
    fn there(&self) -> Result<(), PresenceError> {
        if self.away.load(Ordering::Relaxed) { Err(PresenceError("away".into())) } else { Ok(()) }
    }
}

impl Presence for Away {
    fn change<'a>(&'a self, changes: &'a [Change]) -> PresenceFuture<'a, Vec<Said>> {
        Box::pin(async move {
            self.there()?;
            self.inner.change(changes).await
        })
    }
    fn page<'a>(
        &'a self,
        channel: &'a ChannelName,
        after: Option<ConnectionKey>,
        limit: u32,
    ) -> PresenceFuture<'a, Members> {
        Box::pin(async move {
            self.there()?;
            self.inner.page(channel, after, limit).await
        })
    }
    fn renew(&self, anew: bool) -> PresenceFuture<'_, Lease> {
        Box::pin(async move {
            self.there()?;
            self.anew.fetch_add(usize::from(anew), Ordering::Relaxed);
            self.inner.renew(anew || self.forgot.swap(false, Ordering::Relaxed)).await
        })
    }
    fn resign(&self) -> PresenceFuture<'_, ()> {
        self.inner.resign()
    }
}

struct Rig {
    roster: Arc<Roster>,
    presence: Arc<Away>,
    heard: Arc<Heard>,
    rules: Arc<Rulebook>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Rig {
    fn new() -> Self {
        let heard = Arc::new(Heard::default());
        let (rules, inner) = (Rulebook::new(&checked(SPEC)), MemoryPresence::new(Arc::clone(&heard) as _));
        let (away, forgot, anew) = Default::default();
        let presence = Arc::new(Away { inner, away, forgot, anew });
        let roster = Roster::new(Arc::clone(&rules), Arc::clone(&presence) as _, Arc::new(Counts::new(0)));
        let stop = CancellationToken::new();
        let (keeper, stopping) = (Arc::clone(&roster), stop.clone());
        let task = tokio::spawn(async move { keeper.keep(&stopping).await });
        Self { roster, presence, heard, rules, stop, task }
    }

    async fn joins(&self, key: u128, user: &str, name: &str) {
        let channel = ChannelName::parse(name).unwrap();
        self.roster.present(Present {
            key: ConnectionKey(key),
            endpoint: EndpointIx(0),
            principal: principal(user),
            channel,
        });
        self.passes(1).await;
    }

    async fn leaves(&self, key: u128, name: &str) {
        self.roster.absent(ConnectionKey(key), ChannelName::parse(name).unwrap());
        self.passes(1).await;
    }

    async fn passes(&self, ms: u64) {
        for _ in 0..ms.div_ceil(100) {
            advance(Duration::from_millis(ms.min(100))).await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.0.lock())
    }

    async fn members(&self, name: &str) -> Vec<String> {
        let page = self.presence.inner.page(&ChannelName::parse(name).unwrap(), None, 1_000).await.unwrap();
        let text =
            |member: &Member| format!("{} {}", member.connection.0, String::from_utf8_lossy(&member.info));
        page.members.iter().map(text).collect()
    }
}

fn principal(user: &str) -> Arc<Principal> {
    Arc::new(Principal {
        user: user.into(),
        tenant: "".into(),
        claims: format!("{{\"name\":\"{user}\"}}").into(),
        ip: IpAddr::from([127, 0, 0, 1]),
        query: "".into(),
        expires: None,
    })
}

#[tokio::test(start_paused = true)]
async fn shows_what_the_rule_says_and_tells_whom_it_should() {
    let rig = Rig::new();
    rig.joins(1, "ann", "room:7").await;
    rig.joins(1, "ann", "quiet").await;
    rig.joins(1, "ann", "none").await;
    assert_eq!(rig.members("room:7").await, [r#"1 {"in":"7","name":"ann"}"#]);
    assert_eq!((rig.members("quiet").await, rig.members("none").await), (vec!["1 null".into()], vec![]));
    assert_eq!(rig.told(), ["+1 ann"]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_within_the_linger_has_never_left() {
    let rig = Rig::new();
    rig.joins(1, "ann", "room:7").await;
    rig.leaves(1, "room:7").await;
    rig.passes(500).await;
    assert_eq!(rig.members("room:7").await.len(), 1, "still counted");
    rig.joins(2, "ann", "room:7").await;
    rig.passes(3_000).await;
    assert_eq!((rig.told(), rig.members("room:7").await.len()), (vec!["+1 ann".into()], 1));
    // The same connection, which unsubscribed and subscribed again.
    rig.leaves(2, "room:7").await;
    rig.joins(2, "ann", "room:7").await;
    rig.passes(3_000).await;
    assert!(rig.told().is_empty());
    rig.leaves(2, "room:7").await;
    rig.passes(1_200).await;
    assert_eq!((rig.told(), rig.members("room:7").await.len()), (vec!["-2 ann".into()], 0));
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_presence_is_away_is_told_when_it_is_back() {
    let rig = Rig::new();
    rig.joins(1, "ann", "room:7").await;
    rig.presence.away.store(true, Ordering::Relaxed);
    rig.joins(2, "bob", "room:7").await;
    rig.joins(3, "eve", "room:7").await;
    rig.leaves(1, "room:7").await;
    rig.leaves(3, "room:7").await;
    rig.passes(2_000).await;
    assert_eq!(rig.told(), ["+1 ann"]);
    let asker = Asker { key: ConnectionKey(2), endpoint: EndpointIx(0), principal: &principal("bob") };
    let asked = || Asked { channel: "room:7".into(), limit: 10, after: None, by_api: false };
    let refused = rig.roster.ask(asked(), &asker).await.unwrap_err();
    assert_eq!(refused.code.as_str(), "not_available");
    assert_eq!(rig.roster.show("room:7", None, 1).await.unwrap_err().status, 503);
    rig.presence.away.store(false, Ordering::Relaxed);
    rig.passes(1_000).await;
    let mut told = rig.told();
    told.sort();
    // Eve may have come and gone: then both were told.
    told.retain(|said| !said.ends_with("eve"));
    assert_eq!(told, ["+2 bob", "-1 ann"]);
    assert_eq!(rig.roster.ask(asked(), &asker).await.unwrap().1.clients, 1);
    assert_eq!(rig.presence.anew.load(Ordering::Relaxed), 0, "the lease held");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_is_taken_anew_and_everything_said_again() {
    let rig = Rig::new();
    for key in 1..=300 {
        rig.joins(key, &format!("u{key}"), "room:7").await;
    }
    assert_eq!(rig.told().len(), 300);
    rig.presence.away.store(true, Ordering::Relaxed);
    rig.passes(10_000).await;
    rig.leaves(1, "room:7").await;
    rig.passes(5_000).await;
    rig.presence.away.store(false, Ordering::Relaxed);
    rig.passes(3_000).await;
    assert_eq!(rig.presence.anew.load(Ordering::Relaxed), 1);
    assert_eq!((rig.members("room:7").await.len(), rig.told().len()), (299, 299), "told again: nobody knew");
    // A presence that comes back without its memory says so itself.
    rig.presence.forgot.store(true, Ordering::Relaxed);
    rig.passes(3_000).await;
    assert_eq!(rig.members("room:7").await.len(), 299);
}

#[tokio::test(start_paused = true)]
async fn a_reload_takes_presence_away_and_the_end_of_the_pod_does() {
    let rig = Rig::new();
    rig.joins(1, "ann", "room:7").await;
    rig.joins(2, "bob", "room:7").await;
    rig.rules.replace(&checked(
        &SPEC
            .replace("enabled: true, joinLeave: true, info", "info")
            .replace("presence: {info: '{\"in\": room, \"name\": claims.name}'}", "publish: 'false'"),
    ));
    let refused = rig.roster.show("room:7", None, 1).await.unwrap_err();
    assert_eq!((refused.status, refused.code), (404, "not_available"));
    rig.leaves(1, "room:7").await;
    rig.passes(2_000).await;
    assert_eq!(rig.members("room:7").await.len(), 1);
    rig.stop.cancel();
    rig.task.await.unwrap();
    assert_eq!(rig.heard.0.lock().last().map(String::as_str), Some("-2 bob"));
}
