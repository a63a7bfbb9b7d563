//! A broker in this process's memory: for one pod, with no store and no network.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use rtgw_model::{ChannelName, Publication, PublicationId};
use tokio::time::Instant;

use super::window::Window;
use super::{
    AppendFuture, Appended, Broker, BrokerSink, Generation, IdempotencyKey, ProbeFuture, PublishAllFuture,
    PublishFuture,
};

/// The broker of a single pod. Its memory goes with the process, so each start has an epoch of its own.
pub struct Memory {
    epoch: u64,
    sink: Arc<dyn BrokerSink>,
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
}

impl Memory {
    /// An empty broker that delivers to `sink`.
    pub fn new(sink: Arc<dyn BrokerSink>) -> Self {
        Self { epoch: fastrand::u64(..), sink, state: Mutex::default() }
    }

    /// Gives the next id and delivers in one lock, so that ids and deliveries have one order; the sink only posts to inboxes.
    fn append(&self, publication: Publication) -> PublicationId {
        self.append_to(&mut self.state.lock(), publication)
    }

    fn append_once(&self, key: IdempotencyKey, publication: Publication) -> Appended {
        let now = Instant::now();
        let mut state = self.state.lock();
        if let Some(id) = state.window.find(key, now) {
            return Appended { id, repeated: true };
        }
        let id = self.append_to(&mut state, publication);
        state.window.remember(key, id, now);
        Appended { id, repeated: false }
    }

    fn append_to(&self, state: &mut State, mut publication: Publication) -> PublicationId {
        state.sequence += 1;
        let id = PublicationId { epoch: self.epoch, sequence: state.sequence };
        publication.id = Some(id);
        if publication.channels.iter().any(|channel| state.wanted.contains(channel)) {
            self.sink.publication(publication);
        }
        id
    }
}

impl Memory {
    /// The same for several, in one lock and one delivery.
    fn append_all(&self, mut publications: Vec<Publication>) -> Vec<PublicationId> {
        let mut state = self.state.lock();
        let mut ids = Vec::with_capacity(publications.len());
        for publication in &mut publications {
            state.sequence += 1;
            let id = PublicationId { epoch: self.epoch, sequence: state.sequence };
            publication.id = Some(id);
            ids.push(id);
        }
        publications
            .retain(|publication| publication.channels.iter().any(|channel| state.wanted.contains(channel)));
        if !publications.is_empty() {
            self.sink.publications(publications);
        }
        ids
    }
}

impl Broker for Memory {
    fn publish(&self, publication: Publication) -> PublishFuture<'_> {
        Box::pin(async move { Ok(self.append(publication)) })
    }

    fn publish_all(&self, publications: Vec<Publication>) -> PublishAllFuture<'_> {
        Box::pin(async move { self.append_all(publications).into_iter().map(Ok).collect() })
    }

    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        Box::pin(async move { Ok(self.append_once(key, publication)) })
    }

    fn want(&self, channel: ChannelName, generation: Generation) {
        self.state.lock().wanted.insert(channel.clone());
        self.sink.ready(channel, generation);
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
        conformance::run(|sink| async move { Arc::new(Memory::new(sink)) as Arc<dyn Broker> }).await;
    }
}
