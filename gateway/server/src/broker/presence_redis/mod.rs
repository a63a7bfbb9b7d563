//! Presence in Redis: every pod says what its connections hear under a lease; whoever finds a lease ended clears away what was said under it.
//!
//! Counts are the lengths of two hashes and pages ranges of a sorted set, so neither grows with the channel. What is told goes over one topic
//! that every pod hears: a channel that tells has at most a thousand members, so there is little of it.

mod news;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Value;
use rtgw_model::{ANNOUNCED_CLIENTS, ChannelName, ConnectionKey, Member, Members};

use super::presence::{
    Change, LEASE, Lease, Presence, PresenceError, PresenceFuture, PresenceSink, Said, What,
};
use crate::redis_link::{Address, Call, Kind, Link, Names, Script, Trouble};

static CHANGE: Script = Script::new(concat!(include_str!("members.lua"), include_str!("change.lua")));
static PAGE: Script = Script::new(concat!(include_str!("members.lua"), include_str!("page.lua")));
static RENEW: Script = Script::new(concat!(include_str!("members.lua"), include_str!("renew.lua")));
static SWEEP: Script = Script::new(concat!(include_str!("members.lua"), include_str!("sweep.lua")));

/// Members that are cleared away at a time: Redis does nothing else meanwhile.
const SWEPT: u32 = 200;
/// How long a renewal may go on to clear away; the next one goes on.
const SWEEPING: Duration = Duration::from_millis(700);
/// Channels of an ended pod that are looked at together.
const CHANNELS: u32 = 64;

/// The presence of a pod among others.
pub(super) struct RedisPresence {
    link: Link,
    names: Names,
    address: Address,
    sink: Arc<dyn PresenceSink>,
    /// Under which lease the pod speaks; another after each that ended.
    pod: AtomicU64,
    pods: String,
    topic: String,
}

impl RedisPresence {
    /// Speaks once [`RedisPresence::run`] runs; `sink` is told who comes and goes on all pods.
    pub(super) fn new(address: Address, names: Names, sink: Arc<dyn PresenceSink>) -> Arc<Self> {
        let link = Link::new("presence", address.clone());
        let (pods, topic) = (names.of(Kind::PresencePods, "all"), names.of(Kind::PresenceNews, "all"));
        Arc::new(Self { link, names, address, sink, pod: AtomicU64::new(fastrand::u64(..)), pods, topic })
    }

    /// Keeps the connections until dropped.
    pub(super) async fn run(&self) {
        tokio::join!(self.link.keep(), self.hear());
    }

    fn pod(&self) -> String {
        format!("{:016x}", self.pod.load(Ordering::Relaxed))
    }

    /// The keys of a channel, and what `pod` holds of it.
    fn keys(&self, call: &mut Call, channel: &str, pod: &str) {
        for kind in [Kind::PresenceMembers, Kind::PresenceOrder, Kind::PresenceUsers, Kind::PresenceCrowd] {
            call.key(self.names.of(kind, channel));
        }
        call.key(format!("{}{pod}", self.held(channel)));
    }

    fn held(&self, channel: &str) -> String {
        format!("{}:", self.names.of(Kind::PresenceHeld, channel))
    }

    fn channels(&self, pod: &str) -> String {
        self.names.of(Kind::PresenceChannels, pod)
    }

    fn bounds(call: &mut Call) {
        call.arg(ANNOUNCED_CLIENTS).arg(ANNOUNCED_CLIENTS - ANNOUNCED_CLIENTS / 10);
    }

    async fn say(&self, changes: &[Change]) -> Result<Vec<Said>, Trouble> {
        let (mut call, pod) = (Call::default(), self.pod());
        call.key(&self.pods).key(self.channels(&pod)).arg(&pod).arg(&self.topic);
        Self::bounds(&mut call);
        for Change { channel, told, what } in changes {
            self.keys(&mut call, channel.as_str(), &pod);
            let told = if *told { "1" } else { "0" };
            match what {
                What::Joins { member, user } => {
                    call.arg("j").arg(told).arg(channel.as_str()).arg(member.connection.to_string());
                    call.arg(&**user).arg(pack(member));
                }
                What::Leaves(connection) => {
                    call.arg("l").arg(told).arg(channel.as_str()).arg(connection.to_string()).arg("").arg("");
                }
            }
        }
        let said: Vec<u8> = self.link.invoke::<Vec<u8>>(&CHANGE, &call).await?;
        let said = said.into_iter().map(|said| match said {
            0 => Said::Nothing,
            1 => Said::Told,
            _ => Said::Crowded,
        });
        Ok(said.collect())
    }

