//! The scripts, their keys and arguments, and their answers as values.

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use rtgw_model::{ChannelName, HistoryMode, HistoryPolicy, Publication};
use rtgw_protocol::pods::{self, Place, Stamp};
use sha1::{Digest, Sha1};
use tokio::time::Instant;

use super::super::{IDEMPOTENCY_WINDOW, IdempotencyKey, Page};
use super::knowledge::{Knowledge, Shard};
use crate::redis_link::{Call, Fence, Kind, Names, Script, Trouble};

static PUBLISH: Script = Script::new(concat!(include_str!("standing.lua"), include_str!("publish.lua")));
static STAND: Script = Script::new(concat!(include_str!("standing.lua"), include_str!("stand.lua")));
static GREET: Script = Script::new(concat!(include_str!("standing.lua"), include_str!("greet.lua")));
pub(super) static SWITCH: Script =
    Script::new(concat!(include_str!("standing.lua"), include_str!("switch.lua")));
static HISTORY: Script = Script::new(concat!(include_str!("standing.lua"), include_str!("history.lua")));

/// A channel's position outlives its history, so that who comes back late learns that it missed something rather than nothing.
const POSITION_OUTLIVES: Duration = Duration::from_secs(24 * 3600);
/// About how many bytes of history are read at once.
const PAGE_BYTES: usize = 4 << 20;

/// Names of a shard's keys and topics, and the ways to ask.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) names: Names,
    ids: String,
    /// Heard by this pod alone, and by all pods.
    pub(super) pod_topic: String,
    pub(super) all_topic: String,
}

/// One publication to be published.
pub(super) struct Outgoing<'a> {
    pub(super) once: Option<IdempotencyKey>,
    pub(super) publication: &'a Publication,
    pub(super) body: Vec<u8>,
}

/// What a history answered.
pub(super) struct Read {
    pub(super) epoch: u64,
    pub(super) top: Place,
    /// Of the oldest publication that is kept.
    pub(super) oldest: Option<u64>,
    /// With their offsets.
    pub(super) messages: Vec<(u64, Vec<u8>)>,
}

impl Scripts {
    /// Of broker shard `shard` as pod `pod` sees it.
    pub(super) fn new(names: Names, shard: u16, pod: u64) -> Self {
        let ids = names.of(Kind::Ids, &shard.to_string());
        let pod_topic = names.of(Kind::Pod, &format!("{pod:016x}"));
        let all_topic = names.of(Kind::Pod, "all");
        Self { names, ids, pod_topic, all_topic }
    }

    /// The call of [`SWITCH`] that does `what`.
    pub(super) fn switch(&self, what: &str, with: &str) -> Call {
        let mut call = Call::default();
        call.key(&self.ids).arg(&fresh()[..]).arg(&self.all_topic).arg(what).arg(with);
        call
    }

    fn channel_keys(&self, call: &mut Call, channel: &ChannelName) {
        for kind in [Kind::Position, Kind::History, Kind::Latest] {
            call.key(self.names.of(kind, channel.as_str()));
        }
    }

