//! The broker contract: carries publications between publishers and pods; speaks channels and publications, never clients.
//!
//! A broker is handed its [`BrokerSink`] by the wiring and imports no sibling. What every broker must keep is tested by one
//! conformance suite.

use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Publication, PublicationId};

/// Where a broker delivers. Calls come in the broker's order and never wait.
pub trait BrokerSink: Send + Sync {
    /// A publication that this pod has an interest in.
    fn publication(&self, publication: Publication);
    /// The channel is carried from now on: every later publication of it reaches [`BrokerSink::publication`].
    fn ready(&self, channel: ChannelName);
    /// Publications of these channels may have been missed.
    fn gap(&self, scope: GapScope, reason: GapReason);
}

/// Why a publication was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker cannot be reached; nothing was stored.
    #[error("the broker is not available: {0}")]
    Unavailable(String),
}

/// Boxed future of a broker's answer.
pub type PublishFuture<'a> =
    std::pin::Pin<Box<dyn Future<Output = Result<PublicationId, PublishError>> + Send + 'a>>;

/// A broker of one pod.
pub trait Broker: Send + Sync {
    /// Appends `publication` (its `id` is ignored and given anew) and delivers it once to every pod with an interest in at least one
    /// of its channels. Publications of one channel arrive everywhere in the order of their ids.
    fn publish(&self, publication: Publication) -> PublishFuture<'_>;

    /// This pod wants the channel; [`BrokerSink::ready`] follows once it is carried.
    fn want(&self, channel: ChannelName);

    /// This pod wants the channel no more.
    fn unwant(&self, channel: &ChannelName);

    /// Sends a probe through the whole path; resolves when it came back.
    fn probe(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<std::time::Duration, PublishError>> + Send + '_>>;
}