    async fn read(
        &self,
        channel: &ChannelName,
        after: Option<ConnectionKey>,
        limit: u32,
    ) -> Result<Members, Trouble> {
        let name = channel.as_str();
        let mut call = Call::default();
        call.key(&self.pods);
        for kind in [Kind::PresenceMembers, Kind::PresenceOrder, Kind::PresenceUsers] {
            call.key(self.names.of(kind, name));
        }
        call.arg(after.map(|key| key.to_string()).unwrap_or_default()).arg(limit).arg(self.held(name));
        loop {
            let (ended, clients, users, more, page): (u8, u64, u64, u8, Vec<Vec<u8>>) =
                self.link.invoke(&PAGE, &call).await?;
            if ended == 0 {
                let (pairs, _) = page.as_chunks::<2>();
                let members = pairs.iter().filter_map(|[key, member]| unpack(key, member)).collect();
                return Ok(Members { members, clients, users, more: more == 1 });
            }
            let pod = page.first().map(|pod| String::from_utf8_lossy(pod).into_owned()).unwrap_or_default();
            while self.sweep(&pod, name).await? > 0 {}
        }
    }

    /// Clears away some of what an ended pod said of a channel; gives how much is left.
    async fn sweep(&self, pod: &str, channel: &str) -> Result<u64, Trouble> {
        let mut call = Call::default();
        call.key(&self.pods).key(self.channels(pod));
        self.keys(&mut call, channel, pod);
        call.arg(pod).arg(&self.topic);
        Self::bounds(&mut call);
        call.arg(channel).arg(SWEPT);
        self.link.invoke(&SWEEP, &call).await
    }

    /// Begins or renews; gives whether the lease holds and which have ended.
    async fn lease(&self, begin: bool) -> Result<(bool, Vec<String>), Trouble> {
        let mut call = Call::default();
        call.key(&self.pods).arg(self.pod()).arg(LEASE.as_millis().to_string()).arg(u8::from(begin));
        let (holds, ended): (u8, Vec<String>) = self.link.invoke(&RENEW, &call).await?;
        Ok((holds == 1, ended))
    }

    async fn renewed(&self, anew: bool) -> Result<Lease, Trouble> {
        let (holds, mut ended) = if anew { (false, Vec::new()) } else { self.lease(false).await? };
        if !holds {
            // What was said under the last one is cleared away, by whoever comes to it first.
            self.pod.store(fastrand::u64(..), Ordering::Relaxed);
            ended = self.lease(true).await?.1;
        }
        self.clear(ended).await?;
        Ok(if holds { Lease::Holds } else { Lease::Anew })
    }

    /// Clears away what ended pods have said, for a while.
    async fn clear(&self, ended: Vec<String>) -> Result<(), Trouble> {
        let begun = Instant::now();
        for pod in ended {
            loop {
                let mut some = redis::cmd("SRANDMEMBER");
                some.arg(self.channels(&pod)).arg(CHANNELS);
                let channels: Vec<String> = self.link.query(&some).await?;
                if channels.is_empty() {
                    self.link.query::<Value>(redis::cmd("ZREM").arg(&self.pods).arg(&pod)).await?;
                    break;
                }
                for channel in channels {
                    while self.sweep(&pod, &channel).await? > 0 {
                        if begun.elapsed() > SWEEPING {
                            return Ok(());
                        }
                    }
                }
                if begun.elapsed() > SWEEPING {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn end(&self) -> Result<(), Trouble> {
        let mut ended = redis::cmd("ZADD");
        ended.arg(&self.pods).arg("XX").arg(0).arg(self.pod());
        self.link.query::<Value>(&ended).await.map(drop)
    }
}

impl Presence for RedisPresence {
    fn change<'a>(&'a self, changes: &'a [Change]) -> PresenceFuture<'a, Vec<Said>> {
        Box::pin(async move { self.say(changes).await.map_err(away) })
    }

    fn page<'a>(
        &'a self,
        channel: &'a ChannelName,
        after: Option<ConnectionKey>,
        limit: u32,
    ) -> PresenceFuture<'a, Members> {
        Box::pin(async move { self.read(channel, after, limit).await.map_err(away) })
    }

    fn renew(&self, anew: bool) -> PresenceFuture<'_, Lease> {
        Box::pin(async move { self.renewed(anew).await.map_err(away) })
    }

    fn resign(&self) -> PresenceFuture<'_, ()> {
        Box::pin(async move { self.end().await.map_err(away) })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn away(trouble: Trouble) -> PresenceError {
    PresenceError(trouble.to_string())
}

/// What others see of a member: the length of its user in two bytes, the user, and the info.
fn pack(member: &Member) -> Vec<u8> {
    let user = member.user.as_bytes();
    let length = u16::try_from(user.len()).unwrap_or(u16::MAX);
    let user = user.get(..usize::from(length)).unwrap_or(user);
    [&length.to_be_bytes()[..], user, &member.info].concat()
}

/// `None` for what no pod of this kind has said.
fn unpack(key: &[u8], packed: &[u8]) -> Option<Member> {
    let connection = std::str::from_utf8(key).ok().and_then(ConnectionKey::parse)?;
    let (length, rest) = packed.split_first_chunk::<2>()?;
    let (user, info) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some(Member {
        connection,
        user: std::str::from_utf8(user).ok()?.into(),
        info: bytes::Bytes::copy_from_slice(info),
    })
}