    /// The call that publishes `all`, unless the moment `latest` of Redis's clock has passed or the right of `fence` is lost.
    pub(super) fn publish(
        &self,
        all: &[Outgoing<'_>],
        fence: Option<&Fence>,
        latest: u64,
        retention: impl Fn(&ChannelName) -> Option<std::sync::Arc<HistoryPolicy>>,
    ) -> Call {
        let mut call = Call::default();
        call.key(&self.ids).arg(&fresh()[..]).arg(latest).arg(all.len());
        call.arg(fence.map_or("", |fence| &fence.token));
        if let Some(fence) = fence {
            call.key(&fence.key);
        }
        for Outgoing { once, publication, body } in all {
            let window = if once.is_some() { IDEMPOTENCY_WINDOW.as_millis() } else { 0 };
            call.arg(window.to_string()).arg(&body[..]).arg(publication.channels.len());
            if let Some(IdempotencyKey(key)) = once {
                call.key(self.names.of(Kind::Once, &format!("{key:032x}")));
            }
            for channel in &publication.channels {
                call.arg(self.names.of(Kind::Topic, channel.as_str()));
                let policy = retention(channel).filter(|_| publication.except.is_none());
                let Some(policy) = policy else {
                    call.arg("-");
                    continue;
                };
                let mode = if policy.mode == HistoryMode::Stream { "s" } else { "c" };
                call.arg(mode).arg(policy.size.max(1)).arg(policy.ttl_ms.max(1)).arg(position_ttl(&policy));
                self.channel_keys(&mut call, channel);
                if let HistoryMode::Cache(tags) = &policy.mode {
                    call.arg(&value_key(publication, tags)[..]);
                }
            }
        }
        call
    }

    /// Publishes; for each publication whether it was there before, and its stamp.
    pub(super) async fn run_publish(
        connection: &mut MultiplexedConnection,
        call: &Call,
    ) -> Result<Vec<(bool, Stamp)>, Trouble> {
        let answers: Vec<Vec<u8>> = PUBLISH.run(connection, call).await?;
        let read = |answer: &Vec<u8>| {
            let (first, stamp) = answer.split_first()?;
            Some((*first == b'1', pods::stamp(stamp).ok()?))
        };
        answers.iter().map(read).collect::<Option<_>>().ok_or(Trouble::Odd)
    }

    /// Compares what the pod knows with what Redis remembers.
    pub(super) async fn greet(
        &self,
        connection: &mut MultiplexedConnection,
        knowledge: &Knowledge,
        went_back: bool,
    ) -> Result<bool, Trouble> {
        let known = knowledge.shard();
        let epoch = known.as_ref().map(|shard| shard.epoch.to_be_bytes().to_vec()).unwrap_or_default();
        let Shard { since, number, run, .. } = known.unwrap_or_default();
        let mut call = Call::default();
        call.key(&self.ids).arg(&fresh()[..]).arg(&self.all_topic);
        call.arg(epoch).arg(since).arg(number).arg(run).arg(u8::from(went_back));
        let asked = Instant::now();
        let answer: (Vec<u8>, u64, u64, String, u64, u8) = GREET.run(connection, &call).await?;
        let (epoch, since, number, run, clock, began) = answer;
        knowledge.read_clock(clock, asked);
        knowledge.greeted(Shard { epoch: number_of(&epoch)?, since, number, run });
        Ok(began == 1)
    }

    /// Has the pod told where the shard and `channels` stand; how many heard it.
    pub(super) async fn stand(
        &self,
        connection: &mut MultiplexedConnection,
        nonce: u64,
        channels: &[(ChannelName, u64)],
        renew: bool,
        knowledge: &Knowledge,
    ) -> Result<u64, Trouble> {
        let mut call = Call::default();
        call.key(&self.ids)
            .arg(&fresh()[..])
            .arg(&self.pod_topic)
            .arg(&nonce.to_be_bytes()[..])
            .arg(u8::from(renew));
        for (channel, ttl) in channels {
            self.channel_keys(&mut call, channel);
            call.arg(*ttl);
        }
        let asked = Instant::now();
        let (heard, clock): (u64, u64) = STAND.run(connection, &call).await?;
        knowledge.read_clock(clock, asked);
        Ok(heard)
    }

    /// Reads a part of a channel's history.
    pub(super) async fn history(
        &self,
        connection: &mut MultiplexedConnection,
        channel: &ChannelName,
        policy: &HistoryPolicy,
        page: Page,
    ) -> Result<Read, Trouble> {
        let mut call = Call::default();
        call.key(&self.ids);
        self.channel_keys(&mut call, channel);
        let since = page.since.map(|since| since.to_string()).unwrap_or_default();
        call.arg(&fresh()[..]).arg(position_ttl(policy)).arg(since).arg(page.limit).arg(PAGE_BYTES);
        call.arg(u8::from(page.reverse));
        let answer: Vec<Value> = HISTORY.run(connection, &call).await?;
        read(answer).ok_or(Trouble::Odd)
    }
}

fn read(answer: Vec<Value>) -> Option<Read> {
    let mut values = answer.into_iter().map(|value| redis::from_redis_value::<Vec<u8>>(value).ok());
    let mut next = || values.next().flatten();
    let decimal = |text: Vec<u8>| std::str::from_utf8(&text).ok()?.parse::<u64>().ok();
    let epoch = number_of(&next()?).ok()?;
    let salt = number_of(&next()?).ok()?;
    let top = Place { salt, offset: decimal(next()?)? };
    let oldest = Some(decimal(next()?)?).filter(|oldest| *oldest > 0);
    let mut messages = Vec::new();
    while let Some(offset) = next() {
        messages.push((decimal(offset)?, next()?));
    }
    Some(Read { epoch, top, oldest, messages })
}

/// How long a channel's position is kept, in milliseconds.
pub(super) fn position_ttl(policy: &HistoryPolicy) -> u64 {
    let day = u64::try_from(POSITION_OUTLIVES.as_millis()).unwrap_or(u64::MAX);
    policy.ttl_ms.saturating_mul(2).saturating_add(day)
}

/// Tells the values of a channel apart: the event and the tags that are part of the key.
fn value_key(publication: &Publication, tags: &[Box<str>]) -> [u8; 20] {
    let mut digest = Sha1::new();
    let mut add = |part: Option<&str>| {
        digest.update(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        digest.update(part.unwrap_or_default());
    };
    add(Some(&publication.event));
    tags.iter().for_each(|tag| add(publication.tag(tag)));
    digest.finalize().into()
}

/// For whatever begins in a script.
pub(super) fn fresh() -> [u8; 8] {
    fastrand::u64(..).to_be_bytes()
}

fn number_of(bytes: &[u8]) -> Result<u64, Trouble> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| Trouble::Odd)
}
