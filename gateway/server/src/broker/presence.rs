//! The contract of presence: which connections hear a channel, on all pods.
//!
//! Every pod says what its own connections hear, under a lease that it renews. What a pod said ends with its lease: whoever reads does
//! not count it, and a pod that is still there clears it away.

use std::pin::Pin;
use std::time::Duration;

use rtgw_model::{Arrival, ChannelName, ConnectionKey, Member, Members};

/// How long a pod's word holds that does not renew its lease.
pub const LEASE: Duration = Duration::from_secs(6);
/// How often a pod renews its lease, and looks for those that ended.
pub const RENEWAL: Duration = Duration::from_secs(2);
/// Most changes of one call.
pub const CHANGES: usize = 256;

/// Where presence tells who comes and goes. Calls for one channel come in the order in which that happened, and never wait.
pub trait PresenceSink: Send + Sync {
    /// Somebody came or went; told to every pod.
    fn arrival(&self, channel: ChannelName, arrival: Arrival);
    /// This pod may not have heard of some who came or went, in whatever channel; from now on it does.
    fn unheard(&self);
}

/// What a pod says of one of its connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The channel.
    pub channel: ChannelName,
    /// Whether others are told.
    pub told: bool,
    /// What.
    pub what: What,
}

/// What becomes of a connection in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It hears the channel. Said again it replaces what was said.
    Joins {
        /// The connection as others see it.
        member: Member,
        /// Tells users apart; empty for anonymous: nobody is the same as an anonymous connection.
        user: Box<str>,
    },
    /// It hears it no more; nothing where it did not.
    Leaves(ConnectionKey),
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// There was nothing to tell, or nobody is to be told.
    Nothing,
    /// Every pod was told.
    Told,
    /// The channel has too many members to tell.
    Crowded,
}

/// What came of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Everything that the pod has said holds.
    Holds,
    /// Nothing does: all has to be said again.
    Anew,
}

/// Presence cannot be read or changed now; some of what was asked may have been done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("presence is not available: {0}")]
pub struct PresenceError(pub String);

/// Boxed future of an answer.
pub type PresenceFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, PresenceError>> + Send + 'a>>;

/// Presence as one pod sees it.
///
/// `join` is told for a user's first connection in a channel, across pods, and `leave` for its last; for anonymous connections each. A
/// channel that has grown above [`rtgw_model::ANNOUNCED_CLIENTS`] tells that instead, once, and once more when it has shrunk by a tenth.
pub trait Presence: Send + Sync {
    /// Carries out at most [`CHANGES`] changes in their order; one answer for each. After an error the same may be said again.
    fn change<'a>(&'a self, changes: &'a [Change]) -> PresenceFuture<'a, Vec<Said>>;

    /// The members of a channel behind `after`, at most `limit`, and how many there are. Costs what the page costs, not what the channel
    /// does; `limit` 0 only counts.
    fn page<'a>(
        &'a self,
        channel: &'a ChannelName,
        after: Option<ConnectionKey>,
        limit: u32,
    ) -> PresenceFuture<'a, Members>;

    /// Renews the lease for [`LEASE`], and clears away some of what pods said whose leases ended. With `anew` the pod takes another
    /// lease: the caller has forgotten what it said under the last one.
    fn renew(&self, anew: bool) -> PresenceFuture<'_, Lease>;

    /// Ends the lease: the pod has nothing more to say.
    fn resign(&self) -> PresenceFuture<'_, ()>;
}
