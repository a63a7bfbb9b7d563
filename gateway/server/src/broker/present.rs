//! Presence in this process's memory: for one pod.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use rtgw_model::{ANNOUNCED_CLIENTS, Arrival, ChannelName, ConnectionKey, Member, Members};

use super::presence::{Change, Lease, Presence, PresenceFuture, PresenceSink, Said, What};

/// The presence of a single pod. What it is told goes with the process, so there is no lease to lose.
pub struct MemoryPresence {
    sink: Arc<dyn PresenceSink>,
    // Clients choose names, so the hash is keyed.
    channels: Mutex<HashMap<ChannelName, Channel>>,
}

#[derive(Default)]
struct Channel {
    /// With what tells its user apart.
    members: BTreeMap<u128, (Member, Box<str>)>,
    /// Connections of each user.
    users: HashMap<Box<str>, u32>,
    /// It has grown too large to tell who comes and goes.
    crowded: bool,
}

/// What is to be told, unless the channel is crowded.
type News = Option<Arrival>;

impl Channel {
    fn join(&mut self, member: &Member, user: &str) -> News {
        let news = match self.members.insert(member.connection.0, (member.clone(), user.into())) {
            Some((_, before)) if *before == *user => return None,
            Some((_, before)) => {
                self.release(&before);
                self.take(user)
            }
            None => self.take(user),
        };
        news.then(|| Arrival::Joined(member.clone()))
    }

    fn leave(&mut self, connection: ConnectionKey) -> News {
        let (member, user) = self.members.remove(&connection.0)?;
        self.release(&user).then_some(Arrival::Left(member))
    }

    /// Counts a connection of the user; true for its first.
    fn take(&mut self, user: &str) -> bool {
        if user.is_empty() {
            return true;
        }
        let connections = self.users.entry(user.into()).or_default();
        *connections += 1;
        *connections == 1
    }

    /// Counts a connection less; true for the last.
    fn release(&mut self, user: &str) -> bool {
        if user.is_empty() {
            return true;
        }
        let Entry::Occupied(mut connections) = self.users.entry(user.into()) else { return false };
        *connections.get_mut() -= 1;
        if *connections.get() > 0 {
            return false;
        }
        connections.remove();
        true
    }

    /// What is told instead of `news` in view of how many there are.
    fn tell(&mut self, news: News) -> (Said, News) {
        let clients = self.members.len() as u64;
        let crossed = if self.crowded {
            clients <= ANNOUNCED_CLIENTS - ANNOUNCED_CLIENTS / 10
        } else {
            clients > ANNOUNCED_CLIENTS
        };
        self.crowded ^= crossed;
        match news {
            _ if crossed => (Said::Crowded, Some(Arrival::Crowded)),
            Some(_) if self.crowded => (Said::Crowded, None),
            Some(news) => (Said::Told, Some(news)),
            None => (Said::Nothing, None),
        }
    }
}

impl MemoryPresence {
    /// Nobody hears anything yet; `sink` is told who comes and goes.
    pub fn new(sink: Arc<dyn PresenceSink>) -> Self {
        Self { sink, channels: Mutex::default() }
    }

    /// In one lock, so that what is told has the order in which it happened.
    fn carry_out(&self, change: &Change) -> Said {
        let mut channels = self.channels.lock();
        let channel = channels.entry(change.channel.clone()).or_default();
        let news = match &change.what {
            What::Joins { member, user } => channel.join(member, user),
            What::Leaves(connection) => channel.leave(*connection),
        };
        let (said, arrival) = if change.told { channel.tell(news) } else { (Said::Nothing, None) };
        if channel.members.is_empty() {
            channels.remove(&change.channel);
            // A wave of leavers gives its memory back.
            if channels.capacity() > 1024 && channels.len() < channels.capacity() / 8 {
                let room = channels.len() * 2;
                channels.shrink_to(room);
            }
        }
        if let Some(arrival) = arrival {
            self.sink.arrival(change.channel.clone(), arrival);
        }
        said
    }
}

impl Presence for MemoryPresence {
    fn change<'a>(&'a self, changes: &'a [Change]) -> PresenceFuture<'a, Vec<Said>> {
        Box::pin(async move { Ok(changes.iter().map(|change| self.carry_out(change)).collect()) })
    }

    fn page<'a>(
        &'a self,
        channel: &'a ChannelName,
        after: Option<ConnectionKey>,
        limit: u32,
    ) -> PresenceFuture<'a, Members> {
        Box::pin(async move {
            let channels = self.channels.lock();
            let Some(channel) = channels.get(channel) else {
                return Ok(Members { members: Vec::new(), clients: 0, users: 0, more: false });
            };
            let behind = (after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.0)), Bound::Unbounded);
            let mut rest = channel.members.range(behind).map(|(_, (member, _))| member);
            let members = rest.by_ref().take(limit as usize).cloned().collect();
            let more = limit > 0 && rest.next().is_some();
            let (clients, users) = (channel.members.len() as u64, channel.users.len() as u64);
            Ok(Members { members, clients, users, more })
        })
    }

    fn renew(&self, anew: bool) -> PresenceFuture<'_, Lease> {
        Box::pin(async move {
            if anew {
                self.channels.lock().clear();
            }
            Ok(if anew { Lease::Anew } else { Lease::Holds })
        })
    }

    fn resign(&self) -> PresenceFuture<'_, ()> {
        Box::pin(async move {
            self.channels.lock().clear();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::presence;
    use super::*;

    #[tokio::test]
    async fn keeps_the_contract() {
        presence::run(|sink| async move { Arc::new(MemoryPresence::new(sink)) as Arc<dyn Presence> }).await;
    }
}
