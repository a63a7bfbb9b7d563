//! What every presence must keep.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use rtgw_model::{ANNOUNCED_CLIENTS, Arrival, ChannelName, ConnectionKey, Member};

use super::super::{CHANGES, Change, Presence, PresenceSink, Said, What};
use super::PATIENCE;

/// Runs the suite; `start` gives a fresh presence of one pod that shares nothing with those before.
pub(crate) async fn run<F, S>(start: F)
where
    F: Fn(Arc<dyn PresenceSink>) -> S,
    S: Future<Output = Arc<dyn Presence>>,
{
    counts_and_pages(&Stage::new(&start).await).await;
    tells_users_once(&Stage::new(&start).await).await;
    takes_the_same_twice(&Stage::new(&start).await).await;
    keeps_channels_apart(&Stage::new(&start).await).await;
    tells_no_crowd(&Stage::new(&start).await).await;
    forgets_when_it_resigns(&Stage::new(&start).await).await;
    counts_many_as_fast_as_few(&Stage::new(&start).await).await;
}

/// A presence and what it told.
pub(crate) struct Stage {
    pub(crate) presence: Arc<dyn Presence>,
    pub(crate) heard: Arc<Heard>,
}

/// A sink that remembers.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<(ChannelName, Arrival)>>);

impl PresenceSink for Heard {
    fn arrival(&self, channel: ChannelName, arrival: Arrival) {
        self.0.lock().push((channel, arrival));
    }
    // A server that has just been started may not be there at the first try; that it is told is tested from outside.
    fn unheard(&self) {}
}

impl Heard {
    /// Waits until so much was told, and gives it in short: `+7` for a join of connection 7, `-7` for its leave, `!` for a crowd.
    pub(crate) async fn told(&self, count: usize) -> Vec<String> {
        let all = async {
            while self.0.lock().len() < count {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, all).await;
        let told: Vec<String> = self.0.lock().iter().map(|(_, arrival)| short(arrival)).collect();
        assert!(waited.is_ok(), "{count} things should have been told: {told:?}");
        told
    }
}

fn short(arrival: &Arrival) -> String {
    match arrival {
        Arrival::Joined(member) => format!("+{}", member.connection.0),
        Arrival::Left(member) => format!("-{}", member.connection.0),
        Arrival::Crowded => "!".into(),
        Arrival::Unheard => "?".into(),
    }
}

impl Stage {
    async fn new<F, S>(start: &F) -> Self
    where
        F: Fn(Arc<dyn PresenceSink>) -> S,
        S: Future<Output = Arc<dyn Presence>>,
    {
        let heard = Arc::new(Heard::default());
        let presence = start(Arc::clone(&heard) as Arc<dyn PresenceSink>).await;
        presence.renew(false).await.unwrap();
        Self { presence, heard }
    }

    pub(crate) async fn say(&self, changes: &[Change]) -> Vec<Said> {
        let mut said = Vec::new();
        for part in changes.chunks(CHANGES) {
            // A slow machine takes longer for a hundred thousand than a lease lasts.
            self.presence.renew(false).await.unwrap();
            said.extend(self.presence.change(part).await.unwrap());
        }
        said
    }

    /// Connections and users of a channel.
    pub(crate) async fn counts(&self, name: &str) -> (u64, u64) {
        let page = self.presence.page(&channel(name), None, 0).await.unwrap();
        assert!(page.members.is_empty() && !page.more);
        (page.clients, page.users)
    }
}

pub(crate) fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

/// A connection joins; `user` may be empty.
pub(crate) fn joins(name: &str, connection: u128, user: &str) -> Change {
    let info = Bytes::from(format!("{{\"n\":{connection}}}"));
    let member = Member { connection: ConnectionKey(connection), user: user.into(), info };
    Change { channel: channel(name), told: true, what: What::Joins { member, user: user.into() } }
}

pub(crate) fn leaves(name: &str, connection: u128) -> Change {
    Change { channel: channel(name), told: true, what: What::Leaves(ConnectionKey(connection)) }
}

async fn counts_and_pages(stage: &Stage) {
    assert_eq!(stage.counts("a").await, (0, 0));
    // Ids of any size: their order is that of their numbers.
    let keys: Vec<u128> = (1..=25).map(|at: u128| at * (u128::MAX / 26)).collect();
    let user = |at: usize| if at < 5 { String::new() } else { format!("user-{}", at % 10) };
    let changes: Vec<Change> =
        keys.iter().enumerate().rev().map(|(at, key)| joins("a", *key, &user(at))).collect();
    stage.say(&changes).await;
    assert_eq!(stage.counts("a").await, (25, 10), "five are anonymous, the others are of ten users");
    let (mut found, mut after, mut sizes) = (Vec::new(), None, Vec::new());
    loop {
        let page = stage.presence.page(&channel("a"), after, 10).await.unwrap();
        assert_eq!((page.clients, page.users), (25, 10));
        sizes.push(page.members.len());
        found.extend(page.members.iter().map(|member| member.connection.0));
        after = page.next();
        let whole = |member: &Member| member.info == format!("{{\"n\":{}}}", member.connection.0);
        assert!(page.members.iter().all(whole));
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, sizes), (keys.clone(), vec![10, 10, 5]));
    let exact = stage.presence.page(&channel("a"), None, 25).await.unwrap();
    assert_eq!((exact.next(), exact.members.len()), (None, 25));
    assert_eq!(&*exact.members[7].user, "user-7");
    // A cursor holds also where its member has gone.
    stage.say(&[leaves("a", keys[9])]).await;
    let page = stage.presence.page(&channel("a"), Some(ConnectionKey(keys[9])), 1).await.unwrap();
    assert_eq!(page.members[0].connection.0, keys[10]);
}

