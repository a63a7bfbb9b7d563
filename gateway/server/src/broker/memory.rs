//! A broker in this process's memory: for one pod, with no store and no network.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rtgw_model::{ChannelName, HistoryPolicy, Position, Positions, Publication, PublicationId};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::kept::Histories;
use super::window::Window;
use super::{
    AppendFuture, Appended, Broker, BrokerSink, Concerned, Generation, HistoryError, HistoryFuture,
    IdempotencyKey, OutdateFuture, Page, ProbeFuture, PublishAllFuture, Retention,
};

/// The broker of a single pod. Its memory goes with the process, so each start has an epoch of its own.
pub struct Memory {
    epoch: u64,
    sink: Arc<dyn BrokerSink>,
    retention: Retention,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Number of the last publication.
    sequence: u64,
    /// Channels of interest. Clients choose names, so the hash is keyed.
    wanted: HashSet<ChannelName>,
    /// Publications that must not be appended again.
    window: Window,
    histories: Histories,
}

impl Memory {
    /// An empty broker that delivers to `sink` and keeps what `retention` says.
    pub fn new(sink: Arc<dyn BrokerSink>, retention: Retention) -> Self {
        Self { epoch: fastrand::u64(..), sink, retention, state: Mutex::default() }
    }

    /// Gives the next ids and delivers in one lock, so that ids and deliveries have one order; the sink only posts to inboxes.
    fn append_all(&self, mut publications: Vec<Publication>) -> Vec<Appended> {
        let mut state = self.state.lock();
        let appended =
            publications.iter_mut().map(|publication| self.number(&mut state, publication)).collect();
        let heard = |one: &Publication| one.channels.iter().any(|channel| state.wanted.contains(channel));
        publications.retain(heard);
        match publications.len() {
            0 => {}
            1 => publications.into_iter().for_each(|publication| self.sink.publication(publication)),
            _ => self.sink.publications(publications),
        }
        appended
    }

    fn append(&self, key: Option<IdempotencyKey>, mut publication: Publication) -> Appended {
        let now = Instant::now();
        let mut state = self.state.lock();
        if let Some(first) = key.and_then(|key| state.window.find(key, now)) {
            return Appended { repeated: true, ..first };
        }
        let appended = self.number(&mut state, &mut publication);
        if let Some(key) = key {
            state.window.remember(key, appended.clone(), now);
        }
        if publication.channels.iter().any(|channel| state.wanted.contains(channel)) {
            self.sink.publication(publication);
        }
        appended
    }

    fn top(&self, state: &mut State, channel: &ChannelName) -> Option<Position> {
        (self.retention)(channel).map(|policy| state.histories.top(channel, &policy, Instant::now()))
    }

    /// Gives the publication its id and its places, and keeps it where it is to be kept.
    fn number(&self, state: &mut State, publication: &mut Publication) -> Appended {
        state.sequence += 1;
        let id = PublicationId { epoch: self.epoch, sequence: state.sequence };
        publication.id = Some(id);
        publication.positions = Positions::new();
        let policies = publication.channels.iter().map(|channel| (self.retention)(channel));
        let policies: SmallVec<[_; 4]> = policies.collect();
        if policies.iter().any(Option::is_some) {
            let now = Instant::now();
            let State { wanted, histories, .. } = state;
            histories.forget(now, |channel| wanted.contains(channel));
            let position = |(channel, policy): (usize, &Option<Arc<HistoryPolicy>>)| {
                policy.as_ref().and_then(|policy| histories.append(channel, policy, publication, now))
            };
            publication.positions = policies.iter().enumerate().map(position).collect();
        }
        Appended { id, positions: publication.positions.clone(), repeated: false }
    }
}

impl Broker for Memory {
    fn publish(&self, publication: Publication) -> AppendFuture<'_> {
        Box::pin(async move { Ok(self.append(None, publication)) })
    }

    fn publish_all(&self, publications: Vec<Publication>) -> PublishAllFuture<'_> {
        Box::pin(async move { self.append_all(publications).into_iter().map(Ok).collect() })
    }

    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        Box::pin(async move { Ok(self.append(Some(key), publication)) })
    }

    fn want(&self, channel: ChannelName, generation: Generation) {
        let mut state = self.state.lock();
        state.wanted.insert(channel.clone());
        let position = self.top(&mut state, &channel);
        drop(state);
        self.sink.ready(channel, generation, position);
    }

    fn unwant(&self, channel: &ChannelName) {
        let mut state = self.state.lock();
        state.wanted.remove(channel);
        // A wave of leavers gives its memory back.
        if state.wanted.capacity() > 1024 && state.wanted.len() < state.wanted.capacity() / 8 {
            let room = state.wanted.len() * 2;
            state.wanted.shrink_to(room);
        }
    }

    fn history(&self, channel: &ChannelName, page: Page) -> HistoryFuture<'_> {
        let channel = channel.clone();
        Box::pin(async move {
            let policy = (self.retention)(&channel).ok_or(HistoryError::NotKept)?;
            Ok(self.state.lock().histories.read(&channel, &policy, page, Instant::now()))
        })
    }

    fn position(&self, channel: &ChannelName) -> Option<Position> {
        let mut state = self.state.lock();
        if state.wanted.contains(channel) { self.top(&mut state, channel) } else { None }
    }

    fn outdate(&self, concerned: Concerned) -> OutdateFuture<'_> {
        Box::pin(async move {
            self.state.lock().histories.outdate(|channel| concerned(channel));
            Ok(())
        })
    }

    fn probe(&self) -> ProbeFuture<'_> {
        // Everything a publication passes here is the lock: a probe that gets it proves that the path is not stuck. It has no
        // channel, so no client can name it.
        Box::pin(async move {
            let begun = Instant::now();
            drop(self.state.lock());
            Ok(begun.elapsed())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn keeps_the_contract() {
        conformance::run(|sink, retention| async move {
            Arc::new(Memory::new(sink, retention)) as Arc<dyn Broker>
        })
        .await;
    }
}
