//! What every broker keeps, kept by this one: alone, and where another pod publishes.

use std::sync::Arc;

use rtgw_model::{ChannelName, Position, Publication};

use super::super::super::{
    AppendFuture, Broker, BrokerSink, Concerned, Generation, HistoryFuture, IdempotencyKey, OutdateFuture,
    Page, ProbeFuture, PublishAllFuture, conformance,
};
use super::super::Redis;
use super::stage::redis::Redis as Server;
use super::{fresh_name, pod};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    let server = Server::start();
    let server = &server;
    conformance::run(|sink, retention| async move {
        pod(server, &fresh_name(), sink, retention) as Arc<dyn Broker>
    })
    .await;
}

/// Two pods: what one publishes and reads, the other hears.
struct Two {
    here: Arc<Redis>,
    there: Arc<Redis>,
}

/// Hears nothing: nothing is wanted there.
struct Deaf;

impl BrokerSink for Deaf {
    fn publication(&self, publication: Publication) {
        panic!("nobody wants {publication:?} here");
    }
    fn ready(&self, channel: ChannelName, _: Generation, _: Option<Position>) {
        panic!("nobody wants {channel:?} here");
    }
    fn gap(&self, _: rtgw_hub::GapScope, reason: rtgw_model::GapReason) {
        panic!("nobody wants anything here: {reason:?}");
    }
}

impl Broker for Two {
    fn publish(&self, publication: Publication) -> AppendFuture<'_> {
        // A connection that must not hear it is one of the pod that publishes.
        let broker = if publication.except.is_some() { &self.here } else { &self.there };
        broker.publish(publication)
    }
    fn publish_all(&self, publications: Vec<Publication>) -> PublishAllFuture<'_> {
        self.there.publish_all(publications)
    }
    fn publish_once(&self, key: IdempotencyKey, publication: Publication) -> AppendFuture<'_> {
        // Both, so that they race for the key.
        let broker = if fastrand::bool() { &self.here } else { &self.there };
        broker.publish_once(key, publication)
    }
    fn want(&self, channel: ChannelName, generation: Generation) {
        self.here.want(channel, generation);
    }
    fn unwant(&self, channel: &ChannelName) {
        self.here.unwant(channel);
    }
    fn history(&self, channel: &ChannelName, page: Page) -> HistoryFuture<'_> {
        self.there.history(channel, page)
    }
    fn position(&self, channel: &ChannelName) -> Option<Position> {
        self.here.position(channel)
    }
    fn outdate(&self, concerned: Concerned) -> OutdateFuture<'_> {
        self.there.outdate(concerned)
    }
    fn probe(&self) -> ProbeFuture<'_> {
        self.here.probe()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract_between_two_pods() {
    let server = Server::start();
    let server = &server;
    conformance::run(|sink, retention| async move {
        let name = fresh_name();
        let here = pod(server, &name, sink, Arc::clone(&retention));
        let there = pod(server, &name, Arc::new(Deaf), retention);
        Arc::new(Two { here, there }) as Arc<dyn Broker>
    })
    .await;
}