async fn tells_users_once(stage: &Stage) {
    let said = stage
        .say(&[
            joins("a", 1, "ann"),
            joins("a", 2, "ann"),
            joins("a", 3, ""),
            joins("a", 4, ""),
            leaves("a", 1),
            leaves("a", 3),
            leaves("a", 2),
            leaves("a", 9),
        ])
        .await;
    assert_eq!(stage.heard.told(5).await, ["+1", "+3", "+4", "-3", "-2"]);
    let (told, nothing) = (Said::Told, Said::Nothing);
    assert_eq!(said, [told, nothing, told, told, nothing, told, told, nothing]);
    assert_eq!(stage.counts("a").await, (1, 0));
    // Where nobody is to be told, nobody is.
    let silent = Change { told: false, ..joins("a", 5, "bob") };
    assert_eq!(stage.say(&[silent]).await, [nothing]);
    stage.say(&[joins("a", 6, "eve")]).await;
    assert_eq!(stage.heard.told(6).await[5..], ["+6"]);
}

async fn takes_the_same_twice(stage: &Stage) {
    let mut again = joins("a", 1, "ann");
    stage.say(&[again.clone(), again.clone()]).await;
    if let What::Joins { member, .. } = &mut again.what {
        member.info = Bytes::from_static(b"\"new\"");
    }
    assert_eq!(stage.say(&[again]).await, [Said::Nothing]);
    let page = stage.presence.page(&channel("a"), None, 9).await.unwrap();
    assert_eq!((page.clients, page.users, &*page.members[0].info), (1, 1, &b"\"new\""[..]));
    stage.say(&[leaves("a", 1), leaves("a", 1), joins("b", 2, "bob")]).await;
    assert_eq!(stage.heard.told(3).await, ["+1", "-1", "+2"]);
    assert_eq!(stage.counts("a").await, (0, 0));
}

async fn keeps_channels_apart(stage: &Stage) {
    stage.say(&[joins("a", 1, "ann"), joins("a:b", 1, "ann"), joins("a", 2, "bob"), leaves("a", 1)]).await;
    assert_eq!((stage.counts("a").await, stage.counts("a:b").await), ((1, 1), (1, 1)));
}

async fn tells_no_crowd(stage: &Stage) {
    let most = u128::from(ANNOUNCED_CLIENTS);
    let all: Vec<Change> = (0..most).map(|at| joins("a", at, "")).collect();
    stage.say(&all).await;
    let (above, below) = (most + 5, most - most / 10);
    let crowd: Vec<Change> = (most..above).map(|at| joins("a", at, "")).collect();
    assert_eq!(stage.say(&crowd).await, [Said::Crowded; 5]);
    let going: Vec<Change> = (below..above).rev().map(|at| leaves("a", at)).collect();
    let said = stage.say(&going).await;
    assert!(said.iter().all(|said| *said == Said::Crowded));
    stage.say(&[leaves("a", 0), joins("a", 0, "")]).await;
    let told = stage.heard.told(all.len() + 4).await;
    assert_eq!(told[all.len()..], ["!", "!", "-0", "+0"], "once when it grew, once when it had shrunk");
    assert_eq!(stage.counts("a").await, (u64::try_from(below).unwrap(), 0));
}

async fn forgets_when_it_resigns(stage: &Stage) {
    stage.say(&[joins("a", 1, "ann")]).await;
    stage.presence.resign().await.unwrap();
    assert_eq!(stage.counts("a").await, (0, 0));
}

async fn counts_many_as_fast_as_few(stage: &Stage) {
    let join = |name: &str, many: u128| -> Vec<Change> {
        let join = |at: u128| Change { told: false, ..joins(name, at << 64, &format!("user-{}", at / 2)) };
        (0..many).map(join).collect()
    };
    stage.say(&join("few", 1_000)).await;
    stage.say(&join("many", 100_000)).await;
    assert_eq!(stage.counts("many").await, (100_000, 50_000));
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..101 {
        for (name, took) in ["few", "many"].iter().zip(&mut took) {
            let begun = Instant::now();
            stage.counts(name).await;
            let middle =
                stage.presence.page(&channel(name), Some(ConnectionKey(500 << 64)), 10).await.unwrap();
            took.push(begun.elapsed());
            assert_eq!(middle.members.len(), 10);
        }
    }
    let [few, many] = took.map(|mut took| {
        took.sort_unstable();
        took[took.len() / 2]
    });
    // A scan would take a hundred times as long.
    assert!(many < few * 10, "{few:?} for 1,000 members, {many:?} for 100,000");
    tracing::info!(?few, ?many, "counts and a page, of 1,000 members and of 100,000");
}
